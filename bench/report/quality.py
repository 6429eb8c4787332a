"""Figures of quality: gold against KL, gold against proxy. Pure functions."""

import math

import numpy as np
import pandas as pd

from bench.analysis import statistics as st
from bench.report import labels
from bench.report.costs import LOST
from bench.report.style import NARROW, SFT


def frontier(study, pen):
    """Gold gained against KL spent: each seed's end, the arm's mean with intervals, the paths."""
    figure = pen.figure(NARROW, 5.0)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    ax.plot(0, 0, "o", color=pen("muted"), ms=7, clip_on=False)
    ends = {}
    for arm in study.arms:
        if not study.many:
            _path(ax, study, pen, arm, "kl")
        _crosses(ax, study, pen, arm)
        if (end := _end(ax, study, pen, arm, "kl")) is not None:
            ends[arm] = end
    _join(ax, study, pen, ends)
    root_axis(ax)
    ax.set_ylabel("gold reward above SFT (higher is better)")
    labels.near(pen, {ax: {SFT: (0, 0)} | ends})
    return figure


def root_axis(ax) -> None:
    """An axis of KL whose length is the square root of KL."""
    ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    right = max(ax.dataLim.x1, 1e-3) * 1.18
    ticks = spaced([a * 10.0**n for n in range(-4, 4) for a in (1, 2, 4, 6)], right)
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlim(0, right)
    ax.set_xlabel("KL from the SFT base, nats a sample (square-root scale)")


def spaced(candidates, right: float, gap: float = 0.065) -> list[float]:
    """0 and those candidates up to `right` whose square roots lie apart by a share of the axis."""
    kept = [0.0]
    for tick in candidates:
        if tick <= right and math.sqrt(tick / right) - math.sqrt(kept[-1] / right) > gap:
            kept.append(tick)
    return kept


def _path(ax, study, pen, arm: str, column: str) -> None:
    """The mean path of an arm's training on validation prompts, thin, where its curve has that."""
    rows = ended(study, arm)
    if column in rows and len(rows.dropna(subset=[column])):
        mean = rows.groupby("fraction")[[column, "gain"]].mean()
        ax.plot(mean[column], mean.gain, color=pen.of(arm), lw=1.1, alpha=0.75,
                ls=study.looks[arm].line)  # fmt: skip


def _crosses(ax, study, pen, arm: str) -> None:
    """A cross where a failed run was last seen; at the start if it left no curve."""
    lost, curve = study.failures, study.curve(arm)
    for seed in lost[lost.arm == arm].seed if len(lost) else ():
        rows = curve[curve.seed == seed]
        at = (max(rows.kl.iloc[-1], 0), rows.gain.iloc[-1]) if len(rows) else (0, 0)
        if np.isfinite(at).all():
            ax.plot(*at, "x", color=pen.of(arm), ms=10, mew=2.2, zorder=5, clip_on=False)


def _end(ax, study, pen, arm: str, column: str) -> tuple[float, float] | None:
    """The end points of one arm, gold against a measure; returns their mean."""
    across, gained = study.interval(arm, column), study.interval(arm, "gold_delta")
    if across is None or gained is None:
        return None
    mark = pen.marker(arm)
    if study.seeds > 1:
        seeds = {column: study.by_seed(arm, column), "gain": study.gains(arm)}
        ax.plot(column, "gain", data=pd.DataFrame(seeds), ls="", ms=4.5, alpha=0.55, **mark)
    cross_hair(ax, pen, arm, across, gained)
    ax.plot(across.mean, gained.mean, ls="", ms=9, zorder=4, **mark)
    return across.mean, gained.mean


def cross_hair(ax, pen, arm: str, across: st.Interval, up: st.Interval) -> None:
    """The intervals of a point in both directions, where it has them."""
    if math.isfinite(up.half):
        ax.plot([across.mean] * 2, [up.low, up.high], color=pen.of(arm), lw=1.5)
    if math.isfinite(across.half):
        ax.plot([across.low, across.high], [up.mean] * 2, color=pen.of(arm), lw=1.5)


def _join(ax, study, pen, ends: dict) -> None:
    """Join the ends of a sweep of strengths, from the least KL to the most: its frontier."""
    for arms in study.sweeps:
        points = sorted(ends[arm] for arm in arms if arm in ends)
        if len(points) > 1:
            ax.plot(*zip(*points, strict=True), color=pen.of(arms[0]), lw=2, alpha=0.9, zorder=2)


def overoptimisation(study, pen):
    """Gold gained against the proxy reward, in SDs of the pool's answers; thin: the way there."""
    figure = pen.figure(NARROW, 4.6)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    ax.axvline(0, color=pen("muted"), lw=1)
    ends = {}
    for arm in study.arms:
        _path(ax, study, pen, arm, "proxy")
        if (end := _end(ax, study, pen, arm, "proxy")) is not None:
            ends[arm] = end
    ax.set_xlabel("proxy reward, SDs above the pool's mean, by the seed's reward model")
    ax.set_ylabel("gold reward above SFT (higher is better)")
    ax.margins(0.1)
    if not ends:
        labels.nothing(ax, pen, LOST)
    labels.near(pen, {ax: ends})
    return figure


def ended(study, arm: str) -> pd.DataFrame:
    """The training curve of an arm's runs that ended; see `Study.curve`."""
    rows, lost = study.curve(arm), study.failures
    return rows[~rows.seed.isin(lost[lost.arm == arm].seed)] if len(lost) else rows


def seed_band(rows, column: str):
    """Of curve rows: fractions, mean, low, high (NaN below three seeds) over seeds."""
    groups = rows.dropna(subset=[column]).groupby("fraction")[column]
    found = [(fraction, st.over_seeds(values)) for fraction, values in groups]
    band = [(i.low, i.high) if i.seeds >= 3 else (math.nan, math.nan) for _, i in found]
    return [f for f, _ in found], [i.mean for _, i in found], *zip(*band, strict=True)
