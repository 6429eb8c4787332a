"""Ask one question in several views: who is better at equal data, equal compute, equal KL?

Each `View` is a family of comparisons of all pairs of methods, so that the matrix can say whether
the winner changes with the view.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

from bench.analysis import comparisons, costs, curves
from bench.analysis.comparisons import Family, Side
from bench.analysis.results import Arm, Meta, Results, once
from bench.analysis.statistics import Share

POINTS = 21  # budgets in the range of KL that both methods reached, evenly spaced in sqrt(KL)
NEAR = 1.25  # a pipeline fits a budget if its cost is within this factor of it
SAME = 1.25  # the last batch of an epoch may be small: lengths agree within this factor
DATA, REREAD, CHEAP, DEAR, KL = "data", "reread", "cheap", "dear", "kl"
Path = Mapping[int, pd.DataFrame]


@dataclass(frozen=True)
class View:
    """All pairs of methods in one view.

    kind: DATA, REREAD (equal data, of which few are read more often), CHEAP or DEAR (equal compute,
    at what the cheaper or the dearer of a pair spends), or KL; made: {pair: the two arms that fit
    this budget of compute, each with its mean cost}; reached: {pair: the range of KL that both
    reached}.
    """

    name: str
    kind: str
    family: Family
    made: Mapping[tuple[str, str], tuple[tuple[str, float], ...]] = field(default_factory=dict)
    reached: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)


@once
def every(results: Results) -> list[View]:
    """Return the views that a study holds; with one number of labels, equal data is the end of
    training."""
    meta, units = results.meta, costs.spending(results.meta)
    found = [
        equal_data(results, kind, n) for kind in (DATA, REREAD) for n in label_arms(meta, kind)
    ]
    equal = [equal_compute(results, *unit, of) for of in (CHEAP, DEAR) for unit in units.items()]
    found += [view for view in equal if differs(view)]
    found.append(equal_kl(results))
    return [view for view in found if view.family]


def declared(results: Results) -> int:
    """Return how many pairs of methods the study has."""
    return len(comparisons.pairs(results))


def differs(view: View) -> bool:
    """Return True if a pipeline of a view is another than its method as tuned."""
    return any(arm not in pair for pair, both in view.made.items() for arm, _ in both)


def usual(arm: Arm) -> bool:
    """Return True if an arm starts from the SFT base and learns from gold's labels, many or few."""
    return arm.start == "sft" and arm.label_set in ("gold", f"gold-n{arm.n}")


def label_arms(meta: Meta, kind: str = DATA) -> dict[int, dict[str, str]]:
    """Return {number of labels: {method: arm}}.

    kind: DATA, in a method's usual epochs: with all labels these are the methods as tuned; or
    REREAD, from fewer labels, read more often.
    """
    learns = {DATA: lambda arm: arm.tuned or few(arm), REREAD: lambda arm: reread(arm, meta)}
    found: dict[int, dict[str, str]] = {}
    for arm in filter(learns[kind], meta.arms):
        found.setdefault(arm.n or meta.pairs, {})[arm.method] = arm.name
    return {n: {m: found[n][m] for m in meta.methods if m in found[n]} for n in sorted(found)}


def few(arm: Arm) -> bool:
    """Return True if an arm is a method as tuned but for fewer labels, and a warm-up as much
    shorter."""
    return bool(arm.n) and set(arm.varies) <= {"warmup"} and usual(arm)


def longer(arm: Arm) -> bool:
    """Return True if an arm is a method as tuned but for its epochs."""
    return arm.varies == ("epochs",) and not arm.n and usual(arm)


def reread(arm: Arm, meta: Meta) -> bool:
    """Return True if an arm is a method as tuned but for fewer labels that it reads more often, as
    `bench.studies.scaling.from_few` says."""
    if not (arm.n and usual(arm) and set(arm.varies) <= {"epochs", "reward.epochs"}):
        return False
    times = meta.pairs / arm.n
    expected = times if "reward.epochs" in arm.varies else times**0.5
    return expected / SAME <= arm.factors.get("epochs", 1) <= expected * SAME


def equal_data(results: Results, kind: str, n: int) -> View:
    """Compare methods that learned from n labels, on test prompts; kind: as in `label_arms`."""
    arms = label_arms(results.meta, kind)[n]
    sides = {m: comparisons.side(results, arm) for m, arm in arms.items()}
    name = f"{n:,} labels" + " read more often" * (kind == REREAD)
    return View(name, kind, comparisons.all_pairs(sides, comparisons.margin(results)))


def longest(arms: list[Arm], times: float = math.inf) -> dict[str, str]:
    """Return {method: its arm with the most epochs, at most `times` the tuned, else as tuned}."""
    found: dict[str, list] = {}
    for arm in arms:
        epochs = arm.factors.get("epochs", 1)
        if (arm.tuned or longer(arm)) and epochs <= times:
            found.setdefault(arm.method, []).append((epochs, arm.name))
    return {method: max(arms)[1] for method, arms in found.items()}


@once
def paths(results: Results, column: str) -> dict[str, Path]:
    """Return {method: {seed: curve}}: gain on validation prompts against what was spent by then, in
    a method's longest runs.

    spent: in the column's unit, including what a run needed beforehand (reward model, reference
    log-probabilities). Failed runs are left out: their paths end early, and so would the budget
    that all reached.
    """
    rows = curves.overall(results).merge(results.ended())
    upfront = costs.prepared(results, (column,))[column]
    method_of = {a: m for m, a in trained(results).items()}
    found: dict[str, dict] = {}
    for (arm, seed), run in rows.groupby(["arm", "seed"], sort=False):
        if arm in method_of:
            spent = run[column] + upfront.get((arm, seed), 0.0)
            path = pd.DataFrame({"spent": spent, "gain": run.gold - run.gold.iloc[0]})
            found.setdefault(method_of[arm], {})[seed] = path.reset_index(drop=True)
    return {method: found[method] for method in results.meta.methods if method in found}


@once
def trained(results: Results) -> dict[str, str]:
    """Return {method: the arm whose path it has}."""
    found = longest(results.meta.arms)
    return {method: found[method] for method in results.meta.methods if method in found}


@once
def pipelines(results: Results, column: str) -> dict[str, dict[str, float]]:
    """Return {method: {arm: its mean cost}}: as tuned, from fewer labels, or for more epochs.

    The cost is that of the whole pipeline of a run that ended, what it needed beforehand included;
    if none ended, that of those that failed, so that they keep their place.
    """
    found: dict[str, dict[str, float]] = {}
    for arm in results.meta.arms:
        if arm.tuned or few(arm) or longer(arm):
            spent = costs.of_arm(results, arm.name, column)
            if not len(spent):  # every run failed: what they were charged until then
                spent = costs.spent(results, (column,)).query("arm == @arm.name")[column]
            if spent.sum() > 0:
                found.setdefault(arm.method, {})[arm.name] = float(spent.mean())
    return {method: found[method] for method in results.meta.methods if method in found}


def made_for(budget: float, arms: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the arm whose cost is nearest to a budget, and that cost; None if none fits it."""
    arm = min(arms, key=lambda arm: abs(math.log(arms[arm] / budget)))
    fits = budget / NEAR <= arms[arm] <= budget * NEAR
    return (arm, arms[arm]) if fits else None


def equal_compute(results: Results, column: str, unit: str, of: str) -> View:
    """Compare each pair of methods by pipelines made for the same budget, on test prompts.

    The budget is what the cheaper (of: CHEAP) or the dearer (DEAR) of the two methods spends as
    tuned. It is not the beginning of a longer training, in which most would have been spent on what
    the method needs beforehand. A pair without a pipeline that fits is left out.
    """
    known = {m: arms for m, arms in pipelines(results, column).items() if m in arms}
    made, sides = {}, {}
    for a, b in combinations(known, 2):
        budget = (min if of == CHEAP else max)(known[a][a], known[b][b])
        both = tuple(made_for(budget, known[m]) for m in (a, b))
        if all(both):
            made[a, b] = both
            sides[a, b] = tuple(comparisons.side(results, arm) for arm, _ in both)
    family = comparisons.compared(sides, comparisons.margin(results), declared(results))
    name = f"Equal {unit} of the {'cheaper' if of == CHEAP else 'dearer'}"
    return View(name, of, family, made=made)


@once
def sweep(results: Results, method: str) -> pd.DataFrame:
    """Return the ends of a method's sweep of strengths: arm, and validation KL and gold."""
    arms = [
        a.name
        for a in results.meta.arms
        if a.method == method and set(a.varies) <= {"beta"} and not a.n and usual(a)
    ]
    rows = curves.ends(results).merge(results.ended())
    rows = rows[rows.arm.isin(arms)]
    return rows.groupby("arm", as_index=False)[["kl", "gold"]].mean().sort_values("kl")


def chosen(ends: pd.DataFrame, kl: float) -> str | None:
    """Return the setting with the most gold among those within ``kl`` on validation prompts, or
    None."""
    within = ends[ends.kl <= kl * (1 + 1e-9)]
    return within.loc[within.gold.idxmax(), "arm"] if len(within) else None


def common_range(a: pd.DataFrame, b: pd.DataFrame) -> tuple[float, float] | None:
    """Return the range of KL that both sweeps reached; None if they do not overlap."""
    low, high = max(a.kl.min(), b.kl.min()), min(a.kl.max(), b.kl.max())
    return (float(low), float(high)) if low < high else None


def frontier(results: Results, ends: pd.DataFrame, kls) -> Side:
    """Return the test gold of the settings chosen at each KL, averaged over the KLs.

    A seed ended if it did at all of them.
    """
    arms = [chosen(ends, kl) for kl in kls]
    found = {arm: comparisons.side(results, arm) for arm in set(arms)}
    scores = (sum(found[arm].scores for arm in arms) / len(arms)).dropna()
    runs = max(side.ended.n for side in found.values())
    return Side(scores, found[arms[0]].base, Share(len(scores), runs))


def equal_kl(results: Results) -> View:
    """Compare methods along the range of KL that both reached.

    At each of POINTS budgets of KL the setting with the most gold on validation prompts within it
    is chosen and scored on test prompts, and the scores are averaged. Beyond a method's best
    setting, that one stays chosen.
    """
    ends = {m: sweep(results, m) for m in results.meta.methods}
    swept = [m for m, rows in ends.items() if len(rows) > 1]
    ranges = {(a, b): common_range(ends[a], ends[b]) for a, b in combinations(swept, 2)}
    ranges = {pair: reached for pair, reached in ranges.items() if reached}
    sides = {}
    for pair, reached in ranges.items():
        kls = np.linspace(*np.sqrt(reached), POINTS) ** 2
        sides[pair] = tuple(frontier(results, ends[m], kls) for m in pair)
    family = comparisons.compared(sides, comparisons.margin(results), declared(results))
    return View("Equal KL budget", KL, family, reached=ranges)
