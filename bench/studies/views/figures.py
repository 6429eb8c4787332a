"""Draw the views: gold by labels, by compute, by KL."""

import math

import numpy as np
import pandas as pd

from bench.analysis import costs
from bench.analysis import statistics as st
from bench.report import labels, marks
from bench.report.figure import Figure, bars, counts, interval_note, n_of, seeds_of, validation_note
from bench.report.style import BAND, NARROW, WIDE
from bench.report.words import fixed, joined, label, leader
from bench.studies.views import analysis
from bench.studies.views.analysis import DATA, KL, REREAD

PANELS = {DATA: "In the usual epochs", REREAD: "Few read more often"}


def by_labels(study, pen):
    """Draw gold above SFT against the number of labels, a line per method, with intervals: in a
    panel with the usual epochs, and in one where few are read more often, if such runs exist."""
    panels = _by_kind(study)
    width = WIDE if len(panels) > 1 else NARROW
    figure, axes = pen.panels(len(panels), width, 4.6, sharey=True)
    ends = {}
    for ax, (kind, numbers) in zip(axes, panels.items(), strict=True):
        ax.axhline(0, color=pen("muted"), lw=1)
        ends[ax] = {}
        for i, method in enumerate(study.meta.methods):
            arms = {n: found[method] for n, found in numbers.items() if method in found}
            found = {n: study.interval(arm, "gold_delta") for n, arm in arms.items()}
            found = {n: gain for n, gain in found.items() if gain is not None}
            points = [(n * 1.02 ** (i - 1.5), gain) for n, gain in found.items()]
            if points:
                places = {"labels": [*found]}
                ends[ax][method] = _with_intervals(ax, study, pen, method, points, places)
        ax.set_xscale("log", base=2)
        ax.set_xticks(list(numbers), [f"{n:,}" for n in numbers])
        ax.minorticks_off()
        ax.set_xlabel("preference labels")
        if len(panels) > 1:
            ax.set_title(PANELS[kind])
    pen.ylabel(axes, "gold reward above SFT (higher is better)")
    labels.at_ends(pen, ends)
    return figure


def _by_kind(study) -> dict[str, dict[int, dict[str, str]]]:
    """Return {kind: {number of labels: {method: arm}}}; both kinds end at all labels."""
    usual, often = (analysis.label_arms(study.meta, kind) for kind in PANELS)
    every = max(usual)
    return {DATA: usual} | ({REREAD: often | {every: usual[every]}} if often else {})


def _with_intervals(ax, study, pen, method: str, points: list, places) -> tuple[float, float]:
    """Draw a method's line with an interval at each point; return its last point.

    places: where each point lies, in words.
    """
    for x, point in points:
        if math.isfinite(point.half):
            ax.plot([x, x], [point.low, point.high], color=pen.of(method), lw=1.8)
    return _line(ax, study, pen, method, points, places)


def _line(ax, study, pen, method: str, points: list, places: dict) -> tuple[float, float]:
    """Draw a method's line with its markers and return its last point."""
    ends = [(x, gold.mean) for x, gold in points]
    look = pen.marker(method)
    (line,) = ax.plot(*zip(*ends, strict=True), ms=7, ls=study.looks[method].line, **look)
    pen.told.add(line, label(method), [gold for _, gold in points], **places)
    return ends[-1]


def by_compute(study, pen):
    """Draw gold gained on validation prompts against FLOPs, and against seconds, along training."""
    units = costs.spending(study.meta)
    figure, axes = pen.panels(len(units), WIDE, 4.6, sharey=True)
    ends = {}
    for ax, (column, unit) in zip(axes, units.items(), strict=True):
        runs = analysis.paths(study.results, column)
        most = max((p.spent.max() for paths in runs.values() for p in paths.values()), default=1)
        size, prefix = marks.unit_scale(most)
        ends[ax] = {
            method: _path(ax, study, pen, method, list(paths.values()), size)
            for method, paths in runs.items()
        }
        ax.axhline(0, color=pen("muted"), lw=1)
        if not runs:
            labels.nothing(ax, pen, marks.LOST)
        ax.set_xlabel(f"{prefix}{unit} spent, preparation included")
        ax.set_title(f"By {unit}")
    pen.ylabel(axes, "gold above SFT, validation prompts")
    labels.near(pen, ends)
    return figure


def _path(ax, study, pen, method: str, paths: list[pd.DataFrame], size: float):
    """Draw the mean path over seeds, with a 95 % band from three seeds on; return its end."""
    gains = np.array([path.gain for path in paths])
    spent = np.mean([path.spent for path in paths], axis=0) / size
    points = [st.over_seeds(column) for column in gains.T]
    if len(paths) >= 3:
        ax.fill_between(spent, [p.low for p in points], [p.high for p in points],
                        color=pen.of(method), alpha=BAND, lw=0)  # fmt: skip
    (line,) = ax.plot(spent, [p.mean for p in points], ms=5, ls=study.looks[method].line,
                      **pen.marker(method))  # fmt: skip
    pen.told.add(line, label(method), points, spent=[float(x) for x in spent])
    return spent[-1], points[-1].mean


def by_kl(study, pen):
    """Draw the ends of each method's sweep of strengths: gold against KL, test prompts."""
    figure = pen.figure(NARROW, 5.0)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    named = {}
    for method in study.meta.methods:
        arms = analysis.sweep(study.results, method).arm
        both = [(study.interval(arm, "kl"), study.interval(arm, "gold_delta")) for arm in arms]
        points = [(kl, gold) for kl, gold in both if kl is not None and gold is not None]
        for kl, gold in points:
            marks.cross_hair(ax, pen, method, kl, gold)
        if points:
            line = sorted(((kl.mean, gold) for kl, gold in points), key=lambda point: point[0])
            named[method] = _line(ax, study, pen, method, line, {"KL": [x for x, _ in line]})
    marks.kl_axis(ax)
    ax.set_ylabel("gold reward above SFT (higher is better)")
    labels.near(pen, {ax: named})
    return figure


def _listed(study, arms) -> str:
    found = study.known("gold_delta", list(arms))
    return ", ".join(f"{label(arm)} {fixed(i.mean, '+.2f')}" for arm, i in found.items())


def _by_number(study) -> str:
    """Return the gains at each number of labels."""
    return ". ".join(
        f"{PANELS[kind]}: "
        + "; ".join(f"{n:,}: {_listed(study, arms.values())}" for n, arms in numbers.items())
        for kind, numbers in _by_kind(study).items()
    )


def _read_labels(study) -> str:
    """Say what the panels of the figure hold fixed."""
    if REREAD not in _by_kind(study):
        return "Fewer labels also mean fewer optimiser steps, so a line shows both."
    return (
        "In the usual epochs fewer labels also mean fewer optimiser steps. Read more often: "
        "methods and PPO's reward model make more passes, times the root of the factor by which "
        "labels are fewer; PPO takes as many steps as from all."
    )


def _of_longer(study) -> str:
    """Say which methods' runs are longer than usual, and how many times."""
    arms = study.meta.arms
    usual, longest = analysis.longest(arms, 1), analysis.longest(arms)
    factors = {arm.name: arm.factors.get("epochs", 1) for arm in arms}
    items = [f"{label(m)} {factors[arm]:g}" for m, arm in longest.items() if arm != usual.get(m)]
    longer = f" (longer runs, with all else as tuned: {', '.join(items)} times the epochs)"
    return longer * bool(items)


def _ends(study) -> str:
    """Return the mean gain at the end of each method's path."""
    runs = analysis.paths(study.results, "flops")
    found = {
        m: np.mean([path.gain.iloc[-1] for path in paths.values()]) for m, paths in runs.items()
    }
    items = [f"{label(m)} {fixed(gain, '+.2f')}" for m, gain in found.items()]
    return ", ".join(items) or "no run ended"


def _swept(study) -> str:
    return _listed(study, [arm for group in study.sweeps for arm in group])


def _leads_from(study) -> str:
    """Say at which numbers of labels one method is better than every other; else who leads."""
    found = [v.family for v in analysis.every(study.results) if v.kind == DATA]
    numbers = [*analysis.label_arms(study.meta)]
    top = found[-1].champion() if found else None
    if not top or len(found) != len(numbers):
        return leader(found[-1]) if found else ""
    where = [f"{n:,}" for n, family in zip(numbers, found, strict=True) if family.champion() == top]
    return f"{leader(found[-1])} at {joined(where)} labels"


def _highest_from(study) -> str:
    """Say from how many FLOPs on one method's mean path is the highest; a path that has ended
    keeps its last gain, and one that has not begun has none."""
    runs = analysis.paths(study.results, "flops")
    means = {m: pd.concat(paths.values()).groupby(level=0).mean() for m, paths in runs.items()}
    if len(means) < 2:
        return ""
    spent = np.linspace(0, max(path.spent.max() for path in means.values()), 1000)
    gains = pd.DataFrame(
        {m: np.interp(spent, path.spent, path.gain, left=0.0) for m, path in means.items()}
    )
    top = gains.iloc[-1].idxmax()
    behind = np.flatnonzero(gains[top] < gains.max(axis=1))
    at = spent[behind[-1]] if len(behind) else 0.0
    size, prefix = marks.unit_scale(spent[-1])
    start = f"In runs of more epochs {label(top)}" if _of_longer(study) else label(top)
    return f"{start} has gained most from {at / size:.2g} {prefix}FLOPs on" if at else ""


def _best_by_kl(study) -> str:
    """Say who is better along the range of KL that both of a pair reach."""
    found = [v for v in analysis.every(study.results) if v.kind == KL]
    if not found or not leader(found[0].family):
        return ""
    highest = min(high for _, high in found[0].reached.values())
    return f"At equal KL, up to {highest:.1f} nats, {leader(found[0].family)}"


LABELS = Figure(
    "labels", "Gold reward against the number of labels", by_labels,
    lambda s: f"Each point is a method's mean at the end of training. {_read_labels(s)} "
    f"{interval_note(s)} "
    f"n = {counts(s)}. Points are moved apart sideways by 2 % so that intervals can be seen.",
    lambda s: f"Gold above SFT by number of labels. {_by_number(s)}.",
    lambda s: f"{n_of(s)} · {bars(s)}",
    wide=True, category="Quality", layered=True, finding=_leads_from,
)  # fmt: skip
COMPUTE = Figure(
    "compute", "Gold reward against what it cost", by_compute,
    lambda s: "Each line is a method's mean path of training over seeds, on validation prompts"
    f"{_of_longer(s)}. It starts at the cost of its preparation: reward model, reference "
    f"log-probabilities. Runs that diverged are left out. {validation_note(s)} "
    f"{'Bands are 95 % t intervals over seeds. ' * (s.seeds >= 3)}"
    f"n = {seeds_of(s)}.",
    lambda s: "Gold above SFT on validation prompts against FLOPs and seconds; ends of training: "
    f"{_ends(s)}.",
    lambda s: f"{seeds_of(s)}, paths of training · "
    + ("bands: 95 % intervals over seeds" if s.seeds >= 3 else "no intervals"),
    wide=True, category="Cost", layered=True, finding=_highest_from,
)  # fmt: skip
SWEEP = Figure(
    "sweep", "Gold reward against KL, at several strengths β", by_kl,
    lambda s: "Each point is the end of training at one strength; lines join a method's points in "
    "order of KL. Points further up and left gain more gold for less change from the SFT base. "
    f"{interval_note(s)} n = {counts(s)}.",
    lambda s: f"Gold above SFT against KL: {_swept(s)}.",
    lambda s: f"{n_of(s)} · {bars(s)}",
    category="Quality", layered=True, finding=_best_by_kl,
)  # fmt: skip
