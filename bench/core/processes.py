"""Exchange values between the processes that train one run together.

``bench.steps.launch`` starts them; each finds its rank in its environment. All of them must call
the functions that exchange values, in the same order. In a process on its own, the ordinary case,
these functions return what they are given and do not import torch.
"""

import os
from collections.abc import Callable
from typing import Any


def count() -> int:
    """Return how many processes train the run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return this process's number, counted from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """True in the one process that writes files, prints and holds locks for all."""
    return rank() == 0


def start() -> None:
    """Connect to the other processes, and select this process's own GPU."""
    if count() > 1:
        from accelerate import PartialState

        PartialState()


def gathered(value: Any) -> list:
    """Return the values of all processes, in the order of their ranks."""
    if count() == 1:
        return [value]
    from torch.distributed import all_gather_object

    values = [None] * count()
    all_gather_object(values, value)
    return values


def from_main(make: Callable[[], Any]) -> Any:
    """Call ``make()`` in the main process only, and return its result in all."""
    return gathered(make() if is_main() else None)[0]


def wait() -> None:
    """Wait until all processes have called this."""
    gathered(None)


def own_rows(n: int) -> slice:
    """Return this process's share of ``n`` rows; shares differ by one row at most."""
    bounds = [n * i // count() for i in range(count() + 1)]
    return slice(bounds[rank()], bounds[rank() + 1])


def joined(part):
    """Concatenate the ``own_rows`` that each process holds, in all; shares must be equal."""
    if count() == 1:
        return part
    import torch

    parts = [torch.empty_like(part) for _ in range(count())]
    torch.distributed.all_gather(parts, part.contiguous())
    return torch.cat(parts)


def add_up(tensor):
    """Replace a tensor by its sum over the processes, in place; returns it."""
    if count() > 1:
        from torch.distributed import all_reduce

        all_reduce(tensor)
    return tensor
