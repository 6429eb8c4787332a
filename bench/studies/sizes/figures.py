"""Draw the gain of each method against the size of the model, and against the learning rate."""

import math

from bench.report import labels
from bench.report.figure import Figure, interval_note, seeds_of
from bench.report.style import NARROW, WIDE
from bench.report.words import fixed, label, millions
from bench.studies.sizes import analysis


def in_millions(size) -> str:
    """Format the parameters of a model: '0.18 M'."""
    return f"{millions(size.parameters)} M"


def by_size(study, pen):
    """Draw gold above the SFT base against parameters, a line per method, with intervals."""
    sizes = analysis.sizes(study.results)
    figure = pen.figure(NARROW, 4.8)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    ends = {}
    for i, method in enumerate(study.meta.methods):
        own = [size for size in sizes if method in size.arms]
        apart = 1.03 ** (i - 1.5)
        points, gains = [], []
        for size in own:
            gain = analysis.gain(study.results, size.arms[method])
            points.append((size.parameters * apart, gain.mean))
            gains.append(gain)
            if math.isfinite(gain.half):
                ax.plot([points[-1][0]] * 2, [gain.low, gain.high], color=pen.of(method), lw=1.8)
        if points:
            look = pen.marker(method)
            line = study.looks[method].line
            (line,) = ax.plot(*zip(*points, strict=True), ms=7, ls=line, **look)
            pen.told.add(line, label(method), gains, parameters=[s.parameters for s in own])
            ends[method] = points[-1]
    ax.set_xscale("log")
    ax.set_xticks([s.parameters for s in sizes], [in_millions(s) for s in sizes])
    ax.minorticks_off()
    ax.set_xlabel("parameters of the model")
    ax.set_ylabel("gold above the own SFT base (higher is better)")
    labels.at_ends(pen, {ax: ends})
    return figure


def by_rate(study, pen):
    """Draw a panel for each size with several rates: gain on validation prompts against rate."""
    sizes = [s for s in analysis.sizes(study.results) if {*s.arms.values()} & {*study.meta.picks}]
    figure, axes = pen.panels(max(1, len(sizes)), WIDE, 4.4, sharey=True)
    ends = {}
    for ax, size in zip(axes, sizes, strict=False):
        ax.axhline(0, color=pen("muted"), lw=1)
        ends[ax], ticks = {}, set()
        for method, arm in size.arms.items():
            rates = analysis.rates(study.results, arm)
            look = pen.marker(method)
            line = study.looks[method].line
            (line,) = ax.plot(rates.keys(), rates.values(), ms=7, ls=line, **look)
            pen.told.add(line, label(method), [*rates.values()], rate=[*rates])
            ends[ax][method] = max(rates.items())
            ticks |= {*rates}
        ticks = sorted(ticks)
        ax.set_xscale("log")
        ax.set_xticks(ticks, [f"×{rate:.2g}" for rate in ticks])
        ax.minorticks_off()
        ax.set_xlabel("learning rate, × the tuned one")
        ax.set_title(f"{in_millions(size)} parameters")
    if not sizes:
        labels.nothing(axes[0], pen, "one rate for each size")
    pen.ylabel(axes, "gold above SFT, validation prompts")
    labels.at_ends(pen, ends)
    return figure


def _listed(study) -> str:
    sizes = analysis.sizes(study.results)
    items = [
        f"{in_millions(s)}: "
        + ", ".join(
            f"{label(m)} {fixed(analysis.gain(study.results, arm).mean, '+.2f')}"
            for m, arm in s.arms.items()
        )
        for s in sizes
    ]
    return "; ".join(items)


BY_SIZE = Figure(
    "sizes", "The gain of each method on models of several sizes", by_size,
    lambda s: "Each point is a method's mean gold above the SFT base of that size, on test "
    f"prompts; a failed run counts as no gain. {interval_note(s)} n = {seeds_of(s)}. Points are "
    "moved apart sideways so that intervals can be seen.",
    lambda s: f"Gold above the own SFT base by parameters: {_listed(s)}.",
    lambda s: f"{seeds_of(s)}, test prompts · bars: 95 % intervals",
    category="Quality", layered=True,
)  # fmt: skip
BY_RATE = Figure(
    "rates", "The gain at each learning rate", by_rate,
    lambda s: "Each point is a method's mean gain over the seeds on which rates are tried, on "
    "validation prompts; a failed run counts as no gain. The highest is picked. There are no "
    "intervals.",
    lambda s: "Gold above SFT on validation prompts against the learning rate, by size.",
    lambda s: "seeds that are not compared, validation prompts · no intervals",
    wide=True, category="Quality", layered=True,
)  # fmt: skip
