"""The one-glance figure: quality, cost and stability side by side; and the social card."""

import math
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.analysis import statistics as st
from bench.report import style
from bench.report.costs import LOST, flops_of, short, unit_scale
from bench.report.plate import Plate, counts, interval_note, listing, n_of, signed
from bench.report.style import WIDE, label
from bench.report.verdict import fixed

BARS = "bars: 95 % intervals"
RATIOS = (1.25, 1, 1)
CARD = 6, 3.15  # inches, drawn at 1200 x 630 pixels
ROWS = 8  # of the card


@dataclass(frozen=True)
class Column:
    """A panel: {arm: (low, mean, high, words)}, what is said of other arms, where the axis ends."""

    title: str
    axis: str
    found: dict[str, tuple[float, float, float, str]]
    without: str
    ends: tuple[float, float]


def columns(study) -> list[Column]:
    """Quality, cost and stability."""
    return [_quality(study), _cost(study), _stability(study)]


def _quality(study) -> Column:
    """Gold above SFT with its interval."""
    found = {arm: i for arm in study.arms if (i := study.interval(arm, "gold_delta")) is not None}
    spans = {a: (i.low, i.mean, i.high, fixed(i.mean, "+.2f")) for a, i in found.items()}
    seen = [v for *span, _ in spans.values() for v in span if math.isfinite(v)]
    low, high = min([0, *seen]), max([0, *seen])
    pad = 0.1 * (high - low) or 1
    ends = low - pad, high + pad
    return Column("Quality", "gold above SFT\n(higher is better)", spans, LOST, ends)


def _cost(study) -> Column:
    """FLOPs of a run with the interval over seeds."""
    found = {arm: i for arm in study.arms if (i := study.interval(arm, "flops")) is not None}
    most = max((i.mean for i in found.values()), default=1.0)
    size, prefix = unit_scale(most)
    spans = {arm: [v / size for v in (i.low, i.mean, i.high)] for arm, i in found.items()}
    spans = {arm: (*span, short(span[1])) for arm, span in spans.items()}
    axis = f"{prefix}FLOPs of a run\n(lower is better)"
    return Column("Cost", axis, spans, LOST, (0, 1.1 * most / size))


def _stability(study) -> Column:
    """Share of failures with its exact interval."""
    found, counted = failures(study)
    spans = {}
    for arm, (k, n) in found.items():
        low, high = st.rate_interval(k, n)
        spans[arm] = 100 * low, 100 * k / n, 100 * high, f"{k} of {n}"
    axis = f"% of {counted} that failed\n(lower is better)"
    return Column("Stability", axis, spans, "not in the grid", (0, 100))


def failures(study) -> tuple[dict[str, tuple[int, int]], str]:
    """({arm: (failed, of how many)}, what was counted): cells of the grid where there is one."""
    if beside := study.companions.get("stability"):
        rates = beside.rates.itertuples()
        return {r.method: (int(r.failed), int(r.n)) for r in rates}, "cells of the grid"
    return study.failed, "runs"


def scorecard(study, pen):
    """Three panels that share rows; with many arms, without the small print of each."""
    tight = study.many
    figure = pen.figure(WIDE, 2.1 + (0.26 if tight else 0.46) * len(study.arms))
    axes = _panels(figure, study, pen, study.arms, tight)
    for y, arm in enumerate(study.arms if not tight else ()):
        _small_print(axes, study, pen, arm, y)
    return figure


def _panels(figure, study, pen, rows: list[str], tight: bool, size: float = 9):
    """The three axes with their marks; tight: numbers stand beside, not above."""
    axes = figure.subplots(1, 3, sharey=True, width_ratios=RATIOS)
    for ax, column in zip(axes, columns(study), strict=True):
        left, right = column.ends
        ax.set_xlim(left, right + 0.3 * tight * (right - left))
        for y, arm in enumerate(rows):
            if arm in column.found:
                point(ax, pen, arm, y, column.found[arm], size, not tight)
            else:
                _words(ax, pen, y, column.without, size)
        ax.set_title(column.title)
        ax.set_xlabel(column.axis)
        ax.grid(axis="y", visible=False)
        ax.axvline(0, color=pen("muted"), lw=1.2)
    axes[2].set_xticks([0, 50, 100])
    axes[0].set_yticks(range(len(rows)), [label(arm) for arm in rows])
    axes[0].set_ylim(len(rows) - 0.45, -0.75)
    return axes


def point(ax, pen, arm: str, y: float, span, size: float = 9, above: bool = True) -> None:
    """A mean on its interval with its number: (low, mean, high, words); the limits are set."""
    low, mean, high, words = span
    whole = math.isfinite(high - low)
    if whole:
        ax.plot([low, high], [y, y], color=pen.of(arm), lw=2.2)
    ax.plot(mean, y, ms=7.5, clip_on=False, zorder=4, **pen.marker(arm))
    left, right = ax.get_xlim()
    share = (mean - left) / (right - left)
    side, move = ("left", -4) if share < 0.06 else ("right", 4) if share > 0.94 else ("center", 0)
    if above:
        ax.annotate(words, (mean, y), (move, 6), textcoords="offset points", ha=side, fontsize=size)
    else:
        ax.annotate(words, (high if whole else mean, y), (7, 0), textcoords="offset points",
                    va="center", fontsize=size)  # fmt: skip


def _words(ax, pen, y: float, words: str, size: float) -> None:
    """Quiet words at the left of a row."""
    ax.annotate(words, (0, y), (5, 0), textcoords="offset points", va="center", fontsize=size,
                color=pen("muted"))  # fmt: skip


def _small_print(axes, study, pen, arm: str, y: int) -> None:
    """Beneath a row: each seed's gold, seconds, the spread between seeds."""
    quality, cost, stability = axes
    gold, seconds = study.by_seed(arm), study.interval(arm, "cost")
    if len(gold) > 1:
        ticks = study.gains(arm)
        quality.plot(ticks, [y + 0.25] * len(ticks), "|", color=pen.of(arm), ms=5, mew=1.2)
    if seconds is not None:
        _words(cost, pen, y + 0.3, f"{short(seconds.mean)} {study.second_name}", 7.5)
    if len(gold) > 2:
        spread = f"SD of gold between seeds: {np.std(gold, ddof=1):.2f}"
        _words(stability, pen, y + 0.3, spread, 7.5)


def card(study, title: str, headline: str):
    """The social card: what was compared, the verdict in one sentence, the three columns."""
    rows = sorted(study.arms, key=lambda arm: arm != study.method[arm])[:ROWS]
    cut = [f"{len(rows)} of {len(study.arms)} arms"] if len(rows) < len(study.arms) else []
    pen = style.Pen(study.looks, foot=signed(study, n_of(study), *cut, BARS))
    figure, edge = pen.figure(*CARD), 0.07 / CARD[0]
    words = whole_sentences(headline, 130)
    size, width = (13, 54) if len(words) <= 108 else (10.5, 68)
    lines = textwrap.wrap(words, width, max_lines=2, placeholder=" …")
    kicker = textwrap.shorten(title, 80, placeholder=" …")
    figure.text(edge, 0.975, kicker, va="top", color=pen("muted"), size=9)
    figure.text(edge, 0.9, "\n".join(lines), va="top", size=size, weight="bold")
    figure.get_layout_engine().set(rect=(0, 0, 1, 0.89 - 0.0058 * size * len(lines)))
    _shrink(_panels(figure, study, pen, rows, len(rows) > 4, 8), len(rows))
    return figure


def whole_sentences(text: str, longest: int) -> str:
    """As many of the first sentences as fit, but always the first."""
    first, *rest = re.split(r"(?<=[.!?]) ", text)
    for sentence in rest:
        if len(first) + len(sentence) >= longest:
            break
        first += f" {sentence}"
    return first


def _shrink(axes, rows: int) -> None:
    """Smaller words around the panels of the card."""
    axes[0].tick_params(axis="y", labelsize=9 if rows <= 4 else 7)
    for ax in axes:
        ax.tick_params(axis="x", labelsize=8)
        ax.xaxis.label.set_size(8)


def write_card(study, folder: Path, title: str, headline: str) -> Path:
    """card.png, 1200 x 630 pixels."""
    with style.drawing("card"):
        return style.save_png(card(study, title, headline), folder / "card.png", 1200)


def _failed(study) -> str:
    """'PPO 0 of 5, DPO 1 of 5' for the alt text."""
    return ", ".join(f"{label(arm)} {k} of {n}" for arm, (k, n) in failures(study)[0].items())


PLATE = Plate(
    "scorecard", "Quality, cost and stability at a glance", scorecard,
    lambda s: f"Quality: small ticks are seeds. {interval_note(s)} Cost: FLOPs of a run with what "
    "it needed beforehand, interval over seeds, seconds beneath. Stability: the share of "
    f"{failures(s)[1]} that failed, exact 95 % interval; beneath, the standard deviation of gold "
    f"between seeds. n = {counts(s)}.",
    lambda s: f"Gold above SFT by arm: {listing(s, 'gold_delta')}. FLOPs of a run: {flops_of(s)}. "
    f"Failed {failures(s)[1]}: {_failed(s)}.",
    lambda s: f"{n_of(s)} · {BARS}",
    wide=True, category="Quality",
)  # fmt: skip
