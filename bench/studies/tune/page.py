"""Build the page of the study `tune`: each method's trials, what k of them are worth, the pick."""

import math

from bench.analysis import costs
from bench.report.sections import Kind, Lent, Section
from bench.report.tables import Cell, Table
from bench.report.words import fixed, joined, label, named, scaled
from bench.studies.tune import analysis
from bench.studies.tune.figures import BEST, TRIALS, methods, per_method, trials


def headline(study) -> list[str]:
    """Say what was picked."""
    top = analysis.picked(trials(study))
    items = [
        f"{label(m)} {', '.join(f'{k} {v:g}' for k, v in row.drawn.items())}"
        for m, row in top.iterrows()
    ]
    return [f"Picked: {'; '.join(items)}." if items else "Every trial failed."]


def lines(study) -> list[str]:
    """Say how trials were drawn, the rule, the failures, the cost, and what gains do not show."""
    made = trials(study)
    n = per_method(study)
    lost = made[made.status != "ok"]
    failed = [f"{label(m)} {int(c)}" for m, c in lost.groupby("method", sort=False).size().items()]
    spent = made.groupby("method", sort=False).flops.sum()
    ratio = ", ".join(f"{label(m)} {v / spent.min():.1f}" for m, v in spent.items())
    return [
        f"Each method had {n} trials: independent draws, log-uniform in its declared space, all at "
        f"seed {study.meta.seeds[0]}, which no comparison uses. A trial is the whole pipeline, "
        "and is charged for its reward model or reference log-probabilities as if it stood alone.",
        f"The pick is the trial with the {analysis.RULE}. {_distance(study)}",
        f"Failed trials: {joined(failed) or 'none'}. FLOPs of all trials, as multiples of the "
        f"cheapest method's: {ratio}.",
        "Each trial has one seed, so the pick is the highest of many noisy numbers, and its gain "
        "here tends to be too high. A comparison measures it on other seeds and other prompts.",
    ]


def _distance(study) -> str:
    """Name picks that lie near an end of their space, beyond which there may be higher gains."""
    spaces, near = study.meta.tune["spaces"], []
    for method, row in analysis.picked(trials(study)).iterrows():
        for key, value in row.drawn.items():
            low, high = spaces[method][key]
            place = math.log(value / low) / math.log(high / low)
            if not 0.1 <= place <= 0.9:
                near.append(f"{label(method)}'s {key}")
    if not near:
        return "No pick lies in the outer tenth of its space."
    where = f"Picked in the outer tenth of its space: {joined(near)}"
    return f"{where}; a wider space may hold higher gains."


def trial_table(study) -> Table:
    """Tabulate every trial, the best first within a method."""
    header = [("Trial", ""), ("Learning rate", ""), ("Strength", "β"), ("Status", ""),
              ("Gold above SFT", "validation ↑"), ("KL", "nats"), ("FLOPs", "whole pipeline"),
              ("Seconds", "core-seconds")]  # fmt: skip
    rows = []
    order = trials(study).sort_values("gain", ascending=False, na_position="last")
    for method in methods(study):
        for r in order[order.method == method].itertuples():
            rows.append([
                Cell(label(r.arm), mark=study.looks[method].colour),
                Cell(f"{r.drawn['lr']:g}"), Cell(f"{r.drawn['beta']:g}"),
                Cell(r.status, mark="" if r.status == "ok" else "bad"),
                Cell(fixed(r.gain, "+.2f") if math.isfinite(r.gain) else "–"),
                Cell(f"{r.kl:.2f}" if math.isfinite(r.kl) else "–"),
                Cell(f"{r.flops:.3g}"), Cell(f"{getattr(r, costs.seconds(study.meta)):.1f}"),
            ])  # fmt: skip
    return Table("Every trial", header, rows, ["Each trial is one run, so there are no intervals."])


def provenance(study) -> list[str]:
    """Say where the settings of this study come from."""
    tuned = study.meta.provenance
    if not tuned:
        return ["The settings are not from a search on this testbed."]
    return [
        f"The settings of {named(tuned['methods'])} are the best of each one's own random trials "
        f"at seed {tuned['seed']}, which no comparison uses. The rule: {tuned['rule']}. The trials "
        f"ran at commit {tuned['commit'][:12]}; the report of the study 'tune' lists each of them. "
        f"Settings were drawn log-uniformly: {_spaces(tuned['spaces'])}. No other settings were "
        "searched."
    ]


def tables(study) -> list[Table]:
    """Tabulate what was picked for each method, of how many trials, and what the search cost."""
    tuned = study.meta.provenance
    if not tuned:
        return []
    header = [("", ""), ("Picked", ""), ("Trials", ""), ("Failed", "trials ↓"),
              ("Gain of the pick", "gold above SFT, validation ↑"), ("FLOPs", "all trials"),
              ("Seconds", f"{costs.seconds_name(study.meta)}, all trials")]  # fmt: skip
    rows, column = [], costs.seconds(study.meta)
    for method in (m for m in study.meta.methods if m in tuned["methods"]):
        found = tuned["methods"][method]
        gains = trials(study)[trials(study).method == method].gain
        rows.append([
            Cell(label(method), mark=study.looks[method].colour),
            Cell(_settings(study, method, tuned["spaces"][method])),
            Cell(f"{found['trials']}"), Cell(f"{found['failed']}"),
            Cell(fixed(gains.max(), "+.2f") if len(gains) else "–"),
            Cell(scaled(found["flops"]), value=found["flops"]),
            Cell(f"{found[column]:,.0f}", value=found[column]),
        ])  # fmt: skip
    note = (
        "The gain of a pick is the highest of many noisy numbers, so it tends to be too high. It "
        "has no interval."
    )
    return [Table("What the search picked", header, rows, [note])]


def _spaces(spaces: dict) -> str:
    """Return 'PPO lr 0.0001 to 0.003, beta 0.01 to 1; ...'."""
    return "; ".join(
        f"{label(method)} {', '.join(f'{k} {low:g} to {high:g}' for k, (low, high) in own.items())}"
        for method, own in spaces.items()
    )


def _settings(study, method: str, keys) -> str:
    """Return 'lr 0.0005, beta 0.2', as the method's runs have them."""
    if method not in study.arms:
        return "–"
    return ", ".join(f"{key} {study.setting(method, key):g}" for key in keys)


def sections(study) -> list[Section]:
    """Return the sections of the page."""
    return [
        Section("how", "How settings were searched", lines(study)),
        Section("worth", "What k trials are worth", figures=[BEST]),
        Section("where", "Where the trials lie", figures=[TRIALS]),
        Section("trials", "Trials", tables=[trial_table(study)]),
    ]


def results(study):
    """Return results.csv: a row per trial."""
    drawn = (
        trials(study).drawn.apply(lambda d: d["lr"]),
        trials(study).drawn.apply(lambda d: d["beta"]),
    )
    return trials(study).drop(columns="drawn").assign(lr=drawn[0], beta=drawn[1]).round(6)


LENT = Lent(
    "tuning",
    "Tuning",
    lines=lambda study, beside: provenance(study),
    tables=lambda study, beside: tables(study),
    figures=lambda study, beside: [BEST] if len(trials(study)) else [],
)
KIND = Kind(headline, sections, lambda study: [BEST, TRIALS], results, lent=LENT)
