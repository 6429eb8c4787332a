"""Rehearse a study on this device before you pay for it: seconds and memory, measured.

    python -m bench rehearse --testbed zephyr-7b
    snakemake --cores all rehearse --config testbed=zephyr-7b

Two steps of every phase of every method, each job in a process of its own, by the study's own code
and settings, on random weights of the declared shape and texts of the declared lengths. Needs no
hub and no file of the study, and writes nothing but its log. Beside what was measured stands what
`estimate` says of the device.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from bench.core import disk
from bench.core.files import read_json
from bench.core.progress import say
from bench.core.schema import UserError
from bench.core.warm import TRAINING
from bench.estimate import lengths, memory, shapes, workload
from bench.estimate.devices import DEVICES, Device, choose
from bench.estimate.memory import GB
from bench.steps import _rehearsal, _rehearsed_jobs, estimate, runner
from bench.steps.estimate import Row, duration, number

COLUMNS = (
    *("step or arm", "runs", "GB", "estimate", "times", "s each"),
    *("time a run", "estimate", "ratio"),
)
EMPTY = {"seconds": {}, "load": 0.0, "peak": 0.0, "cores": 1}
BUG = "it failed, see the error above"
OTHER = "it has a model of its own: rehearse the study with those settings of `model`"
STOPPED = "it was not reached before the rehearsal was stopped"
OVER = "it ended before it could say why, which mostly means that it was out of memory"
NOTES = [
    "GB: peak memory on the longest texts, with the models that only measure. s each: on texts of",
    f"usual length, mean of {_rehearsal.STEPS} steps after one that is not counted. No sample ends",
    "before decode.max_new_tokens (on a CPU, in PPO's timed steps, the usual length), so sampling",
    "takes less where policies stop earlier. Not counted, here and in the estimate beside it:",
    "starting processes, saving, gold that is no model. On a CPU, seconds are CPU time divided by",
    "the job's threads: what other work beside it takes does not count.",
]


@dataclass(frozen=True)
class Result:
    """What one row of the estimate took when rehearsed.

    seconds: {what: seconds each}, of what ``Job.times`` counts or of phases of a step; load:
    seconds of loading models; peak: bytes; cores: of a CPU, 1 with a GPU; problem: why there are no
    figures, else ""; oom: whether that is for lack of memory.
    """

    row: Row
    seconds: dict[str, float]
    load: float = 0.0
    peak: float = 0.0
    cores: int = 1
    problem: str = ""
    oom: bool = False

    def times(self, what: str) -> float:
        """Return how often a job of the study does something."""
        return self.row.job.times.get(what, self.row.job.times.get("step", 0))

    @property
    def total(self) -> float:
        """Return the seconds of one job of the study."""
        return self.load + sum(s * self.times(what) for what, s in self.seconds.items())

    @property
    def estimated(self) -> float:
        """Return what the estimate says of the same, without the start of a process."""
        return self.row.seconds - estimate.START_S

    @property
    def hours(self) -> float:
        """Return the device-hours of all jobs of the row."""
        return self.row.runs * self.total * self.cores * estimate.processes(self.row) / 3600


# --- the children ---------------------------------------------------------------------------------


class Children:
    """Starts each job in a process of its own, forked from one that has imported the libraries.

    A child can run out of memory, or be killed for it, without harm to the others.
    """

    def __init__(self, cfg, folder: Path):
        os.environ["TQDM_DISABLE"] = "1"  # before the imports, which read it
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(list(TRAINING))
        shape, tied, _ = shapes.of_policy(cfg)
        self.common = cfg.source, cfg.overrides, folder, lengths.lengths(cfg), shape, tied
        self.model, self.done = cfg.model, {}

    def run(self, kind: str, *own) -> dict:
        """Rehearse a job; return what its process wrote. own: further fields of ``Task``."""
        task = _rehearsal.Task(*self.common, kind, *own)
        out = task.folder / "found.json"
        child = self.context.Process(target=_rehearsed_jobs.rehearse, args=(task, out), daemon=True)
        child.start()
        try:
            child.join()
        finally:
            child.kill()  # if this process was stopped
        found = read_json(out) or {"failed": OVER if child.exitcode < 0 else BUG}
        out.unlink(missing_ok=True)
        return found

    def build(self) -> dict:
        """Write what stands in for the study's models; return the device.

        Raises UserError if that fails.
        """
        say("rehearse", "random weights")
        found = self.run("build")
        if "gpu" not in found:
            problem = found.get("failed") or found["oom"]
            raise UserError(f"no model of this shape could be made: {problem}")
        return found

    def rehearse(self, row: Row) -> Result:
        """Rehearse a row of the estimate; rows whose steps are alike share one rehearsal."""
        job, key = row.job, alike(row)
        if row.model != self.model:
            return Result(row, **EMPTY, problem=OTHER)
        if key not in self.done:
            of = getattr(job.of, "name", job.of)
            rows = job.case.rows if job.case else None
            say("rehearse", row.name)
            self.done[key] = self.run(job.kind, job.times, of, rows, estimate.processes(job))
        found = self.done[key]
        problem = found.get("failed") or found.get("oom", "")
        return Result(row, *(found.get(k, v) for k, v in EMPTY.items()), problem, "oom" in found)


def alike(row: Row) -> str:
    """Return what rows have in common whose steps do the same work.

    Numbers with a fraction (rates, strengths) count only as zero or not; lengths do not count.
    """
    job = row.job
    if job.kind == "evaluation" or job.case is None:
        return f"{job.kind} {job.name} {job.of is None} {list(job.times)}"
    own = job.of.settings.model_dump() if hasattr(job.of, "settings") else {}
    own = {k: bool(v) if isinstance(v, float) else v for k, v in own.items()}
    lengths = dict.fromkeys(("epochs", "warmup"))
    return f"{job.kind} {job.case} {own | lengths}"


# --- what is printed ------------------------------------------------------------------------------


def rehearsed(cfg) -> tuple[list[Result], Device, str]:
    """Rehearse every job of the study; return what each took, the device, and its name."""
    with tempfile.TemporaryDirectory(prefix="prefbench-rehearsal-") as folder:
        children = Children(cfg, Path(folder))
        built = children.build()
        device = device_of(built)
        rows, _ = estimate.estimate(cfg, device)
        results = list(until_stopped(children.rehearse, rows))
    return results, device, built["gpu"] or device.name


def until_stopped(rehearse: Callable[[Row], Result], rows: list[Row]) -> Iterator[Result]:
    """Yield the result of each row; from an interrupt on, that the row was not reached."""
    stopped = False
    for row in rows:
        try:
            result = None if stopped else rehearse(row)
        except KeyboardInterrupt:
            result, stopped = None, True
        yield result or Result(row, **EMPTY, problem=STOPPED)


def report(cfg, results: list[Result], device: Device, name: str) -> str:
    """Return what a rehearsal took as text; name: the driver's, of the device."""
    head = [f"Rehearsal: study {cfg.study} of {cfg.testbed} on {name}, beside the estimate for it"]
    head += [f"Shape: {shapes.of_policy(cfg)[2]}", f"Lengths: {lengths.lengths(cfg).source}"]
    body = [table(results, device), summary(results, device), warnings(cfg, results, device)]
    return "\n\n".join("\n".join(part) for part in [head, *body, NOTES] if part)


def device_of(built: dict) -> Device:
    """Return what the estimate knows of the device; built: as from ``Children.build``."""
    if not built["gpu"]:
        return DEVICES["cpu"]
    return replace(choose(None, True)[0], memory=built["there"] / GB)


def table(results: list[Result], device: Device) -> list[str]:
    """Return a line for each job, and below it one for each of its phases if there are several."""
    lines = [(*COLUMNS, f"{estimate.unit(device)}-hours")]
    for result in results:
        phases = [phase(result, what) for what in result.seconds]
        lines.append(whole(result, phases[0][4:6] if len(phases) == 1 else ("", "")))
        lines += phases if len(phases) > 1 else []
    return estimate.aligned([line + ("",) * (len(lines[0]) - len(line)) for line in lines])


def whole(result: Result, single: tuple[str, str]) -> tuple[str, ...]:
    """Return the cells of a job; single: those of its only phase."""
    row, memory_ = result.row, (number(result.peak / GB), number(result.row.needed))
    if result.problem:
        return row.name, str(row.runs), "–", memory_[1]
    times = duration(result.total), duration(result.estimated)
    ratio = number(result.total / result.estimated) if result.estimated > 0.05 else "–"
    hours = number(result.hours)
    return row.name, str(row.runs), *memory_, *single, *times, ratio, hours


def phase(result: Result, what: str) -> tuple[str, ...]:
    """Return the cells of a phase."""
    each, times = result.seconds[what], result.times(what)
    name = "curve" if what == "measure" else what
    return f"  {name}", "", "", "", str(round(times)), number(each), duration(each * times)


def summary(results: list[Result], device: Device) -> list[str]:
    """Return a line with the sum over all jobs that could be rehearsed."""
    good = [result for result in results if not result.problem]
    measured = sum(result.hours for result in good)
    said = sum(result.row.hours * result.estimated / result.row.seconds for result in good)
    failed = len(results) - len(good)
    left_out = f", without {failed} that failed" * bool(failed)
    hours = f"about {number(measured)} {estimate.unit(device)}-hours"
    ratio = f"{number(measured / said)} times the estimate" if said else "no estimate"
    return [f"All jobs of the study{left_out}: {hours}, {ratio}"]


def warnings(cfg, results: list[Result], device: Device) -> list[str]:
    """Return lines about what went wrong, and about what was not rehearsed."""
    bad = [result for result in results if result.problem]
    lines = [f"{result.row.name}: {trouble(cfg, result, device)}" for result in bad]
    if cfg.launch.processes > 1:
        share = f"one of {cfg.launch.processes} processes, with its share of each batch"
        lines.append(f"Rehearsed as {share}, without their exchange and without shards")
    return lines + estimate.uncounted(cfg)


def trouble(cfg, result: Result, device: Device) -> str:
    """Say what went wrong in a job and, if it was out of memory, what would fit."""
    row, case = result.row, result.row.case
    if not result.oom:
        return result.problem
    if case is None:
        return f"{result.problem}; {estimate.remedy(cfg, row, device)}"
    section = row.kind if case.head == "rollout" else "model"
    return f"{result.problem}; {memory.advice(case, section, device.memory * GB, failed=True)}"


def check_disk(cfg, where: Path) -> None:
    """Raise UserError unless the models that stand in for the study's fit on the disk."""
    shape, tied, _ = shapes.of_policy(cfg)
    study = workload.Workload(cfg, shape, tied, lengths.lengths(cfg), True)
    scorer = 0 if cfg.model.lora else memory.WIDE * sum(memory.parameters(shape, tied, True))
    need = memory.held(study.bare) + scorer + study.gold.bytes
    disk.check(where, need, "the rehearsal")


def main(argv: list[str] | None = None) -> None:
    args = runner.arguments("rehearse").parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # keep what was measured
    from bench.studies import load

    cfg = load(args.testbed, args.set)
    check_disk(cfg, Path(tempfile.gettempdir()))
    runner.set_threads(cfg.threads.default)
    runner.pin("rehearse", cfg)  # before the children are started, who inherit it
    if args.needs_gpu:
        runner.check_gpu()
    results, *device = rehearsed(cfg)
    print(report(cfg, results, *device))
    if any(result.problem == STOPPED for result in results):
        sys.exit(128 + signal.SIGINT)
