"""How a batch becomes passes, and data become steps (no heavy import)."""

import math

from bench.core.schema import UserError

REFERENCE_BATCH = 128  # pairs read at once for log-probs, where model.micro_batch does not say


def total_steps(settings, n: int) -> int:
    """Optimiser steps: as set, or as the epochs over ``n`` rows give."""
    steps = getattr(settings, "steps", 0)
    return steps or math.ceil(math.ceil(n / settings.batch) * settings.epochs)


def splits(batch: int, micro: int | None, n: int = 0, count: int = 1) -> tuple[int, int]:
    """(rows a forward pass, passes to accumulate) of each of ``count`` processes.

    Rows, passes and processes multiply to ``batch`` exactly. With more than one pass in all, no
    pass is ever part filled, not in the last batch of an epoch over ``n`` rows either: means over
    passes are then means over the batch. Raises UserError where that cannot be.
    """
    if count == 1 and batch <= (micro or batch):
        return batch, 1
    whole = math.gcd(batch, n)
    if whole % count:
        raise UserError(
            f"{n} rows in batches of {batch} leave a batch of {n % batch or batch}, which {count} "
            f"processes cannot share equally: make both multiples of {count}"
        )
    share = whole // count
    rows = max(d for d in range(1, share + 1) if share % d == 0 and d <= (micro or share))
    return rows, batch // (rows * count)


def check_rollouts(settings, count: int) -> None:
    """Raises UserError where ``count`` processes cannot share rollouts and minibatches equally."""
    if settings.batch % count or settings.minibatch % count:
        raise UserError(
            f"ppo.batch={settings.batch} in minibatches of {settings.minibatch} cannot be shared "
            f"equally by {count} processes: make both multiples of {count}"
        )
