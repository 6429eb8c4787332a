"""Draw the seconds that a run takes, and its peak memory."""

import math

from bench.analysis import costs
from bench.analysis.measures import BY_KEY
from bench.report.figure import Figure, listing, seeds_of
from bench.report.marks import bar_end
from bench.report.style import WIDE
from bench.report.words import label
from bench.studies.compare.costs import shared
from bench.studies.compare.headline import dearest

TITLES = {"cost": "Time of a run", "memory": "Peak memory"}


def draw(study, pen):
    """Draw a bar per arm: seconds on the left, peak memory on the right."""
    figure, axes = pen.panels(2, WIDE, 1.6 + 0.36 * len(study.arms), sharey=True)
    panels = {"cost": costs.seconds_name(study.meta), "memory": BY_KEY["memory"].unit}
    for ax, (key, unit) in zip(axes, panels.items(), strict=True):
        for y, arm in enumerate(study.arms):
            _bar(ax, pen, arm, y, study.interval(arm, key))
        ax.set_title(TITLES[key])
        ax.set_xlabel(f"{unit} (lower is better)")
        ax.margins(x=0.2)
        ax.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(study.arms)), map(label, study.arms))
    axes[0].set_ylim(len(study.arms) - 0.4, -0.6)
    return figure


def _bar(ax, pen, arm: str, y: int, found) -> None:
    """Draw an arm's mean as a bar, with its interval and its number."""
    if found is not None and math.isfinite(found.mean):
        (bar,) = ax.barh(y, found.mean, color=pen.of(arm), height=0.62)
        pen.told.add(bar, label(arm), found, ",.3g")
        bar_end(ax, pen, found, y)


def paid_once(study) -> str:
    """Say what the steps took that all runs share."""
    total = sum(shared(study, costs.seconds(study.meta)).values())
    spent = f"{total:,.0f} {costs.seconds_name(study.meta)}"
    return f"Base, SFT and pool of pairs took {spent}, charged to no run. " * bool(total)


FIGURE = Figure(
    "cost", "What a run costs, and its peak memory", draw,
    lambda s: f"Bars are means of a run over {seeds_of(s)}. {paid_once(s)}Curves and evaluation "
    "are not charged. Memory is the peak over all that a run is charged, the reward model's "
    "training included; it grows with the batch, which tuning chose."
    + " Thin lines are 95 % intervals over seeds." * (s.seeds > 1),
    lambda s: f"{costs.seconds_name(s.meta)} of a run: {listing(s, 'cost', 0)}.",
    lambda s: f"means of {seeds_of(s)}, lower is better"
    + (" · thin lines: 95 % intervals over seeds" if s.seeds > 1 else " · no intervals"),
    wide=True, category="Cost", section="cost", finding=dearest,
)  # fmt: skip
