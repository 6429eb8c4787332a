"""Compare methods over SFT bases: bases take the place that seeds have in other studies."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench.analysis import comparisons
from bench.analysis import statistics as st
from bench.analysis.comparisons import Family, Side
from bench.analysis.results import Results, once
from bench.analysis.statistics import Share


@dataclass(frozen=True)
class Spread:
    """How far a difference varies: standard deviations over bases, over seeds from one base, and
    over prompts. NaN where there is one seed a base."""

    base: float
    seed: float
    prompt: float


@once
def arms(results: Results) -> dict[str, dict[str, str]]:
    """Return {SFT base: {method: its arm}}, in the order of the study."""
    found: dict[str, dict[str, str]] = {}
    for arm in results.meta.arms:
        found.setdefault(arm.base, {})[arm.method] = arm.name
    return found


@once
def gains(results: Results) -> pd.DataFrame:
    """Return the mean gold above its own SFT base of each run on test prompts: base, method, seed,
    gain. A failed run gains nothing: one keeps the base."""
    ended = {(row.arm, row.seed) for row in results.ended().itertuples()}
    rows = []
    for base, own in arms(results).items():
        for method, arm in own.items():
            scores, start = results.scores(arm), results.scores(base)
            for seed in results.meta.planned[arm]:
                gain = 0.0
                if (arm, seed) in ended:
                    mine, other = comparisons.beside_base(scores.loc[[seed]], start)
                    gain = float((mine - other).mean())
                rows.append({"base": base, "method": method, "seed": seed, "gain": gain})
    return pd.DataFrame(rows)


@once
def family(results: Results) -> Family:
    """Compare all pairs of methods over bases and prompts, as one family.

    The score of a base is the mean gain over its seeds, where a failed run counts as none.
    """
    methods = [m for m in results.meta.methods if any(m in own for own in arms(results).values())]
    sides = {method: side(results, method) for method in methods}
    return comparisons.all_pairs(sides, comparisons.margin(results))


@once
def side(results: Results, method: str) -> Side:
    """Return a method's gains [bases x prompts], means over the seeds that were to run."""
    rows = {base: own_gain(results, base, own[method]) for base, own in arms(results).items()}
    table = pd.DataFrame(rows).T.dropna(axis=1)
    zero = pd.DataFrame(0.0, index=["sft"], columns=table.columns)
    return Side(table, zero, Share(len(table), len(table)))


def own_gain(results: Results, base: str, arm: str) -> pd.Series:
    """Return an arm's mean gain over its SFT base on each prompt; a failed run counts as none."""
    start, scores = results.scores(base).iloc[0], results.scores(arm)
    ended = len(scores) / len(results.meta.planned[arm])
    return (scores.mean() - start) * ended if len(scores) else start * 0.0


def spread(results: Results, a: str, b: str) -> Spread:
    """Return the standard deviations of the difference in gold between two methods.

    base: of a base's true mean, by the mean squares of bases and of seeds within them (Searle et
    al. 1992, Variance Components, section 3.6), 0 if they show none; seed: within a base, sampling
    of answers included; prompt: of a prompt's mean over all bases.
    """
    table = gains(results).pivot_table(index=["base", "seed"], columns="method", values="gain")
    gap = (table[a] - table[b]).dropna()
    groups = gap.groupby(level="base")
    seeds = groups.size().mean()
    within = groups.var(ddof=1).mean() if seeds > 1 else np.nan
    between = groups.mean().var(ddof=1)
    base = np.sqrt(max(0.0, between - within / seeds)) if seeds > 1 else np.nan
    mine, other = comparisons.paired(side(results, a).scores, side(results, b).scores)
    prompt = (mine - other).mean(0).std(ddof=1)
    return Spread(float(base), float(np.sqrt(within)), float(prompt))


def leads(results: Results, a: str, b: str) -> Share:
    """Return on how many bases a has more mean gain than b, of those where both were trained."""
    table = by_base(results)[[a, b]].dropna()
    return Share(int((table[a] > table[b]).sum()), len(table))


@once
def by_base(results: Results) -> pd.DataFrame:
    """Return the mean gain over seeds of each method (column) from each base (row)."""
    table = gains(results).pivot_table(index="base", columns="method", values="gain")
    methods = [method for method in results.meta.methods if method in table]
    return table.reindex(list(arms(results)))[methods]


def first(results: Results) -> dict[str, int]:
    """Return {method: on how many bases it gained most}."""
    top = by_base(results).idxmax(axis=1)
    return {method: int((top == method).sum()) for method in by_base(results)}


def starts(results: Results) -> pd.Series:
    """Return the mean gold of each SFT base on test prompts."""
    return pd.Series(
        {base: float(results.scores(base).to_numpy().mean()) for base in arms(results)}
    )


def interval(results: Results, method: str) -> st.Interval:
    """Return the interval over bases and prompts of a method's mean gain."""
    return side(results, method).gain
