"""Draw gold gained against the proxy reward: does gold rise with the reward model's score?"""

import math

from bench.analysis.measures.stability import drawdown
from bench.report import labels, marks
from bench.report.figure import Figure, bars, counts, interval_note, listing, n_of
from bench.report.style import NARROW
from bench.report.words import label
from bench.studies.compare.figures.frontier import end, path, unnamed


def draw(study, pen):
    """Draw gold against the proxy, in SDs of the pool's answers, with thin paths of training."""
    figure = pen.figure(NARROW, 4.6)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    ax.axvline(0, color=pen("muted"), lw=1)
    ends = {}
    for arm in study.arms:
        path(ax, study, pen, arm, "proxy")
        if (at := end(ax, study, pen, arm, "proxy")) is not None:
            ends[arm] = at
    ax.set_xlabel("proxy reward, SDs above the pool's mean, by the seed's reward model")
    ax.set_ylabel("gold reward above SFT (higher is better)")
    ax.margins(0.1)
    if not ends:
        labels.nothing(ax, pen, marks.LOST)
    labels.near(pen, {ax: ends})
    return figure


def finding(study) -> str:
    """Say which arm's gold falls furthest from its best point of training."""
    fell = {arm: drawdown(study.results, arm) for arm in study.arms}
    fell = {arm: by for arm, by in fell.items() if math.isfinite(by)}
    if not fell:
        return ""
    worst = max(fell, key=fell.get)
    most = f"{fell[worst]:.2f} at most ({label(worst)})"
    return f"As tuned, gold ends below its best point of training by {most}"


FIGURE = Figure(
    "overoptimisation", "Gold reward against the reward model's score", draw,
    lambda s: "A path that goes right without going up is over-optimisation: the reward model's "
    "score rises and gold does not. Thin lines are mean paths of arms that train against it, "
    f"on validation prompts; marks, on test prompts. {interval_note(s)}{unnamed(s)} "
    f"n = {counts(s)}.",
    lambda s: f"Gold above SFT against the reward model's score: {listing(s, 'gold_delta')}.",
    lambda s: f"{n_of(s)} · {bars(s)}",
    category="Quality", section="reward", layered=True, finding=finding,
)  # fmt: skip
