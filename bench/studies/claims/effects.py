"""Measure effects over units, which are SFT bases, and prompts.

An interval over units and prompts says how an effect would vary from another base of this world.
With fewer than three units there is no interval, and so no verdict.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from bench.analysis import statistics as st
from bench.analysis.statistics import Interval

Points = Sequence[tuple[float, pd.DataFrame]]  # (cost or labels, scores [units x prompts])


@dataclass(frozen=True)
class Effect:
    """An effect with its interval, and how probable the data are if the truth is a given value.

    p: takes a value, returns the two-sided p of the hypothesis that it is the true effect; span:
    of a cost that is read off a curve, the least and the greatest that was run.
    """

    interval: Interval
    p: Callable[[float], float]
    span: tuple[float, float] = (-math.inf, math.inf)

    @classmethod
    def of(cls, found: "Interval | Effect") -> "Effect":
        """Return an Interval as an Effect, tested as its mean's distance from the value."""
        if isinstance(found, cls):
            return found
        return cls(found, lambda value: st.p_value(replace(found, mean=found.mean - value)))


def paired(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Return a - b on the units and prompts that both have."""
    rows, columns = a.index.intersection(b.index), a.columns.intersection(b.columns)
    return a.loc[rows, columns] - b.loc[rows, columns]


def over(table: pd.DataFrame) -> Interval:
    """Return the interval over units and prompts of the mean of a table [units x prompts]."""
    if not table.size:
        return st.over_seeds([])
    return enough(st.crossed(table), len(table))


def over_units(values) -> Interval:
    """Return the t interval of a number of which each unit has one."""
    found = st.over_seeds(values)
    return enough(found, found.seeds)


def log_ratio(a: pd.Series, b: pd.Series) -> Interval:
    """Return the t interval of log(a / b) of numbers of which each unit has one."""
    return over_units(np.log(a / b))


def enough(interval: Interval, units: int) -> Interval:
    """Return an interval, without ends if it is of too few units."""
    if units >= st.VERDICT_SEEDS:
        return interval
    return replace(interval, low=math.nan, high=math.nan, se=math.nan)


def jackknife(tables: Sequence[pd.DataFrame], statistic: Callable[[list[float]], float]):
    """Return the interval of a smooth statistic of the tables' means, by leaving out a unit at a
    time (Tukey 1958): a t interval over pseudo-values. It covers units only.

    statistic: takes the mean of each table; it must be smooth, since for a minimum or a crossing
    such intervals cover too little. Units that not all tables have are left out.
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
    return over_units([n * whole - (n - 1) * value for value in left])


# --- the cost at which a rising curve reaches a level


def reached(level: pd.DataFrame, points: Points, steps: int = 24) -> Effect:
    """Return the log of the cost at which a curve reaches a level, by inverting tests.

    The interval holds the costs at which curve and level do not differ significantly, units and
    prompts crossed (Fieller 1954 does so for ratios). Between points the curve is a straight line
    over log cost. Beyond them nothing is known: an end there is infinite. level, and the scores of
    the points: tables [units x prompts]; steps: costs at which the test is made, between which its
    ends are taken on straight lines.
    """
    points = sorted(points, key=lambda point: point[0])
    logs = np.log([cost for cost, _ in points])

    def gap(at: float) -> Interval:
        return over(paired(level, _between(logs, [own for _, own in points], at)))

    grid = np.linspace(logs[0], logs[-1], steps)
    gaps = [gap(at) for at in grid]
    mean = _falls(grid, [g.mean for g in gaps])
    low = _falls(grid, [g.low for g in gaps])
    high = -_falls(-grid[::-1], [-g.high for g in gaps[::-1]])
    whole = gaps[0]
    if not math.isfinite(whole.half):
        low = high = math.nan
    found, ends = replace(whole, mean=mean, low=low, high=high, se=math.nan), (logs[0], logs[-1])
    return Effect(found, lambda value: _p_reached(gap, *ends, value), ends)


def _between(logs: np.ndarray, tables: list[pd.DataFrame], at: float) -> pd.DataFrame:
    """Return the scores of a curve at a log cost within its points."""
    i = int(np.clip(np.searchsorted(logs, at), 1, len(logs) - 1))
    part = (at - logs[i - 1]) / (logs[i] - logs[i - 1])
    a, b = tables[i - 1], tables[i]
    rows, columns = a.index.intersection(b.index), a.columns.intersection(b.columns)
    return (1 - part) * a.loc[rows, columns] + part * b.loc[rows, columns]


def _falls(grid: np.ndarray, values: list[float]) -> float:
    """Return where values over a rising grid first fall to 0; -inf if they begin there, inf if they
    never do, NaN if they are unknown."""
    if np.isnan(values).any():
        return math.nan
    below = [value <= 0 for value in values]
    if below[0] or True not in below:
        return -math.inf if below[0] else math.inf
    i = below.index(True)
    part = values[i - 1] / (values[i - 1] - values[i])
    return float(grid[i - 1] + part * (grid[i] - grid[i - 1]))


def _p_reached(gap, first: float, last: float, value: float) -> float:
    """Return the p of the hypothesis that a cost is the one at which the level is reached.

    Of a value beyond the points, that of the nearest point, if that one is rejected in the same
    direction, which is the weaker statement; else NaN.
    """
    at = min(max(value, first), last)
    found = gap(at)
    too_low = value <= at  # the truth can be rejected as higher than the value
    beyond = at != value
    if beyond and (found.mean > 0) != too_low:
        return math.nan
    return st.p_value(found)


def shifted(effect: Effect, by: float) -> Effect:
    """Return an effect minus a constant."""
    i = effect.interval
    moved = replace(i, mean=i.mean - by, low=i.low - by, high=i.high - by)
    span = (effect.span[0] - by, effect.span[1] - by)
    return Effect(moved, lambda value: effect.p(value + by), span)


# --- shares


def share_difference(a: Sequence[bool], b: Sequence[bool]) -> Effect:
    """Return the share of a minus the share of b, in points, of paired yes-or-no outcomes.

    Its interval is Newcombe's for paired shares (1998, method 10) around exact intervals of both; p
    is the level at which an end of the interval touches the value.
    """
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    n = len(a)
    if n < st.VERDICT_SEEDS:
        return Effect.of(st.over_seeds([]))
    mean, phi = float(a.mean() - b.mean()), _phi(a, b)

    def ends(level: float) -> tuple[float, float]:
        (a_low, a_high), (b_low, b_high) = (
            st.rate_interval(int(s.sum()), n, level) for s in (a, b)
        )
        below = _side(a.mean() - a_low, b_high - b.mean(), phi)
        above = _side(a_high - a.mean(), b.mean() - b_low, phi)
        return 100 * (mean - below), 100 * (mean + above)

    def p(value: float) -> float:
        low, high = 0.0, 1.0  # of the level: bisect where an end crosses the value
        for _ in range(60):
            level = (low + high) / 2
            inside = ends(level)[0] <= value <= ends(level)[1]
            low, high = (low, level) if inside else (level, high)
        return 1 - low

    low, high = ends(st.LEVEL)
    found = Interval(100 * mean, low, high, math.nan, math.nan, n, 0, "random settings")
    return Effect(found, p)


def _side(one: float, other: float, phi: float) -> float:
    """Return the distance of an end from the difference of two correlated shares."""
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def _phi(a: np.ndarray, b: np.ndarray) -> float:
    """Return the correlation of paired outcomes, with Newcombe's correction towards 0; 0 if one of
    them does not vary."""
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    root = math.sqrt(float(a.sum() * (~a).sum() * b.sum() * (~b).sum()))
    product = both * neither - only_a * only_b
    if not root:
        return 0.0
    return (max(product - len(a) / 2, 0.0) if product > 0 else product) / root
