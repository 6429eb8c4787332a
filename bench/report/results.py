"""Write the numbers of a report as files: results.csv, and results.json with their definitions.

results.json (SCHEMA; `python -m bench diff` reads it):
  about        testbed, study, commit, versions, machine, seeds, prompts, breaches, ...
  measures     key, label, unit, better (direction), form, digits, formula, source of each
  arms         name, label, method, settings, label_set, start
  results      a row per arm and measure: mean, low, high (95 % interval), se, df, what it is over
  comparisons  a row per declared pair: family, difference of gold, interval, p, Holm's p, verdict
               (better, equivalent, inconclusive), winner (an arm or null), seeds of a and of b
  tasks        a row per lm-eval task, metric and arm: mean, half of its interval, change from SFT
  runs         a row per run: status, hash of its weights, path of its record, and its values
"""

import json
import math
from dataclasses import asdict

import pandas as pd

from bench.analysis import measures as ms
from bench.analysis.comparisons import Comparison, Family
from bench.analysis.measure import Measure
from bench.analysis.tasks import Change, changes
from bench.core.files import plain
from bench.report import reference
from bench.report.words import label

SCHEMA = "prefbench.results/2"
DIGITS = 6  # significant ones
ABOUT = ("testbed", "study", "commit", "complete", "default_settings", "overrides", "seeds",
         "pairs", "decode", "machine", "versions", "breaches", "tuned_families")  # fmt: skip


def table(study) -> pd.DataFrame:
    """Return results.csv: one row per arm and measure, with unit, direction, interval and n."""
    found = ms.summary(study.results).copy()
    found.insert(1, "method", found.arm.map(study.method).fillna(found.arm))
    numbers = found.select_dtypes("float").columns
    found[numbers] = found[numbers].map(rounded)
    return found.rename(columns={"over": "interval_over"})


def rounded(value: float) -> float:
    """Round a number to DIGITS significant digits."""
    return float(f"{value:.{DIGITS}g}")


def number(value):
    """Round a float to DIGITS significant digits; None if it is infinite or NaN."""
    if not isinstance(value, float):
        return value
    return rounded(value) if math.isfinite(value) else None


def document(study, measures: list[Measure], each_arm: bool = True) -> dict:
    """Return results.json as plain values without NaN; each_arm: with the measures of each arm and
    run."""
    about = {key: getattr(study.meta, key) for key in ABOUT} | {"prompts": study.prompts}
    return plain({
        "schema": SCHEMA,
        "about": about,
        "measures": [declared(m, study.meta) for m in measures],
        "arms": arms(study),
        "results": table(study).to_dict("records") if each_arm else [],
        "comparisons": comparisons(study) if each_arm else [],
        "tasks": tasks(study) if each_arm else [],
        "runs": runs(study, each_arm),
    })  # fmt: skip


def declared(m: Measure, meta) -> dict:
    """Return the entry of a measure, as it is in this study."""
    words = {"key": m.key, "label": m.label, "unit": m.unit_in(meta), "better": m.better}
    look = {"form": m.form, "digits": m.digits}
    return words | look | {"formula": m.formula, "source": reference.source(m)}


def arms(study) -> list[dict]:
    """Return every arm that has runs, with the settings that its runs recorded."""
    keys = ("name", "method", "label_set", "n", "start")
    settings = study.runs.groupby("arm", sort=False).settings.first()
    return [
        {key: getattr(arm, key) for key in keys}
        | {"label": label(arm.name), "settings": json.loads(settings[arm.name])}
        | ({"pick": asdict(pick)} if (pick := study.meta.picks.get(arm.name)) else {})
        for arm in study.meta.arms
        if arm.name in settings.index
    ]


def comparisons(study) -> list[dict]:
    """Return the declared pairs of each family, Holm-corrected within it."""
    families = {"methods": study.versus, "sft": study.versus_sft, "variants": study.versus_tuned}
    return [row for name, family in families.items() for row in rows(name, family)]


def rows(name: str, family: Family) -> list[dict]:
    """Return the comparisons of a family."""
    return [{"family": name, "measure": "gold"} | flat(row) for row in family]


def flat(row: Comparison) -> dict:
    """Return a comparison as plain values."""
    found = {"a": row.a, "b": row.b} | asdict(row.interval) | {"p": row.p, "p_holm": row.p_holm}
    found |= {"verdict": str(row.kind), "winner": row.winner, "margin": row.margin}
    found |= {"seeds_a": row.ended[0].count, "seeds_b": row.ended[1].count}
    found |= {"declared_a": row.ended[0].n, "declared_b": row.ended[1].n}
    if counted := row.expected:
        found |= {"expected": counted.mean, "expected_low": counted.low}
        found |= {"expected_high": counted.high}
    return {key: number(value) for key, value in found.items()}


def tasks(study) -> list[dict]:
    """Return lm-eval: a row per task, metric and arm, with mean over seeds, half-width, change from
    SFT."""
    return [
        {key: number(value) for key, value in _flat(row).items()} for row in changes(study.results)
    ]


def _flat(row: Change) -> dict:
    """Return an entry with the parts of its interval beside its other fields."""
    found = row.change
    span = {"change": found.mean, "low": found.low, "high": found.high, "over": found.over}
    return vars(row) | span


def runs(study, each_arm: bool = True) -> list[dict]:
    """Return every run; each_arm: with its values by measure."""
    return [
        {"arm": r["arm"], "seed": int(r["seed"]), "status": r["status"]}
        | {"weights": reference.weights(r)}
        | {"record": reference.record(study, r["arm"], r["seed"])}
        | {"values": _values(study, r["arm"], r["seed"]) if each_arm else {}}
        for r in study.runs.to_dict("records")
    ]


def _values(study, arm: str, seed: int) -> dict[str, float]:
    found = reference.values(study, arm, seed)
    return {key: rounded(value) for key, value in found.items()}
