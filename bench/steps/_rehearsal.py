"""What rehearsed jobs share: their texts, their clock, and the folder in place of the study's."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.core.layout import Layout
from bench.core.progress import Progress
from bench.estimate import lengths, stand_ins
from bench.models.flops import Shape

STEPS = 2  # that are timed, after one that is not
PASSES = ((True, 1), (False, 1 + STEPS))  # (on the longest texts?, steps): for memory, for time
MIB = 2**20


@dataclass(frozen=True)
class Task:
    """One job to rehearse, in words that another process understands.

    folder: of all files of the rehearsal; found: lengths of texts; shape, tied: of the policy, as
    ``shapes.of_policy`` has them; kind, times: as of ``workload.Job``, or "build"; of: name of the
    arm, or the label set; rows, processes: of a training: rows in a forward pass, and by how many
    the study shares it.
    """

    testbed: str
    overrides: tuple[str, ...]
    folder: Path
    found: lengths.Lengths
    shape: Shape
    tied: bool
    kind: str = ""
    times: dict[str, float] = field(default_factory=dict)
    of: str | None = None
    rows: int | None = None
    processes: int = 1


class Aside(Layout):
    """The layout of a testbed under another folder, by plain names."""

    def __init__(self, cfg, folder: Path):
        super().__init__(cfg, None)
        self.folder = folder

    @property
    def root(self) -> Path:
        return self.folder

    def key(self, kind: str) -> str:
        return ""


class Rehearsal:
    """What all kinds of jobs share: the settings, made-up texts, the ledger.

    real: the settings as they are; cfg: with stand-ins for data and paths; loaded: seconds in which
    a method itself has loaded models.
    """

    def __init__(self, task: Task):
        from bench.studies import load
        from bench.training.ledger import Ledger

        self.real = load(task.testbed, task.overrides)
        own = {"data": SimpleNamespace(kind="hub"), "layout": Aside(self.real, task.folder)}
        self.task, self.cfg, self.ledger = task, self.real.model_copy(update=own), Ledger()
        self.root, self.loaded = task.folder / "checkpoints", 0.0

    def texts(self, n: int, longest: bool, split="train") -> list[dict]:
        """Return ``n`` rows, of the longest or of the usual lengths."""
        found = self.task.found
        usual = found.demonstrations if self.task.kind == "SFT base" else found.pairs
        sizes = [(found.prompt, found.answer)] if longest else usual
        return stand_ins.texts(sizes, n, self.task.shape.vocabulary, split)

    def cut(self, settings, steps: int):
        """Return the settings of a training cut to some steps, and to one process's share."""
        own = {"steps": steps, "epochs": 1} | {
            key: max(1, getattr(settings, key, 1) // self.task.processes)
            for key in ("batch", "minibatch")
        }
        return settings.model_copy(
            update={k: v for k, v in own.items() if k in type(settings).model_fields}
        )

    def fitted(self, settings, model, tokenizer, rows: Callable, make: Callable, head: str):
        """Train a model as a step does; return the seconds of each phase of a step.

        rows: of (number, whether the longest); make: trainer of (training, rows); head: as in
        ``bench.training.trainer.fit``.
        """
        from bench.training import trainer

        for longest, steps in PASSES:
            own, watch = self.cut(settings, steps), stopwatch(self, self.ledger)
            parts = self.task.kind, model, tokenizer, own, 0, self.root, watch, self.ledger
            todo = trainer.Training(*parts, self.task.rows)
            trainer.fit(make(todo, rows(steps * own.batch, longest)), todo, head)
            tidy()
        return watch.seconds()

    def timed(self, name: str, batch: int, work: Callable[[list[dict]], Any]) -> float:
        """Work on a batch of the longest texts, for its memory, then on one of usual texts.

        Returns the seconds of each text of the second; the first also pays for what a process pays
        once, which is seconds on a GPU.
        """
        n = int(min(batch, self.task.times[name]))
        for longest, phase in ((True, "first"), (False, name)):
            rows = self.texts(n, longest)
            tidy()
            with self.ledger.phase(phase):
                work(rows)
        return self.seconds(self.ledger.rows[name]) / n

    @property
    def cores(self) -> int:
        """Return how many cores of a CPU the job computes with, 1 with a GPU."""
        return 1 if self.ledger.memory.cuda else threads(self.cfg, self.task.kind)

    def seconds(self, row: dict) -> float:
        """Return the seconds in a row of the ledger.

        On a CPU they are CPU seconds over the cores, which other jobs hardly affect.
        """
        return row["wall_s"] if self.ledger.memory.cuda else row["cpu_s"] / self.cores


def stopwatch(rehearsal: Rehearsal, ledger, measure=None, last: Callable | None = None):
    """Make a monitor without a curve, which notes what each step took.

    last: function of the policy to call after the last step, while all that trains is in memory.
    """
    from bench.training.monitor import Monitor

    class Stopwatch(Monitor):
        def step(self, step: int, metrics: dict[str, float], policy) -> bool:
            due = super().step(step, metrics, policy)
            self.marks.append({row["phase"]: rehearsal.seconds(row) for row in self.ledger.table()})
            if last and step == self.total:
                last(policy)
            return due

        def seconds(self) -> dict[str, float]:
            """Return the seconds a step of each phase, over the steps that are timed."""
            start, end = self.marks[0], self.marks[STEPS]
            spent = {name: (end[name] - start.get(name, 0.0)) / STEPS for name in end}
            return {name: s for name, s in spent.items() if s > 0 and name != "other"}

    found = Stopwatch(measure, (), (), ledger, Progress(rehearsal.task.kind, None), rehearsal.root)
    found.marks = []
    return found


def tidy() -> None:
    """Give memory back, which trainers hold in cycles."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def threads(cfg, kind: str) -> int:
    """Return the threads of a job, as its step has them."""
    return {"base": cfg.threads.base, "SFT base": cfg.threads.sft}.get(kind, cfg.threads.default)


def costs(rehearsal: Rehearsal) -> dict[str, float]:
    """Return the seconds of loading models, the bytes at the peak, the cores of a CPU."""
    rows = rehearsal.ledger.rows
    load = rehearsal.loaded + (rehearsal.seconds(rows["load"]) if "load" in rows else 0.0)
    peak = rehearsal.ledger.memory.peaks["peak_mb"] * MIB
    return {"load": load, "peak": peak, "cores": rehearsal.cores}
