"""Draw what several figures share: points with intervals, bars with numbers, axes of KL and of
cost."""

import math

import numpy as np

from bench.analysis import statistics as st
from bench.report.typeface import BOLD
from bench.report.words import label

LOST = "every run failed"
NO_COST = "no cost known"  # every run failed, or nothing was trained


def point(
    ax, pen, arm: str, y: float, span, size: float = 9, above: bool = True, form: str = "+.2f"
) -> None:
    """Draw a mean, its interval and its number; span: (low, mean, high, words); form: of its ends.

    The limits of the axes must be set before.
    """
    low, mean, high, words = span
    whole = math.isfinite(high - low)
    if whole:
        ax.plot([low, high], [y, y], color=pen.of(arm), lw=2.2)
    (mark,) = ax.plot(mean, y, ms=7.5, clip_on=False, zorder=4, **pen.marker(arm))
    pen.told.add(mark, label(arm), (low, mean, high), form, words)
    left, right = ax.get_xlim()
    share = (mean - left) / (right - left)
    side, move = ("left", -4) if share < 0.15 else ("right", 4) if share > 0.94 else ("center", 0)
    if above:
        behind = {"fc": pen("paper"), "ec": "none", "pad": 0.6}  # so that no line strikes it out
        ax.annotate(words, (mean, y), (move, 6), textcoords="offset points", ha=side, fontsize=size,
                    bbox=behind)  # fmt: skip
    else:
        ax.annotate(words, (high if whole else mean, y), (7, 0), textcoords="offset points",
                    va="center", fontsize=size)  # fmt: skip


def cross_hair(ax, pen, arm: str, across: st.Interval, up: st.Interval) -> None:
    """Draw the intervals of a point in both directions, if it has them."""
    if math.isfinite(up.half):
        ax.plot([across.mean] * 2, [up.low, up.high], color=pen.of(arm), lw=1.5)
    if math.isfinite(across.half):
        ax.plot([across.low, across.high], [up.mean] * 2, color=pen.of(arm), lw=1.5)


def bar_end(ax, pen, found: st.Interval | None, y: float, size: float = 1) -> None:
    """Draw the interval at the end of a bar, and its number; words if there is none.

    size: what the axis divides by.
    """
    if found is None:
        beside(ax, NO_COST, 0, y, fontsize=8.5)
        return
    low, mean, high = (value / size for value in (found.low, found.mean, found.high))
    if math.isfinite(found.half):
        ax.plot([low, high], [y, y], color=pen("ink"), lw=1.2)
    end = high if math.isfinite(found.half) else mean
    beside(ax, short(mean), end, y, fontsize=9, fontweight=BOLD)


def beside(ax, words: str, x: float, y: float, move: float = 4, **look) -> None:
    """Write words to the right of a point."""
    ax.annotate(words, (x, y), (move, 0), textcoords="offset points", va="center", **look)


def beneath(ax, words: str, x: float, y: float, **look) -> None:
    """Write words around x, towards the middle of the axis; its limits must be set before."""
    left, right = ax.get_xlim()
    share = (x - left) / (right - left)
    side = "left" if share < 0.35 else "right" if share > 0.65 else "center"
    ax.annotate(words, (x, y), ha=side, va="center", **look)


def short(value: float) -> str:
    """Format a positive amount with three digits and at most two decimals: '1,234', '29.4'."""
    return f"{value:,.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


def unit_scale(largest: float) -> tuple[float, str]:
    """Return (divisor, prefix) that bring the largest value below a thousand."""
    for size, prefix in ((1e18, "exa"), (1e15, "peta"), (1e12, "tera"), (1e9, "giga")):
        if largest >= size:
            return size, prefix
    return 1.0, ""


def kl_axis(ax) -> None:
    """Make the horizontal axis one of KL, on a square-root scale."""
    ax.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    right = max(ax.dataLim.x1, 1e-3) * 1.18
    ticks = spaced([a * 10.0**n for n in range(-4, 4) for a in (1, 2, 4, 6)], right)
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlim(0, right)
    ax.set_xlabel("KL from the SFT base, nats per sample (square-root scale)")


def spaced(candidates, right: float, gap: float = 0.065) -> list[float]:
    """Return 0 and the candidates up to `right` whose square roots are at least `gap` of the axis
    apart."""
    kept = [0.0]
    for tick in candidates:
        if tick <= right and math.sqrt(tick / right) - math.sqrt(kept[-1] / right) > gap:
            kept.append(tick)
    return kept


def seed_band(rows, column: str):
    """Return fractions, means, lows and highs (NaN below three seeds) over seeds, from rows of
    curves."""
    groups = rows.dropna(subset=[column]).groupby("fraction")[column]
    found = [(fraction, st.over_seeds(values)) for fraction, values in groups]
    band = [(i.low, i.high) if i.seeds >= 3 else (math.nan, math.nan) for _, i in found]
    return [f for f, _ in found], [i.mean for _, i in found], *zip(*band, strict=True)
