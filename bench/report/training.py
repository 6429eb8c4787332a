"""Figures of training and of cost: curves with seed bands, seconds by phase, peak memory."""

import math

from bench.analysis.catalogue import BY_KEY
from bench.report.costs import by_phase, shared
from bench.report.quality import seed_band
from bench.report.style import PHASE_COLOURS, label

PANELS = {"gain": "gold_delta", "kl": "kl", "length": "length", "entropy": "entropy",
          "distinct2": "distinct2"}  # column of the curves -> measure  # fmt: skip


def curves(study, pen):
    """Five measures along training, a line an arm, 95 % bands across seeds."""
    figure = pen.figure(9.2, 5.4)
    axes = figure.subplots(2, 3).ravel()
    for ax, (column, key) in zip(axes, PANELS.items(), strict=False):
        for arm in study.arms:
            _curve(ax, study, pen, arm, column)
        ax.set_title(BY_KEY[key].label)
        ax.set_ylabel(BY_KEY[key].unit)
        ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        ax.margins(x=0.03)
    axes[0].axhline(0, color=pen("muted"), lw=1)
    for ax in axes[2:5]:
        ax.set_xlabel("share of the training budget")
    _legend(axes[5], study, pen)
    return figure


def _curve(ax, study, pen, arm: str, column: str) -> None:
    """One arm's line, band and the crosses of its failed runs."""
    rows = study.curve(arm)
    if column not in rows or not len(rows.dropna(subset=[column])):
        return
    failed = set(lost[lost.arm == arm].seed) if len(lost := study.failures) else set()
    lost = rows[rows.seed.isin(failed)].groupby("seed").last()
    ax.plot(lost.fraction, lost[column], "x", color=pen.of(arm), ms=8, mew=2)
    rows = rows[~rows.seed.isin(failed)]
    if not len(rows.dropna(subset=[column])):
        return
    x, mean, low, high = seed_band(rows, column)
    mark = pen.marker(arm)
    if study.many:
        mark |= {"lw": 1.3, "markevery": [-1]}
    else:
        ax.fill_between(x, low, high, color=pen.of(arm), alpha=0.15, lw=0)
    ax.plot(x, mean, ls=study.looks[arm].line, ms=5, **mark)


def _legend(ax, study, pen) -> None:
    """The free panel says which line is whose."""
    ax.axis("off")
    for arm in study.arms:
        ax.plot([], [], ls=study.looks[arm].line, ms=6, label=label(arm), **pen.marker(arm))
    columns = 1 if len(study.arms) <= 8 else 2
    size = 8.5 if study.many else 11
    ax.legend(loc="center", ncols=columns, fontsize=size, handlelength=3.2)


def cost(study, pen):
    """Left: seconds of a run by phase, and those of the steps all share. Right: peak memory."""
    table = by_phase(study, study.second)
    arms = study.arms
    height = 1.9 + 0.36 * (len(arms) + 1)
    figure = pen.figure(9.2, height)
    left, right = figure.subplots(1, 2, width_ratios=(2.6, 1), sharey=True)
    start = {arm: 0.0 for arm in arms}
    for place, phase in enumerate(table):
        _segment(left, pen, table[phase], start, arms, place, phase)
    _shared(left, study, pen, len(arms), 1.25 * max(start.values(), default=0.0))
    for y, arm in enumerate(arms):
        words = f"{start[arm]:,.0f}" if start[arm] else "every run failed"
        left.annotate(words, (start[arm], y), (4, 0), textcoords="offset points", va="center",
                      fontsize=9)  # fmt: skip
    _axes_of_cost(figure, left, study, arms)
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


def _axes_of_cost(figure, ax, study, arms) -> None:
    """Ticks, titles and the legend below."""
    ax.set_yticks([*range(len(arms)), len(arms) + 0.3], [*map(label, arms), "shared"])
    ax.set_ylim(len(arms) + 0.8, -0.6)
    ax.margins(x=0.1)
    ax.grid(axis="y", visible=False)
    ax.set_title("Cost of one run by phase")
    ax.set_xlabel(f"{study.second_name} (lower is better)")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)


def _memory(ax, study, pen, arms) -> None:
    """Peak memory of a run, a dot an arm."""
    for y, arm in enumerate(arms):
        found = study.interval(arm, "memory")
        if found is not None and math.isfinite(found.mean):
            ax.barh(y, found.mean, color=pen.of(arm), height=0.62)
            ax.annotate(f"{found.mean:,.0f}", (found.mean, y), (4, 0), textcoords="offset points",
                        va="center", fontsize=9)  # fmt: skip
    ax.margins(x=0.2)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    ax.set_title("Peak memory of a run")
    ax.set_xlabel(BY_KEY["memory"].unit)
