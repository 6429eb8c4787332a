"""Tables of the report as plain data: a header and rows of Cells, for the page and the README."""

import json
import math
import re
from dataclasses import dataclass, field

import pandas as pd

from bench.analysis import measures as ms
from bench.analysis import statistics as st
from bench.analysis.catalogue import ARROW, BY_KEY, MEASURES
from bench.analysis.stability import stability as runs_by_arm
from bench.report import verdict
from bench.report.style import SFT, label


@dataclass
class Cell:
    """A cell: its text, a quieter text beside it, and the class or colour it is marked with."""

    text: str
    quiet: str = ""
    mark: str = ""


@dataclass
class Table:
    """Title, header cells as (text, note) and rows; notes stand below."""

    title: str
    header: list[tuple[str, str]]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)


def number(interval: st.Interval | None, digits: int, sign: bool = False) -> Cell:
    """'0.71' with '± 0.16' beside it; a dash where nothing was measured."""
    if interval is None or not math.isfinite(interval.mean):
        return Cell("–")
    exact = interval.half == 0 and interval.mean == int(interval.mean)
    digits += digits == 0 and abs(interval.mean) < 10 and not exact
    mark = "+" if sign else ","
    quiet = f"± {interval.half:,.{digits}f}" if math.isfinite(interval.half) and not exact else ""
    return Cell(verdict.fixed(interval.mean, f"{mark}.{digits}f"), quiet)


SCALES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"))


def scaled(value: float, digits: int = 3) -> str:
    """'1.23 T' for 1.23e12; three digits."""
    for size, prefix in SCALES:
        if abs(value) >= size:
            return f"{value / size:.{digits}g} {prefix}"
    return f"{value:.{digits}g}"


def summary(study) -> Table:
    """Methods x measures, SFT first."""
    shown = [BY_KEY[key] for key in IN_SUMMARY]
    header = [("", ""), *((m.label, ms.unit_of(m, study.meta) + ARROW[m.better]) for m in shown)]
    rows = [_summary_row(study, arm, shown) for arm in (SFT, *study.arms)]
    covers = "seeds and prompts" if study.seeds > 1 else "prompts only (one seed)"
    notes = [
        f"Mean ± half of the 95 % interval over {covers}; cost, memory and preferences over "
        "seeds only. A dash: not measured. Failed runs are counted under Failed and are "
        "in no mean."
    ]
    return Table("Summary", [*header, ("Failed", "runs")], rows, notes)


IN_SUMMARY = ("gold", "gold_delta", "win", "kl", "length", "proxy", "preference", "cost", "memory")


def _summary_row(study, arm: str, shown) -> list[Cell]:
    """One arm of the summary."""
    signed = ("gold_delta",)
    cells = [number(study.interval(arm, m.key), m.digits, m.key in signed) for m in shown]
    if arm == SFT:
        return [Cell(label(arm)), *cells, Cell("–")]
    return [Cell(label(arm), mark=study.looks[arm].colour), *cells, failed(study, arm)]


def failed(study, arm: str) -> Cell:
    """'1 of 5', in the colour of a warning if any run failed."""
    runs = study.tables["runs"]
    mine = runs[runs.arm == arm] if len(runs) else runs
    lost = int((mine.status != "ok").sum()) if len(mine) else 0
    return Cell(f"{lost} of {len(mine)}", mark="bad" if lost else "")


def pairs(study) -> Table:
    """The declared comparisons."""
    header = [("Pair", ""), ("Difference in gold", "first − second"), ("95 % interval", ""),
              ("p", "alone"), ("p", "Holm"), ("Verdict", "")]  # fmt: skip
    rows = []
    families = (study.versus_sft, study.versus, study.versus_tuned)
    for r in (row for family in families for row in family.itertuples()):
        i = r.interval
        low, mean, high = (verdict.fixed(v, "+.2f") for v in (i.low, i.mean, i.high))
        span = f"{low} to {high}" if math.isfinite(i.half) else "–"
        ps = [
            verdict.p_words(p).removeprefix("= ") if math.isfinite(p) else "–"
            for p in (r.p, r.p_holm)
        ]
        texts = [f"{label(r.a)} − {label(r.b)}", mean, span, *ps, verdict.in_words(r)]
        rows.append([Cell(text) for text in texts])
    own = ", every variant against its method as tuned" if study.variants else ""
    note = (
        "Families, each corrected on its own: every arm against SFT, every pair of methods as "
        f"tuned{own}. Without a correction some of many comparisons would look decided by luck."
    )
    return Table("Comparisons of gold reward", header, rows, [note])


def ledger(study) -> Table:
    """Where the core-seconds of the whole study went."""
    rows = study.tables.get("ledger", pd.DataFrame())
    header = [("Step", ""), ("Processes", ""), ("CPU", "core-seconds"), ("Wall", "seconds, summed")]
    body = [
        [Cell(r.step), Cell(f"{r.processes}"), Cell(f"{r.cpu_s:,.0f}"), Cell(f"{r.wall_s:,.0f}")]
        for r in rows.itertuples()
    ]
    total = [rows[k].sum() if len(rows) else 0 for k in ("processes", "cpu_s", "wall_s")]
    body.append([Cell("all"), *(Cell(f"{value:,.0f}") for value in total)])
    note = (
        "Whole processes, imports, curves and evaluation included, as the last run of each step "
        "took; no interval. Steps run side by side, so the wall of the whole is shorter."
    )
    return Table("Where the time of this study went", header, body, [note])


def heads(*keys: str, **notes: str) -> list[tuple[str, str]]:
    """Header cells of measures, by key: label, and unit with direction (or a note of one's own)."""
    return [(BY_KEY[k].label, notes.get(k, BY_KEY[k].note)) for k in keys]


def plain(key: str, value: float) -> Cell:
    """A measure's value with its own number of digits; a dash where there is none."""
    known = value is not None and math.isfinite(value)
    return Cell(verdict.fixed(value, f",.{BY_KEY[key].digits}f") if known else "–")


def stability(study) -> Table:
    """What went wrong, and how far seeds spread."""
    keys = ("spread", "worst", "drawdown", "spikes")
    rows = [
        [
            Cell(label(row["arm"]), mark=study.looks[row["arm"]].colour),
            failed(study, row["arm"]),
            *(plain(key, row[key]) for key in keys),
        ]
        for row in runs_by_arm(study.tables, study.meta).to_dict("records")
    ]
    note = "At the tuned setting. The study 'stability' runs a grid around it."
    return Table("Stability", [("", ""), *heads("failed", *keys)], rows, [note])


def glossary(study) -> Table:
    """Every measure: formula, unit, direction, source."""
    header = [("Measure", ""), ("Unit", ""), ("Better", ""), ("Formula", ""), ("Source", "")]
    rows = [
        [Cell(v) for v in (m.label, ms.unit_of(m, study.meta), m.better, m.formula, m.source)]
        for m in MEASURES
    ]
    return Table("What each measure means", header, rows)


def tasks(study) -> Table:
    """lm-eval, a row a task and metric; each arm with its change from SFT."""
    table = ms.tax(study.tables["tasks"], study.meta)
    arms = [SFT, *study.arms]
    header = [
        ("Task", "metric"),
        *((label(a), "" if a == SFT else "change from SFT") for a in arms),
    ]
    rows = []
    for (task, metric), group in table.groupby(["task", "metric"], sort=False):
        up = "↑" if group.higher_is_better.iloc[0] else "↓"
        found = {r.arm: r for r in group.itertuples()}
        first = Cell(task, f"{metric} {up}, n = {int(group.n.iloc[0])}")
        rows.append([first, *(_task_cell(found.get(arm)) for arm in arms)])
    note = (
        "Arrows: which direction is better. ± is half of the 95 % t interval over seeds; it leaves "
        "out the luck of the items, which all arms share."
    )
    return Table("lm-eval", header, rows, [note])


def _task_cell(row) -> Cell:
    """'0.931' with the change from SFT and its ± beside it."""
    if row is None or not math.isfinite(row.mean):
        return Cell("–")
    if row.arm == SFT:
        return Cell(f"{row.mean:.3f}")
    half = f" ± {row.half:.3f}" if math.isfinite(row.half) else ""
    return Cell(f"{row.mean:.3f}", verdict.fixed(row.change, "+.3f") + half)


MATCHED = (
    ("hash_start", "SFT weights"),
    ("pairs", "pairs a seed"),
    ("trainable_parameters", "trainable parameters"),
    ("curve_prompts_sha256", "held-out prompts"),
    ("template", "template"),
    ("eos", "end of text"),
)
SHOWN = (
    ("episodes", "episodes"),
    ("steps", "optimiser steps"),
    ("resident_models", "models in memory"),
)


def matched(study) -> list[tuple[str, str]]:
    """What the contract holds equal, as (name, value); values that differ are all listed."""
    runs = study.tables["runs"]
    out = []
    for column, words in MATCHED:
        if column in runs and runs[column].notna().any():
            values = dict.fromkeys(short(v) for v in runs[column].dropna())
            out.append((words, ", ".join(values)))
    tuned = (study.meta["tuning"] or {}).get("methods", {})
    trials = dict.fromkeys(str(method["trials"]) for method in tuned.values())
    out.append(("tuning trials a method", ", ".join(trials) or "settings are not from a search"))
    decode = study.meta.get("decode") or {}
    return out + (
        [("sampling", ", ".join(f"{k} {v}" for k, v in decode.items()))] if decode else []
    )


def short(value) -> str:
    """A value as a reader wants it: 12 digits of a hash, whole numbers without a point."""
    if isinstance(value, float) and value == int(value):
        value = int(value)
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{32,}", text) else text


def breaches(study) -> list[dict]:
    """Every breach as field, why and values by run, in words."""
    found = []
    for breach in study.meta.get("breaches", []):
        values = [f"{run}: {short(value)}" for run, value in breach["values"].items()]
        more = [f"and {len(values) - 12} more"] if len(values) > 12 else []
        found.append({"field": breach["field"], "why": breach["why"], "values": values[:12] + more})
    return found


def runs(study) -> Table:
    """Every run: what it trained on, its cost, the hash of its weights."""
    table = study.tables["runs"]
    columns = [(c, w) for c, w in (*SHOWN, ("model_sha256", "weights")) if c in table]
    header = [("Run", ""), ("Status", ""), ("Settings", ""), *((w, "") for _, w in columns)]
    rows = []
    for row in table.to_dict("records"):
        status = Cell(row["status"], mark="" if row["status"] == "ok" else "bad")
        values = [Cell("–" if pd.isna(row[c]) else short(row[c])) for c, _ in columns]
        name = Cell(f"{label(row['arm'])} seed {row['seed']}")
        rows.append([name, status, Cell(_settings(row.get("settings"))), *values])
    return Table("Every run", header, rows)


def _settings(text) -> str:
    """'lr 0.0003, beta 0.1' from JSON."""
    values = json.loads(text) if isinstance(text, str) else {}
    return ", ".join(
        f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()
    )


def results(study) -> pd.DataFrame:
    """results.csv: one row an arm and measure, with unit, direction, interval and n."""
    table = study.summary.copy()
    table.insert(1, "method", table.arm.map(study.method).fillna(table.arm))
    numbers = table.select_dtypes("float").columns
    table[numbers] = table[numbers].map(lambda v: float(f"{v:.6g}"))
    return table.rename(columns={"over": "interval_over"})
