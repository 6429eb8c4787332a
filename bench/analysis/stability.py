"""The study `stability`: what happens to each method around its tuned setting.

A cell is a learning rate and a strength, as factors on the tuned ones; each method has the same
cells. All is judged on validation prompts, by the runs' own curves.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis import measures as ms
from bench.analysis import statistics as st
from bench.analysis.health import by_run
from bench.core.thresholds import ENTROPY_LEFT, GRID_CURVE, MARGIN

BELOW = "below SFT"  # a failure of training, though the run ended


def margin(curve: pd.DataFrame) -> float:
    """MARGIN standard deviations of the SFT base's gold over validation prompts."""
    start = curve[(curve.family == "all") & (curve.fraction == 0)].iloc[0]
    return MARGIN * float(start.gold_se * np.sqrt(start.n))


def cells(tables: dict, meta: dict) -> pd.DataFrame:
    """A row a run: method, factors lr and beta, seed, outcome, gain, KL, drawdown, spikes, ...

    outcome: 'ok', the status of a run that failed, or BELOW. Numbers of a failed run are where it
    was last seen, if anywhere; its gain is missing.
    """
    runs, curve = tables["runs"], tables["curve"]
    columns = ["arm", "method", "seed", "status", "reason", "validation_loss"]
    rows = runs.reindex(columns=columns).merge(ms.ends(curve), how="left", on=["arm", "seed"])
    for key in ("lr", "beta"):
        factors = {arm["name"]: arm["factors"].get(key, 1.0) for arm in meta["arms"]}
        rows[key] = rows.arm.map(factors)
    rows = rows.merge(by_run(tables, GRID_CURVE), how="left", on=["arm", "seed"])
    low = -margin(curve)
    rows["outcome"] = rows.status
    rows.loc[(rows.status == "ok") & (rows.gain < low), "outcome"] = BELOW
    return rows.assign(gain=rows.gain.mask(rows.status != "ok"))


def first_seed(table: pd.DataFrame) -> pd.DataFrame:
    """One run a cell: the seed that most cells have, in a whole study every one."""
    cells = table.groupby("seed").arm.nunique()
    return table[table.seed == cells.idxmax()]


def rates(table: pd.DataFrame, low: float) -> pd.DataFrame:
    """By method, over the cells at the first seed: how many failed, with the exact interval; how
    many beat SFT by the margin ``low``; worst, median and best gain, a run that did not end ranked
    as -inf; the medians of what training looked like."""
    out = []
    for method, rows in first_seed(table).groupby("method", sort=False):
        failed, beat, n = int((rows.outcome != "ok").sum()), int((rows.gain > low).sum()), len(rows)
        spans = st.rate_interval(failed, n), st.rate_interval(beat, n)
        ended, ranked = rows.dropna(subset=["gain"]), rows.gain.fillna(-np.inf)
        row = {"method": method, "n": n, "failed": failed, "beat": beat}
        row |= {"failed_low": spans[0][0], "failed_high": spans[0][1]}
        row |= {"beat_low": spans[1][0], "beat_high": spans[1][1]}
        row |= {"worst": ranked.min(), "median": ranked.median(), "best": ranked.max()}
        row |= {key: rows[key].median() for key in ("drawdown", "spikes", "displacement")}
        row |= {"collapsed": int((rows.entropy_left < ENTROPY_LEFT).sum())}
        out.append(row | {"told": told(ended)})
    return pd.DataFrame(out)


def told(ended: pd.DataFrame) -> float:
    """Spearman's rank correlation across cells of gold with what one would select by without it.

    That is the (negated) loss on held-out pairs, or the reward model's score for a method that
    trains against it. NaN below four cells.
    """
    signal = ended.proxy if ended.validation_loss.isna().all() else -ended.validation_loss
    both = pd.DataFrame({"signal": signal, "gain": ended.gain}).dropna()
    return float(stats.spearmanr(both.signal, both.gain)[0]) if len(both) >= 4 else float("nan")


def compared(found: pd.DataFrame) -> pd.DataFrame:
    """Fisher's exact test of the failure rates of each pair of methods, Holm-corrected."""
    by = found.set_index("method")
    rows = [
        (a, b, st.fisher(by.failed[a], by.n[a], by.failed[b], by.n[b]))
        for a, b in combinations(by.index, 2)
    ]
    table = pd.DataFrame(rows, columns=["a", "b", "p"])
    return table.assign(p_holm=st.holm(table.p))


def spread(table: pd.DataFrame) -> pd.DataFrame:
    """Of the cells with several seeds: method, lr, n, how many failed, SD of gain between seeds."""
    rows = table[table.beta == 1]
    in_order = pd.Categorical(rows.method, rows.method.unique())
    groups = rows.assign(method=in_order).groupby(["method", "lr"], observed=True)
    return groups.agg(
        n=("seed", "size"),
        failed=("outcome", lambda o: int((o != "ok").sum())),
        gain=("gain", "mean"),
        sd=("gain", "std"),
    ).reset_index()
