"""What a step records about itself: cost by phase, peak memory, machine, versions."""

import platform
import threading
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from bench.core import processes
from bench.training.energy import counter

LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "lm-eval", "numpy", "pandas")
MIB = 2**20


class Ledger:
    """What was spent, by phase. Phases nest: entering one stops the one around it.

    Each process books its own; ``table`` and ``totals`` are sums over those of
    ``bench.core.processes``.

    A row: wall_s, cpu_s (wall seconds depend on the neighbours, CPU-seconds of this process do not
    much); tokens passed through models; generated: tokens sampled; flops (``bench.models.flops``);
    joules (``bench.training.energy``), None where they cannot be read. What is not charged to a
    method is also here, so that the rows add up to the process: ``start``, before this was made,
    and ``other``, outside any phase.
    """

    COLUMNS = ("wall_s", "cpu_s", "tokens", "generated", "flops", "joules")

    def __init__(self):
        self.rows: dict[str, dict] = {}
        self._stack: list[str] = []
        self.energy = counter()
        self.memory = MemoryMeter()
        self._row("start", charged=False).update(since_start(), joules=None)
        self._mark = self._now()

    def _row(self, name: str, charged: bool) -> dict:
        spent = dict.fromkeys(self.COLUMNS, 0) | {"wall_s": 0.0, "cpu_s": 0.0, "flops": 0.0}
        spent["joules"] = 0.0 if self.energy else None
        return self.rows.setdefault(name, {"phase": name, "charged": charged} | spent)

    def _now(self) -> dict[str, float | None]:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        joules = self.energy.joules() if self.energy else None
        return {"wall_s": time.perf_counter(), "cpu_s": time.process_time(), "joules": joules}

    def _flush(self) -> None:
        """Books what was spent since the last mark to the innermost phase."""
        now = self._now()
        row = self.rows[self._stack[-1]] if self._stack else self._row("other", charged=False)
        for key, value in now.items():
            row[key] = plus(row[key], None if value is None else value - self._mark[key])
        self._mark = now

    @contextmanager
    def phase(self, name: str, charged: bool = True):
        self._flush()
        self._row(name, charged)
        self._stack.append(name)
        self.memory.watch(charged)
        try:
            yield self
        finally:
            self._flush()
            self._stack.pop()
            self.memory.watch(bool(self._stack) and self.rows[self._stack[-1]]["charged"])

    def add(self, tokens: float = 0, generated: float = 0, flops: float = 0.0) -> None:
        """Adds work done to the innermost phase."""
        row = self.rows[self._stack[-1]]
        row["tokens"] += int(tokens)
        row["generated"] += int(generated)
        row["flops"] += float(flops)
        if self.energy:
            self.energy.joules()  # of a counter that starts again from 0, a look in time

    def table(self) -> list[dict]:
        """The rows, summed over the processes, all of which must call this."""
        self._flush()
        if not processes.is_main() and self.energy and self.energy.SHARED:
            for row in self.rows.values():
                row["joules"] = 0.0  # the main process reads the same counter
        tables = processes.gathered([dict(row) for row in self.rows.values()])
        return [total(rows) for rows in zip(*tables, strict=True)]

    def totals(self, *keys: str) -> dict[str, float]:
        """Sums over the charged phases up to now."""
        rows = [row for row in self.table() if row["charged"]]
        return {key: sum(row[key] for row in rows) for key in keys or ("wall_s", "cpu_s", "flops")}

    def restore(self, rows: list[dict]) -> None:
        """Adds the cost of an earlier, interrupted attempt, as its checkpoint recorded it."""
        for row in rows:
            mine = self._row(row["phase"], row["charged"])
            if processes.is_main():  # it is the cost of all of them
                mine.update({key: plus(mine[key], row[key]) for key in self.COLUMNS})


def total(rows: tuple[dict, ...]) -> dict:
    """The row of a phase, summed over the processes' rows of it."""
    sums = dict(rows[0])
    for row in rows[1:]:
        sums |= {key: plus(sums[key], row[key]) for key in Ledger.COLUMNS}
    return sums


def plus(a: float | None, b: float | None) -> float | None:
    """The sum, which is unknown where either is."""
    return None if a is None or b is None else a + b


def since_start() -> dict[str, float]:
    """Seconds since this process was started."""
    import psutil

    wall = time.time() - psutil.Process().create_time()
    return {"wall_s": max(0.0, wall), "cpu_s": time.process_time()}


class MemoryMeter(threading.Thread):
    """Peaks of the charged phases, in MiB: allocated and reserved by CUDA's allocator where there
    is one, else the process's resident memory above what it had when the meter started.

    watched_bytes: held by models that only watch the training, which are no cost of it.
    """

    def __init__(self, interval: float = 0.1):
        import torch

        super().__init__(daemon=True)
        self.cuda = torch.cuda.is_available()
        self.interval, self.watching, self.watched_bytes = interval, False, 0
        self.peak = self.reserved = 0
        self.idle = 0 if self.cuda else resident_bytes()
        if not self.cuda:
            self.start()

    def run(self) -> None:
        while True:
            if self.watching:
                self._fold()
            time.sleep(self.interval)

    def watch(self, charged: bool) -> None:
        """A phase is entered; CUDA keeps its peaks itself, from one reset to the next."""
        import torch

        if self.watching:
            self._fold()
        elif charged and self.cuda:
            torch.cuda.reset_peak_memory_stats()
        self.watching = charged

    def _fold(self) -> None:
        import torch

        others = self.idle + self.watched_bytes
        used = torch.cuda.max_memory_allocated() if self.cuda else resident_bytes()
        self.peak = max(self.peak, used - others)
        if self.cuda:
            self.reserved = max(self.reserved, torch.cuda.max_memory_reserved() - others)

    @property
    def peaks(self) -> dict[str, float | None]:
        """MiB: ``peak_mb``, and ``peak_reserved_mb``, which is None without CUDA.

        Of several processes, those of the one that held most.
        """
        if self.watching:
            self._fold()
        all_ = processes.gathered((self.peak, self.reserved))
        peak, reserved = (max(x) for x in zip(*all_, strict=True))
        return {"peak_mb": peak / MIB, "peak_reserved_mb": reserved / MIB if self.cuda else None}


def resident_bytes() -> int:
    import psutil

    return psutil.Process().memory_info().rss


def machine() -> dict[str, str | int]:
    """The hardware this ran on."""
    import os

    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    found = {"cpu": _cpu_name(), "cores": os.cpu_count(), "gpu": gpu, "system": platform.system()}
    return found | ({"processes": processes.count()} if processes.count() > 1 else {})


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
