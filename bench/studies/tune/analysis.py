"""Analyse the search: every reading, the best of each method, what k trials are worth."""

import math

import pandas as pd

from bench.analysis import costs, curves
from bench.analysis import statistics as st
from bench.analysis.results import Meta, Results, once
from bench.core.thresholds import max_kl

COUNTED = ("flops", "cpu_s", "wall_s")
RULE = "highest gold on validation prompts"


@once
def readings(results: Results) -> pd.DataFrame:
    """Return a row for each point at which a trial was read, and one for a trial that reached none:
    arm, method, number, drawn settings, epochs, gold, gain, KL, accuracy, and cost until then.

    gain: gold minus that of the SFT base on the same prompts; accuracy: on held-out pairs; cost:
    charged FLOPs and seconds of the whole pipeline, reward model included, as if the trial stood
    alone. A trial that failed was read at the points that it had passed before.
    """
    rows = results.runs[["arm", "method", "seed", "status", "reason"]].copy()
    rows["number"] = rows.arm.str.extract(r"(\d+)$").astype(int)
    rows["drawn"] = [drawn(results.meta, arm) for arm in rows.arm]
    points = curves.overall(results)
    starts = points[points.fraction == 0].groupby(["arm", "seed"]).gold.first().rename("start")
    points = points[(points.fraction > 0) & points.gold.notna() & (points.kl <= limit(results))]
    rows = rows.merge(points.drop(columns=["method"]), how="left", on=["arm", "seed"])
    rows = rows.merge(starts.reset_index(), how="left", on=["arm", "seed"])
    rows["gain"] = rows.gold - rows.start
    rows["epochs"] = [
        epochs(results.meta, *pair) for pair in zip(rows.method, rows.fraction, strict=True)
    ]
    return with_preparation(results, rows)


def limit(results: Results) -> float:
    """Return the KL above which a run has failed, in nats."""
    return max_kl(results.meta.decode.get("max_new_tokens", math.inf))


def drawn(meta: Meta, arm: str) -> dict:
    """Return the settings that were drawn for a trial."""
    (found,) = (a for a in meta.arms if a.name == arm)
    return {key: found.sets[key] for key in meta.tune["spaces"][found.method]}


def epochs(meta: Meta, method: str, fraction: float) -> float:
    """Return the epochs at which a trial was read; NaN if they are the method's own or drawn."""
    read = meta.tune["epochs"].get(method)
    return float(f"{fraction * max(read):.6g}") if read else math.nan


def with_preparation(results: Results, rows: pd.DataFrame) -> pd.DataFrame:
    """Add to the cost until each reading that of reward model and reference log-probs."""
    spent = costs.prepared(results, COUNTED)
    extra = spent.reindex(pd.MultiIndex.from_frame(rows[["arm", "seed"]])).fillna(0.0).to_numpy()
    return rows.assign(**{c: rows[c].to_numpy() + extra[:, i] for i, c in enumerate(COUNTED)})


@once
def trials(results: Results) -> pd.DataFrame:
    """Return a row for each trial: its best reading, and the cost of all of it."""
    rows = readings(results)
    best = rows.loc[rows.gold.fillna(-math.inf).groupby(rows.arm, sort=False).idxmax()]
    costed = best.drop(columns=list(COUNTED))
    return costed.merge(costs.spent(results, COUNTED), how="left", on=["arm", "seed"])


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


def picked(table: pd.DataFrame, by: str = "gold") -> pd.DataFrame:
    """Return the row of each method with the most of a column; none if all its trials failed."""
    return first_by(table.dropna(subset=["gold"]), by)


def first_by(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return the row of each method with the most of a column, of those that have it."""
    known = table.dropna(subset=[by])
    return known.loc[known.groupby("method", sort=False)[by].idxmax()].set_index("method")


def best(table: pd.DataFrame, method: str, n: int) -> pd.DataFrame:
    """Return the n trials of a method with the most gold, the best first."""
    rows = table[table.method == method].dropna(subset=["gold"])
    return rows.nlargest(n, "gold", keep="first")


def within(table: pd.DataFrame, trials: int) -> pd.DataFrame:
    """Return the first trials of each method, as many for each."""
    return table[table.number <= trials]


def settings(row) -> dict:
    """Return all settings of a reading: what was drawn for its trial, and its epochs."""
    return dict(row.drawn) | ({"epochs": row.epochs} if math.isfinite(row.epochs) else {})


def best_of(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """Return the expected best gain of k = 1..n trials, and the FLOPs and seconds that they take.

    A trial that failed or ended below SFT counts as no gain: one then keeps the SFT base.
    """
    rows = table[table.method == method]
    gains = rows.gain.fillna(0.0).clip(lower=0.0)
    k, best = st.best_of(gains)
    costs = {c: k * rows[c].mean() for c in COUNTED if c in rows}
    return pd.DataFrame({"k": k, "gain": best} | costs)


def near_an_end(low: float, high: float, value: float) -> bool:
    """Return True if a value lies in the outer tenth of its space, or at an end of it."""
    place = math.log(value / low) / math.log(high / low)
    return not 0.1 <= place <= 0.9
