"""Draw the search: what k trials are worth, and where the trials lie."""

import math

import numpy as np

from bench.core.grouping import grouped
from bench.report import labels
from bench.report.figure import Figure
from bench.report.marks import unit_scale
from bench.report.style import WIDE, shade
from bench.report.words import fixed, label, named
from bench.studies.tune import analysis


def trials(study):
    """Return the trials of the search: this study's own, or those that its settings come from."""
    own = study.meta.study == "tune"
    return analysis.trials(study.results) if own else analysis.recorded(study.results)


def methods(study) -> list[str]:
    """Return the methods that were searched."""
    return list(dict.fromkeys(trials(study).method))


def best_curves(study, pen):
    """Draw the expected best gain of k trials, against k and against the FLOPs that they take."""
    figure, axes = pen.panels(2, WIDE, 4.2, sharey=True)
    ends = {ax: {} for ax in axes}
    most = trials(study).groupby("method").size().max()
    size, prefix = unit_scale(most * trials(study).flops.mean())
    for ax, column in zip(axes, ("k", "flops"), strict=True):
        for method in methods(study):
            curve = analysis.best_of(trials(study), method)
            curve = curve.assign(flops=curve.flops / size)
            (line,) = ax.plot(curve[column], curve.gain, ls=study.looks[method].line, ms=5,
                              markevery=(0, 3), **pen.marker(method))  # fmt: skip
            pen.told.add(line, label(method), list(curve.gain), trials=list(curve.k))
            ends[ax][method] = curve[column].iloc[-1], curve.gain.iloc[-1]
    axes[0].set_title("Expected best of k trials")
    axes[1].set_title("The same, by what they cost")
    axes[0].set_xlabel("k, trials")
    axes[0].set_xticks(sorted({round(k) for k in np.linspace(1, most, 5)}))
    axes[1].set_xscale("log")
    _log_ticks(axes[1].xaxis)
    axes[1].set_xlabel(f"{prefix}FLOPs of k trials, reward model included (logarithmic)")
    pen.ylabel(axes, "gold above SFT, validation (higher is better)")
    labels.at_ends(pen, {axes[0]: ends[axes[0]]})
    labels.near(pen, {axes[1]: ends[axes[1]]})
    return figure


def map_of_trials(study, pen):
    """Draw a panel per method: where its trials lie and what they gained."""
    names = methods(study)
    figure, axes = pen.panels(len(names), WIDE, 6.2, rows=2)
    best, top = trials(study).gain.max(), analysis.picked(trials(study))
    picks = {}
    for ax, method in zip(axes, names, strict=False):
        for row in trials(study)[trials(study).method == method].itertuples():
            at = row.drawn["lr"], row.drawn["beta"]
            picked = method in top.index and row.arm == top.arm[method]
            _trial(ax, pen, at, row, best, picked)
            if picked:
                picks[ax] = {method: at}
        _log_axes(ax)
        ax.set_title(label(method))
        ax.set_xlabel("learning rate")
        ax.set_ylabel("strength β")
    labels.near(pen, picks, lambda method: f"{fixed(top.gain[method], '+.2f')} picked", 9)
    return figure


def _trial(ax, pen, at: tuple, row, best: float, picked: bool) -> None:
    """Draw a dot shaded by gain, or a cross; the picked one is ringed."""
    if not math.isfinite(row.gain):
        (cross,) = ax.plot(*at, "x", color=pen("bad"), ms=8, mew=2)
        pen.told.add(cross, label(row.arm), math.nan, words="failed", lr=at[0], beta=at[1])
        return
    face = shade(row.gain / best) if row.gain > 0 else "paper"
    edge = pen("bad") if row.gain <= 0 else pen("ink")
    (dot,) = ax.plot(*at, "o", ms=9, mfc=pen(face), mec=edge, mew=1)
    pen.told.add(dot, label(row.arm), row.gain, lr=at[0], beta=at[1])
    if picked:
        ax.plot(*at, "o", ms=15, mfc="none", mec=pen.of(row.method), mew=2.2)


def _log_axes(ax) -> None:
    """Make both axes logarithmic."""
    ax.margins(0.12)
    for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
        scale("log")
        _log_ticks(axis)


def _log_ticks(axis) -> None:
    """Set a tick at 1 and 3 of each decade."""
    low, high = axis.get_view_interval()
    ticks = [a * 10.0**n for n in range(-6, 6) for a in (1, 3) if low <= a * 10.0**n <= high]
    axis.set_ticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_ticks([], minor=True)


def per_method(study) -> str:
    """Say how many trials each method had: '24 trials of PPO, 32 of DPO and IPO'."""
    sizes = trials(study).groupby("method", sort=False).size()
    groups = grouped((int(n), method) for method, n in sizes.items())
    if len(groups) == 1:
        return f"{next(iter(groups))} trials per method"
    first, *rest = (f"{n}{{}} of {named(found)}" for n, found in sorted(groups.items()))
    return ", ".join([first.format(" trials"), *(part.format("") for part in rest)])


def _listed(study) -> str:
    parts = []
    for method in methods(study):
        curve = analysis.best_of(trials(study), method)
        parts.append(
            f"{label(method)} {fixed(curve.gain.iloc[0], '+.2f')} to "
            f"{fixed(curve.gain.iloc[-1], '+.2f')}"
        )
    return ", ".join(parts)


def _ranges(study) -> str:
    """Return 'PPO -0.08 to +0.85, 1 failed'."""
    parts = []
    for method in methods(study):
        rows = trials(study)[trials(study).method == method]
        low, high = (fixed(v, "+.2f") for v in (rows.gain.min(), rows.gain.max()))
        parts.append(f"{label(method)} {low} to {high}, {int(rows.gain.isna().sum())} failed")
    return "; ".join(parts)


BEST = Figure(
    "best", "What k random trials are worth", best_curves,
    lambda s: "Each line is the expected best gain of k trials, drawn with replacement from those "
    "that were run (Dodge et al. 2019, 1909.03004, eq. 1), each at its best length; a trial that "
    "failed or ended below SFT counts as no gain. There "
    "are no bands, since each trial has one seed.",
    lambda s: f"Expected best gold above SFT, from one trial to all: {_listed(s)}.",
    lambda s: f"{per_method(s)}, one seed · no intervals",
    wide=True, category="Tuning", layered=True,
)  # fmt: skip
TRIALS = Figure(
    "trials", "Where the trials lie, and what they gained", map_of_trials,
    lambda s: "Each dot is a trial; a stronger colour means more gold above SFT on validation "
    "prompts. Empty dots ended below SFT, crosses failed, and the ringed trial, with its gain, was "
    "picked by the search. A trial that was read at several lengths counts with its best. Each "
    "trial is one run.",
    lambda s: f"Learning rate and strength of every trial with its gain: {_ranges(s)}.",
    lambda s: f"{per_method(s)}, one seed · stronger colour: more gold above SFT "
    "· empty: below · cross: failed",
    wide=True, category="Tuning",
)  # fmt: skip
