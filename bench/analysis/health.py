"""What went wrong, and how far runs of one arm differ: pure functions of the collected tables."""

import numpy as np
import pandas as pd

from bench.analysis import measures as ms


def stability(tables: dict, meta: dict) -> pd.DataFrame:
    """By arm: runs, failed, seed spread and worst seed of gold, drawdown, gradient spikes."""
    rows, shape = [], by_run(tables)
    for arm in ms.arms_of(meta):
        runs = tables["runs"]
        mine = runs[runs.arm == arm] if len(runs) else runs
        by_seed = ms.scores(tables["prompts"], arm, "gold", meta["tuned_families"])
        means = by_seed.mean(axis=1) if by_seed.size else pd.Series(dtype=float)
        own = shape[shape.arm == arm]
        rows.append(
            {
                "arm": arm,
                "runs": len(mine),
                "failed": int((mine.status != "ok").sum()) if len(mine) else 0,
                "spread": means.std(ddof=1) if len(means) > 1 else np.nan,
                "worst": means.min() if len(means) else np.nan,
                "drawdown": own.drawdown.mean(),
                "spikes": own.spikes.mean(),
            }
        )
    return pd.DataFrame(rows)


def by_run(tables: dict, fractions=None) -> pd.DataFrame:
    """What each run's training looked like, from its curve and its log.

    drawdown: gold's peak less its end; entropy_left: share of the start's; spikes: largest gradient
    norm over the median; displacement: change of the log-prob of chosen answers, nats. fractions:
    the points of the curve that count, where runs have different ones.
    """
    return _of_curve(tables["curve"], fractions).merge(
        _of_log(tables["log"]), how="outer", on=["arm", "seed"]
    )


def _of_curve(curve: pd.DataFrame, fractions) -> pd.DataFrame:
    if not {"family", "gold"} <= set(curve):
        return pd.DataFrame(columns=["arm", "seed", "drawdown", "entropy_left"])
    rows = curve[curve.family == "all"].sort_values("fraction")
    rows = rows[rows.fraction.isin(fractions)] if fractions else rows
    runs = rows.groupby(["arm", "seed"])
    drawdown = runs.gold.max() - runs.gold.last()
    left = runs.entropy.last() / runs.entropy.first()
    return pd.DataFrame({"drawdown": drawdown, "entropy_left": left}).reset_index()


def _of_log(log: pd.DataFrame) -> pd.DataFrame:
    if not {"grad_norm", "step"} <= set(log):
        return pd.DataFrame(columns=["arm", "seed", "spikes", "displacement"])
    runs = log.sort_values("step").groupby(["arm", "seed"])
    spikes, moved = runs.grad_norm.max() / runs.grad_norm.median(), np.nan
    if "logps_chosen" in log:
        moved = runs.logps_chosen.last() - runs.logps_chosen.first()
    return pd.DataFrame({"spikes": spikes, "displacement": moved}).reset_index()
