"""The page of the study `tune`: the trials of each method, what k of them are worth, the pick."""

import math

import numpy as np

from bench.analysis import tune
from bench.report import labels
from bench.report.costs import unit_scale
from bench.report.plate import Plate
from bench.report.sections import Kind, Section
from bench.report.style import WIDE, label, shade
from bench.report.tables import Cell, Table, scaled
from bench.report.verdict import fixed, joined


def methods(study) -> list[str]:
    """The methods that were searched."""
    return list(dict.fromkeys(study.trials.method))


def best_curves(study, pen):
    """Expected best gain of k trials: against k, and against the FLOPs that k trials take."""
    figure = pen.figure(WIDE, 4.2)
    axes = figure.subplots(1, 2, sharey=True)
    ends = {ax: {} for ax in axes}
    size, prefix = unit_scale(_per_method(study) * study.trials.flops.mean())
    for ax, column in zip(axes, ("k", "flops"), strict=True):
        for method in methods(study):
            curve = tune.best_of(study.trials, method)
            curve = curve.assign(flops=curve.flops / size)
            ax.plot(curve[column], curve.gain, ls=study.looks[method].line, ms=5,
                    markevery=(0, 3), **pen.marker(method))  # fmt: skip
            ends[ax][method] = curve[column].iloc[-1], curve.gain.iloc[-1]
    axes[0].set_title("Expected best of k trials")
    axes[1].set_title("The same, by what they cost")
    axes[0].set_xlabel("k, trials")
    axes[0].set_xticks(sorted({round(k) for k in np.linspace(1, _per_method(study), 5)}))
    axes[1].set_xscale("log")
    _log_ticks(axes[1].xaxis)
    axes[1].set_xlabel(f"{prefix}FLOPs of k trials, reward model included (logarithmic)")
    axes[0].set_ylabel("gold above SFT, validation (higher is better)")
    labels.at_ends(pen, {axes[0]: ends[axes[0]]})
    labels.near(pen, {axes[1]: ends[axes[1]]})
    return figure


def map_of_trials(study, pen):
    """A panel a method: where its trials lie and what they gained."""
    names = methods(study)
    figure = pen.figure(WIDE, 6.2)
    axes = figure.subplots(2, math.ceil(len(names) / 2), squeeze=False).ravel()
    best, top = study.trials.gain.max(), tune.picked(study.trials)
    picks = {}
    for ax, method in zip(axes, names, strict=False):
        for row in study.trials[study.trials.method == method].itertuples():
            at = row.drawn["lr"], row.drawn["beta"]
            picked = method in top.index and row.arm == top.arm[method]
            _trial(ax, pen, at, row, best, picked)
            if picked:
                picks[ax] = {method: at}
        _log_axes(ax)
        ax.set_title(label(method))
        ax.set_xlabel("learning rate")
        ax.set_ylabel("strength β")
    for ax in axes[len(names) :]:
        ax.axis("off")
    labels.near(pen, picks, lambda method: f"{fixed(top.gain[method], '+.2f')} picked", 9)
    return figure


def _trial(ax, pen, at: tuple, row, best: float, picked: bool) -> None:
    """A dot shaded by gain, or a cross; the picked one ringed."""
    if not math.isfinite(row.gain):
        ax.plot(*at, "x", color=pen("m0"), ms=8, mew=2)
        return
    face = shade(row.gain / best) if row.gain > 0 else "paper"
    edge = pen("m0") if row.gain <= 0 else pen("ink")
    ax.plot(*at, "o", ms=9, mfc=pen(face), mec=edge, mew=1)
    if picked:
        ax.plot(*at, "o", ms=15, mfc="none", mec=pen.of(row.method), mew=2.2)


def _log_axes(ax) -> None:
    """Both axes logarithmic."""
    ax.margins(0.12)
    for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
        scale("log")
        _log_ticks(axis)


def _log_ticks(axis) -> None:
    """A tick at 1 and 3 of each decade."""
    low, high = axis.get_view_interval()
    ticks = [a * 10.0**n for n in range(-6, 6) for a in (1, 3) if low <= a * 10.0**n <= high]
    axis.set_ticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_ticks([], minor=True)


def headline(study) -> str:
    """What was picked."""
    top = tune.picked(study.trials)
    items = [
        f"{label(m)} {', '.join(f'{k} {v:g}' for k, v in row.drawn.items())}"
        for m, row in top.iterrows()
    ]
    return f"Picked: {'; '.join(items)}." if items else "Every trial failed."


def lines(study) -> list[str]:
    """The rule, the count, the cost, what it does not show."""
    trials = study.trials
    n = _per_method(study)
    lost = trials[trials.status != "ok"]
    failed = [f"{label(m)} {int(c)}" for m, c in lost.groupby("method", sort=False).size().items()]
    spent = trials.groupby("method", sort=False).flops.sum()
    ratio = ", ".join(f"{label(m)} {v / spent.min():.1f}" for m, v in spent.items())
    return [
        f"Each method had {n} trials: independent draws, log-uniform in its declared space, all at "
        f"seed {study.meta['seeds'][0]}, which no comparison uses. A trial is the whole pipeline, "
        "and pays for its reward model or reference log-probabilities as if it stood alone.",
        f"Rule: {tune.RULE}. {_distance(study)}",
        f"Failed trials: {joined(failed) or 'none'}. FLOPs of all trials, times the least: "
        f"{ratio}.",
        "One seed a trial: the pick is the best of many noisy numbers, so its gain here tends "
        "to be too high. What it is worth is measured on other seeds and other prompts.",
    ]


def _distance(study) -> str:
    """Picks that lie near the end of their space: a wider one may hold better."""
    spaces, near = study.meta["tune"]["spaces"], []
    for method, row in tune.picked(study.trials).iterrows():
        for key, value in row.drawn.items():
            low, high = spaces[method][key]
            place = math.log(value / low) / math.log(high / low)
            if not 0.1 <= place <= 0.9:
                near.append(f"{label(method)}'s {key}")
    if not near:
        return "No pick lies in the outer tenth of its space."
    return f"In the outer tenth of its space: {joined(near)}; a wider one may hold better."


def trial_table(study) -> Table:
    """Every trial, the best first within a method."""
    header = [("Trial", ""), ("Learning rate", ""), ("Strength", "β"), ("Status", ""),
              ("Gold above SFT", "validation ↑"), ("KL", "nats"), ("FLOPs", "whole pipeline"),
              ("Seconds", "core-seconds")]  # fmt: skip
    rows = []
    order = study.trials.sort_values("gain", ascending=False, na_position="last")
    for method in methods(study):
        for r in order[order.method == method].itertuples():
            rows.append([
                Cell(label(r.arm), mark=study.looks[method].colour),
                Cell(f"{r.drawn['lr']:g}"), Cell(f"{r.drawn['beta']:g}"),
                Cell(r.status, mark="" if r.status == "ok" else "bad"),
                Cell(fixed(r.gain, "+.2f") if math.isfinite(r.gain) else "–"),
                Cell(f"{r.kl:.2f}" if math.isfinite(r.kl) else "–"),
                Cell(f"{r.flops:.3g}"), Cell(f"{getattr(r, study.second):.1f}"),
            ])  # fmt: skip
    return Table("Every trial", header, rows, ["One run each, so no intervals."])


def provenance(study) -> list[str]:
    """Where the settings of this study come from."""
    tuned = study.meta["provenance"]
    if not tuned:
        return ["The settings are not from a search on this testbed."]
    return [
        f"Each method's settings are the best of its own random trials at seed {tuned['seed']}, "
        f"which no comparison uses. Rule: {tuned['rule']}. They ran at commit "
        f"{tuned['commit'][:12]}; the report of the study 'tune' lists each of them. Drawn, "
        f"log-uniformly: {_spaces(tuned['spaces'])}. Nothing else was searched."
    ]


def tables(study) -> list[Table]:
    """What was picked for each method, of how many trials, and what finding it took."""
    tuned = study.meta["provenance"]
    if not tuned:
        return []
    header = [("", ""), ("Picked", ""), ("Trials", ""), ("Failed", "trials ↓"),
              ("Gain of the pick", "gold above SFT, validation ↑"), ("FLOPs", "all trials"),
              ("Seconds", f"{study.second_name}, all trials")]  # fmt: skip
    rows = []
    for method in (m for m in study.meta["methods"] if m in tuned["methods"]):
        found = tuned["methods"][method]
        gains = study.trials[study.trials.method == method].gain
        rows.append([
            Cell(label(method), mark=study.looks[method].colour),
            Cell(_settings(study, method, tuned["spaces"][method])),
            Cell(f"{found['trials']}"), Cell(f"{found['failed']}"),
            Cell(fixed(gains.max(), "+.2f") if len(gains) else "–"),
            Cell(scaled(found["flops"]), value=found["flops"]),
            Cell(f"{found[study.second]:,.0f}", value=found[study.second]),
        ])  # fmt: skip
    note = (
        "The gain of a pick is the highest of many noisy numbers, so it tends to be too high; no "
        "interval."
    )
    return [Table("What the search picked", header, rows, [note])]


def _spaces(spaces: dict) -> str:
    """'PPO lr 0.0001 to 0.003, beta 0.01 to 1; ...'."""
    return "; ".join(
        f"{label(method)} {', '.join(f'{k} {low:g} to {high:g}' for k, (low, high) in own.items())}"
        for method, own in spaces.items()
    )


def _settings(study, method: str, keys) -> str:
    """'lr 0.0005, beta 0.2' as the method's runs have them."""
    if method not in study.arms:
        return "–"
    return ", ".join(f"{key} {study.setting(method, key):g}" for key in keys)


def sections(study) -> list[Section]:
    """The page."""
    return [
        Section("how", "How", lines(study)),
        Section("worth", "What k trials are worth", plates=[PLATES[0]]),
        Section("where", "Where they lie", plates=[PLATES[1]]),
        Section("trials", "Trials", tables=[trial_table(study)]),
    ]


def results(study):
    """results.csv: a row a trial."""
    drawn = (
        study.trials.drawn.apply(lambda d: d["lr"]),
        study.trials.drawn.apply(lambda d: d["beta"]),
    )
    return study.trials.drop(columns="drawn").assign(lr=drawn[0], beta=drawn[1]).round(6)


def _per_method(study) -> int:
    """How many trials each method had."""
    return int(study.trials.groupby("method").size().max())


def _listed(study) -> str:
    parts = []
    for method in methods(study):
        curve = tune.best_of(study.trials, method)
        parts.append(
            f"{label(method)} {fixed(curve.gain.iloc[0], '+.2f')} to "
            f"{fixed(curve.gain.iloc[-1], '+.2f')}"
        )
    return ", ".join(parts)


def _ranges(study) -> str:
    """'PPO -0.08 to +0.85', failures counted."""
    parts = []
    for method in methods(study):
        rows = study.trials[study.trials.method == method]
        low, high = (fixed(v, "+.2f") for v in (rows.gain.min(), rows.gain.max()))
        parts.append(f"{label(method)} {low} to {high}, {int(rows.gain.isna().sum())} failed")
    return "; ".join(parts)


PLATES = (
    Plate(
        "best", "What k random trials are worth", best_curves,
        lambda s: "Expected best gain of k trials drawn with replacement from those made "
        "(Dodge et al. 2019, "
        "1909.03004, eq. 1); a failed trial counts as none. No bands: one seed a trial.",
        lambda s: f"Expected best gold above SFT, from one trial to all: {_listed(s)}.",
        lambda s: f"{_per_method(s)} trials a method, one seed · no intervals",
        wide=True,
        category="Tuning",
    ),
    Plate(
        "trials", "Where the trials lie, and what they gained", map_of_trials,
        lambda s: "Each dot a trial, the stronger its colour the more gold above SFT on validation "
        "prompts; empty: below SFT; cross: it failed; ringed, with its gain: picked. One run each.",
        lambda s: f"Learning rate and strength of every trial with its gain: {_ranges(s)}.",
        lambda s: f"{_per_method(s)} trials a method, one seed · stronger colour: more gold above "
        "SFT · empty: below · cross: failed",
        wide=True,
        category="Tuning",
    ),
)  # fmt: skip

BEST = PLATES[0]
KIND = Kind(headline, sections, results, lambda study: PLATES)
