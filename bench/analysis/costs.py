"""Add up what runs are charged, over the whole pipeline and by phase."""

import pandas as pd

from bench.analysis.results import Meta, Results, once
from bench.core.names import SFT

SHARED = "shared"  # the arm of the steps that all runs share


def seconds(meta: Meta) -> str:
    """Return the column that cost is counted in: CPU time, or wall time on a GPU.

    Wall time on a CPU depends on what else the machine runs.
    """
    gpu = str(meta.machine.get("gpu") or "none").lower()
    return "cpu_s" if gpu in ("none", "false") else "wall_s"


def seconds_name(meta: Meta) -> str:
    """Return the unit of those seconds, in words."""
    return "core-seconds" if seconds(meta) == "cpu_s" else "GPU-seconds"


def spending(meta: Meta) -> dict[str, str]:
    """Return {column of cost: its unit in words} of the ways to count compute that compare.

    Seconds do not where runs shared a GPU.
    """
    return {"flops": "FLOPs"} | ({seconds(meta): seconds_name(meta)} if timed(meta) else {})


def timed(meta: Meta) -> bool:
    """Return True if seconds compare: no run shared a GPU with others."""
    return not any(breach["field"] == "gpu_slots" for breach in meta.breaches)


def charged(results: Results) -> pd.DataFrame:
    """Return the rows that runs are charged for: no shared steps, evaluations or curves."""
    cost = results.cost
    return cost[cost.charged.astype(bool) & (cost.arm != SHARED) & (cost.arm != SFT)]


@once
def by_phase(results: Results, column: str) -> pd.DataFrame:
    """Sum a column of each run's cost by phase: rows of arm, method, seed, group and the column.

    group: the phase of training, or the step that the run needed beforehand (`reward model`,
    `reference`).
    """
    own = charged(results)
    group = own.phase.where(own.step == "align", own.step.replace("reward", "reward model"))
    keys = ["arm", "method", "seed", "group"]
    table = own.assign(group=group)
    return table.groupby(keys, as_index=False, sort=False)[column].agg(total)


def total(values: pd.Series) -> float:
    """Return the sum; NaN if any part is unknown."""
    return values.astype(float).sum(skipna=False)


@once
def spent(results: Results, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return what each run was charged in all, one row per run, in each of the columns."""
    return charged(results).groupby(["arm", "seed"], as_index=False)[list(columns)].agg(total)


@once
def prepared(results: Results, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return what each run was charged before its training, for its reward model or its reference
    log-probabilities: indexed by arm and seed, without runs that needed neither."""
    rows = charged(results)
    rows = rows[rows.step.isin(["reward", "reference"])]
    return rows.groupby(["arm", "seed"])[list(columns)].sum()


def of_search(meta: Meta, method: str) -> dict[str, float]:
    """Return FLOPs and seconds of the search for a method's settings, finals included."""
    known = meta.provenance or {}
    parts = [known.get("methods", {}).get(method, {})]
    parts.append(known.get("confirmed", {}).get("methods", {}).get(method, {}))
    return {c: sum(part.get(c, 0.0) for part in parts) for c in ("flops", "cpu_s", "wall_s")}


def of_arm(results: Results, arm: str, column: str) -> pd.Series:
    """Return what an arm's ended runs were charged, by seed; empty if that is unknown."""
    rows = spent(results, (column,)).merge(results.ended())
    return rows[rows.arm == arm].set_index("seed")[column].dropna()
