"""Race the suite against stock scripts: core-seconds of one seed of micro, from base to evaluation.

Left out on both sides: texts, pretraining, the drawing of pairs, and the report. The suite's runs
measure training curves, the stock scripts' do not.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.core.files import read_json
from bench.steps.speed.stock import SEED, STAGES

REPOSITORY = Path(__file__).parents[3]
LEFT_OUT = ("data", "base", "contract", "collect", "report")
STUDY = f"seeds=[{SEED}]"


def race(args) -> None:
    """Print the core-seconds of both sides by stage, and by cause."""
    if args.trl112 is None:
        print("suite: not raced, since it needs TRL 1.12: give --trl112 DIR (see --help)")
        return
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        given = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": str(args.threads)}
        one = f"threads={{base: {args.threads}, sft: {args.threads}}}"
        words = ["--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2", "--quiet", "all"]
        run(["-m", "snakemake", *words, "--config", STUDY, one], where, given)
        ours = suite(where / "runs" / "micro")
        theirs = stock(where, given, args.trl112)
    tell(ours, theirs)


def run(words: list[str], where: Path, environment: dict) -> float:
    """Run Python in a folder; returns its core-seconds, of its children too."""
    process = subprocess.Popen([sys.executable, *words], cwd=where, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise subprocess.CalledProcessError(status, words)
    return used.ru_utime + used.ru_stime


@dataclass
class Spent:
    """Core-seconds of a side.

    stages: {stage: all of it}; start: of imports, and of processes that start others, which
    ``stages`` holds unless they belong to no stage; curves: of the training curves.
    """

    stages: dict[str, float]
    start: float
    curves: float = 0.0

    @property
    def total(self) -> float:
        return sum(self.stages.values())


def suite(root: Path) -> Spent:
    """Read the suite's core-seconds from its records."""
    stages: dict[str, float] = {}
    for row in map(read_json, root.glob("ledger/*.json")):
        name = row["arm"] if row["step"] == "align" else row["step"]
        stages[name] = stages.get(name, 0.0) + row["cpu_s"] * (name not in LEFT_OUT)
    for path in root.glob("*/overhead.json"):
        stages["snakemake and imports"] = sum(row["cpu_s"] for row in json.loads(path.read_text()))
    places = ("sft", "pairs", "reference/*", "reward/*/*", "align/*/*", "evaluate/*/*")
    names = ("step.json", "run.json", "eval.json")
    records = [
        read_json(path) for place in places for n in names for path in root.glob(f"{place}/{n}")
    ]
    phases = [row for record in records for row in record["cost"]]
    start = stages["snakemake and imports"] + booked(phases, "start")
    return Spent(stages, start, booked(phases, "curve"))


def booked(phases: list[dict], name: str) -> float:
    """Sum the core-seconds of a phase."""
    return sum(row["cpu_s"] for row in phases if row["phase"] == name)


def stock(where: Path, environment: dict, trl112: str) -> Spent:
    """Run the stock scripts; returns their core-seconds."""
    out, found = where / "stock", Spent({}, 0.0)
    out.mkdir()
    for stage in STAGES:
        words = ["-m", "bench.steps.speed.stock", stage, str(out), str(trl112)]
        name = stage.removeprefix("align-").split("-")[0]
        spent = run(words, where, environment)
        found.stages[name] = found.stages.get(name, 0.0) + spent
        found.start += read_json(out / f"{stage}.json")["start"]
    return found


def tell(ours: Spent, theirs: Spent) -> None:
    """Print both sides' core-seconds by stage and by cause."""
    print(f"{'core-seconds':24}{'stock':>8}{'suite':>8}")
    for name in [*theirs.stages, *(name for name in ours.stages if name not in theirs.stages)]:
        if ours.stages.get(name, 1):
            print(line(name, theirs.stages.get(name, 0.0), ours.stages.get(name, 0.0)))
    print(line("all", theirs.total, ours.total))
    print(line("of it starting", theirs.start, ours.start))
    print(line("of it curves", theirs.curves, ours.curves))
    print(f"suite against stock scripts: {theirs.total / ours.total:.2f} times", flush=True)


def line(name: str, theirs: float, ours: float) -> str:
    return f"{name:24}{theirs:8.1f}{ours:8.1f}"
