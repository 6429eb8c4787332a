"""Measure stability: how runs end, how much seeds vary, what training looked like."""

import numpy as np

from bench.analysis import curves
from bench.analysis.measure import DOWN, NEITHER, UP, measure
from bench.analysis.measures.quality import gold
from bench.analysis.results import Results
from bench.analysis.statistics import Share
from bench.core.thresholds import MAX_KL_WORDS

CURVE, LOG = "training curve on validation prompts", "training log"


@measure(
    "Failed", "runs", DOWN, interval=False, shown=("scorecard",),
    words=f"Runs whose loss or gradient is not a number, whose KL exceeds {MAX_KL_WORDS}, or that "
    "ran out of memory.",
    made_by=("training/monitor.py:Monitor", "core/thresholds.py:max_kl"),
)  # fmt: skip
def failed(results: Results, arm: str) -> Share:
    """Count the runs of an arm that failed."""
    status = results.runs[results.runs.arm == arm].status
    return Share(int((status != "ok").sum()), results.share_ended(arm).n)


@measure("Seed spread", "SD of gold", DOWN, digits=3, interval=False, shown=("scorecard",))
def spread(results: Results, arm: str) -> float:
    """Standard deviation over seeds of a seed's mean gold."""
    scores = gold(results, arm)
    return float(scores.mean(axis=1).std(ddof=1)) if len(scores) > 1 else np.nan


@measure("Worst seed", "gold", UP, interval=False, shown=("training",))
def worst(results: Results, arm: str) -> float:
    """Lowest mean gold of a seed."""
    scores = gold(results, arm)
    return float(scores.mean(axis=1).min()) if scores.size else np.nan


@measure("Drawdown", "gold", DOWN, source=CURVE, interval=False, shown=("training",))
def drawdown(results: Results, arm: str) -> float:
    """Highest gold of the curve minus the last, mean over runs."""
    return of_training(results, arm, "drawdown")


@measure("Gradient spike", "ratio", DOWN, source=LOG, digits=1, interval=False, shown=("training",))
def spikes(results: Results, arm: str) -> float:
    """Largest gradient norm of training over the median one, mean over runs."""
    return of_training(results, arm, "spikes")


@measure(
    "Displacement", "nats", NEITHER, digits=1, interval=False,
    source=f"{LOG}; Razin et al. 2024, 2410.08847",
)  # fmt: skip
def displacement(results: Results, arm: str) -> float:
    """Change of the mean log-probability of chosen answers, last logged step minus first; of a
    whole answer."""
    return of_training(results, arm, "displacement")


def of_training(results: Results, arm: str, column: str) -> float:
    """Return the mean over an arm's runs of a column of `curves.health`."""
    rows = curves.health(results)
    return float(rows[rows.arm == arm][column].mean())
