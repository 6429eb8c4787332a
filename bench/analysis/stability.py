"""What went wrong, and how far runs of one arm differ: pure functions of the collected tables."""

import numpy as np
import pandas as pd

from bench.analysis import measures as ms


def stability(tables: dict, meta: dict) -> pd.DataFrame:
    """By arm: runs, failed, seed spread and worst seed of gold, drawdown, gradient spikes."""
    rows = []
    for arm in ms.arms_of(meta):
        runs = tables["runs"]
        mine = runs[runs.arm == arm] if len(runs) else runs
        by_seed = ms.scores(tables["prompts"], arm, "gold", meta["tuned_families"])
        means = by_seed.mean(axis=1) if by_seed.size else pd.Series(dtype=float)
        rows.append(
            {
                "arm": arm,
                "runs": len(mine),
                "failed": int((mine.status != "ok").sum()) if len(mine) else 0,
                "spread": means.std(ddof=1) if len(means) > 1 else np.nan,
                "worst": means.min() if len(means) else np.nan,
                "drawdown": drawdown(tables["curve"], arm),
                "spikes": spikes(tables["log"], arm),
            }
        )
    return pd.DataFrame(rows)


def drawdown(curve: pd.DataFrame, arm: str) -> float:
    """Mean over seeds of the curve's highest gold minus its last."""
    rows = curve[(curve.arm == arm) & (curve.family == "all")] if "family" in curve else curve[:0]
    if not len(rows):
        return float("nan")
    by_seed = rows.sort_values("fraction").groupby("seed").gold
    return float((by_seed.max() - by_seed.last()).mean())


def spikes(log: pd.DataFrame, arm: str) -> float:
    """Mean over seeds of the largest gradient norm over the median one."""
    rows = log[log.arm == arm] if "grad_norm" in log else log[:0]
    by_seed = rows.groupby("seed").grad_norm if len(rows) else None
    return float((by_seed.max() / by_seed.median()).mean()) if by_seed is not None else float("nan")
