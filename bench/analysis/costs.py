"""What runs were charged: of the whole pipeline, by phase."""

import pandas as pd

from bench.analysis.results import Meta, Results, once
from bench.core.names import SFT

SHARED = "shared"  # the arm of what all runs share


def seconds(meta: Meta) -> str:
    """The column that cost is counted in: wall time means little where neighbours contend."""
    gpu = str(meta.machine.get("gpu") or "none").lower()
    return "cpu_s" if gpu in ("none", "false") else "wall_s"


def seconds_name(meta: Meta) -> str:
    """What those seconds are called."""
    return "core-seconds" if seconds(meta) == "cpu_s" else "GPU-seconds"


def spending(meta: Meta) -> dict[str, str]:
    """{column of cost: its unit in words} of the two ways to count compute."""
    return {"flops": "FLOPs", seconds(meta): seconds_name(meta)}


def charged(results: Results) -> pd.DataFrame:
    """The rows that a run pays for; not what all share, nor evaluation and curves."""
    cost = results.cost
    return cost[cost.charged.astype(bool) & (cost.arm != SHARED) & (cost.arm != SFT)]


@once
def by_phase(results: Results, column: str) -> pd.DataFrame:
    """What each run was charged by phase: rows arm, method, seed, group, and the column's sum.

    group: the step for what the run needed beforehand, else the phase of training.
    """
    own = charged(results)
    group = own.phase.where(own.step == "align", own.step.replace("reward", "reward model"))
    keys = ["arm", "method", "seed", "group"]
    table = own.assign(group=group)
    return table.groupby(keys, as_index=False, sort=False)[column].agg(total)


def total(values: pd.Series) -> float:
    """The sum, which is unknown (NaN) where any part is."""
    return values.astype(float).sum(skipna=False)


def spent(results: Results, columns) -> pd.DataFrame:
    """By run, what it was charged in all, in each of the columns."""
    return charged(results).groupby(["arm", "seed"], as_index=False)[list(columns)].agg(total)


def of_arm(results: Results, arm: str, column: str) -> pd.Series:
    """What an arm's runs that ended were charged, by seed; empty where that is unknown."""
    rows = spent(results, [column]).merge(results.ended())
    return rows[rows.arm == arm].set_index("seed")[column].dropna()
