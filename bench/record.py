"""What a step records about itself: cost by phase, peak memory, machine, versions."""

import platform
import threading
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "lm-eval", "numpy", "pandas")
MIB = 2**20


class Ledger:
    """Seconds by phase. Phases nest: entering one stops the clock of the one around it.

    Wall seconds depend on the neighbours; CPU-seconds of this process do not (much).
    """

    def __init__(self):
        self.rows: dict[str, dict] = {}
        self._stack: list[str] = []
        self._mark = self._now()
        self.memory = MemoryMeter()

    @staticmethod
    def _now() -> tuple[float, float]:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    def _flush(self) -> None:
        """Books the time since the last mark to the innermost phase."""
        now = self._now()
        if self._stack:
            row = self.rows[self._stack[-1]]
            row["wall_s"] += now[0] - self._mark[0]
            row["cpu_s"] += now[1] - self._mark[1]
        self._mark = now

    @contextmanager
    def phase(self, name: str, charged: bool = True):
        self._flush()
        self.rows.setdefault(
            name, {"phase": name, "charged": charged, "wall_s": 0.0, "cpu_s": 0.0, "tokens": 0}
        )
        self._stack.append(name)
        self.memory.watching = charged
        try:
            yield self
        finally:
            self._flush()
            self._stack.pop()
            self.memory.watching = bool(self._stack) and self.rows[self._stack[-1]]["charged"]

    def tokens(self, n: int) -> None:
        """Adds ``n`` tokens to the innermost phase."""
        self.rows[self._stack[-1]]["tokens"] += int(n)

    def table(self) -> list[dict]:
        self._flush()
        return [dict(row) for row in self.rows.values()]

    def restore(self, rows: list[dict]) -> None:
        """Adds the cost of an earlier, interrupted attempt, as its checkpoint recorded it."""
        for row in rows:
            mine = self.rows.setdefault(
                row["phase"], row | {"wall_s": 0.0, "cpu_s": 0.0, "tokens": 0}
            )
            for key in ("wall_s", "cpu_s", "tokens"):
                mine[key] += row[key]


class MemoryMeter(threading.Thread):
    """Peak memory of the charged phases, in MiB: of the GPU's allocator where there is one, else
    the process's resident memory above what it had when the meter started."""

    def __init__(self, interval: float = 0.1):
        import torch

        super().__init__(daemon=True)
        self.cuda = torch.cuda.is_available()
        self.interval, self.watching, self.peak = interval, False, 0
        self.idle = 0 if self.cuda else resident_bytes()
        self.start()

    def run(self) -> None:
        while True:
            if self.watching:
                self.peak = max(self.peak, self._used() - self.idle)
            time.sleep(self.interval)

    def _used(self) -> int:
        import torch

        return torch.cuda.max_memory_allocated() if self.cuda else resident_bytes()

    @property
    def peak_mb(self) -> float:
        return self.peak / MIB


def resident_bytes() -> int:
    import psutil

    return psutil.Process().memory_info().rss


def machine() -> dict[str, str | int]:
    """The hardware this ran on."""
    import os

    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"cpu": _cpu_name(), "cores": os.cpu_count(), "gpu": gpu, "system": platform.system()}


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
