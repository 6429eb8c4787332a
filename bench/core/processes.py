"""The processes that train one run together, and what they tell each other.

``bench.steps.launch`` starts them; each finds its rank in its environment. What exchanges values
must be called by all of them, in the same order. In a process on its own, which is the ordinary
case, each gives back what it was given and needs no torch.
"""

import os
from collections.abc import Callable
from typing import Any


def count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def is_main() -> bool:
    """Whether this process writes, speaks and holds leases for all."""
    return rank() == 0


def start() -> None:
    """Joins the others, and takes the GPU that is this process's own."""
    if count() > 1:
        from accelerate import PartialState

        PartialState()


def gathered(value: Any) -> list:
    """The value of each process, in their order."""
    if count() == 1:
        return [value]
    from torch.distributed import all_gather_object

    values = [None] * count()
    all_gather_object(values, value)
    return values


def from_main(make: Callable[[], Any]) -> Any:
    """What ``make()`` gives in the main process, where alone it is called."""
    return gathered(make() if is_main() else None)[0]


def wait() -> None:
    """Until all are here."""
    gathered(None)


def own_rows(n: int) -> slice:
    """The rows of ``n`` that are this process's: as many as another's, or one fewer."""
    bounds = [n * i // count() for i in range(count() + 1)]
    return slice(bounds[rank()], bounds[rank() + 1])


def joined(part):
    """The tensor of which each process holds its ``own_rows``, as many as any other."""
    if count() == 1:
        return part
    import torch

    parts = [torch.empty_like(part) for _ in range(count())]
    torch.distributed.all_gather(parts, part.contiguous())
    return torch.cat(parts)


def add_up(tensor):
    """Replaces a tensor by its sum over the processes."""
    if count() > 1:
        from torch.distributed import all_reduce

        all_reduce(tensor)
    return tensor
