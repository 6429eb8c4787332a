"""List the measures of a study: the `Measure` entries of the modules in this folder.

`summary` turns them into one long table (arm, measure, mean, interval, n), from which the report's
tables and results.csv are made. To add a measure, add a function to a module, or a module.
"""

from dataclasses import asdict

import pandas as pd

from bench.analysis import statistics as st
from bench.analysis.measure import Measure
from bench.analysis.results import Results, once
from bench.core import registry


def entries(module) -> list[Measure]:
    """Return the measures that a module declares, in its order."""
    found = [value for value in vars(module).values() if isinstance(value, Measure)]
    return [m for m in found if m.function.__module__ == module.__name__]


MODULES = registry.members(__name__, ("quality", "cost", "stability"))
MEASURES = tuple(m for name in MODULES for m in entries(registry.member(__name__, name)))
BY_KEY = {m.key: m for m in MEASURES}
SUMMARY = tuple(m for m in MEASURES if m.interval)


def shown_in(table: str) -> list[Measure]:
    """Return the measures that have a column in this table of a comparison."""
    return [m for m in MEASURES if table in m.shown]


@once
def summary(results: Results) -> pd.DataFrame:
    """Return one row per arm and measure: mean, low, high, se, df, seeds, prompts, over."""
    rows = []
    for arm in [*results.bases, *results.arms]:
        for m in SUMMARY:
            if (found := interval_of(m(results, arm))) is not None:
                head = {"arm": arm, "measure": m.key, "unit": m.unit_in(results.meta)}
                rows.append(head | {"better": m.better} | asdict(found))
    columns = ["arm", "measure", "unit", "better", *st.Interval.__dataclass_fields__]
    return pd.DataFrame(rows, columns=columns)


def interval(results: Results, arm: str, key: str) -> st.Interval | None:
    """Return the interval of a measure of an arm; None if it could not be measured."""
    rows = summary(results)
    rows = rows[(rows.arm == arm) & (rows.measure == key)]
    if not len(rows):
        return None
    return st.Interval(**rows.iloc[0][list(st.Interval.__dataclass_fields__)].to_dict())


def interval_of(found: pd.DataFrame | pd.Series | st.Interval | None) -> st.Interval | None:
    """Return the interval of what a measure returned; None if that is empty."""
    if found is None or isinstance(found, st.Interval):
        return found
    if isinstance(found, pd.DataFrame):
        return st.crossed(found) if found.size else None
    found = found.dropna()
    return st.over_seeds(found) if len(found) else None


def by_seed(results: Results, arm: str, key: str) -> pd.Series:
    """Return a measure of each ended run of an arm, by seed, averaged over prompts."""
    found = BY_KEY[key](results, arm)
    if found is None or isinstance(found, st.Interval):
        return pd.Series(dtype=float)  # a number of all runs together
    if isinstance(found, pd.DataFrame):
        found = found.mean(axis=1) if found.size else pd.Series(dtype=float)
    return found.dropna()


@once
def of_runs(results: Results) -> pd.DataFrame:
    """Return one row per run and measure of the summary: arm, seed, measure, value in its unit."""
    rows = [
        (arm, int(seed), m.key, float(value))
        for arm in results.arms
        for m in SUMMARY
        for seed, value in by_seed(results, arm, m.key).items()
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "measure", "value"])
