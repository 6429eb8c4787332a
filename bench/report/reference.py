"""Tabulate what ends every page: each run, its lm-eval scores, settings, and the measures."""

import json

import numpy as np
import pandas as pd

from bench.analysis import measures as ms
from bench.analysis.measure import Measure
from bench.core.files import file_sha256
from bench.report.tables import DASH, Cell, Table, arm_cell, plain, runs_of, short
from bench.report.words import STATUS, fixed, joined, label, said

RUNS = "Every run"  # the title of a table
# column of the runs -> what it counts, in words
COUNTED = {
    "episodes": "episodes sampled",
    "steps": "optimiser steps",
    "resident_models": "models in memory",
}
# table of the results -> what a row of it holds
HELD = {
    "runs": "a run: how it ended, its settings, hashes of its inputs and weights",
    "prompts": "an answer to a test prompt: gold, KL, length",
    "variety": "a run's answers: distinct bigrams, how far those to one prompt differ",
    "tasks": "a run's score on an lm-eval task",
    "items": "a run's score on a document of a task",
    "curve": "a run's scores on validation prompts at a point of training",
    "cost": "seconds and FLOPs of a phase of a run",
    "ledger": "seconds of a step of the study, shared ones included",
    "log": "an optimiser step of a run",
    "reward": "a reward model's accuracy",
}


def of_runs(study, each_arm: bool = True) -> list[Table]:
    """Return the tables of runs, lm-eval scores, settings and candidates that have rows; each_arm:
    not only that of candidates."""
    of_arms = (runs, task_runs, settings, variants) if each_arm else ()
    found = [table(study) for table in (*of_arms, candidates, tables)]
    return [table for table in found if table.rows]


def runs(study) -> Table:
    """Tabulate every run: its measures, the folder of its record, the hash of its weights."""
    known = {*ms.of_runs(study.results).measure}  # of single runs, and measured in this study
    of_arms = (m for m in ms.SUMMARY if {"scorecard", "writing"}.intersection(m.shown))
    shown = [measure for measure in of_arms if measure.key in known]
    units = ((m.label, m.unit_in(study.meta)) for m in shown)
    header = [("Run", ""), ("Status", ""), *units, ("Weights", "sha256")]
    rows = [_run_row(study, row, shown) for row in study.runs.to_dict("records")]
    note = (
        "Each row is one run, so there are no intervals. Below its name stands "
        f"the folder of its record, run.json, in runs/{study.meta.testbed}. Weights: the first "
        "digits of the hash of its model. The rows are in evidence/runs.columns.xz."
    )
    return Table(RUNS, header, rows, [note])


def _run_row(study, row: dict, shown: list[Measure]) -> list[Cell]:
    """Return the row of one run."""
    arm, seed = row["arm"], row["seed"]
    found = values(study, arm, seed)
    status = Cell(row["status"], mark="" if row["status"] == "ok" else "bad")
    cells = [plain(m, found.get(m.key)) for m in shown]
    return [_run_name(study, arm, seed, "runs"), status, *cells, Cell(weights(row))]


def values(study, arm: str, seed: int) -> dict[str, float]:
    """Return {measure: its value} of a run."""
    table = ms.of_runs(study.results)
    mine = table[(table.arm == arm) & (table.seed == seed)]
    return dict(zip(mine.measure, mine.value, strict=True))


def _run_name(study, arm: str, seed: int, anchor: str) -> Cell:
    """Return a run's name and folder; links to an arm's runs lead to its first run."""
    first = seed == study.runs[study.runs.arm == arm].seed.iloc[0]
    return Cell(f"{label(arm)} seed {seed}", f"align/{arm}/seed{seed}",
                study.looks[arm].colour, anchor=f"{anchor}-{arm}" if first else "")  # fmt: skip


def task_runs(study) -> Table:
    """Tabulate every run's lm-eval scores."""
    rows = study.results.tasks
    asked = list(dict.fromkeys(zip(rows.task, rows.metric, strict=True)))
    known = {(r.arm, r.seed, r.task, r.metric): r.value for r in rows.itertuples()}
    body = [
        [
            _run_name(study, arm, seed, "tasks"),
            *(_score(known.get((arm, seed, *question))) for question in asked),
        ]
        for arm, seed in zip(study.runs.arm, study.runs.seed, strict=True)
    ]
    header = [("Run", ""), *((task, metric) for task, metric in asked)]
    note = f"Scores are from evaluate/<arm>/seed<k>/tasks.csv in runs/{study.meta.testbed}."
    return Table("lm-eval of every run", header, body if asked else [], [note])


def _score(value: float | None) -> Cell:
    return DASH if value is None else Cell(f"{value:.3f}", value=value)


def weights(row: dict) -> str:
    """Return the first digits of the hash of a run's model; a dash if a failed run left none."""
    known = row.get("model_sha256")
    return known[:12] if isinstance(known, str) else "–"


def record(study, arm: str, seed: int) -> str:
    """Return the path of a run's record, from the working directory."""
    return f"runs/{study.meta.testbed}/align/{arm}/seed{seed}/run.json"


def settings(study) -> Table:
    """Tabulate the settings of each method, a row for each; all seeds share them, as the contract
    checks."""
    first = study.runs.groupby("arm", sort=False).first()
    arms = [arm for arm in study.listed if arm in first.index]
    own = {arm: _in_words(first.settings[arm]) for arm in arms}
    rows = [
        [Cell(words), *(Cell("–" if pd.isna(n) else short(n)) for n in first.loc[arms, column])]
        for column, words in COUNTED.items()
        if column in first
    ]
    rows += [
        [Cell(name), *(Cell(own[arm].get(name, "–")) for arm in arms)]
        for name in sorted({name for found in own.values() for name in found})
    ]
    header = [("Setting", ""), *((label(arm), "") for arm in arms)]
    note = "A dash: the method has no such setting. What each means: docs/settings.md."
    return Table("Settings", header, rows if arms else [], [note])


def variants(study) -> Table:
    """Tabulate what the other arms set otherwise than the method that they belong to."""
    first = study.runs.groupby("arm", sort=False).settings.first().map(_in_words)
    rows = []
    for arm in study.arms:
        usual = first.get(study.method[arm], {})
        if arm in first and arm not in study.listed:
            others = {k: v for k, v in first[arm].items() if usual.get(k) != v}
            rows.append([arm_cell(study, arm), Cell(_listed(others) or "nothing")])
    return Table("What variants set otherwise", [("", ""), ("Settings", "")], rows)


def tables(study) -> Table:
    """Tabulate where the numbers of the page lie."""
    found = {name: getattr(study.results, name, None) for name in HELD}
    rows = [
        [Cell(f"{name}.csv", f"evidence/{name}.columns.xz"), Cell(HELD[name]), Cell(f"{len(t):,}")]
        for name, t in found.items()
        if t is not None and len(t)
    ]
    note = (
        "results.csv has each mean of the page with its interval, by arm and measure. "
        "python -m bench report --from, with the folder of this report, unpacks these tables. "
        "evidence/manifest.json has the sha256 of each file. The functions that compute measures "
        "from them stand beside each measure."
    )
    header = [("Table", ""), ("Each row holds", ""), ("Rows", "")]
    return Table("Where the numbers lie", header, rows, [note, *traced(study)])


def traced(study) -> list[str]:
    """Follow one mean of the page to the rows of which it is made."""
    whole = [arm for arm in study.known("gold_delta") if study.ended[arm].all]
    if not whole:
        return []
    arm, folder = whole[0], study.results.folder
    mine, base = (_mean_of(study, name) for name in (arm, study.base[arm]))
    known = f" (sha256 {file_sha256(folder / 'prompts.csv')[:12]})" if folder else ""
    return [
        f"For example, {label(arm)}'s gold above SFT, {said(study.interval(arm, 'gold_delta'))}: "
        f"in prompts.csv{known}, the mean of column gold over rows of the families "
        f"{joined(study.meta.tuned_families)} is {mine} minus {base}."
    ]


def _mean_of(study, arm: str) -> str:
    """Say '1.78 in lines 1,538 to 16,897, of arm ppo'."""
    rows = study.results.prompts
    lines = np.flatnonzero(rows.arm == arm) + 2  # the first line holds the names of columns
    kept = rows[(rows.arm == arm) & rows.family.isin(study.meta.tuned_families)]
    return f"{kept.gold.mean():.2f} in lines {lines[0]:,} to {lines[-1]:,} (arm {arm})"


def candidates(study) -> Table:
    """Tabulate the candidates of arms that have them: what they set, and which was picked."""
    header = [("Arm", ""), ("Candidate", ""), ("Gain", "validation, mean ↑"), ("Picked", ""),
              ("Settings", "")]  # fmt: skip
    rows = []
    for arm, pick in study.meta.picks.items():
        for name, tried in pick.candidates.items():
            mean = sum(tried["gains"]) / len(tried["gains"])
            rows.append([
                arm_cell(study, arm),
                Cell(name),
                Cell(fixed(mean, "+.2f"), value=mean),
                Cell("yes" * (name == pick.picked)),
                Cell(_listed(_in_words(tried["settings"]))),
            ])  # fmt: skip
    seeds = joined(str(s) for pick in [*study.meta.picks.values()][:1] for s in pick.seeds)
    note = (
        f"Each was tried on the seeds {seeds}, which no study compares; an arm's runs have the "
        "settings with the highest mean gain. A failed run gains nothing. No interval."
    )
    return Table("Candidates", header, rows, [note])


def _in_words(settings: str | dict) -> dict[str, str]:
    """Return {setting: its value in words}, from a dictionary or its JSON; {} if unknown."""
    values = json.loads(settings) if isinstance(settings, str) else settings
    return {key: _word(value) for key, value in values.items()} if isinstance(values, dict) else {}


def _word(value) -> str:
    """Format the value of a setting."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listed(settings: dict[str, str]) -> str:
    """Return 'lr 0.0003, beta 0.1'."""
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def failures(study, title: str = "Failed runs") -> Table:
    """Tabulate every run of the study that failed, with its reason."""
    rows = [
        [
            Cell(f"{label(r.arm)} seed {r.seed}", link=runs_of(study, r.arm)),
            Cell(STATUS.get(r.status, r.status), mark="bad"),
            Cell(r.reason if isinstance(r.reason, str) else "–"),
        ]
        for r in study.failures.itertuples()
    ]
    return Table(title, [("Run", ""), ("Outcome", ""), ("Reason", "")], rows)


def glossary(study, measures: list[Measure]) -> Table:
    """Tabulate every measure: formula, unit, direction, source."""
    header = [("Measure", ""), ("Unit", ""), ("Better", ""), ("Formula", ""), ("Source", "")]
    rows = [
        [Cell(v) for v in (m.label, m.unit_in(study.meta), m.better, m.formula, source(m))]
        for m in measures
    ]
    return Table("What each measure means", header, rows)


def source(measure: Measure) -> str:
    """Return what a measure rests on, and the functions that compute it."""
    return "; ".join(filter(None, [measure.source, *(f"bench/{w}" for w in measure.where)]))


def breaches(study) -> list[dict]:
    """Return every breach of the contract as field, why and values by run, in words."""
    found = []
    for breach in study.meta.breaches:
        values = [f"{run}: {short(value)}" for run, value in breach["values"].items()]
        more = [f"and {len(values) - 12} more"] if len(values) > 12 else []
        found.append({"field": breach["field"], "why": breach["why"], "values": values[:12] + more})
    return found
