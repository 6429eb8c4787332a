"""Analyse what happens to each method around its tuned setting.

A cell is a learning rate and a strength, as factors on the tuned ones; each method has the same
cells, each with the same seeds. All is judged on validation prompts, by the runs' own curves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis import curves
from bench.analysis import statistics as st
from bench.analysis.measure import DOWN, UP, measure
from bench.analysis.results import Results, once
from bench.core.thresholds import ENTROPY_LEFT, GRID_CURVE, MARGIN

OWN = ("critic_lr", "reward.lr")  # rates that only some methods have
VARIED = ("lr", "beta", *OWN)
BELOW = "below SFT"  # the run ended, but training failed


@once
def margins(results: Results) -> pd.DataFrame:
    """Return MARGIN standard deviations of gold over validation prompts at the start of each run:
    arm, seed, margin."""
    start = curves.overall(results)
    start = start[start.fraction == 0]
    return start[["arm", "seed"]].assign(margin=MARGIN * start.gold_se * np.sqrt(start.n))


def margin(results: Results) -> float:
    """Return the margin of a study whose runs start from one SFT base."""
    found = margins(results).margin
    return float(found.iloc[0]) if len(found) else np.nan


@once
def runs(results: Results) -> pd.DataFrame:
    """Return a row per run: arm, method, factors (VARIED), seed, outcome, gain, KL, drawdown, ...

    outcome: 'ok', the status of a failed run, or BELOW. Numbers of a failed run are those of its
    last point, if it has any; its gain is missing.
    """
    columns = ["arm", "method", "seed", "status", "reason", "validation_loss"]
    rows = results.runs[columns].merge(curves.ends(results), how="left", on=["arm", "seed"])
    for key in VARIED:
        rows[key] = rows.arm.map({a.name: a.factors.get(key, 1.0) for a in results.meta.arms})
    rows = rows.merge(curves.health(results, GRID_CURVE), how="left", on=["arm", "seed"])
    rows["outcome"] = rows.status
    below = -rows[["arm", "seed"]].merge(margins(results), how="left").margin.to_numpy()
    rows.loc[(rows.status == "ok") & (rows.gain < below), "outcome"] = BELOW
    return rows.assign(gain=rows.gain.mask(rows.status != "ok"))


def grid(results: Results) -> pd.DataFrame:
    """Return the runs of the grid: all but those at another rate of critic or reward model."""
    rows = runs(results)
    return rows[(rows[list(OWN)] == 1).all(axis=1)]


@once
def own_rates(results: Results) -> pd.DataFrame:
    """Return a row for each other rate of a critic or a reward model, and for the tuned one:
    method, rate, factor, n, failed, and mean and SD of gain."""
    rows, found = runs(results), []
    centre = rows[(rows[list(VARIED)] == 1).all(axis=1)]
    for rate in OWN:
        for method, own in rows[rows[rate] != 1].groupby("method", sort=False):
            every = pd.concat([own, centre[centre.method == method]])
            summed = summary(every.assign(factor=every[rate]).groupby("factor"))
            found.append(summed.assign(method=method, rate=rate))
    return pd.concat(found) if found else pd.DataFrame(columns=["method", "rate", "factor"])


def summary(groups) -> pd.DataFrame:
    """Return n, how many failed, and mean and SD of gain, for each group of runs."""
    return groups.agg(
        n=("seed", "size"),
        failed=("outcome", lambda o: int((o != "ok").sum())),
        gain=("gain", "mean"),
        sd=("gain", "std"),
    ).reset_index()


@measure(
    "Failed on the grid", "runs", DOWN, interval=False,
    words=f"Runs of the stability grid that failed, or ended {MARGIN:g} SDs of the SFT base's gold "
    "below SFT.",
)  # fmt: skip
def failed_runs(rows: pd.DataFrame, low: float) -> st.Share:
    """Count the runs of a method's grid that failed."""
    return st.Share(int((rows.outcome != "ok").sum()), len(rows))


@measure(
    "Ended above SFT", "runs", UP, interval=False,
    words=f"Runs that end {MARGIN:g} SDs of the SFT base's gold above SFT.",
)  # fmt: skip
def beat(rows: pd.DataFrame, low: float) -> st.Share:
    """Count the runs of a method that end by more than ``low`` above the SFT base."""
    return st.Share(int((rows.gain > low).sum()), len(rows))


@measure(
    "Entropy collapse", "runs", DOWN, source="training curve on validation prompts",
    interval=False,
    words=f"Runs that keep less than {100 * ENTROPY_LEFT:.0f} % of the SFT base's entropy.",
)  # fmt: skip
def collapsed(rows: pd.DataFrame, low: float) -> st.Share:
    """Count the runs of a method whose entropy collapsed."""
    return st.Share(int((rows.entropy_left < ENTROPY_LEFT).sum()), len(rows))


@measure("Signal agrees with gold", "rank correlation", UP, interval=False)
def agreement(rows: pd.DataFrame, low: float) -> float:
    """Spearman's rank correlation, across cells, of gold with the signal that one would select by
    without gold: minus the loss on validation pairs, or the reward model's score if training uses
    it. Both are means over the seeds that ended; not computed for fewer than four cells."""
    ended = rows.dropna(subset=["gain"])
    signal = ended.proxy if ended.validation_loss.isna().all() else -ended.validation_loss
    both = ended.assign(signal=signal).groupby("arm")[["signal", "gain"]].mean().dropna()
    return float(stats.spearmanr(both.signal, both.gain)[0]) if len(both) >= 4 else float("nan")


@dataclass(frozen=True)
class Rates:
    """A method on its grid, over all runs.

    by_seed: {seed: how many of its runs failed}; cells: how many there are; worst, median, best: of
    gain, where a run that did not end ranks as -inf; drawdown, spikes, displacement: medians.
    """

    method: str
    by_seed: Mapping[int, st.Share]
    cells: int
    failed: st.Share
    beat: st.Share
    collapsed: st.Share
    agreement: float
    worst: float
    median: float
    best: float
    drawdown: float
    spikes: float
    displacement: float


@once
def rates(results: Results) -> list[Rates]:
    """Return how each method did on its grid."""
    groups = grid(results).groupby("method", sort=False)
    return [_rates(method, rows, margin(results)) for method, rows in groups]


def _rates(method: str, rows: pd.DataFrame, low: float) -> Rates:
    ranked = rows.gain.fillna(-np.inf)
    by_seed = {int(seed): failed_runs(own, low) for seed, own in rows.groupby("seed")}
    return Rates(
        method,
        by_seed,
        rows.groupby(["lr", "beta"]).ngroups,
        *(count(rows, low) for count in (failed_runs, beat, collapsed, agreement)),
        *(float(found) for found in (ranked.min(), ranked.median(), ranked.max())),
        *(float(rows[key].median()) for key in ("drawdown", "spikes", "displacement")),
    )


@dataclass(frozen=True)
class Difference:
    """Two methods' failure rates, compared over seeds with an exact test; p_holm: corrected over
    all pairs."""

    a: Rates
    b: Rates
    p: float
    p_holm: float

    @property
    def worse(self) -> str | None:
        """Return the method that fails more often; None if the test does not tell."""
        if not self.p_holm < 1 - st.LEVEL:
            return None
        return max(self.a, self.b, key=lambda r: r.failed.rate).method


@once
def compared(results: Results) -> list[Difference]:
    """Compare the failure rates of each pair of methods."""
    both = list(combinations(rates(results), 2))
    ps = [st.exchanged(*(_rates_of_seeds(r) for r in pair)) for pair in both]
    rows = zip(both, ps, st.holm(ps), strict=True)
    return [Difference(a, b, p, float(p_holm)) for (a, b), p, p_holm in rows]


def _rates_of_seeds(rates: Rates) -> list[float]:
    """Return the share of a method's cells that failed at each seed: all runs of a seed share its
    pairs and its reward model, so that seeds are the sample, not runs."""
    return [share.rate for share in rates.by_seed.values()]


@once
def spread(results: Results) -> pd.DataFrame:
    """Return method, lr, n, how many failed and the SD of gain, for cells at the tuned strength."""
    rows = grid(results)[grid(results).beta == 1]
    in_order = pd.Categorical(rows.method, rows.method.unique())
    return summary(rows.assign(method=in_order).groupby(["method", "lr"], observed=True))
