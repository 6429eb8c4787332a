"""Compare methods on models of several sizes."""

from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from bench.analysis import comparisons, expected
from bench.analysis.comparisons import Family
from bench.analysis.results import Pick, Results, once
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
    both = {(a, b): (sides[a], sides[b]) for a, b in combinations(sides, 2)}
    return comparisons.compared(both, comparisons.margin(results, size.base))


def gain(results: Results, arm: str) -> Interval:
    """Return the interval over seeds and prompts of an arm's gain over its SFT base, failed runs
    counted as none."""
    own = comparisons.side(results, arm)
    return own.gain if own.ended.all else expected.gain(own.ended, own.gain)


def gold(results: Results, size: Size) -> float:
    """Return the mean gold of a model's SFT base on test prompts."""
    return float(results.scores(size.base).to_numpy().mean())


def rates(results: Results, arm: str) -> dict[float, float]:
    """Return {learning rate, of the tuned one: mean gain on validation prompts} of an arm's
    candidates, the lowest rate first."""
    pick = results.meta.picks.get(arm)
    gains = mean_gains(pick) if pick else []
    both = zip(pick.factors if pick else [], gains, strict=True)
    return dict(sorted((factors.get("lr", 1.0), gain) for factors, gain in both))


def mean_gains(pick: Pick) -> list[float]:
    """Return the mean gain over seeds of each candidate."""
    return pd.DataFrame(pick.gains, dtype=float).mean(axis=1).to_list()


def picked(results: Results, arm: str) -> list[float]:
    """Return the learning rate, of the tuned one, at which each seed of an arm counts."""
    if pick := results.meta.picks.get(arm):
        known = dict(zip(pick.candidates, pick.factors, strict=True))
        return [known[name].get("lr", 1.0) for name in pick.picked]
    return [1.0] * len(results.meta.planned[arm])


def at_edge(results: Results) -> list[tuple[Size, str]]:
    """List models and methods where most seeds picked the lowest or the highest of several rates
    tried."""
    found = []
    for size in sizes(results):
        for method, arm in size.arms.items():
            tried, own = rates(results, arm), picked(results, arm)
            ends = {min(tried), max(tried)} if len(tried) > 2 else set()
            if 2 * sum(rate in ends for rate in own) > len(own):
                found.append((size, method))
    return found
