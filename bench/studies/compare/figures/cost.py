"""Draw what a run costs by phase, beside what all runs share, and its peak memory."""

import math

from bench.analysis import costs
from bench.analysis.measures import BY_KEY
from bench.report.figure import Figure, listing, seeds_of
from bench.report.marks import bar_end, beside
from bench.report.style import PHASE_COLOURS, WIDE
from bench.report.words import label
from bench.studies.compare.costs import by_phase, shared
from bench.studies.compare.sentences import charged, dearest


def draw(study, pen):
    """Draw seconds by phase and those of the shared steps on the left, peak memory on the right."""
    table, arms = by_phase(study, costs.seconds(study.meta)), study.arms
    height = 2.4 + 0.36 * (len(arms) + 1)
    figure, (left, right) = pen.panels(2, WIDE, height, width_ratios=(2.6, 1), sharey=True)
    start = {arm: 0.0 for arm in arms}
    for place, phase in enumerate(table):
        _segment(left, pen, table[phase], start, arms, place, phase)
    _shared(left, study, pen, len(arms), 1.25 * max(start.values(), default=0.0))
    for y, arm in enumerate(arms):
        bar_end(left, pen, study.interval(arm, "cost"), y)
    _axes_of_cost(left, pen, arms, costs.seconds_name(study.meta))
    _memory(right, study, pen, arms)
    return figure


def _segment(ax, pen, seconds, start: dict, arms, place: int, phase: str) -> None:
    """Draw the bars of one phase, stacked on `start`, which moves on."""
    colour = pen(PHASE_COLOURS[place % len(PHASE_COLOURS)])
    widths = [float(seconds.get(arm, 0)) for arm in arms]
    bars = ax.barh(range(len(arms)), widths, left=[start[a] for a in arms], color=colour,
                   height=0.62, edgecolor=pen("paper"), lw=0.8, label=phase)  # fmt: skip
    for bar, arm, width in zip(bars, arms, widths, strict=True):
        start[arm] += width
        pen.told.add(bar, label(arm), width, ".3g", phase=phase)


def _shared(ax, study, pen, y: int, longest: float) -> None:
    """Draw what all runs share, hatched and apart; the bar is cut if it is far longer than the
    rest."""
    total = sum(shared(study, costs.seconds(study.meta)).values())
    width = min(total, longest) or total
    cut = " (bar cut short)" if width < total else ""
    ax.barh(y + 0.3, width, color=pen("paper"), edgecolor=pen("muted"), hatch="///", height=0.5,
            lw=0.8, label="shared: base, SFT, pairs (paid once)")  # fmt: skip
    beside(ax, f"{total:,.0f}{cut}", width, y + 0.3, fontsize=9)


def _axes_of_cost(ax, pen, arms, unit: str) -> None:
    """Set ticks, titles and the legend below."""
    from matplotlib.transforms import ScaledTranslation

    ax.set_yticks([*range(len(arms)), len(arms) + 0.3], [*map(label, arms), "shared"])
    ax.set_ylim(len(arms) + 0.8, -0.6)
    ax.margins(x=0.1)
    ax.grid(axis="y", visible=False)
    ax.set_title("One run, by phase")
    ax.set_xlabel(f"{unit} (lower is better)")
    below = ax.transAxes + ScaledTranslation(0, -0.45, ax.figure.dpi_scale_trans)
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below,
              ncols=1 if pen.tall else 3, fontsize=8.5, borderpad=0, borderaxespad=0)  # fmt: skip


def _memory(ax, study, pen, arms) -> None:
    """Draw the peak memory of a run, a bar per arm."""
    for y, arm in enumerate(arms):
        found = study.interval(arm, "memory")
        if found is not None and math.isfinite(found.mean):
            (bar,) = ax.barh(y, found.mean, color=pen.of(arm), height=0.62)
            pen.told.add(bar, label(arm), found, ",.0f")
            bar_end(ax, pen, found, y)
    ax.margins(x=0.2)
    ax.grid(axis="y", visible=False)
    ax.set_title("Peak memory")
    ax.set_xlabel(f"{BY_KEY['memory'].unit} (lower is better)")


FIGURE = Figure(
    "cost", "What a run costs by phase, and its peak memory", draw,
    lambda s: f"Bars are mean {costs.seconds_name(s.meta)} of a run, by phase, over {seeds_of(s)}. "
    f"{charged(s)} Curves and evaluation are not charged. Memory is the peak over all that a "
    "run is charged, the reward model's training included."
    + " Thin lines are 95 % intervals over seeds." * (s.seeds > 1),
    lambda s: f"{costs.seconds_name(s.meta)} of a run: {listing(s, 'cost', 0)}.",
    lambda s: f"means of {seeds_of(s)}, lower is better"
    + (" · thin lines: 95 % intervals over seeds" if s.seeds > 1 else " · no intervals"),
    wide=True, category="Cost", section="cost", finding=dearest,
)  # fmt: skip
