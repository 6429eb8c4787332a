"""The numbers of a report as files: results.csv, and results.json with all that says what they are.

results.json (SCHEMA; `python -m bench diff` reads it):
  about        testbed, study, commit, versions, machine, seeds, prompts, breaches, ...
  measures     key, label, unit, better (direction), formula, source of each
  arms         name, label, method, settings, label_set, start
  results      a row an arm and measure: mean, low, high (95 % interval), se, df, what it is over
  comparisons  a row a declared pair: family, difference of gold, interval, p, Holm's p, verdict
  tasks        a row an lm-eval task, metric and arm: mean, half of its interval, change from SFT
  runs         a row a run: status, hash of its weights, where its record lies, and its values
"""

import json
import math
from dataclasses import asdict

import pandas as pd

from bench.analysis import measures as ms
from bench.analysis.catalogue import MEASURES
from bench.core.files import plain
from bench.report import tables
from bench.report.style import label

SCHEMA = "prefbench.results/1"
DIGITS = 6  # significant ones
ABOUT = ("testbed", "study", "commit", "complete", "default_settings", "overrides", "seeds",
         "pairs", "decode", "machine", "versions", "breaches", "tuned_families")  # fmt: skip


def table(study) -> pd.DataFrame:
    """results.csv: one row an arm and measure, with unit, direction, interval and n."""
    found = study.summary.copy()
    found.insert(1, "method", found.arm.map(study.method).fillna(found.arm))
    numbers = found.select_dtypes("float").columns
    found[numbers] = found[numbers].map(rounded)
    return found.rename(columns={"over": "interval_over"})


def rounded(value: float) -> float:
    """A number with DIGITS significant digits."""
    return float(f"{value:.{DIGITS}g}")


def document(study) -> dict:
    """results.json: plain values, no NaN."""
    about = {key: study.meta.get(key) for key in ABOUT} | {"prompts": study.prompts}
    return plain({
        "schema": SCHEMA,
        "about": about,
        "measures": measures(study),
        "arms": arms(study),
        "results": table(study).to_dict("records"),
        "comparisons": comparisons(study),
        "tasks": tasks(study),
        "runs": runs(study),
    })  # fmt: skip


def measures(study) -> list[dict]:
    """Every measure with its unit and direction here."""
    keys = ("key", "label", "better", "formula", "source", "digits")
    return [
        {key: getattr(m, key) for key in keys} | {"unit": ms.unit_of(m, study.meta)}
        for m in MEASURES
    ]


def arms(study) -> list[dict]:
    """Every arm and the settings that its runs recorded."""
    rows = study.runs.groupby("arm", sort=False).first() if len(study.runs) else study.runs
    keys = ("name", "method", "label_set", "n", "start")
    return [
        {key: arm[key] for key in keys}
        | {"label": label(arm["name"]), "settings": json.loads(rows.settings[arm["name"]])}
        for arm in study.meta["arms"]
        if arm["name"] in rows.index
    ]


def comparisons(study) -> list[dict]:
    """The declared pairs of each family, Holm-corrected within it."""
    families = {"methods": study.versus, "sft": study.versus_sft, "variants": study.versus_tuned}
    return [
        {"family": name, "a": r.a, "b": r.b, "measure": "gold"}
        | {key: number(value) for key, value in asdict(r.interval).items()}
        | {"p": number(r.p), "p_holm": number(r.p_holm), "verdict": r.verdict}
        for name, found in families.items()
        for r in found.itertuples()
    ]


def tasks(study) -> list[dict]:
    """lm-eval: a row a task, metric and arm: mean over seeds, half-width, change from SFT."""
    found = ms.tax(study.tables["tasks"], study.meta).to_dict("records")
    return [{key: number(value) for key, value in row.items()} for row in found]


def number(value):
    """A float with DIGITS significant digits; infinite ones, which JSON has not, are none."""
    if not isinstance(value, float):
        return value
    return rounded(value) if math.isfinite(value) else None


def runs(study) -> list[dict]:
    """Every run with its values by measure."""
    values = study.values
    return [
        {"arm": r["arm"], "seed": int(r["seed"]), "status": r["status"]}
        | {"weights": tables.weights(r), "record": tables.record(study, r["arm"], r["seed"])}
        | {"values": _values(values, r["arm"], r["seed"])}
        for r in study.runs.to_dict("records")
    ]


def _values(values: pd.DataFrame, arm: str, seed: int) -> dict[str, float]:
    mine = values[(values.arm == arm) & (values.seed == seed)]
    return {r.measure: rounded(r.value) for r in mine.itertuples()}
