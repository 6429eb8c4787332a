"""Draw quality, cost and stability side by side, and the social card."""

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

from bench.analysis import costs
from bench.analysis.measures.stability import spread
from bench.analysis.statistics import Share
from bench.report import style
from bench.report.figure import Figure, counts, interval_note, listing, n_of, signed
from bench.report.marks import LOST, NO_COST, beneath, beside, point, short, unit_scale
from bench.report.style import WIDE
from bench.report.typeface import BOLD
from bench.report.words import fixed, label
from bench.studies.compare import lent
from bench.studies.compare.costs import flops_of
from bench.studies.compare.headline import finding

BARS = "bars: 95 % intervals"
RATIOS = (1.25, 1, 1)
CARD = 6, 3.15  # inches, drawn at 1200 x 630 pixels
ROWS = 8  # the most arms on the card


@dataclass(frozen=True)
class Column:
    """A panel: {arm: (low, mean, high, words)}, words for other arms, the ends of its axis, and the
    format of its numbers."""

    title: str
    axis: str
    found: dict[str, tuple[float, float, float, str]]
    without: str
    ends: tuple[float, float]
    form: str


def _quality(study) -> Column:
    """Return the panel of gold above SFT."""
    found = study.known("gold_delta")
    spans = {a: (i.low, i.mean, i.high, fixed(i.mean, "+.2f")) for a, i in found.items()}
    runs = [gain for arm in found for gain in study.by_seed(arm, "gold_delta")]
    seen = runs + [v for *span, _ in spans.values() for v in span if math.isfinite(v)]
    low, high = min([0, *seen]), max([0, *seen])
    pad = 0.1 * (high - low) or 1
    ends = low - pad, high + pad
    return Column("Quality", "gold above SFT\n(higher is better)", spans, LOST, ends, "+.2f")


def _cost(study) -> Column:
    """Return the panel of FLOPs of a run, with the interval over seeds."""
    found = study.known("flops")
    most = max((i.high if math.isfinite(i.half) else i.mean for i in found.values()), default=1.0)
    size, prefix = unit_scale(most)
    spans = {arm: [v / size for v in (i.low, i.mean, i.high)] for arm, i in found.items()}
    spans = {arm: (*span, short(span[1])) for arm, span in spans.items()}
    axis = f"{prefix}FLOPs of a run\n(lower is better)"
    return Column("Cost", axis, spans, NO_COST, (0, 1.1 * most / size), ".3g")


def _stability(study) -> Column:
    """Return the panel of the share of failures, with its exact interval."""
    found, counted = lent.failures(study)
    spans = {
        arm: (*_percent(share), f"{share.count} of {share.n}")
        for arm, share in found.items()
        if share.n
    }
    axis = f"% of {counted} that failed\n(lower is better)"
    return Column("Stability", axis, spans, "not in the grid", (-5, 100), ".0f")


def _percent(share: Share) -> tuple[float, float, float]:
    """Return low end, rate and high end in %."""
    low, high = share.span
    return 100 * low, 100 * share.count / share.n, 100 * high


def draw(study, pen):
    """Draw three panels that share rows; with many arms, without the small print of each."""
    tight = study.many
    height = 2.1 + (0.26 if tight else 0.46) * len(study.arms)
    figure, axes = pen.panels(3, WIDE, height, sharey=True, width_ratios=RATIOS)
    _, spent, _ = _fill(axes, study, pen, study.arms, tight)
    for y, arm in enumerate(study.arms if not tight else ()):
        _small_print(axes, study, pen, arm, y, spent)
    return figure


def _fill(axes, study, pen, rows: list[str], tight: bool, size: float = 9):
    """Draw the three panels with their marks, and return them; tight: numbers beside marks."""
    columns = (_quality(study), _cost(study), _stability(study))
    for ax, column in zip(axes, columns, strict=True):
        left, right = column.ends
        ax.set_xlim(left, right + 0.3 * tight * (right - left))
        for y, arm in enumerate(rows):
            if arm in column.found:
                point(ax, pen, arm, y, column.found[arm], size, not tight, column.form)
            else:
                _words(ax, pen, y, column.without, size)
        ax.set_title(column.title)
        ax.set_xlabel(column.axis)
        ax.grid(axis="y", visible=False)
        ax.axvline(0, color=pen("muted"), lw=1.2)
    axes[2].set_xticks([0, 50, 100])
    axes[0].set_yticks(range(len(rows)), [label(arm) for arm in rows])
    axes[0].set_ylim(len(rows) - 0.45, -0.75)
    return columns


def _words(ax, pen, y: float, words: str, size: float) -> None:
    """Write quiet words at the left of a row."""
    beside(ax, words, 0, y, 5, fontsize=size, color=pen("muted"))


def _small_print(axes, study, pen, arm: str, y: int, spent: Column) -> None:
    """Draw each seed's gold, seconds and the spread between seeds beneath a row; spent: the panel
    under whose marks the seconds stand."""
    quality, cost, stability = axes
    gains, seconds = study.by_seed(arm, "gold_delta"), study.interval(arm, "cost")
    if len(gains) > 1:
        (ticks,) = quality.plot(
            gains, [y + 0.25] * len(gains), "|", color=pen.of(arm), ms=5, mew=1.2
        )
        pen.told.add(ticks, label(arm), list(gains), seed=list(gains.index))
    if seconds is not None and arm in spent.found:
        words = f"{short(seconds.mean)} {costs.seconds_name(study.meta)}"
        beneath(cost, words, spent.found[arm][1], y + 0.3, fontsize=7.5, color=pen("muted"))
    if len(gains) > 2:
        words = f"SD of gold between seeds: {spread(study.results, arm):.2f}"
        _words(stability, pen, y + 0.3, words, 7.5)


def card(study, title: str, lead: list[str]):
    """Draw the social card: what was compared, the verdict in one sentence, the three panels."""
    rows = sorted(study.arms, key=lambda arm: arm != study.method[arm])[:ROWS]
    cut = [f"{len(rows)} of {len(study.arms)} arms"] if len(rows) < len(study.arms) else []
    pen = style.Pen(study.looks, foot=signed(study, n_of(study), *cut, BARS))
    figure, edge = pen.figure(*CARD), 0.07 / CARD[0]
    words = that_fit(lead, 130)
    size, width = (13, 54) if len(words) <= 108 else (10.5, 68)
    lines = textwrap.wrap(words, width, max_lines=2, placeholder=" …")
    kicker = textwrap.shorten(title, 80, placeholder=" …")
    figure.text(edge, 0.975, kicker, va="top", color=pen("muted"), size=9)
    figure.text(edge, 0.9, "\n".join(lines), va="top", size=size, weight=BOLD)
    figure.get_layout_engine().set(rect=(0, 0, 1, 0.89 - 0.0058 * size * len(lines)))
    axes = figure.subplots(1, 3, sharey=True, width_ratios=RATIOS)
    _fill(axes, study, pen, rows, len(rows) > 4, 8)
    _shrink(axes, len(rows))
    return figure


def that_fit(sentences: list[str], longest: int) -> str:
    """Return as many of the first sentences as fit, but at least the first."""
    first, *rest = sentences
    for sentence in rest:
        if len(first) + len(sentence) >= longest:
            break
        first += f" {sentence}"
    return first


def _shrink(axes, rows: int) -> None:
    """Set smaller words around the panels of the card."""
    axes[0].tick_params(axis="y", labelsize=9 if rows <= 4 else 7)
    for ax in axes:
        ax.tick_params(axis="x", labelsize=8)
        ax.xaxis.label.set_size(8)


def write_card(study, folder: Path, title: str, lead: list[str]) -> Path:
    """Write card.png, 1200 x 630 pixels, and return its path."""
    with style.drawing("card"):
        return style.save_png(card(study, title, lead), folder / "card.png", 1200)


def _failed(study) -> str:
    """Return 'PPO 0 of 5, DPO 1 of 5' for the alt text."""
    found, _ = lent.failures(study)
    return ", ".join(f"{label(arm)} {share.count} of {share.n}" for arm, share in found.items())


FIGURE = Figure(
    "scorecard", "Quality, cost and stability at a glance", draw,
    lambda s: f"Quality: mean gold above SFT; small ticks are single seeds. {interval_note(s)} "
    "Cost: FLOPs of a run, including what it needs beforehand, with the interval over seeds; "
    f"seconds stand beneath. Stability: the share of {lent.failures(s)[1]} that failed, with its "
    "exact 95 % interval; the standard deviation of gold between seeds stands beneath. "
    f"n = {counts(s)}.",
    lambda s: f"Gold above SFT by arm: {listing(s, 'gold_delta')}. FLOPs of a run: {flops_of(s)}. "
    f"Failed {lent.failures(s)[1]}: {_failed(s)}.",
    lambda s: f"{n_of(s)} · {BARS}",
    wide=True, category="Quality", section="answer", finding=finding,
)  # fmt: skip
