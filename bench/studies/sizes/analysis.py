"""Compare methods on models of several sizes."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.analysis import comparisons, expected
from bench.analysis import statistics as st
from bench.analysis.comparisons import Family
from bench.analysis.results import Results, once
from bench.analysis.statistics import Interval


@dataclass(frozen=True, eq=False)
class Size:
    """A model: its SFT base, parameters, and {method: its arm}."""

    base: str
    parameters: int
    arms: dict[str, str]


@once
def sizes(results: Results) -> list[Size]:
    """Return the models of the study, the smallest first."""
    by_base: dict[str, dict[str, str]] = {}
    for arm in results.meta.arms:
        by_base.setdefault(arm.base, {})[arm.method] = arm.name
    largest = results.runs.groupby("arm").parameters.max()
    found = [
        Size(base, int(largest.reindex([*arms.values()]).max()), arms)
        for base, arms in by_base.items()
    ]
    return sorted(found, key=lambda size: size.parameters)


@once
def family(results: Results, size: Size) -> Family:
    """Compare all pairs of methods on a model, as one family."""
    sides = {name: comparisons.side(results, arm) for name, arm in size.arms.items()}
    return comparisons.all_pairs(sides, comparisons.margin(results, size.base))


@dataclass(frozen=True)
class Change:
    """How far the difference of two methods, a - b, is larger with the largest model than with the
    smallest; p_holm: corrected over all pairs; both NaN if runs failed."""

    a: str
    b: str
    interval: Interval
    p_holm: float


@once
def changes(results: Results) -> list[Change]:
    """Compare the differences of all pairs of methods between the smallest and the largest model.

    Both answer the same prompts. Seeds are taken in pairs, though runs of two sizes share nothing
    that a seed draws, which costs degrees of freedom and biases nothing.
    """
    small, *_, large = sizes(results) if len(sizes(results)) > 1 else (None, None)
    pairs = list(combinations([m for m in small.arms if m in large.arms], 2)) if small else []
    found = [_change(results, small, large, *pair) for pair in pairs]
    corrected = st.holm([st.p_value(interval) for interval in found], len(found))
    return [
        Change(*pair, interval, float(p))
        for pair, interval, p in zip(pairs, found, corrected, strict=True)
    ]


def _change(results: Results, small: Size, large: Size, a: str, b: str) -> Interval:
    """Return the interval of the change of a - b; without a mean if a run of the four failed."""
    sides = [comparisons.side(results, size.arms[m]) for size in (small, large) for m in (a, b)]
    if not all(side.ended.all for side in sides):
        return comparisons.NOTHING
    a_small, b_small, a_large, b_large = (side.scores for side in sides)
    change = (a_large - b_large) - (a_small - b_small)  # NaN where one of the four has no score
    return st.crossed(change.dropna(how="all").dropna(axis="columns"))


def gain(results: Results, arm: str) -> Interval:
    """Return the interval over seeds and prompts of an arm's gain over its SFT base, failed runs
    counted as none."""
    own = comparisons.side(results, arm)
    return own.gain if own.ended.all else expected.gain(own.ended, own.gain)


def gold(results: Results, size: Size) -> float:
    """Return the mean gold of a model's SFT base on test prompts."""
    return float(results.scores(size.base).to_numpy().mean())


def rates(results: Results, arm: str) -> dict[float, float]:
    """Return {learning rate, of the tuned one: mean gain on validation prompts} of what was tried
    for an arm, the lowest rate first; empty for an arm without candidates."""
    if not (pick := results.meta.picks.get(arm)):
        return {}
    tuned = pick.candidates[pick.picked]["settings"]["lr"] / picked(results, arm)
    found = {
        float(f"{tried['settings']['lr'] / tuned:.2g}"): float(np.mean(tried["gains"]))
        for tried in pick.candidates.values()
    }
    return dict(sorted(found.items()))


def picked(results: Results, arm: str) -> float:
    """Return the learning rate of an arm's runs, of the tuned one."""
    return next(a.factors.get("lr", 1.0) for a in results.meta.arms if a.name == arm)


def at_edge(results: Results) -> list[tuple[Size, str]]:
    """List models and methods for which the lowest or the highest of several rates was picked."""
    found = []
    for size in sizes(results):
        for method, arm in size.arms.items():
            tried = rates(results, arm)
            if len(tried) > 2 and picked(results, arm) in (min(tried), max(tried)):
                found.append((size, method))
    return found
