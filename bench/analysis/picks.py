"""Let each run of an arm count at the candidate that other seeds picked.

A rate that suits one model, or one kind of pairs, does not suit another. An arm may therefore have
candidates, arms that differ from it in settings of the method alone. All of them run with every
seed. A run counts at the candidate that gains most on validation prompts over the other seeds: no
setting is picked on the seed that it is compared on, nor on a test prompt. Where arms differ in
their SFT base alone, the other bases' runs count as other seeds.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.analysis import curves
from bench.analysis.results import Arm, Pick, Results

OF_RUNS = ("runs", "cost", "curve", "log", "prompts", "variety", "tasks", "items")


def reduced(results: Results) -> Results:
    """Return the results with one arm instead of each arm with candidates; the column `candidate`
    of runs and the field `picks` of Meta say which candidate each run was."""
    names = groups(results)
    if not names:
        return results
    gains = validation(results)
    picks = {arm: picked(results, gains, arm, names) for arm in names}
    runs = {
        (name, seed): arm
        for arm, pick in picks.items()
        for seed, name in zip(results.meta.planned[arm], pick.picked, strict=True)
    }
    gone = {name for every in names.values() for name in every}
    meta = replace(
        results.meta,
        arms=[arm for arm in results.meta.arms if not arm.candidate_of],
        planned={a: s for a, s in results.meta.planned.items() if a in picks or a not in gone},
        picks=picks,
    )
    tables = {name: _counted(getattr(results, name), runs, gone) for name in OF_RUNS}
    tables["runs"] = tables["runs"].rename(columns={"was": "candidate"})
    tables = {name: table.drop(columns="was", errors="ignore") for name, table in tables.items()}
    samples = [
        row | {"arm": runs.get((row["arm"], row["seed"]), row["arm"])}
        for row in results.samples
        if row["arm"] not in gone or (row["arm"], row["seed"]) in runs
    ]
    return replace(results, meta=meta, samples=samples, **tables)


def groups(results: Results) -> dict[str, list[str]]:
    """Return {arm: itself and its candidates} of each arm that has candidates."""
    found: dict[str, list[str]] = {}
    for arm in results.meta.arms:
        if arm.candidate_of:
            found.setdefault(arm.candidate_of, [arm.candidate_of]).append(arm.name)
    return found


def validation(results: Results) -> pd.DataFrame:
    """Return gold above the SFT base on validation prompts [arms x seeds], 0 for a failed run; NaN
    for a run that is missing."""
    rows = results.runs[["arm", "seed", "status"]]
    rows = rows.merge(curves.ends(results), how="left", on=["arm", "seed"])
    gains = rows.gain.where(rows.status == "ok", 0.0)
    return rows.assign(gain=gains).pivot_table(index="arm", columns="seed", values="gain")


def picked(results: Results, gains: pd.DataFrame, arm: str, names: dict[str, list[str]]) -> Pick:
    """Return which of an arm's candidates each of its seeds counts at: of equal ones, the first.

    Arms of the same condition, from other SFT bases, and their candidates are further units.
    """
    arms = {own.name: own for own in results.meta.arms}
    like = [name for name in names if condition(arms[name]) == condition(arms[arm])]
    units = {(name, seed): name for name in like for seed in results.meta.planned[name]}
    table = pd.DataFrame({
        unit: {condition(arms[c]): gains[unit[1]].get(c) for c in names[name]}
        for unit, name in units.items()
    }, dtype=float)  # fmt: skip
    own = {condition(arms[name]): name for name in names[arm]}
    seeds = results.meta.planned[arm]
    means = [table.drop(columns=[(arm, s)]).mean(axis=1).fillna(float("-inf")) for s in seeds]
    return Pick(
        picked=[own[mean.reindex([*own]).idxmax()] for mean in means],
        candidates=names[arm],
        factors=[dict(arms[name].factors) for name in names[arm]],
        sets=[dict(arms[name].sets) for name in names[arm]],
        gains=[
            [
                None if pd.isna(g) else round(float(g), 4)
                for g in gains.reindex([c])[seeds].values[0]
            ]
            for c in names[arm]
        ],
    )


def condition(arm: Arm) -> str:
    """Return the name that an arm shares with arms that differ in their SFT base alone."""
    return arm.condition or arm.name


def _counted(table: pd.DataFrame, runs: dict, gone: set[str]) -> pd.DataFrame:
    """Return the rows that count, under the names of their arms; `was`: the names that they had."""
    keys = list(zip(table.arm, table.seed, strict=True))
    counts = np.array([arm not in gone or (arm, seed) in runs for arm, seed in keys], bool)
    named = [runs.get(key, key[0]) for key in keys]
    return table.assign(arm=named, was=table.arm)[counts].reset_index(drop=True)
