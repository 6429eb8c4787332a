"""Build the page of the study `tune`: each method's trials, what k of them are worth, the pick."""

import pandas as pd

from bench.analysis import costs
from bench.core.grouping import grouped
from bench.report.sections import Kind, Lent, Section
from bench.report.tables import Cell, Table
from bench.report.words import fixed, joined, label, named, scaled
from bench.studies.tune import analysis
from bench.studies.tune.figures import BEST, TRIALS, methods, per_method, trials


def headline(study) -> list[str]:
    """Say how far the best trial of each method came."""
    made = trials(study)
    n = made.groupby("method").size()
    top = analysis.picked(made).iterrows()
    items = [f"{label(m)} {fixed(row.gain, '+.2f')} of {n[m]} trials" for m, row in top]
    if not items:
        return ["Every trial failed."]
    head = "The picked trials' gold above SFT, on validation prompts and from one seed"
    return [f"{head}: {'; '.join(items)}."]


def lines(study) -> list[str]:
    """Say how trials were drawn, the rule, the failures, the cost, and what gains do not show."""
    made = trials(study)
    lost = made[made.gold.isna()]
    failed = [f"{label(m)} {int(c)}" for m, c in lost.groupby("method", sort=False).size().items()]
    spent = made.groupby("method", sort=False).flops.sum()
    ratio = ", ".join(f"{label(m)} {v / spent.min():.1f}" for m, v in spent.items())
    return [
        f"The search had {per_method(study)}. They are independent draws, log-uniform in each "
        f"method's declared space, all at seed {study.meta.seeds[0]}, which no comparison uses. A "
        "trial is the whole pipeline, and is charged for its reward model or reference "
        "log-probabilities as if it stood alone. Drawn were, from the lowest to the highest: "
        f"{_spaces(of_methods(study, study.meta.tune['spaces']))}.",
        *_lengths(study),
        f"The pick is the reading with the {analysis.RULE}. {_distance(study)}",
        f"Failed trials: {joined(failed) or 'none'}. FLOPs of all trials, as multiples of the "
        f"cheapest method's: {ratio}.",
        "Each trial has one seed, so the pick is the highest of many noisy numbers, and its gain "
        "here tends to be too high. A comparison measures it on other seeds and other prompts.",
    ]


def _distance(study) -> str:
    """Name picks that lie near an end of their space, beyond which there may be higher gains."""
    spaces, near = study.meta.tune["spaces"], []
    for method, row in analysis.picked(trials(study)).iterrows():
        read = study.meta.tune["epochs"].get(method)
        ends = spaces[method] | ({"epochs": (min(read), max(read))} if read else {})
        near += [
            f"{label(method)}'s {key}"
            for key, value in analysis.settings(row).items()
            if value != 1 or not isinstance(value, int)  # nothing lies below one pass
            if analysis.near_an_end(*ends[key], value)
        ]
    if not near:
        return "No pick lies in the outer tenth of its space."
    where = f"Picked in the outer tenth of its space: {joined(near)}"
    return f"{where}; a wider space may hold higher gains."


def trial_table(study) -> Table:
    """Tabulate every trial, the best first within a method."""
    header = [("Trial", ""), ("Settings", ""), ("Status", "at the end"),
              ("Gold above SFT", "validation ↑"), ("KL", "nats"), ("Accuracy", "held-out pairs ↑"),
              ("FLOPs", "whole pipeline"), ("Seconds", costs.seconds_name(study.meta))]  # fmt: skip
    rows = []
    order = trials(study).sort_values("gain", ascending=False, na_position="last")
    for method in methods(study):
        for r in order[order.method == method].itertuples():
            rows.append([
                Cell(label(r.arm), mark=study.looks[method].colour),
                Cell(set_to(analysis.settings(r))),
                Cell(r.status, mark="" if r.status == "ok" else "bad"),
                Cell(fixed(r.gain, "+.2f")), Cell(fixed(r.kl, ".2f")),
                Cell(fixed(r.accuracy, ".3f")),
                Cell(f"{r.flops:.3g}"), Cell(f"{getattr(r, costs.seconds(study.meta)):.1f}"),
            ])  # fmt: skip
    note = (
        "Each trial is one run, so there are no intervals. A trial stands with its best reading; "
        "FLOPs and seconds are of all of it. Accuracy: how often its policy raised the chosen "
        "answer of a held-out pair more than the rejected one."
    )
    return Table("Every trial", header, rows, [note])


def other_rules(study) -> Table:
    """Tabulate what was picked, what other rules would have picked, and the gold of these."""
    whole, read = trials(study), analysis.readings(study.results)
    first = whole.groupby("method").size().min()
    picks = {
        "gold, all trials": analysis.picked(whole),
        f"gold, the first {first} trials of each": analysis.picked(analysis.within(whole, first)),
        "held-out accuracy": analysis.picked(read, "accuracy"),
    }
    header = [("Method", ""), ("Picked by", ""), ("Settings", ""),
              ("Gold above SFT", "validation ↑"), ("Accuracy", "held-out pairs ↑")]  # fmt: skip
    rows = [
        [
            Cell(label(method), mark=study.looks[picked.arm[method]].colour),
            Cell(rule),
            Cell(set_to(analysis.settings(picked.loc[method]))),
            Cell(fixed(picked.gain[method], "+.2f")),
            Cell(f"{picked.accuracy[method]:.3f}"),
        ]
        for method in methods(study)
        for rule, picked in picks.items()
        if method in picked.index
    ]
    note = (
        "Gold is known here alone: elsewhere nobody could pick by it. What held-out pairs would "
        "have picked, from labels that anyone has, stands beside it. A trial that was read at "
        "several lengths counts with its best reading; those read once lack this choice. All from "
        "one seed, without intervals."
    )
    return Table("What each rule picks", header, rows, [note])


def set_to(settings: dict) -> str:
    """Return 'lr 0.0005, beta 0.2'."""
    return ", ".join(f"{key} {value:g}" for key, value in settings.items())


def of_methods(study, by_method: dict) -> dict:
    """Return the entries of the methods that this study searched."""
    return {method: own for method, own in by_method.items() if method in methods(study)}


def _lengths(study) -> list[str]:
    """Say at which epochs trials were read, where they were read along the way."""
    read = of_methods(study, study.meta.tune["epochs"])
    if not read:
        return []
    items = [f"{label(m)} {joined(f'{e:g}' for e in sorted(found))}" for m, found in read.items()]
    return [
        "Trials ran at a constant learning rate and were read along the way, at these epochs: "
        f"{'; '.join(items)}. A shorter training would have begun as the longer one did."
    ]


def provenance(study) -> list[str]:
    """Say where the settings of this study come from."""
    tuned = study.meta.provenance
    if not tuned:
        return ["The settings are not from a search on this testbed."]
    used = searched(study, tuned)
    spaces = _spaces({method: tuned["spaces"][method] for method in used})
    return [
        f"The settings of {named(used)} are the best of each one's own random trials"
        f"{_where(study, tuned)} at seed {tuned['seed']}, which no comparison uses. The rule: "
        f"{tuned['rule']}. The trials ran at "
        f"{_commits(tuned, used)}; the report of the study 'tune' lists each of them. "
        f"Settings were drawn log-uniformly: {spaces}. No other settings were searched"
        f"{lengths_and_schedules(tuned)}."
    ]


def _commits(tuned: dict, used: list[str]) -> str:
    """Say 'commit 328a33e991e5', and that of methods which were searched later."""
    later = grouped((tuned["methods"][method].get("commit"), method) for method in used)
    later.pop(None, None)
    own = [f", those of {named(methods)} at {commit[:12]}" for commit, methods in later.items()]
    return f"commit {tuned['commit'][:12]}{''.join(own)}"


def _where(study, tuned: dict) -> str:
    """Name the testbed of the search if it was another, whose settings this one inherits."""
    own = study.meta.testbed
    return f" on testbed {where}" if (where := tuned.get("testbed", own)) != own else ""


def tables(study) -> list[Table]:
    """Tabulate what was picked for each method, of how many trials, and what the search cost."""
    tuned = study.meta.provenance
    if not tuned:
        return []
    header = [("", ""), ("Picked", ""), ("Trials", ""), ("Failed", "trials ↓"),
              ("Gain of the pick", "gold above SFT, validation ↑"), ("FLOPs", "of the search"),
              ("Seconds", f"{costs.seconds_name(study.meta)}, of the search")]  # fmt: skip
    rows, column = [], costs.seconds(study.meta)
    again = tuned.get("confirmed", {}).get("methods", {})
    for method in searched(study, tuned):
        found = tuned["methods"][method]
        gain = again[method]["gain"] if method in again else _highest(study, method)
        spent = costs.of_search(study.meta, method)
        rows.append([
            Cell(label(method), mark=study.looks[method].colour),
            Cell(_settings(study, method, found, tuned["spaces"][method])),
            Cell(f"{found['trials']}"), Cell(f"{found['failed']}"),
            Cell(fixed(gain, "+.2f")),
            Cell(scaled(spent["flops"]), value=spent["flops"]),
            Cell(f"{spent[column]:,.0f}", value=spent[column]),
        ])  # fmt: skip
    seeds = "the mean over the further seeds" if again else "of one run"
    note = (
        f"The gain of a pick is {seeds} and the highest of many noisy numbers, so it tends to be "
        "too high. It has no interval."
    )
    return [Table("What the search picked", header, rows, [note])]


def _highest(study, method: str) -> float:
    """Return the highest gain of a method's trials."""
    return trials(study)[trials(study).method == method].gain.max()


def searched(study, tuned: dict) -> list[str]:
    """Return the methods of this study that were searched; all that were, in one of its own."""
    used = {*study.method.values()}
    return [method for method in tuned["methods"] if method in used] or list(tuned["methods"])


def lengths_and_schedules(tuned: dict) -> str:
    """Say what was searched besides the spaces: ', but for epochs and for a decay of the rate'."""
    found = ["epochs"] * bool(tuned.get("epochs"))
    found += ["a decay of the learning rate"] * ("confirmed" in tuned)
    return f", but for {joined(found)}" if found else ""


def _spaces(spaces: dict) -> str:
    """Return 'PPO lr 0.0001 to 0.003, beta 0.01 to 1; ...'."""
    return "; ".join(
        f"{label(method)} {', '.join(f'{k} {low:g} to {high:g}' for k, (low, high) in own.items())}"
        for method, own in spaces.items()
    )


def _settings(study, method: str, found: dict, keys) -> str:
    """Return 'lr 0.0005, beta 0.2', as the search picked them; keys: of its space, which is all
    that earlier searches picked."""
    if method not in study.arms:
        return "–"
    picked = found.get("settings") or {key: study.setting(method, key) for key in keys}
    return set_to(picked)


def sections(study) -> list[Section]:
    """Return the sections of the page."""
    return [
        Section("picks", "What was picked", tables=[other_rules(study)]),
        Section("how", "How settings were searched", lines(study)),
        Section("worth", "What k trials are worth", figures=[BEST]),
        Section("where", "Where the trials lie", figures=[TRIALS]),
        Section("trials", "Trials", tables=[trial_table(study)]),
    ]


def results(study):
    """Return results.csv: a row per trial, with a column for each setting that was drawn."""
    rows = trials(study)
    drawn = pd.DataFrame([analysis.settings(row) for row in rows.itertuples()], index=rows.index)
    return pd.concat([rows.drop(columns=["drawn", "epochs"]).round(6), drawn], axis=1)


LENT = Lent(
    "tuning",
    "Tuning",
    lines=lambda study, beside: provenance(study),
    tables=lambda study, beside: tables(study),
    figures=lambda study, beside: [BEST] if len(trials(study)) else [],
)
KIND = Kind(headline, sections, lambda study: [BEST, TRIALS], results, lent=LENT)
