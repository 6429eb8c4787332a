"""Figures of training and of cost: curves with seed bands, seconds by phase, peak memory."""

import math

from bench.analysis.catalogue import BY_KEY
from bench.report import labels
from bench.report.costs import bar_end, by_phase, shared
from bench.report.quality import ended, seed_band
from bench.report.style import BAND, PHASE_COLOURS, WIDE, label

PANELS = {"gain": "gold_delta", "kl": "kl", "length": "length", "entropy": "entropy",
          "distinct2": "distinct2"}  # column of the curves -> measure  # fmt: skip
MOSAIC = [["gain", "kl", "length"], ["gain", "entropy", "distinct2"]]


def curves(study, pen):
    """Five measures along training, a line an arm, 95 % bands across seeds."""
    plain = set(study.arms) <= set(study.method.values())  # longer names need the large panel
    figure = pen.figure(WIDE, 5.6)
    axes = figure.subplot_mosaic(MOSAIC, width_ratios=(1.5 if plain else 2, 1, 1))
    ends = {ax: {} for ax in axes.values()}
    for column, ax in axes.items():
        for arm in study.arms:
            if (end := _curve(ax, study, pen, arm, column)) is not None:
                ends[ax][arm] = end
        measure = BY_KEY[PANELS[column]]
        ax.set_title(f"{measure.label} ({measure.unit})")
        ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        ax.margins(x=0.03)
    axes["gain"].axhline(0, color=pen("muted"), lw=1)
    for ax in (axes["gain"], axes["entropy"], axes["distinct2"]):
        ax.set_xlabel("share of the training budget")
    labels.at_ends(pen, ends if plain else {axes["gain"]: ends[axes["gain"]]}, 9 if plain else 8)
    return figure


def _curve(ax, study, pen, arm: str, column: str) -> tuple[float, float] | None:
    """One arm's line, band and the crosses of its failed runs; returns where the line ends."""
    rows, lost = ended(study, arm), study.curve(arm)
    lost = lost[~lost.seed.isin(rows.seed)].groupby("seed").last()
    if column in lost:
        ax.plot(lost.fraction, lost[column], "x", color=pen.of(arm), ms=8, mew=2)
    if column not in rows or not len(rows.dropna(subset=[column])):
        return None
    x, mean, low, high = seed_band(rows, column)
    mark = pen.marker(arm)
    if study.many:
        mark |= {"lw": 1.3, "markevery": [-1]}
    else:
        ax.fill_between(x, low, high, color=pen.of(arm), alpha=BAND, lw=0)
    ax.plot(x, mean, ls=study.looks[arm].line, ms=5, **mark)
    return x[-1], mean[-1]


def cost(study, pen):
    """Left: seconds of a run by phase, and those of the steps all share. Right: peak memory."""
    table = by_phase(study, study.second)
    arms = study.arms
    height = 2.4 + 0.36 * (len(arms) + 1)
    figure = pen.figure(WIDE, height)
    left, right = figure.subplots(1, 2, width_ratios=(2.6, 1), sharey=True)
    start = {arm: 0.0 for arm in arms}
    for place, phase in enumerate(table):
        _segment(left, pen, table[phase], start, arms, place, phase)
    _shared(left, study, pen, len(arms), 1.25 * max(start.values(), default=0.0))
    for y, arm in enumerate(arms):
        bar_end(left, pen, study.interval(arm, "cost"), y)
    _axes_of_cost(left, arms, study.second_name)
    _memory(right, study, pen, arms)
    return figure


def _segment(ax, pen, seconds, start: dict, arms, place: int, phase: str) -> None:
    """The bars of one phase, stacked on `start`, which moves on."""
    colour = pen(PHASE_COLOURS[place % len(PHASE_COLOURS)])
    widths = [float(seconds.get(arm, 0)) for arm in arms]
    ax.barh(range(len(arms)), widths, left=[start[a] for a in arms], color=colour, height=0.62,
            edgecolor=pen("paper"), lw=0.8, label=phase)  # fmt: skip
    for arm, width in zip(arms, widths, strict=True):
        start[arm] += width


def _shared(ax, study, pen, y: int, longest: float) -> None:
    """What all runs share, paid once: hatched, apart from the rest; cut where it is far longer."""
    total = sum(shared(study, study.second).values())
    width = min(total, longest) or total
    cut = " (bar cut short)" if width < total else ""
    ax.barh(y + 0.3, width, color=pen("paper"), edgecolor=pen("muted"), hatch="///", height=0.5,
            lw=0.8, label="shared: base, SFT, pool of pairs (paid once)")  # fmt: skip
    ax.annotate(f"{total:,.0f}{cut}", (width, y + 0.3), (4, 0), textcoords="offset points",
                va="center", fontsize=9)  # fmt: skip


def _axes_of_cost(ax, arms, unit: str) -> None:
    """Ticks, titles and the legend below."""
    from matplotlib.transforms import ScaledTranslation

    ax.set_yticks([*range(len(arms)), len(arms) + 0.3], [*map(label, arms), "shared"])
    ax.set_ylim(len(arms) + 0.8, -0.6)
    ax.margins(x=0.1)
    ax.grid(axis="y", visible=False)
    ax.set_title("One run, by phase")
    ax.set_xlabel(f"{unit} (lower is better)")
    below = ax.transAxes + ScaledTranslation(0, -0.45, ax.figure.dpi_scale_trans)
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, ncols=3,
              fontsize=8.5, borderpad=0, borderaxespad=0)  # fmt: skip


def _memory(ax, study, pen, arms) -> None:
    """Peak memory of a run, a bar an arm."""
    for y, arm in enumerate(arms):
        found = study.interval(arm, "memory")
        if found is not None and math.isfinite(found.mean):
            ax.barh(y, found.mean, color=pen.of(arm), height=0.62)
            bar_end(ax, pen, found, y)
    ax.margins(x=0.2)
    ax.grid(axis="y", visible=False)
    ax.set_title("Peak memory")
    ax.set_xlabel(f"{BY_KEY['memory'].unit} (lower is better)")
