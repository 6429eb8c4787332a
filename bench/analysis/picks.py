"""Let each run of an arm count at the candidate that other seeds picked.

A rate that suits one model, or one kind of pairs, does not suit another. An arm may therefore have
candidates, arms that differ from it in settings of the method alone. All of them run with every
seed. A run counts at the candidate that gains most on validation prompts over the other seeds: no
setting is picked on the seed that it is compared on, nor on a test prompt.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.analysis import curves
from bench.analysis.results import Pick, Results

OF_RUNS = ("runs", "cost", "curve", "log", "prompts", "variety", "tasks", "items")


def reduced(results: Results) -> Results:
    """Return the results with one arm instead of each arm with candidates; the column `candidate`
    of runs and the field `picks` of Meta say which candidate each run was."""
    names = groups(results)
    if not names:
        return results
    gains = validation(results)
    picks = {arm: picked(results, gains, every) for arm, every in names.items()}
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


def picked(results: Results, gains: pd.DataFrame, names: list[str]) -> Pick:
    """Return which of some candidates each seed counts at: of equal ones, the first."""
    seeds = results.meta.planned[names[0]]
    table = gains.reindex(index=names, columns=seeds)
    means = [table.drop(columns=seed).mean(axis=1).fillna(float("-inf")) for seed in seeds]
    arms = {arm.name: arm for arm in results.meta.arms}
    return Pick(
        picked=[str(mean.idxmax()) for mean in means],
        candidates=names,
        factors=[dict(arms[name].factors) for name in names],
        sets=[dict(arms[name].sets) for name in names],
        gains=[[None if pd.isna(g) else round(float(g), 4) for g in row] for row in table.values],
    )


def _counted(table: pd.DataFrame, runs: dict, gone: set[str]) -> pd.DataFrame:
    """Return the rows that count, under the names of their arms; `was`: the names that they had."""
    keys = list(zip(table.arm, table.seed, strict=True))
    counts = np.array([arm not in gone or (arm, seed) in runs for arm, seed in keys], bool)
    named = [runs.get(key, key[0]) for key in keys]
    return table.assign(arm=named, was=table.arm)[counts].reset_index(drop=True)
