"""Compare methods on models of several sizes, each run at a rate that other seeds picked."""

from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from bench.analysis import comparisons, curves, expected
from bench.analysis import statistics as st
from bench.analysis.comparisons import Family, Side
from bench.analysis.results import Results, once
from bench.analysis.statistics import Share


@dataclass(frozen=True)
class Size:
    """A model: its SFT base, parameters, and {method: {arm: its learning rate as a factor on the
    method's tuned one}}, the lowest first."""

    base: str
    parameters: int
    rates: dict[str, dict[str, float]]


@once
def sizes(results: Results) -> list[Size]:
    """Return the models of the study, the smallest first."""
    by_base: dict[str, dict[str, dict[str, float]]] = {}
    for arm in sorted(results.meta.arms, key=lambda arm: arm.factors.get("lr", 1.0)):
        of_method = by_base.setdefault(arm.base, {}).setdefault(arm.method, {})
        of_method[arm.name] = arm.factors.get("lr", 1.0)
    largest = results.runs.groupby("arm").parameters.max()
    found = []
    for base, rates in by_base.items():
        every = [arm for own in rates.values() for arm in own]
        ordered = {m: rates[m] for m in results.meta.methods if m in rates}
        found.append(Size(base, int(largest.reindex(every).max()), ordered))
    return sorted(found, key=lambda size: size.parameters)


def rates(results: Results, base: str) -> dict[str, dict[str, float]]:
    """Return {method: {arm: its learning rate as a factor on the tuned one}} of a model."""
    return next(size.rates for size in sizes(results) if size.base == base)


@once
def validation(results: Results) -> pd.DataFrame:
    """Return gold above the SFT base on validation prompts [arms x seeds], 0 for a failed run."""
    rows = results.runs[["arm", "seed", "status"]]
    rows = rows.merge(curves.ends(results), how="left", on=["arm", "seed"])
    gains = rows.gain.where(rows.status == "ok", 0.0)
    return rows.assign(gain=gains).pivot_table(index="arm", columns="seed", values="gain")


@once
def picked(results: Results, base: str, method: str) -> dict[int, str]:
    """Return {seed: the arm at which it counts}: that with the highest mean gain on validation
    prompts over the other seeds."""
    arms = list(rates(results, base)[method])
    seeds = results.meta.planned[arms[0]]
    if len(arms) == 1:
        return dict.fromkeys(seeds, arms[0])
    gains = validation(results).reindex(index=arms, columns=seeds).fillna(0.0)
    return {seed: str(gains.drop(columns=seed).mean(axis=1).idxmax()) for seed in seeds}


@once
def side(results: Results, base: str, method: str) -> Side:
    """Return a method's scores on a model [seeds x prompts], each seed at its picked rate."""
    ended = {(row.arm, row.seed) for row in results.ended().itertuples()}
    arms = picked(results, base, method)
    rows = {
        seed: results.scores(arm).loc[seed] for seed, arm in arms.items() if (arm, seed) in ended
    }
    table = pd.DataFrame(rows).T.dropna(axis=1) if rows else pd.DataFrame()
    return Side(table, results.scores(base), Share(len(rows), len(arms)))


@once
def family(results: Results, base: str) -> Family:
    """Compare all pairs of methods on a model, as one family."""
    sides = {
        (a, b): (side(results, base, a), side(results, base, b))
        for a, b in combinations(rates(results, base), 2)
    }
    return comparisons.compared(sides, comparisons.margin(results, base))


def gain(results: Results, base: str, method: str) -> st.Interval:
    """Return the interval over seeds and prompts of a method's gain over the SFT base, failed runs
    counted as none."""
    own = side(results, base, method)
    return own.gain if own.ended.all else expected.gain(own.ended, own.gain)


def gold(results: Results, base: str) -> float:
    """Return the mean gold of a model's SFT base on test prompts."""
    return float(results.scores(base).to_numpy().mean())


def at_edge(results: Results) -> list[tuple[Size, str]]:
    """List models and methods where most seeds picked the lowest or the highest rate tried."""
    found = []
    for size in sizes(results):
        for method, own in size.rates.items():
            first, *inner, last = [*own, ""] if len(own) == 1 else own
            arms = list(picked(results, size.base, method).values())
            if inner and 2 * sum(arm in (first, last) for arm in arms) > len(arms):
                found.append((size, method))
    return found
