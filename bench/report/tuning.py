"""The page of the study `tune`: the trials of each method, what k of them are worth, the pick."""

import math

from bench.analysis import tuning
from bench.report.plate import Plate
from bench.report.sections import Kind, Section
from bench.report.style import label, shade
from bench.report.tables import Cell, Table
from bench.report.verdict import fixed, joined


def methods(study) -> list[str]:
    return list(dict.fromkeys(study.trials.method))


def best_curves(study, pen):
    """Expected best gain of k trials: against k, and against the FLOPs that k trials take."""
    figure = pen.figure(9.2, 3.6)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, column in zip(axes, ("k", "flops"), strict=True):
        for method in methods(study):
            curve = tuning.best_of(study.trials, method)
            ax.plot(curve[column], curve.gain, ls=study.looks[method].line, ms=5,
                    label=label(method), markevery=(0, 3), **pen.marker(method))  # fmt: skip
        ax.set_title(
            "Expected best of k trials" if column == "k" else "The same, by what they cost"
        )
    axes[1].set_xscale("log")
    axes[0].set_xlabel("k, trials")
    axes[1].set_xlabel("FLOPs of k trials, reward model included (logarithmic)")
    axes[0].set_ylabel("gold above SFT, validation")
    axes[0].legend(loc="lower right", fontsize=9, handlelength=3.2)
    return figure


def map_of_trials(study, pen):
    """A panel a method: where its trials lie and what they gained."""
    names = methods(study)
    figure = pen.figure(9.2, 5.8)
    axes = figure.subplots(2, math.ceil(len(names) / 2), squeeze=False).ravel()
    best, top = study.trials.gain.max(), tuning.picked(study.trials)
    for ax, method in zip(axes, names, strict=False):
        for row in study.trials[study.trials.method == method].itertuples():
            at = row.drawn["lr"], row.drawn["beta"]
            _trial(ax, pen, at, row, best, method in top.index and row.arm == top.arm[method])
        _log_axes(ax)
        ax.set_title(label(method))
        ax.set_xlabel("learning rate")
        ax.set_ylabel("strength β")
    for ax in axes[len(names) :]:
        ax.axis("off")
    return figure


def _trial(ax, pen, at: tuple, row, best: float, picked: bool) -> None:
    """A dot shaded by gain, or a cross; the picked one ringed, with its gain."""
    if not math.isfinite(row.gain):
        ax.plot(*at, "x", color=pen("m0"), ms=8, mew=2)
        return
    face = shade(row.gain / best) if row.gain > 0 else "paper"
    edge = pen("m0") if row.gain <= 0 else pen("ink")
    ax.plot(*at, "o", ms=9, mfc=pen(face), mec=edge, mew=1)
    if picked:
        ax.plot(*at, "o", ms=15, mfc="none", mec=pen.of(row.method), mew=2.2)
        ax.annotate(fixed(row.gain, "+.2f"), at, (0, 12), ha="center", fontweight="bold",
                    textcoords="offset points", fontsize=9, zorder=5,
                    bbox={"fc": pen("paper"), "ec": "none", "pad": 0.6})  # fmt: skip


def _log_axes(ax) -> None:
    """Logarithmic axes with a tick at 1 and 3 of each decade."""
    ax.margins(0.12)
    for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
        scale("log")
        low, high = axis.get_view_interval()
        ticks = [a * 10.0**n for n in range(-6, 4) for a in (1, 3) if low <= a * 10.0**n <= high]
        axis.set_ticks(ticks, [f"{t:g}" for t in ticks])
        axis.set_ticks([], minor=True)


def headline(study) -> str:
    """What was picked."""
    top = tuning.picked(study.trials)
    items = [
        f"{label(m)} {', '.join(f'{k} {v:g}' for k, v in row.drawn.items())}"
        for m, row in top.iterrows()
    ]
    return f"Picked: {'; '.join(items)}." if items else "Every trial failed."


def lines(study) -> list[str]:
    """The rule, the count, the cost, what it does not show."""
    trials = study.trials
    n = int(trials.groupby("method").size().max())
    lost = trials[trials.status != "ok"]
    failed = [f"{label(m)} {int(c)}" for m, c in lost.groupby("method", sort=False).size().items()]
    spent = trials.groupby("method", sort=False).flops.sum()
    ratio = ", ".join(f"{label(m)} {v / spent.min():.1f}" for m, v in spent.items())
    return [
        f"Each method had {n} trials: independent draws, log-uniform in its declared space, all at "
        f"seed {study.meta['seeds'][0]}, which no report shows. A trial is the whole pipeline, and "
        "pays for its reward model or reference log-probabilities as if it stood alone.",
        f"Rule: {tuning.RULE}. {_distance(study)}",
        f"Failed trials: {joined(failed) or 'none'}. FLOPs of all trials, times the least: "
        f"{ratio}.",
        "One seed a trial: the pick is the best of many noisy numbers, so its gain here is too "
        "high. What it is worth is measured on other seeds and other prompts.",
    ]


def _distance(study) -> str:
    """Picks that lie near the end of their space: a wider one may hold better."""
    spaces, near = study.meta["tune"]["spaces"], []
    for method, row in tuning.picked(study.trials).iterrows():
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


def _listed(study) -> str:
    parts = []
    for method in methods(study):
        curve = tuning.best_of(study.trials, method)
        parts.append(f"{label(method)} {curve.gain.iloc[0]:+.2f} to {curve.gain.iloc[-1]:+.2f}")
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
        "best", "What k trials are worth", best_curves,
        lambda s: "Expected best gain of k trials drawn with replacement from those made "
        "(Dodge et al. 2019, "
        "1909.03004, eq. 1); a failed trial counts as none. No bands: one seed a trial.",
        lambda s: f"Expected best gold above SFT, from one trial to all: {_listed(s)}.",
        wide=True,
    ),
    Plate(
        "trials", "Where the trials lie", map_of_trials,
        lambda s: "Each dot a trial, the stronger its colour the more gold above SFT on validation "
        "prompts; empty: below SFT; cross: it failed; ringed, with its gain: picked. One run each.",
        lambda s: f"Learning rate and strength of every trial with its gain: {_ranges(s)}.",
        wide=True,
    ),
)  # fmt: skip

KIND = Kind(headline, sections, results, PLATES)
