"""Race the suite against stock scripts: core-seconds of micro, from its base to its evaluations.

Left out on both sides: texts, pretraining, and the report. The suite's runs measure training
curves, the stock scripts' do not.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bench.core.files import read_json
from bench.steps.speed.racing import spread
from bench.steps.speed.stock import EACH, ONCE
from bench.studies import load

REPOSITORY = Path(__file__).parents[3]
LEFT_OUT = ("data", "base", "contract", "collect", "report")
PROCESSES = 2  # at a time, on both sides


def race(args) -> None:
    """Print the core-seconds of both sides by stage and by cause, and the ratio of each seed's."""
    if args.trl112 is None:
        print("suite: not raced, since it needs TRL 1.12: give --trl112 DIR (see --help)")
        return
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        given = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": str(args.threads)}
        seeds = list(load("micro").seeds[: args.seeds])
        study = [f"seeds={seeds}", f"threads={{base: {args.threads}, sft: {args.threads}}}"]
        words = ["--snakefile", str(REPOSITORY / "Snakefile"), "--quiet", "all"]
        words += ["--cores", str(PROCESSES), "--config", *study]
        run(["-m", "snakemake", *words], where, given)
        ours = suite(where / "runs" / "micro")
        theirs = stock(where, given, args.trl112, seeds)
    tell(ours, theirs)


def run(words: list[str], where: Path, environment: dict) -> float:
    """Run Python in a folder; return its core-seconds, of its children too."""
    quiet = {"stdout": subprocess.DEVNULL}  # TRL's PPO prints a line for each update
    process = subprocess.Popen([sys.executable, *words], cwd=where, env=environment, **quiet)
    _, status, used = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise subprocess.CalledProcessError(status, words)
    return used.ru_utime + used.ru_stime


@dataclass
class Spent:
    """Core-seconds of a side.

    stages: {stage: all of it}; seeds: {seed: of its stages}; start: of imports, and of processes
    that start others, which ``stages`` holds too; curves: of the training curves.
    """

    stages: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    seeds: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    start: float = 0.0
    curves: float = 0.0

    @property
    def total(self) -> float:
        return sum(self.stages.values())

    def add(self, stage: str, seed: int | None, seconds: float) -> None:
        """Book a stage; seed: None if all seeds share its result."""
        self.stages[stage] += seconds
        if seed is not None:
            self.seeds[seed] += seconds


def suite(root: Path) -> Spent:
    """Read the suite's core-seconds from its records."""
    found = Spent()
    for path in root.glob("ledger/*.json"):
        row, seed = read_json(path), re.search(r"-seed([1-9]\d*)$", path.stem)
        if row["step"] not in LEFT_OUT:
            stage = row["arm"] if row["step"] == "align" else row["step"]
            found.add(stage, int(seed[1]) if seed else None, row["cpu_s"])
    for path in root.rglob("overhead.json"):
        for row in json.loads(path.read_text()):
            found.add("snakemake and imports", None, row["cpu_s"])
    places = ("sft", "pairs", "reference/*", "reward/*/*", "align/*/*", "evaluate/*/*")
    names = ("step.json", "run.json", "eval.json")
    records = [
        read_json(path) for place in places for n in names for path in root.glob(f"{place}/{n}")
    ]
    phases = [row for record in records for row in record["cost"]]
    found.start = found.stages["snakemake and imports"] + booked(phases, "start")
    found.curves = booked(phases, "curve")
    return found


def booked(phases: list[dict], name: str) -> float:
    """Sum the core-seconds of a phase."""
    return sum(row["cpu_s"] for row in phases if row["phase"] == name)


def stock(where: Path, environment: dict, trl112: str, seeds: list[int]) -> Spent:
    """Run the stock scripts; returns their core-seconds."""
    found = Spent()

    def run_all(stages: tuple[str, ...], seed: int | None) -> None:
        out = where / "stock" / f"seed{seed}"
        out.mkdir(parents=True)
        for stage in stages:
            words = ["-m", "bench.steps.speed.stock", stage, str(seed or 1), str(out), str(trl112)]
            name = stage.removeprefix("align-").split("-")[0]
            found.add(name, seed, run(words, where, environment))
            found.start += read_json(out / f"{stage}.json")["start"]

    run_all(ONCE, None)
    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(lambda seed: run_all(EACH, seed), seeds))
    return found


def tell(ours: Spent, theirs: Spent) -> None:
    """Print both sides' core-seconds by stage and by cause, and their ratios."""
    print(f"{'core-seconds':24}{'stock':>8}{'suite':>8}")
    for name in dict.fromkeys([*theirs.stages, *ours.stages]):
        print(line(name, theirs.stages.get(name, 0.0), ours.stages.get(name, 0.0)))
    print(line("all", theirs.total, ours.total))
    print(line("of it starting", theirs.start, ours.start))
    print(line("of it curves", theirs.curves, ours.curves))
    each = [theirs.seeds[seed] / ours.seeds[seed] for seed in ours.seeds]
    print(f"suite against stock scripts, a seed's own stages: {spread(each)} times")
    print(f"suite against stock scripts, all: {theirs.total / ours.total:.2f} times", flush=True)


def line(name: str, theirs: float, ours: float) -> str:
    return f"{name:24}{theirs:8.1f}{ours:8.1f}"
