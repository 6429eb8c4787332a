"""Run two sides in turn and compare their times."""

import gc
import statistics
import time
from collections.abc import Callable


def ratios(
    sides: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float] | None = None
) -> tuple[list[float], list[float]]:
    """Time two sides in turn; returns the second's seconds by the first's, and the first's.

    sides: {name: function that does the work once}, ours first. A first round is not counted.
    clock: None for core-seconds, which other jobs hardly change; with a GPU, for wall seconds.
    """
    import torch

    gpu = torch.cuda.is_available()
    clock = clock or (time.perf_counter if gpu else time.process_time)
    gc.freeze()  # a trainer collects garbage as it starts: not among what was there before

    def seconds(work: Callable[[], None]) -> float:
        start = clock()
        work()
        if gpu:
            torch.cuda.synchronize()
        return clock() - start

    for side in sides.values():
        side()
    times = [[seconds(side) for side in sides.values()] for _ in range(rounds)]
    return [theirs / ours for ours, theirs in times], [ours for ours, _ in times]


def spread(values: list[float]) -> str:
    """Return the median, and the lowest and highest, in words."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def tell(race: str, what: str, found: tuple[list[float], list[float]], rows: int, unit: str):
    """Print a race's result; rows: how many of ``unit`` a piece of work holds."""
    ratio, own = found
    rate = rows / statistics.median(own)
    print(f"{race}, {what}: {spread(ratio)} times; ours {rate:,.1f} {unit}/s", flush=True)
