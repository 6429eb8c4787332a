"""Random edits that the plan accepts run to the end, on the smallest testbed.

PREFBENCH_RUNS=100 runs as many; without it one. Settings that ask for more than a few core-minutes
are left out, by `estimate`.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import yaml
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from bench.core.schema import UserError
from bench.estimate.devices import DEVICES
from bench.settings.overrides import flow, leaves
from bench.steps.estimate import estimate
from bench.studies import load

REPO = Path(__file__).parents[2]
RUNS = int(os.environ.get("PREFBENCH_RUNS", "1"))
LIMIT_H = 0.05  # core-hours, by the estimate
LIMIT_S = 900
FIXED = ("testbed", "study", "studies", "seeds", "jobs", "launch", "threads", "track", "methods")
KNOWN = [
    (key, value)
    for key, value in leaves(load("tiny")._declared)
    if key.partition(".")[0] not in FIXED
]


def near(value, luck: random.Random):
    """Another value of the kind of a setting's."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return luck.choice((1, 2, 3, value + 1, 2 * value, max(1, value // 2)))
    if isinstance(value, float):
        return luck.choice((0.0, 1.0, value / 3, value * 3, value * 30))
    if isinstance(value, list):
        return luck.choice((value[:1], value[1:], value[::-1], []))
    return luck.choice((None, value, "gold", "dpo"))


def is_small(items: list[str]) -> bool:
    """True if a plan accepts edits of `tiny`, and what they ask for takes minutes."""
    try:
        rows, _ = estimate(load("tiny", items), DEVICES["cpu"])
    except UserError:
        return False
    return sum(row.hours for row in rows) < LIMIT_H


@st.composite
def accepted(draw) -> dict:
    """A testbed of one to three edits of `tiny`."""
    luck = draw(st.randoms(use_true_random=False))
    edits = [(key, near(value, luck)) for key, value in luck.sample(KNOWN, luck.randint(1, 3))]
    assume(is_small(["seeds=[1]", *(f"{key}={flow(value)}" for key, value in edits)]))
    bed = {"extends": "tiny", "seeds": [1]}
    for key, value in edits:
        *path, last = key.split(".")
        place = bed
        for name in path:
            place = place.setdefault(name, {})
        place[last] = value
    return bed


@given(accepted())
@settings(
    max_examples=RUNS, deadline=None, derandomize="PREFBENCH_RUNS" not in os.environ,
    suppress_health_check=list(HealthCheck), phases=[Phase.generate],
)  # fmt: skip
def test_what_a_plan_accepts_runs_to_the_end(tmp_path_factory, bed):
    where = tmp_path_factory.mktemp("accepted")
    (where / "own.yaml").write_text(yaml.safe_dump(bed, sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "-s", str(REPO / "Snakefile"), "--cores", "2"]
    command += ["--config", "testbed=own.yaml"]
    env = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(
        command, cwd=where, env=env, capture_output=True, text=True, timeout=LIMIT_S
    )
    print(bed, done.returncode, flush=True)
    assert done.returncode == 0, f"{bed}: {(done.stdout + done.stderr)[-3000:]}"
