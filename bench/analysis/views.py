"""Three views of one question, who wins: at equal data, at equal compute, at equal KL.

Each gives comparisons of all pairs of methods in one form (a, b, interval, p, p_holm, verdict), so
that the matrix at the end can say whether the winner changes with the view.
"""

import math
from itertools import combinations

import numpy as np
import pandas as pd

from bench.analysis import measures as ms
from bench.analysis import statistics as st

POINTS = 21  # of the range of KL that both methods reached, evenly spaced in its square root


def every(tables: dict, meta: dict, columns: dict[str, str]) -> dict[str, pd.DataFrame]:
    """{view: comparisons of all pairs of methods}; views that the study does not hold are left out.

    columns: {column of cost: its unit in words}. One number of labels alone is the end of training.
    """
    prompts, numbers = tables["prompts"], label_arms(meta)
    out = {f"{n:,} labels": equal_data(prompts, meta, n) for n in numbers}
    out |= {f"Equal {u}": equal_compute(tables, meta, key) for key, u in columns.items()}
    if longest(meta) != longest(meta, 1):
        out |= {
            f"Equal {unit} (longer runs)": equal_compute(tables, meta, key, True)
            for key, unit in columns.items()
        }
    out["Equal KL budget"] = equal_kl(tables, meta)
    return {name: table for name, table in out.items() if len(table)}


def usual(arm: dict) -> bool:
    """Whether an arm starts from the SFT base and learns from gold's labels, many or few."""
    return arm["start"] == "sft" and arm["label_set"] in ("gold", f"gold-n{arm['n']}")


def label_arms(meta: dict) -> dict[int, dict[str, str]]:
    """{number of labels: {method: arm}}, the full number under the methods as tuned."""
    found: dict[int, dict[str, str]] = {}
    for arm in meta["arms"]:
        if arm["name"] == arm["method"] or (arm["n"] and not arm["varies"] and usual(arm)):
            found.setdefault(arm["n"] or meta["pairs"], {})[arm["method"]] = arm["name"]
    order = meta["methods"]
    return {n: {m: found[n][m] for m in order if m in found[n]} for n in sorted(found)}


def equal_data(prompts: pd.DataFrame, meta: dict, n: int) -> pd.DataFrame:
    """Methods that learned from n labels, each in its own way, on test prompts."""
    arms, families = label_arms(meta)[n], meta["tuned_families"]
    scores = {method: ms.scores(prompts, arm, "gold", families) for method, arm in arms.items()}
    both = {(a, b): paired(scores[a], scores[b]) for a, b in combinations(arms, 2)}
    return ms.versus(both, ms.margin(prompts, families))


def paired(a: pd.DataFrame, b: pd.DataFrame):
    """Both tables cut to common seeds and prompts; None where there is nothing in common."""
    return ms.paired(a, b) if a.size and b.size else None


def longest(meta: dict, times: float = math.inf) -> dict[str, str]:
    """{method: its arm with the most epochs, at most ``times`` the tuned; as tuned in all else}."""
    found = {}
    for arm in meta["arms"]:
        longer = arm["varies"] == ["epochs"] and not arm["n"] and usual(arm)
        epochs = arm["factors"].get("epochs", 1)
        if (arm["name"] == arm["method"] or longer) and epochs <= times:
            found.setdefault(arm["method"], []).append((epochs, arm["name"]))
    return {method: max(arms)[1] for method, arms in found.items()}


def paths(
    tables: dict, meta: dict, column: str, longer: bool = False
) -> dict[str, dict[int, pd.DataFrame]]:
    """{method: {seed: curve}}: gain on validation prompts against what had been spent by then.

    spent: in the column's unit, with what a run needed beforehand (reward model, reference
    log-probabilities); longer: of a method's runs the longest, which are tuned in all else. Failed
    runs are left out: their paths end early, and so would the budget that all reached.
    """
    curve, cost = tables["curve"], tables["cost"]
    if column not in curve:
        return {}
    rows = curve[curve.family == "all"].merge(ms.ended(tables["runs"])).sort_values("fraction")
    before = ms.charged(cost)
    upfront = (
        before[before.step.isin(["reward", "reference"])].groupby(["arm", "seed"])[column].sum()
    )
    ended = meta | {"arms": [arm for arm in meta["arms"] if arm["name"] in set(rows.arm)]}
    arms = longest(ended, math.inf if longer else 1)
    found, method_of = {}, {arm: method for method, arm in arms.items()}
    for (arm, seed), run in rows.groupby(["arm", "seed"], sort=False):
        if arm in method_of:
            spent = run[column] + upfront.get((arm, seed), 0.0)
            path = pd.DataFrame({"spent": spent, "gain": run.gold - run.gold.iloc[0]})
            found.setdefault(method_of[arm], {})[seed] = path.reset_index(drop=True)
    return {method: found[method] for method in meta["methods"] if method in found}


def budget(*methods: dict[int, pd.DataFrame]) -> float:
    """The most that every run of these methods spent: beyond it one of them has no curve."""
    return min(float(path.spent.iloc[-1]) for runs in methods for path in runs.values())


def begins(runs: dict[int, pd.DataFrame]) -> float:
    """What a method's runs have spent on average before their first step."""
    return float(np.mean([path.spent.iloc[0] for path in runs.values()]))


def gain_at(path: pd.DataFrame, spent: float) -> float:
    """Gain at a budget, linear between points; 0, the SFT base, before training has begun."""
    return float(np.interp(spent, path.spent, path.gain, left=0.0))


def equal_compute(tables: dict, meta: dict, column: str, longer: bool = False) -> pd.DataFrame:
    """Each pair of methods at the largest budget that both reached, ``at``; intervals over seeds
    alone, since curves hold means over prompts. ``waiting``: the one that has not begun to train at
    that budget, since what it needs beforehand takes as much, and so stands at the SFT base."""
    runs, rows = paths(tables, meta, column, longer), []
    for a, b in combinations(runs, 2):
        at = budget(runs[a], runs[b])
        seeds = sorted(runs[a].keys() & runs[b].keys())
        if not seeds:
            continue
        differences = [gain_at(runs[a][s], at) - gain_at(runs[b][s], at) for s in seeds]
        interval = st.over_seeds(differences)
        waiting = next((m for m in (a, b) if begins(runs[m]) >= at), None)
        row = {"a": a, "b": b, "interval": interval, "p": st.p_value(interval)}
        rows.append(row | {"at": at, "waiting": waiting})
    more = {key: [row[key] for row in rows] for key in ("at", "waiting")}
    return ms.decided(rows).assign(**more)


def sweep(tables: dict, meta: dict, method: str) -> pd.DataFrame:
    """The ends of a method's sweep of strengths: arm, and validation means of KL and gold."""
    arms = [
        arm["name"]
        for arm in meta["arms"]
        if arm["method"] == method
        and set(arm["varies"]) <= {"beta"}
        and not arm["n"]
        and usual(arm)
    ]
    rows = ms.ends(tables["curve"]).merge(ms.ended(tables["runs"]))
    rows = rows[rows.arm.isin(arms)]
    return rows.groupby("arm", as_index=False)[["kl", "gold"]].mean().sort_values("kl")


def chosen(ends: pd.DataFrame, kl: float) -> str | None:
    """Of the settings that stay within ``kl`` on validation prompts, the one with the most gold."""
    within = ends[ends.kl <= kl * (1 + 1e-9)]
    return within.loc[within.gold.idxmax(), "arm"] if len(within) else None


def common_range(a: pd.DataFrame, b: pd.DataFrame) -> tuple[float, float] | None:
    """The KL that both sweeps reached; None where they do not overlap."""
    low, high = max(a.kl.min(), b.kl.min()), min(a.kl.max(), b.kl.max())
    return (float(low), float(high)) if low < high else None


def frontier_scores(tables: dict, meta: dict, ends: pd.DataFrame, kls) -> pd.DataFrame:
    """Seeds x prompts: test gold of the settings chosen at each KL, averaged over the KLs."""
    arms = [chosen(ends, kl) for kl in kls]
    families = meta["tuned_families"]
    found = {arm: ms.scores(tables["prompts"], arm, "gold", families) for arm in set(arms)}
    return sum(found[arm] for arm in arms) / len(arms)


def equal_kl(tables: dict, meta: dict) -> pd.DataFrame:
    """Methods along the range of KL that both reached: at each of POINTS budgets of KL the setting
    with the most gold on validation prompts within it, scored on test prompts, averaged. Beyond the
    best one that is the same setting. ``low``, ``high``: the range."""
    ends = {m: sweep(tables, meta, m) for m in meta["methods"]}
    swept = [m for m, e in ends.items() if len(e) > 1]
    ranges = {(a, b): common_range(ends[a], ends[b]) for a, b in combinations(swept, 2)}
    scores = {
        pair: along(tables, meta, [ends[m] for m in pair], found)
        for pair, found in ranges.items()
        if found is not None
    }
    table = ms.versus(scores, ms.margin(tables["prompts"], meta["tuned_families"]))
    found = [ranges[pair] for pair in zip(table.a, table.b, strict=True)]
    return table.assign(low=[low for low, _ in found], high=[high for _, high in found])


def along(tables: dict, meta: dict, ends: list[pd.DataFrame], found: tuple[float, float]):
    """Scores of two methods, each [S, P], along a range of KL; empty where no seed of one of them
    ended at every setting that was chosen."""
    kls = np.linspace(*np.sqrt(found), POINTS) ** 2
    scores = [frontier_scores(tables, meta, end, kls) for end in ends]
    return ms.paired(*(s.dropna() for s in scores))
