"""Draw where the cost of a run comes from: each phase starts where the last ended."""

import math

import pandas as pd

from bench.analysis.costs import spending
from bench.report.figure import Figure, seeds_of
from bench.report.marks import bar_end, beside, short, unit_scale
from bench.report.study import MANY
from bench.report.style import WIDE
from bench.report.words import label
from bench.studies.compare.costs import at, by_phase, flops_of


def draw(study, pen):
    """Draw a column per method, FLOPs above and, if they compare, seconds below."""
    arms, units = study.listed[:MANY], spending(study.meta)
    spent = list(zip(("flops", "cost"), units.items(), strict=False))
    if pen.tall:
        spent = spent[:1]  # FLOPs
        phases = len(by_phase(study, next(iter(units))).columns)
        figure, axes = pen.panels(len(arms), WIDE, 1.6 + 0.24 * phases, sharex=True)
        axes = [axes]
    else:
        figure = pen.figure(WIDE, 3.0 * len(spent))
        axes = figure.subplots(len(spent), len(arms), sharex="row", sharey="row", squeeze=False)
    for row, (key, (column, unit)) in zip(axes, spent, strict=True):
        table = by_phase(study, column)
        ends = [*table.sum(axis=1), *(i.high for i in study.known(key, arms).values())]
        longest = max((end for end in ends if math.isfinite(end)), default=1.0)
        size, prefix = unit_scale(longest)
        for ax, arm in zip(row, arms, strict=True):
            _steps(ax, pen, arm, table, study.interval(arm, key), size)
            ax.set_title(label(arm))
            ax.set_xlabel(f"{prefix}{unit}")
            ax.set_xlim(0, 1.4 * longest / size)  # room for the numbers
    return figure


def _steps(ax, pen, arm: str, table: pd.DataFrame, total, size: float) -> None:
    """Draw one method's bars with their numbers, one below the other, and their sum."""
    phases, start = list(table), 0.0
    for y, phase in enumerate(phases):
        width = at(table, arm, phase) / size
        (bar,) = ax.barh(y, width, left=start, color=pen("p2"), height=0.62)
        pen.told.add(bar, label(arm), width, ".3g", phase=phase)
        if y and width:
            ax.plot([start, start], [y - 1.31, y + 0.31], color=pen("muted"), lw=0.8)
        start += width
        if width:
            beside(ax, short(width), start, y, fontsize=8, color=pen("muted"))
    (whole,) = ax.barh(len(phases), start, color=pen.of(arm), height=0.62)
    pen.told.add(whole, label(arm), start, ".3g", phase="in all")
    bar_end(ax, pen, total, len(phases), size)
    ax.set_yticks(range(len(phases) + 1), [*phases, "in all"])
    ax.set_ylim(len(phases) + 0.6, -0.6)
    ax.grid(axis="y", visible=False)


def finding(study) -> str:
    """Say what the dearest arm's FLOPs are spent on, its two largest phases."""
    table = by_phase(study, "flops")
    whole = table.sum(axis=1)
    if not whole.sum():
        return ""
    dear = whole.idxmax()
    largest = (table.loc[dear] / whole[dear]).nlargest(2)
    shares = (f"{share:.0%} {phase}".replace("%", " %") for phase, share in largest.items())
    return f"{label(dear)}'s FLOPs are {' and '.join(shares)}"


FIGURE = Figure(
    "waterfall", "Where the cost of a run comes from", draw,
    lambda s: "Each bar is a phase and begins where the one above ends; the last bar is their sum. "
    "Base, SFT and pool of pairs, which all runs share, and tuning are left out; the table of "
    f"costs has them. Bars are means of {seeds_of(s)}"
    f"{'; thin lines are 95 % intervals over seeds' * (s.seeds > 1)}.",
    lambda s: f"FLOPs of a run: {flops_of(s)}.",
    lambda s: f"means of {seeds_of(s)}, lower is better · without shared steps and tuning"
    + " · thin lines: 95 % intervals" * (s.seeds > 1),
    wide=True, category="Cost", section="cost", finding=finding,
)  # fmt: skip
