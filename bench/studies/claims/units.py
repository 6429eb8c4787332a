"""Measure conditions over units, SFT bases with a seed each, and prompts.

An interval over units and prompts says how an effect would vary from another base.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from bench.analysis import costs, curves
from bench.analysis import statistics as st
from bench.analysis.results import Arm, Results, once
from bench.analysis.statistics import Interval


@once
def arms_of(results: Results) -> dict[str, list[Arm]]:
    """Return {condition: its arms, one for each SFT base}."""
    found: dict[str, list[Arm]] = {}
    for arm in results.meta.arms:
        found.setdefault(arm.condition or arm.name, []).append(arm)
    return found


@once
def gains(results: Results, condition: str, family: str = "") -> pd.DataFrame:
    """Return gold above the own SFT base [units x prompts] of a condition.

    A unit is an SFT base and a seed. A failed run gains nothing: one keeps the base. family: of the
    prompts; "": those that methods learn.
    """
    ended = {(row.arm, row.seed) for row in results.ended().itertuples()}
    rows = {}
    for arm in arms_of(results).get(condition, ()):
        scores, start = (_scores(results, name, family) for name in (arm.name, arm.base))
        for seed in results.meta.planned[arm.name]:
            own = start.iloc[0] * 0.0
            if (arm.name, seed) in ended:
                own = scores.loc[seed] - start.iloc[0]
            rows[unit(arm), seed] = own
    return pd.DataFrame(rows).T.dropna(axis=1)


def unit(arm: Arm) -> str:
    """Return what tells arms of a condition apart: their SFT base's number, '' or '-sft2'."""
    return arm.name.removeprefix(arm.condition)


def golds(results: Results, condition: str) -> pd.DataFrame:
    """Return the gold [units x prompts] of a condition; of a failed run, that of its SFT base."""
    rows = {}
    for arm in arms_of(results)[condition]:
        start = results.scores(arm.base).iloc[0]
        for (at, seed), gain_ in gains(results, condition).iterrows():
            if at == unit(arm):
                rows[at, seed] = gain_ + start
    return pd.DataFrame(rows).T.dropna(axis=1)


def right(results: Results, condition: str, task: str, change: bool = False) -> pd.DataFrame:
    """Return the scores of a condition on single documents of lm-eval [units x documents]; change:
    from the own SFT base. Runs that failed are left out."""
    rows, items = {}, results.items[results.items.task == task]
    for arm in arms_of(results)[condition]:
        own, start = (items[items.arm == name] for name in (arm.name, arm.base))
        start = start.set_index("item").value * change
        for seed, scores in own.groupby("seed"):
            rows[unit(arm), seed] = scores.set_index("item").value - start
    return pd.DataFrame(rows).T.dropna(axis=1)


def _scores(results: Results, arm: str, family: str) -> pd.DataFrame:
    if not family:
        return results.scores(arm)
    rows = results.prompts[(results.prompts.arm == arm) & (results.prompts.family == family)]
    return rows.pivot_table(index="seed", columns="prompt_id", values="gold")


def gain(results: Results, condition: str, family: str = "") -> Interval:
    """Return the interval of a condition's gain."""
    return over(gains(results, condition, family))


def difference(results: Results, a: str, b: str) -> Interval:
    """Return the interval of the gain of a minus that of b, on the units and prompts of both."""
    return over(paired(gains(results, a), gains(results, b)))


def paired(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Return a - b on the units and prompts that both have."""
    rows, columns = a.index.intersection(b.index), a.columns.intersection(b.columns)
    return a.loc[rows, columns] - b.loc[rows, columns]


def over(table: pd.DataFrame) -> Interval:
    """Return the interval over units and prompts of the mean of a table."""
    return st.crossed(table) if table.size else st.over_seeds([])


def jackknife(tables: Sequence[pd.DataFrame], statistic: Callable[[list[float]], float]):
    """Return the interval of a statistic of the tables' means, by leaving out a unit at a time
    (Tukey 1958): a t interval over pseudo-values. It covers units only.

    statistic: takes the mean of each table. Units that not all tables have are left out.
    """
    units = tables[0].index
    for table in tables[1:]:
        units = units.intersection(table.index)
    means = [table.loc[units].mean(axis=1).to_numpy() for table in tables]
    n = len(units)
    if n < 2:
        return st.over_seeds([])
    whole = statistic([float(values.mean()) for values in means])
    left = [statistic([float(np.delete(v, i).mean()) for v in means]) for i in range(n)]
    return st.over_seeds([n * whole - (n - 1) * value for value in left])


@once
def validation(results: Results) -> pd.DataFrame:
    """Return a row per run: gain on validation prompts, accuracy and loss on held-out pairs."""
    last = curves.overall(results).groupby(["arm", "seed"], as_index=False).last()
    rows = results.runs[["arm", "method", "seed", "status", "validation_loss"]]
    rows = rows.merge(curves.ends(results)[["arm", "seed", "gain"]], how="left", on=["arm", "seed"])
    return rows.merge(last[["arm", "seed", "accuracy"]], how="left", on=["arm", "seed"])


def flops(results: Results, condition: str) -> pd.Series:
    """Return the FLOPs of each unit of a condition, all that a run is charged for included."""
    spent = costs.spent(results, ("flops",)).set_index(["arm", "seed"]).flops
    return by_unit(results, condition, spent)


def by_unit(results: Results, condition: str, values: pd.Series) -> pd.Series:
    """Return values of runs, by (arm, seed), as those of a condition's units."""
    units = {arm.name: unit(arm) for arm in arms_of(results)[condition]}
    own = {(units[arm], seed): value for (arm, seed), value in values.items() if arm in units}
    return pd.Series(own, dtype=float)


def change(results: Results, condition: str, column: str) -> pd.DataFrame:
    """Return how far a column of `prompts` lies from the own SFT base's [units x prompts]. Runs
    that failed are left out."""
    rows = {}
    for arm in arms_of(results)[condition]:
        base = results.scores(arm.base, column).iloc[0]
        for seed, own in results.scores(arm.name, column).iterrows():
            rows[unit(arm), seed] = own - base
    return pd.DataFrame(rows).T.dropna(axis=1)
