"""Figures of quality: gain over SFT, gold against KL, gold against proxy. Pure functions."""

import math

import numpy as np
import pandas as pd

from bench.analysis import statistics as st
from bench.report.style import SFT, label


def gain(study, pen):
    """A row an arm: mean gold above SFT with its 95 % interval, a small mark a seed."""
    arms = study.arms
    figure = pen.figure(7.4, 1.3 + 0.42 * len(arms))
    ax = figure.subplots()
    ax.axvline(0, color=pen("muted"), lw=1.2)
    for y, arm in enumerate(arms):
        _gain_row(ax, study, pen, arm, y)
    ax.set_yticks(range(len(arms)), [label(a) for a in arms])
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.12)
    ax.set_xlabel("gold reward above the SFT base, same prompts (higher is better)")
    ax.set_title("Gold reward above SFT")
    return figure


def _gain_row(ax, study, pen, arm: str, y: int) -> None:
    """One arm of `gain`; words where it has no finished run."""
    found = study.interval(arm, "gold_delta")
    if found is None:
        ax.text(0, y, "  every run failed", va="center", color=pen("muted"))
        return
    seeds = study.by_seed(arm) - study.base_gold
    ax.plot(seeds, [y + 0.24] * len(seeds), "|", color=pen.of(arm), ms=6, mew=1.2)
    if math.isfinite(found.half):
        ax.plot([found.low, found.high], [y, y], color=pen.of(arm), lw=2.4, solid_capstyle="butt")
    ax.plot(found.mean, y, ms=8, **pen.marker(arm))
    ax.annotate(f"{found.mean:+.2f}", (found.mean, y), (0, 7), textcoords="offset points",
                ha="center", fontsize=9)  # fmt: skip


def frontier(study, pen):
    """Gold gained against KL spent: each seed's end, the arm's mean with intervals, the paths."""
    figure = pen.figure(7.4, 5.0)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    ax.plot(0, 0, "o", color=pen("muted"), ms=7)
    ends = {}
    for arm in study.arms:
        if not study.many:
            _paths(ax, study, pen, arm)
        _crosses(ax, study, pen, arm)
        if (end := _end(ax, study, pen, arm)) is not None:
            ends[arm] = end
    _join(ax, study, pen, ends)
    root_axis(ax)
    ax.set_ylabel("gold reward above SFT")
    ax.set_title("Gold reward against distance from SFT")
    place_labels(figure, ax, pen, {SFT: (0, 0)} | ends)
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


def _paths(ax, study, pen, arm: str) -> None:
    """The mean path of an arm's training on held-out prompts, thin."""
    rows = study.curve(arm)
    if len(rows):
        mean = rows.groupby("fraction")[["kl", "gain"]].mean()
        ax.plot(mean.kl.clip(lower=0), mean.gain, color=pen.of(arm), lw=1.1, alpha=0.75,
                ls=study.looks[arm].line)  # fmt: skip


def _crosses(ax, study, pen, arm: str) -> None:
    """A cross where a failed run was last seen; at the start if it left no curve."""
    lost, curve = study.failures, study.curve(arm)
    for seed in lost[lost.arm == arm].seed if len(lost) else ():
        rows = curve[curve.seed == seed]
        at = (max(rows.kl.iloc[-1], 0), rows.gain.iloc[-1]) if len(rows) else (0, 0)
        if np.isfinite(at).all():
            ax.plot(*at, "x", color=pen.of(arm), ms=10, mew=2.2, zorder=5, clip_on=False)


def _end(ax, study, pen, arm: str) -> tuple[float, float] | None:
    """The end points of one arm; returns their mean (KL, gain)."""
    kl, gained = study.interval(arm, "kl"), study.interval(arm, "gold_delta")
    if kl is None or gained is None:
        return None
    mark = pen.marker(arm)
    if study.seeds > 1:
        seeds = study.by_seed(arm, "kl"), study.by_seed(arm) - study.base_gold
        ax.plot(*seeds, ls="", ms=4.5, alpha=0.55, **mark)
    if math.isfinite(gained.half):
        ax.plot([kl.mean] * 2, [gained.low, gained.high], color=pen.of(arm), lw=1.6)
    if math.isfinite(kl.half):
        ends = [max(kl.low, 0), kl.high]
        ax.plot(ends, [gained.mean] * 2, color=pen.of(arm), lw=1.6)
    ax.plot(kl.mean, gained.mean, ls="", ms=9, zorder=4, **mark)
    return kl.mean, gained.mean


def _join(ax, study, pen, ends: dict) -> None:
    """Join the ends of a sweep of strengths, from the least KL to the most: its frontier."""
    for arms in study.sweeps:
        points = sorted(ends[arm] for arm in arms if arm in ends)
        if len(points) > 1:
            ax.plot(*zip(*points, strict=True), color=pen.of(arms[0]), lw=2, alpha=0.9, zorder=2)


def place_labels(figure, ax, pen, points: dict, gap: float = 13, reach: float = 90) -> None:
    """Names beside their points, pushed up where they would overlap (pixels).

    A variant's is left out where that would take it further than two lines from its point.
    """
    figure.draw_without_rendering()  # fixes the layout, so that pixels mean something
    taken = []
    pixel = {arm: ax.transData.transform(point) for arm, point in points.items()}
    plain = {arm for arm in points if arm not in pen.looks or pen.looks[arm].filled}
    for arm in sorted(pixel, key=lambda a: (a not in plain, pixel[a][1])):
        x, y = pixel[arm]
        up = y + 6
        while any(abs(up - v) < gap and abs(x - u) < reach for u, v in taken):
            up += 2
        if arm not in plain and up - y > 6 + 2 * gap:
            continue
        taken.append((x, up))
        scale = 72 / figure.dpi
        right = x > ax.bbox.x1 - 60
        ax.annotate(label(arm), points[arm], ((-9 if right else 9), (up - y) * scale),
                    textcoords="offset points", ha="right" if right else "left", va="bottom",
                    fontsize=9.5, color=pen.of(arm), fontweight="bold", zorder=6)  # fmt: skip


def overoptimisation(study, pen):
    """Gold gained against the proxy reward, in SDs of SFT samples; thin: the way there."""
    figure = pen.figure(7.4, 4.4)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    ax.axvline(0, color=pen("muted"), lw=1)
    ends = {}
    for arm in study.arms:
        proxy, gold = proxy_ends(study, arm)
        _proxy_path(ax, study, pen, arm)
        if len(proxy):
            ax.plot(proxy, gold, ls="", ms=4.5, alpha=0.55, **pen.marker(arm))
            ends[arm] = float(proxy.mean()), float(gold.mean())
            ax.plot(*ends[arm], ls="", ms=9, zorder=4, **pen.marker(arm))
    ax.set_xlabel("proxy reward: SDs above the mean of SFT samples, by the seed's reward model")
    ax.set_ylabel("gold reward above SFT")
    ax.set_title("What the reward model sees against what is true")
    ax.margins(0.1)
    place_labels(figure, ax, pen, ends)
    return figure


def proxy_ends(study, arm: str):
    """(proxy in SDs, gold above SFT), a value a seed that has both."""
    both = {"proxy": study.by_seed(arm, "proxy"), "gold": study.by_seed(arm) - study.base_gold}
    table = pd.DataFrame(both).dropna()
    return table.proxy, table.gold


def _proxy_path(ax, study, pen, arm: str) -> None:
    """The mean path of an arm that trains against the proxy, and so has it in its curve."""
    rows = study.curve(arm)
    if "proxy" in rows and len(rows.dropna(subset=["proxy"])):
        mean = rows.groupby("fraction")[["proxy", "gain"]].mean()
        ax.plot(mean.proxy, mean.gain, color=pen.of(arm), lw=1.1, alpha=0.75,
                ls=study.looks[arm].line)  # fmt: skip


def seed_band(rows, column: str):
    """Of curve rows: fractions, mean, low, high (NaN below three seeds) over seeds."""
    groups = rows.dropna(subset=[column]).groupby("fraction")[column]
    found = [(fraction, st.over_seeds(values)) for fraction, values in groups]
    band = [(i.low, i.high) if i.seeds >= 3 else (math.nan, math.nan) for _, i in found]
    return [f for f, _ in found], [i.mean for _, i in found], *zip(*band, strict=True)
