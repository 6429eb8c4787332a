"""Analyse the finals: each candidate's mean gain over fresh seeds, and the best of a method."""

import pandas as pd

from bench.analysis import costs, curves
from bench.analysis import statistics as st
from bench.analysis.results import Results, once
from bench.studies.tune.analysis import COUNTED, first_by

RULE = "highest mean gain on validation prompts over fresh seeds, a failed run counting as none"


@once
def runs(results: Results) -> pd.DataFrame:
    """Return a row for each run: arm, method, seed, status, gain, accuracy, and its whole cost.

    gain: gold at the end minus that of the SFT base on the same validation prompts, 0 if the run
    failed: one then keeps the SFT base.
    """
    rows = results.runs[["arm", "method", "seed", "status", "reason"]]
    rows = rows.merge(curves.ends(results), how="left", on=["arm", "seed"])
    last = curves.overall(results).groupby(["arm", "seed"], as_index=False).last()
    rows = rows.merge(last[["arm", "seed", "accuracy"]], how="left", on=["arm", "seed"])
    rows = rows.merge(costs.spent(results, COUNTED), how="left", on=["arm", "seed"])
    failed = rows.status != "ok"
    return rows.assign(gain=rows.gain.mask(failed, 0.0), accuracy=rows.accuracy.mask(failed))


@once
def candidates(results: Results) -> pd.DataFrame:
    """Return a row for each candidate: arm, method, mean gain with its interval over seeds, failed
    runs, mean accuracy, and the settings that it set."""
    sets = {arm.name: arm.sets for arm in results.meta.arms}
    rows = []
    for (method, arm), own in runs(results).groupby(["method", "arm"], sort=False):
        rows.append({
            "arm": arm, "method": method, "gain": own.gain.mean(),
            "interval": st.over_seeds(own.gain), "failed": int((own.status != "ok").sum()),
            "runs": len(own), "accuracy": own.accuracy.mean(), "sets": dict(sets[arm]),
        })  # fmt: skip
    return pd.DataFrame(rows)


def picked(results: Results, by: str = "gain") -> pd.DataFrame:
    """Return the candidate of each method with the most of a column, by RULE; none if all its runs
    failed."""
    rows = candidates(results)
    return first_by(rows[rows.failed < rows.runs], by)
