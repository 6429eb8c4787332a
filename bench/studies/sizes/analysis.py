"""Compare methods on models of several sizes."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.analysis import comparisons, expected
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
