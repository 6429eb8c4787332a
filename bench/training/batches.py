"""Split batches into forward passes, and count optimiser steps (no heavy import)."""

import math

from bench.core.schema import UserError

REFERENCE_BATCH = 128  # pairs per pass for reference log-probs, unless model.micro_batch is set


def rows_in_pass(settings, n: int) -> int:
    """Return the rows of a pass over ``n`` pairs or prompts: a rollout may have several answers to
    a prompt."""
    return n * getattr(settings, "answers", 1)


def in_epoch(settings, n: int) -> float:
    """Return the batches in an epoch over ``n`` rows, the last of which may be cut short.

    Those of PPO and of methods like it, rollouts, are never cut: a batch may end one pass over the
    prompts and begin the next.
    """
    batches = rows_in_pass(settings, n) / getattr(settings, "batch", 1)
    return batches if hasattr(settings, "minibatch") else math.ceil(batches)


def total_steps(settings, n: int) -> int:
    """Return ``settings.steps``, else the optimiser steps that its epochs over ``n`` rows take.

    Of PPO and methods like it: the rollouts in which each of ``n`` prompts is taken at least
    ``epochs`` times.
    """
    steps = getattr(settings, "steps", 0)
    return steps or math.ceil(in_epoch(settings, n) * getattr(settings, "epochs", 1))


def known_steps(settings, n: int) -> int | None:
    """Return `total_steps`; None where nobody can tell them, or the steps of a warm-up."""
    own = [getattr(settings, key, None) for key in ("batch", "epochs", "warmup")]
    return total_steps(settings, n) if all(isinstance(v, int | float) for v in own) else None


def splits(batch: int, micro: int | None, n: int = 0, count: int = 1) -> tuple[int, int]:
    """Return (rows per forward pass, passes to accumulate) for each of ``count`` processes.

    batch: rows per optimiser step; micro: most rows per pass, None for no limit; n: rows of the
    data set. Rows x passes x processes is exactly ``batch``. If a batch takes more than one pass,
    every pass is full, also in the last batch of an epoch, so that the mean over the passes is the
    mean over the batch. Raises UserError if the processes cannot share the batches equally.
    """
    if count == 1 and batch <= (micro or batch):
        return batch, 1
    whole = math.gcd(batch, n)
    if whole % count:
        raise UserError(
            f"{count} processes cannot share {n} rows in batches of {batch} equally: make the rows "
            f"and the batch multiples of {count}"
        )
    share = whole // count
    rows = max(d for d in range(1, share + 1) if share % d == 0 and d <= (micro or share))
    return rows, batch // (rows * count)


def check_rollouts(settings, count: int) -> None:
    """Raise UserError if ``count`` processes cannot share rollouts and minibatches equally."""
    whole = count * getattr(settings, "answers", 1)  # groups stay in one process
    if count > 1 and (settings.batch % whole or settings.minibatch % whole):
        raise UserError(
            f"batch={settings.batch} in minibatches of {settings.minibatch} cannot be shared "
            f"equally by {count} processes: make both multiples of {whole}"
        )
