"""Record what a step costs by phase, its peak memory, its machine and its library versions."""

import platform
import threading
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from bench.core import processes, warm
from bench.training.energy import counter

LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "lm-eval", "numpy", "pandas")
MIB = 2**20


class Ledger:
    """Books what a process spends, by phase. Phases nest: an inner one pauses the outer one.

    Each process books its own cost; ``table`` and ``totals`` sum over the processes that train
    together (``bench.core.processes``).

    A row holds wall_s; cpu_s (unlike wall seconds, hardly affected by other jobs on the machine);
    tokens passed through models; generated: tokens sampled; flops (``bench.models.flops``);
    joules (``bench.training.energy``), None where they cannot be read. Two rows are charged to no
    method, so that the rows add up to the whole process: ``start``, before the ledger was made, and
    ``other``, outside any phase.
    """

    COUNTS = ("tokens", "generated", "flops")
    COLUMNS = ("wall_s", "cpu_s", *COUNTS, "joules")

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
        """Book what was spent since the last call to the innermost phase."""
        now = self._now()
        row = self.rows[self._stack[-1]] if self._stack else self._row("other", charged=False)
        for key, value in now.items():
            row[key] = plus(row[key], None if value is None else value - self._mark[key])
        self._mark = now

    @contextmanager
    def phase(self, name: str, charged: bool = True):
        """Book the work inside to phase ``name``; charged: whether it is a cost of the method."""
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
        """Add tokens read, tokens sampled and FLOPs to the innermost phase."""
        row = self.rows[self._stack[-1]]
        row["tokens"] += int(tokens)
        row["generated"] += int(generated)
        row["flops"] += float(flops)
        if self.energy:
            self.energy.joules()  # read often: the counter may wrap to 0

    def unknown(self, name: str) -> None:
        """Book a phase whose cost nobody knows, so that no sum over a run's phases is known."""
        self._row(name, charged=True).update(wall_s=None, cpu_s=None, flops=None, joules=None)

    def table(self) -> list[dict]:
        """Return the rows, summed over the processes, all of which must call this."""
        self._flush()
        if not processes.is_main() and self.energy and self.energy.SHARED:
            for row in self.rows.values():
                row["joules"] = 0.0  # the main process has booked the same counter
        tables = processes.gathered([dict(row) for row in self.rows.values()])
        return [total(rows) for rows in zip(*tables, strict=True)]

    def totals(self, *keys: str) -> dict[str, float]:
        """Return {key: sum over the charged phases so far}; all processes must call this."""
        rows = [row for row in self.table() if row["charged"]]
        return {key: sum(row[key] for row in rows) for key in keys or ("wall_s", "cpu_s", "flops")}

    def restore(self, rows: list[dict]) -> None:
        """Add the cost of an interrupted attempt, from the rows that its checkpoint recorded.

        What this attempt has done so far, it has done again: its seconds count, its FLOPs once.
        """
        for row in rows:
            mine = self._row(row["phase"], row["charged"])
            if processes.is_main():  # the rows are sums over all processes: count them once
                known = {key: max(mine[key], row[key]) for key in self.COUNTS}
                mine.update({key: plus(mine[key], row[key]) for key in self.COLUMNS} | known)


def total(rows: tuple[dict, ...]) -> dict:
    """Sum a phase's rows over the processes."""
    sums = dict(rows[0])
    for row in rows[1:]:
        sums |= {key: plus(sums[key], row[key]) for key in Ledger.COLUMNS}
    return sums


def plus(a: float | None, b: float | None) -> float | None:
    """Return a + b, or None if either is unknown."""
    return None if a is None or b is None else a + b


def since_start() -> dict[str, float]:
    """Return the wall and CPU seconds since this process was started, its caller's CPU included."""
    import psutil

    wall = time.time() - psutil.Process().create_time()
    return {"wall_s": max(0.0, wall), "cpu_s": warm.cpu_seconds()}


class MemoryMeter(threading.Thread):
    """Measures the peak memory of the charged phases, in a thread.

    With CUDA: what its allocator allocated and reserved. Without: ``resident_bytes`` above what it
    was when the meter started, read every ``interval`` seconds.

    watched_bytes: memory of models that only measure the training (SFT base, gold). The caller sets
    it; it is subtracted, since it is no cost of the training.
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
        """Sample the resident memory while a charged phase runs (without CUDA)."""
        while True:
            if self.watching:
                self._fold()
            time.sleep(self.interval)

    def watch(self, charged: bool) -> None:
        """Start or stop measuring, as a phase begins that is ``charged`` or not."""
        import torch

        if self.watching:
            self._fold()
        elif charged and self.cuda:
            torch.cuda.reset_peak_memory_stats()  # CUDA itself keeps the peak since a reset
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
        """Return ``peak_mb`` and ``peak_reserved_mb`` in MiB, the latter None without CUDA.

        Each is the largest value of any process; all processes must read this.
        """
        if self.watching:
            self._fold()
        all_ = processes.gathered((self.peak, self.reserved))
        peak, reserved = (max(x) for x in zip(*all_, strict=True))
        return {"peak_mb": peak / MIB, "peak_reserved_mb": reserved / MIB if self.cuda else None}


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes, without pages of files where the system
    tells them apart (Linux): how much of the libraries' code is resident says nothing of a run."""
    import psutil

    found = psutil.Process().memory_info()
    return found.rss - getattr(found, "shared", 0)


def machine() -> dict[str, str | int]:
    """Name the hardware: CPU, cores, GPU, system, and the processes if there are several."""
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
    """Return the versions of Python and of the libraries that results depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
