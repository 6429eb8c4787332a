"""Analyse the search: a row per trial, the best of each method, and what k trials are worth."""

import json

import pandas as pd

from bench.analysis import costs, curves
from bench.analysis import statistics as st
from bench.analysis.results import Results, once

COUNTED = ("flops", "cpu_s", "wall_s")
RULE = "highest gold on validation prompts at the end of training"


@once
def trials(results: Results) -> pd.DataFrame:
    """Return arm, method, number, status, drawn settings, gold at the end, gain, KL and cost by
    trial.

    gain: gold minus that of the SFT base on the same prompts; cost: charged FLOPs and seconds of
    the whole pipeline, reward model included, as if the trial stood alone.
    """
    columns = ["arm", "method", "seed", "status", "reason", "settings"]
    rows, spaces = results.runs[columns].copy(), results.meta.tune["spaces"]
    rows["number"] = rows.arm.str.extract(r"(\d+)$").astype(int)
    rows["drawn"] = [
        {key: json.loads(text)[key] for key in spaces[method]}
        for method, text in zip(rows.method, rows.settings, strict=True)
    ]
    rows = rows.drop(columns="settings").merge(curves.ends(results), how="left", on=["arm", "seed"])
    rows = rows.merge(costs.spent(results, COUNTED), how="left", on=["arm", "seed"])
    failed = rows.status != "ok"
    return rows.assign(gain=rows.gain.mask(failed), gold=rows.gold.mask(failed))


@once
def recorded(results: Results) -> pd.DataFrame:
    """Return the trials behind a testbed's settings, as `tuned.yaml` keeps them: method, gain,
    cost.

    The cost is the mean of the method's trials. There are no rows if the settings are not from a
    search.
    """
    rows, meta = [], results.meta
    known = (meta.provenance or {}).get("methods") or {}
    for method in (m for m in meta.methods if m in known):
        found = known[method]
        means = {key: found[key] / found["trials"] for key in COUNTED}
        rows += [{"method": method, "gain": gain} | means for gain in found.get("gains", [])]
    table = pd.DataFrame(rows, columns=["method", "gain", *COUNTED])
    return table.astype({"gain": float})


def picked(table: pd.DataFrame) -> pd.DataFrame:
    """Return the best trial of each method by RULE; a method whose trials all failed has none."""
    ended = table.dropna(subset=["gold"])
    return ended.loc[ended.groupby("method", sort=False).gold.idxmax()].set_index("method")


def best_of(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return the expected best gain of k = 1..n trials, and the FLOPs and seconds that they take.

    A failed trial counts as no gain: one then keeps the SFT base.
    """
    rows = table[table.method == method]
    gains = rows.gain.fillna(0.0).clip(lower=0.0)
    k, best = st.best_of(gains)
    costs = {c: k * rows[c].mean() for c in COUNTED if c in rows}
    return pd.DataFrame({"k": k, "gain": best} | costs)
