"""Compare each arm's lm-eval scores with those of its SFT base."""

import pandas as pd

from bench.analysis import statistics as st
from bench.analysis.results import Results, once

COLUMNS = ("task", "metric", "arm", "mean", "half", "change", "seeds", "stderr_sft", "n",
           "higher_is_better")  # fmt: skip


@once
def changes(results: Results) -> pd.DataFrame:
    """Return one row per task, metric and arm: mean, half-width over seeds, change from its SFT
    base."""
    rows = [
        _row(task, metric, arm, group, results.base[arm])
        for (task, metric), group in results.tasks.groupby(["task", "metric"], sort=True)
        for arm in [*results.bases, *results.arms]
        if (group.arm == arm).any()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(task: str, metric: str, arm: str, group: pd.DataFrame, base: str) -> dict:
    """Return the row of one arm on one task."""
    found, sft = st.over_seeds(group[group.arm == arm].value), group[group.arm == base]
    return {
        "task": task,
        "metric": metric,
        "arm": arm,
        "mean": found.mean,
        "half": found.half,
        "change": found.mean - sft.value.mean(),
        "seeds": found.seeds,
        "stderr_sft": sft.stderr.mean(),
        "n": group.n.max(),
        "higher_is_better": bool(group.higher_is_better.iloc[0]),
    }
