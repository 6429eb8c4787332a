"""Draw gold gained against KL from SFT: each run's end, the arm's mean, the paths of training."""

import numpy as np

from bench.analysis import curves
from bench.analysis.measures import BY_KEY
from bench.core.names import SFT
from bench.report import labels, marks
from bench.report.figure import Figure, bars, counts, failed_note, interval_note, listing, n_of
from bench.report.style import NARROW
from bench.report.words import label


def draw(study, pen):
    """Draw the ends of runs, with a cross at the last point of a failed run."""
    figure = pen.figure(NARROW, 5.0)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    ax.plot(0, 0, "o", color=pen("muted"), ms=7, clip_on=False)
    ends = {}
    for arm in study.arms:
        if not study.many:
            path(ax, study, pen, arm, "kl")
        _crosses(ax, study, pen, arm)
        if (at := end(ax, study, pen, arm, "kl")) is not None:
            ends[arm] = at
    _join(ax, study, pen, ends)
    marks.kl_axis(ax)
    ax.set_ylabel("gold reward above SFT (higher is better)")
    labels.near(pen, {ax: {SFT: (0, 0)} | ends})
    return figure


def path(ax, study, pen, arm: str, column: str) -> None:
    """Draw the mean path of an arm's training on validation prompts, if its curve has one."""
    rows = curves.of_ended(study.results, arm)
    if len(rows.dropna(subset=[column])):
        mean = rows.groupby("fraction")[[column, "gain"]].mean()
        ax.plot(mean[column], mean.gain, color=pen.of(arm), lw=1.1, alpha=0.75,
                ls=study.looks[arm].line)  # fmt: skip


def end(ax, study, pen, arm: str, measure: str) -> tuple[float, float] | None:
    """Draw the end points of one arm, gold against a measure, and return their mean."""
    across, gained = study.interval(arm, measure), study.interval(arm, "gold_delta")
    if across is None or gained is None:
        return None
    look = pen.marker(arm)
    axis = BY_KEY[measure].label
    if study.seeds > 1:
        seeds = {key: study.by_seed(arm, key) for key in (measure, "gold_delta")}
        (runs,) = ax.plot(measure, "gold_delta", data=seeds, ls="", ms=4.5, alpha=0.55, **look)
        places = {"seed": list(seeds[measure].index), axis: list(seeds[measure])}
        pen.told.add(runs, label(arm), list(seeds["gold_delta"]), **places)
    marks.cross_hair(ax, pen, arm, across, gained)
    (mark,) = ax.plot(across.mean, gained.mean, ls="", ms=9, zorder=4, **look)
    pen.told.add(mark, label(arm), gained, **{axis: across.mean})
    return across.mean, gained.mean


def _crosses(ax, study, pen, arm: str) -> None:
    """Draw a cross at the last point of each failed run; at the start if it left no curve."""
    lost, curve = study.failures, curves.of_arm(study.results, arm)
    for seed in lost[lost.arm == arm].seed:
        rows = curve[curve.seed == seed]
        at = (max(rows.kl.iloc[-1], 0), rows.gain.iloc[-1]) if len(rows) else (0, 0)
        if np.isfinite(at).all():
            ax.plot(*at, "x", color=pen.of(arm), ms=10, mew=2.2, zorder=5, clip_on=False)


def _join(ax, study, pen, ends: dict) -> None:
    """Join the ends of a sweep of strengths, from the least KL to the most: its frontier."""
    for arms in study.sweeps:
        points = sorted(ends[arm] for arm in arms if arm in ends)
        if len(points) > 1:
            ax.plot(*zip(*points, strict=True), color=pen.of(arms[0]), lw=2, alpha=0.9, zorder=2)


def unnamed(study) -> str:
    """Say which variants have no label, if there are many arms."""
    return " Variants that lie too close to others are not named." if study.many else ""


def caption(study) -> str:
    """Say what the marks are."""
    join = " Solid lines join a method's ends at several strengths β." if study.sweeps else ""
    paths = (
        " Thin lines are mean paths of training, on validation prompts; marks are on test prompts, "
        "so a line need not end at its mark."
    )
    paths *= not study.many
    return (
        "Points further up and left gain more gold for less change from the SFT base. Small marks "
        "are the ends of single runs, large marks are means over seeds."
        f"{join}{paths}{unnamed(study)} {interval_note(study)}"
        f"{failed_note(study)} n = {counts(study)}."
    )


def finding(study) -> str:
    """Say who gains most, if that is decided, and who moves furthest from SFT (means)."""
    found, top = study.known("kl"), None if study.few else study.versus.champion()
    if not found:
        return ""
    far = max(found, key=lambda arm: found[arm].mean)
    moved = f"moves furthest from SFT ({found[far].mean:.1f} nats)"
    if top not in found:
        return f"{label(far)} {moved}"
    if top == far:
        return f"{label(top)} gains most and {moved}"
    return f"{label(top)} gains most at {found[top].mean:.1f} nats; {label(far)} {moved}"


FIGURE = Figure(
    "frontier", "Gold reward against distance from SFT", draw, caption,
    lambda s: f"Gold above SFT ({listing(s, 'gold_delta')}) against KL in nats "
    f"({listing(s, 'kl', 1)}).",
    lambda s: f"{n_of(s)} · {bars(s)}",
    category="Quality", section="compute", layered=True, finding=finding,
)  # fmt: skip
