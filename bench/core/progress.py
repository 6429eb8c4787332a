"""Print lines for the user, and the progress of a long loop. Imports nothing heavy."""

import sys
import time

from bench.core import processes

QUIET_S = 10.0  # seconds between two progress lines of a process


def say(head: str, message: str) -> None:
    """Print one line, "[head] message", to stderr; only the main process does."""
    if processes.is_main():
        print(f"[{head}] {message}", file=sys.stderr, flush=True)


class Progress:
    """Shows the progress of a long loop: a bar on a terminal, else a line about every 10 s.

    with Progress("dpo seed 1", total=94, unit="step") as progress:
        progress.update(1, loss=0.61)
    """

    _spoke = time.monotonic()  # shared by all bars of the process: at most one line in QUIET_S

    def __init__(self, head: str, total: int | None, unit: str = "step"):
        self.head, self.total, self.unit = head, total, unit
        self.done, self.start, self.bar = 0, time.monotonic(), None
        if sys.stderr.isatty() and processes.is_main():
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc=head, unit=unit, leave=False, disable=False)

    def update(self, n: int = 1, **metrics: float) -> None:
        """Count `n` more as done, and show the metrics beside the count."""
        self.done += n
        if self.bar is not None:
            self.bar.set_postfix({key: f"{value:.3g}" for key, value in metrics.items()}, False)
            self.bar.update(n)
        elif time.monotonic() - Progress._spoke >= QUIET_S:
            Progress._spoke = time.monotonic()
            say(self.head, self.line(metrics))

    def line(self, metrics: dict[str, float]) -> str:
        """Return a line such as '40/94 step, 2.3/s, 23 s left, loss 0.612'."""
        rate = self.done / max(time.monotonic() - self.start, 1e-9)
        parts = [f"{self.done}/{self.total or '?'} {self.unit}", f"{rate:.3g}/s"]
        if self.total:
            parts.append(f"{(self.total - self.done) / max(rate, 1e-9):.0f} s left")
        return ", ".join(parts + [f"{key} {value:.3g}" for key, value in metrics.items()])

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
