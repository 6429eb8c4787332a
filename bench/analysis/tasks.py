"""Compare each arm's lm-eval scores with those of its SFT base, over seeds and documents."""

import math
from dataclasses import dataclass

import pandas as pd

from bench.analysis import statistics as st
from bench.analysis.results import Results, once
from bench.analysis.statistics import Interval


@dataclass(frozen=True)
class Change:
    """An arm's score on a task of lm-eval, beside its SFT base's.

    change: mean minus the base's, and its interval, over seeds and documents where the scores of
    documents are known, else over seeds alone (`items` is then 0); p: two-sided, uncorrected;
    p_holm: corrected over the declared arms and the tasks that are tested. Both are NaN for a base,
    for further metrics of a task, without documents, and under VERDICT_SEEDS seeds that ended: such
    a change is not tested.
    """

    task: str
    metric: str
    arm: str
    mean: float
    change: Interval
    items: int
    n: int
    higher_is_better: bool
    p: float = math.nan
    p_holm: float = math.nan

    @property
    def lost(self) -> float:
        """Return how far the score is worse than the base's; negative if it is better."""
        return -self.change.mean if self.higher_is_better else self.change.mean

    @property
    def is_loss(self) -> bool:
        """Return True if the arm is worse than its base, after Holm's correction."""
        return self.lost > 0 and self.p_holm < 1 - st.LEVEL


@once
def changes(results: Results) -> list[Change]:
    """Return one entry per task, metric and arm, bases first.

    The first metric of a task of which the scores of documents are known is tested.
    """
    kept = results.items.drop_duplicates(["task", "metric"]).sort_values(["task", "metric"])
    tested = dict(reversed(list(zip(kept.task, kept.metric, strict=True))))
    found = [
        _change(results, arm, rows, group, test=tested.get(task) == metric)
        for (task, metric), group in results.tasks.groupby(["task", "metric"], sort=True)
        for arm in [*results.bases, *results.arms]
        if len(rows := group[group.arm == arm])
    ]
    holm = st.holm([row.p for row in found], len(tested) * len(results.arms) or None)
    return [Change(**vars(row) | {"p_holm": float(p)}) for row, p in zip(found, holm, strict=True)]


def _change(results: Results, arm: str, rows, group: pd.DataFrame, test: bool) -> Change:
    """Return the entry of one arm on one task and metric."""
    base, (task, metric) = results.base[arm], rows[["task", "metric"]].iloc[0]
    before = group[group.arm == base].value.mean()
    mine, other = (_documents(results, a, task, metric) for a in (arm, base))
    both = mine.columns.intersection(other.columns)
    known = bool(len(both)) and arm not in results.bases
    enough = len(mine) >= st.VERDICT_SEEDS
    if known:
        change = st.crossed(mine[both].to_numpy() - other[both].to_numpy())
    else:
        change = st.over_seeds(rows.value - before)
    return Change(
        task,
        metric,
        arm,
        mean=float(rows.value.mean()),
        change=change,
        items=len(both) if known else 0,
        n=int(group.n.max()),
        higher_is_better=bool(group.higher_is_better.iloc[0]),
        p=st.p_value(change) if known and test and enough else math.nan,
    )


def _documents(results: Results, arm: str, task: str, metric: str) -> pd.DataFrame:
    """Return an arm's scores on the documents of a task [seeds x documents]; empty if unknown."""
    rows = results.items
    rows = rows[(rows.arm == arm) & (rows.task == task) & (rows.metric == metric)]
    return rows.pivot_table(index="seed", columns="item", values="value").dropna(axis=1)
