"""Read conditions out of a study's results, as tables with a row for each unit.

A unit is an SFT base: runs from it with several seeds are averaged. A run that failed counts as no
gain, since one keeps the SFT base; one that was never made is left out.
"""

from collections.abc import Sequence

import pandas as pd

from bench.analysis import costs, curves
from bench.analysis.results import Arm, Results, once
from bench.analysis.statistics import Interval
from bench.core.grouping import grouped
from bench.studies.claims.conditions import condition as condition_of
from bench.studies.claims.effects import over, paired


@once
def arms_of(results: Results) -> dict[str, list[Arm]]:
    """Return {condition: its arms, one for each SFT base}."""
    return grouped((condition_of(arm.name), arm) for arm in results.meta.arms)


def unit(arm: Arm) -> str:
    """Return what tells arms of a condition apart: '' or '-sft2'."""
    return arm.name.removeprefix(condition_of(arm.name))


@once
def statuses(results: Results) -> dict[tuple[str, int], str]:
    """Return {(arm, seed): status} of the runs that were made."""
    return {(row.arm, row.seed): row.status for row in results.runs.itertuples()}


@once
def gains(results: Results, condition: str, family: str = "", column: str = "gold") -> pd.DataFrame:
    """Return how far a column of `prompts` lies above the own SFT base's [units x prompts].

    family: of the prompts; "": those that methods learn.
    """
    rows = {}
    for arm in arms_of(results).get(condition, ()):
        scores, start = (_scores(results, name, family, column) for name in (arm.name, arm.base))
        own = []
        for seed in results.meta.planned[arm.name]:
            status = statuses(results).get((arm.name, seed))
            if status == "ok" and seed in scores.index:
                own.append(scores.loc[seed] - start.iloc[0])
            elif status and status != "ok":
                own.append(start.iloc[0] * 0.0)
        if own:
            rows[unit(arm)] = pd.DataFrame(own).mean()
    return pd.DataFrame(rows).T.dropna(axis=1)


def changes(results: Results, condition: str, column: str) -> pd.DataFrame:
    """Return how far a column of `prompts` lies above the own SFT base's [units x prompts]."""
    return gains(results, condition, "", column)


def golds(results: Results, condition: str) -> pd.DataFrame:
    """Return the gold [units x prompts] of a condition's runs that ended."""
    found = {unit(arm): results.scores(arm.name) for arm in arms_of(results)[condition]}
    rows = {name: scores.mean() for name, scores in found.items() if len(scores)}
    return pd.DataFrame(rows).T.dropna(axis=1)


def right(results: Results, condition: str, task: str) -> pd.DataFrame:
    """Return the scores of a condition on single documents of lm-eval [units x documents]. Runs
    that failed are left out."""
    rows, items = {}, results.items[results.items.task == task]
    for arm in arms_of(results)[condition]:
        own = items[items.arm == arm.name]
        if len(own):
            rows[unit(arm)] = own.groupby("item").value.mean()
    return pd.DataFrame(rows).T.dropna(axis=1)


def _scores(results: Results, arm: str, family: str, column: str) -> pd.DataFrame:
    if not family:
        return results.scores(arm, column)
    rows = results.prompts[(results.prompts.arm == arm) & (results.prompts.family == family)]
    return rows.pivot_table(index="seed", columns="prompt_id", values=column)


def gain(results: Results, condition: str, family: str = "") -> Interval:
    """Return the interval of a condition's gain."""
    return over(gains(results, condition, family))


def difference(results: Results, a: str, b: str, without: Sequence[str] = ()) -> Interval:
    """Return the interval of the gain of a minus that of b, on the units and prompts of both.

    without: units to leave out.
    """
    return over(paired(gains(results, a), gains(results, b)).drop(list(without), errors="ignore"))


def failed(results: Results, conditions) -> tuple[int, int]:
    """Return how many runs of some conditions failed, and how many there are."""
    names = {arm.name for name in conditions for arm in arms_of(results).get(name, ())}
    own = [status for (arm, _), status in statuses(results).items() if arm in names]
    return sum(status != "ok" for status in own), len(own)


@once
def validation(results: Results) -> pd.DataFrame:
    """Return a row per run: gain on validation prompts, accuracy and loss on held-out pairs."""
    last = curves.overall(results).groupby(["arm", "seed"], as_index=False).last()
    rows = results.runs[["arm", "method", "seed", "status", "validation_loss"]]
    rows = rows.merge(curves.ends(results)[["arm", "seed", "gain"]], how="left", on=["arm", "seed"])
    return rows.merge(last[["arm", "seed", "accuracy"]], how="left", on=["arm", "seed"])


def flops(results: Results, condition: str) -> pd.Series:
    """Return the FLOPs of each unit of a condition, all that a run is charged for included."""
    spent = costs.spent(results, ("flops",)).set_index(["arm", "seed"]).flops
    return by_unit(results, condition, spent)


def seconds(results: Results, condition: str) -> pd.Series:
    """Return the seconds of each unit of a condition, all that a run is charged for included."""
    column = costs.seconds(results.meta)
    spent = costs.spent(results, (column,)).set_index(["arm", "seed"])[column]
    return by_unit(results, condition, spent)


def by_unit(results: Results, condition: str, values: pd.Series) -> pd.Series:
    """Return values of runs, by (arm, seed), as those of a condition's units, means over seeds."""
    names = {arm.name: unit(arm) for arm in arms_of(results)[condition]}
    own = values[[arm in names for arm, _ in values.index]].astype(float)
    return own.groupby([names[arm] for arm, _ in own.index]).mean()


def log_probability(results: Results, condition: str) -> pd.Series:
    """Return the log-probability in nats that each unit's start gives the chosen answers of its
    pairs, a mean over those of the first batch."""
    first = results.log[results.log.step == 1].set_index(["arm", "seed"]).logps_chosen
    return by_unit(results, condition, first)


def variety(results: Results, arm: str) -> pd.DataFrame:
    """Return how far an arm's answers to one prompt differ: gold, between, means over seeds; of an
    SFT base a row for each number of answers of which the best is taken, by rising gold."""
    rows = results.variety[(results.variety.arm == arm) & results.variety.best_of.notna()]
    means = rows.astype({"gold": float, "between": float}).groupby("best_of")
    return means[["gold", "between"]].mean().sort_values("gold")
