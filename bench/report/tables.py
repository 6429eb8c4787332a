"""Tables of the report as plain data: a header and rows of Cells, for the page and the README."""

import json
import math
import re
from dataclasses import dataclass, field, replace

import pandas as pd

from bench.analysis import measures as ms
from bench.analysis import statistics as st
from bench.analysis.catalogue import ARROW, BY_KEY, MEASURES
from bench.analysis.health import stability as runs_by_arm
from bench.report import introduction, verdict
from bench.report.style import label


@dataclass
class Cell:
    """A cell: its text, a quieter text beside it, the class or colour it is marked with.

    value: the number to sort by; link: the runs that it comes from; anchor: what links lead to.
    """

    text: str
    quiet: str = ""
    mark: str = ""
    value: float | None = None
    link: str = ""
    anchor: str = ""


@dataclass
class Table:
    """Title, header cells as (text, note) and rows; notes stand below.

    links: of each column, the runs that its numbers come from, where that is not a row's affair;
    sortable: whether another order of rows makes sense.
    """

    title: str
    header: list[tuple[str, str]]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    sortable: bool = True

    def numeric(self, column: int) -> bool:
        """Whether a column, other than the first, holds numbers, which are set flush right."""
        texts = [row[column].text for row in self.rows]
        return column > 0 and any(re.match(r"[+−<]?\s?\d", text) for text in texts)

    def link(self, row: list[Cell], column: int) -> str:
        """The runs that a number comes from: its own, its row's, or its column's."""
        if column and not re.search(r"\d", row[column].text):
            return ""
        of_column = self.links[column] if self.links else ""
        return row[column].link or row[0].link or of_column


def arm_cell(study, arm: str) -> Cell:
    """The name of an arm in its colour, leading to its runs; SFT has none."""
    if arm in study.bases:
        return Cell(label(arm))
    return Cell(label(arm), mark=study.looks[arm].colour, link=runs_of(study, arm))


def runs_of(study, arm: str) -> str:
    """Where the page lists the runs of an arm; nowhere if they are another study's."""
    return f"#runs-{arm}" if arm in study.arms else ""


def number(interval: st.Interval | None, digits: int, sign: bool = False) -> Cell:
    """'0.71' with '± 0.16' beside it; a dash where nothing was measured."""
    if interval is None or not math.isfinite(interval.mean):
        return Cell("–")
    exact = interval.half == 0 and interval.mean == int(interval.mean)
    digits += digits == 0 and abs(interval.mean) < 10 and not exact
    mark = "+" if sign else ","
    quiet = f"± {interval.half:,.{digits}f}" if math.isfinite(interval.half) and not exact else ""
    return Cell(verdict.fixed(interval.mean, f"{mark}.{digits}f"), quiet, value=interval.mean)


SCALES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1.0, ""))


def scaled(value: float, like: float | None = None) -> str:
    """'1.23 T' for 1.23e12; `like`: a number of three digits whose prefix this one takes."""
    head = abs(value if like is None else like)
    size, prefix = next((pair for pair in SCALES if head >= pair[0]), SCALES[-1])
    digits = 3 if like is None else 2
    return f"{float(f'{value / size:.{digits}g}'):g} {prefix}".strip()


def scorecard(study) -> Table:
    """Arms x quality, cost and stability, with intervals; SFT first."""
    shown = [BY_KEY[key] for key in SCORED]
    beside = study.companions.get("stability")
    grid = [("Failed cells", "of the stability grid ↓")] if beside else []
    header = [("", ""), *_heads(study, shown), *heads("failed", failed="runs ↓"), *heads("spread"),
              *grid]  # fmt: skip
    rows = [_scored(study, arm, shown, beside) for arm in (*study.bases, *study.arms)]
    covers = "seeds and prompts" if study.seeds > 1 else "prompts only (one seed)"
    notes = [
        f"Quality, cost, stability. Mean ± half of the 95 % interval over {covers}; cost and "
        "memory over seeds only; below a count of failures its exact 95 % interval; the SD between "
        "seeds has none. A dash: not measured, or it does not apply. Failed runs are in no "
        "mean.",
        *libraries(study),
    ]
    return Table("Scorecard", header, rows, notes)


SCORED = ("gold", "gold_delta", "win", "flops", "cost", "memory")
WRITTEN = ("win_lc", "kl", "length", "entropy", "proxy", "preference")


def writing(study) -> Table:
    """Arms x what the answers look like, SFT first."""
    shown = [BY_KEY[key] for key in WRITTEN]
    arms = (*study.bases, *study.arms)
    rows = [[arm_cell(study, arm), *_measured(study, arm, shown)] for arm in arms]
    note = "Mean ± half of the 95 % interval, as in the scorecard; of preferences over seeds only."
    return Table("How the answers differ", [("", ""), *_heads(study, shown)], rows, [note])


def libraries(study) -> list[str]:
    """Where a model is too small for peaks of memory to tell methods apart: that it is."""
    weights = 4 * float(study.runs.parameters.max()) / 2**20  # MiB, in float32
    if not weights < 0.1 * float(study.runs.peak_mb.min()):
        return []
    return [
        f"Memory tells little here: one copy of the model is {weights:,.1f} MiB, the rest of the "
        "peak is the libraries'."
    ]


def _heads(study, shown) -> list[tuple[str, str]]:
    """Header cells of measures: label, and unit with direction."""
    return [(m.label, ms.unit_of(m, study.meta) + ARROW[m.better]) for m in shown]


def _measured(study, arm: str, shown) -> list[Cell]:
    """An arm's measures with their intervals."""
    return [_cell(m, study.interval(arm, m.key)) for m in shown]


def _cell(measure, found: st.Interval | None) -> Cell:
    """A measure with its interval: FLOPs with a prefix, gains with a sign."""
    if measure.key != "flops" or found is None:
        return number(found, measure.digits, measure.key == "gold_delta")
    half = f"± {scaled(found.half, found.mean)}" if math.isfinite(found.half) and found.half else ""
    return Cell(scaled(found.mean), half, value=found.mean)


def _scored(study, arm: str, shown, beside) -> list[Cell]:
    """One arm of the scorecard."""
    cells = [arm_cell(study, arm), *_measured(study, arm, shown)]
    if arm in study.bases:
        return [*cells, Cell("–"), Cell("–"), *([Cell("–")] if beside else [])]
    spread = runs_by_arm(study.tables, study.meta).set_index("arm").spread[arm]
    grid = [_failed_cells(beside, study.method[arm], arm)] if beside else []
    return [*cells, failed(study, arm), plain("spread", spread), *grid]


def _failed_cells(beside, method: str, arm: str) -> Cell:
    """How often training failed on the grid around a method's tuned settings."""
    rows = beside.rates[beside.rates.method == method]
    if arm != method or not len(rows):
        return Cell("–")
    found = share(int(rows.failed.iloc[0]), int(rows.n.iloc[0]))
    return replace(found, link="#stability")


def share(count: int, n: int) -> Cell:
    """'2 of 12' with its exact interval, in the colour of a warning if any failed."""
    low, high = st.rate_interval(count, n) if n else (math.nan, math.nan)
    quiet = f"{100 * low:.0f} to {100 * high:.0f} %" if n else ""
    return Cell(f"{count} of {n}", quiet, "bad" if count else "", count / n if n else None)


def failed(study, arm: str) -> Cell:
    """How many of an arm's runs failed."""
    return share(*study.failed.get(arm, (0, 0)))


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
        texts = [mean, span, *ps, verdict.in_words(r)]
        values = [i.mean, None, r.p, r.p_holm, None]
        both = zip(texts, values, strict=True)
        name = Cell(f"{label(r.a)} − {label(r.b)}", link="#runs")
        rows.append([name, *(Cell(text, value=value) for text, value in both)])
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
    return Table("Where the time of this study went", header, body, [note], sortable=False)


def heads(*keys: str, **notes: str) -> list[tuple[str, str]]:
    """Header cells of measures, by key: label, and unit with direction (or a note of one's own)."""
    return [(BY_KEY[k].label, notes.get(k, BY_KEY[k].note)) for k in keys]


def plain(key: str, value: float) -> Cell:
    """A measure's value with its own number of digits; a dash where there is none."""
    known = value is not None and math.isfinite(value)
    return Cell(verdict.fixed(value, f",.{BY_KEY[key].digits}f") if known else "–")


def stability(study) -> Table:
    """What went wrong, and how far seeds spread."""
    keys = ("worst", "drawdown", "spikes")
    rows = [
        [
            arm_cell(study, row["arm"]),
            *(plain(key, row[key]) for key in keys),
        ]
        for row in runs_by_arm(study.tables, study.meta).to_dict("records")
    ]
    note = "At the tuned setting; no intervals."
    return Table("Training at the tuned settings", [("", ""), *heads(*keys)], rows, [note])


def glossary(study) -> Table:
    """Every measure: formula, unit, direction, source."""
    header = [("Measure", ""), ("Unit", ""), ("Better", ""), ("Formula", ""), ("Source", "")]
    rows = [
        [Cell(v) for v in (m.label, ms.unit_of(m, study.meta), m.better, m.formula, m.source)]
        for m in MEASURES
    ]
    return Table("What each measure means", header, rows)


def tasks(study) -> Table:
    """lm-eval, a row a task and metric; each arm with its change from its SFT base."""
    table = ms.tax(study.tables["tasks"], study.meta)
    arms = [*study.bases, *study.arms]
    header = [
        ("Task", "metric"),
        *((label(a), "" if a in study.bases else "change from SFT") for a in arms),
    ]
    rows = []
    for (task, metric), group in table.groupby(["task", "metric"], sort=False):
        up = "↑" if group.higher_is_better.iloc[0] else "↓"
        found = {r.arm: r for r in group.itertuples()}
        first = Cell(task, f"{metric} {up}, n = {int(group.n.iloc[0])}")
        rows.append([first, *(_task_cell(study, found.get(arm)) for arm in arms)])
    note = (
        "Arrows: which direction is better. ± is half of the 95 % t interval over seeds (0: all "
        "have the same score); it leaves out the luck of the items, which all arms share."
    )
    links = ["", *(f"#tasks-{arm}" if arm in study.arms else "" for arm in arms)]
    return Table("lm-eval", header, rows, [*introduction.of_tasks(table.task), note], links)


def _task_cell(study, row) -> Cell:
    """'0.931' with the change from SFT and its ± beside it."""
    if row is None or not math.isfinite(row.mean):
        return Cell("–")
    if row.arm in study.bases:
        return Cell(f"{row.mean:.3f}", value=row.mean)
    half = f" ± {row.half:.3f}" if math.isfinite(row.half) else ""
    return Cell(f"{row.mean:.3f}", verdict.fixed(row.change, "+.3f") + half, value=row.mean)


MATCHED = (
    ("hash_start", "SFT weights"),
    ("pairs", "pairs a seed"),
    ("trainable_parameters", "trainable parameters"),
    ("curve_prompts_sha256", "validation prompts"),
    ("template", "template"),
    ("eos", "end of text"),
)
BY_TRL = ("dpo", "ipo", "orpo")
SHOWN = (
    ("episodes", "episodes sampled"),
    ("steps", "optimiser steps"),
    ("resident_models", "models in memory"),
)


def matched(study) -> list[tuple[str, str]]:
    """What the contract holds equal, as (name, value); values that differ are all listed."""
    runs = study.runs
    out = []
    for column, name in MATCHED:
        if column in runs and runs[column].notna().any():
            values = dict.fromkeys(short(v) for v in runs[column].dropna())
            out.append((name, ", ".join(values)))
    tuned = (study.meta["provenance"] or {}).get("methods", {})
    trials = dict.fromkeys(str(method["trials"]) for method in tuned.values())
    out.append(("tuning trials a method", ", ".join(trials) or "settings are not from a search"))
    decode = study.meta.get("decode") or {}
    return out + (
        [("sampling", ", ".join(f"{k} {v}" for k, v in decode.items()))] if decode else []
    )


def unmatched(study) -> list[str]:
    """What differs between the methods by their nature, or by whose code trains them."""
    parts = []
    for column, name in SHOWN:
        if column in study.runs:
            by_arm = study.runs.groupby("arm", sort=False)[column].first().dropna()
            values = [f"{label(a)} {short(v)}" for a, v in by_arm.items() if a in study.arms]
            parts += [f"{name} ({', '.join(values)})"] if by_arm.nunique() > 1 else []
    used = [m for m in study.meta["methods"] if m in set(study.method.values())]
    trl = [label(m) for m in used if m in BY_TRL]
    code = [f"{verdict.joined(trl)} are trained by TRL's trainers"] if trl else []
    code += ["PPO by prefbench's own"] if "ppo" in used else []
    files, others = study.meta["own_methods"], [m for m in used if m not in (*BY_TRL, "ppo")]
    code += [f"{label(m)} by {files.get(m, f'bench/methods/{m}.py')}" for m in others]
    differs = [f"Not matched: compute; {'; '.join(parts)}."] if parts else []
    return [*differs, f"{', '.join(code)}; see the limitations."]


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
    """Every run: what it reached and took, where it lies, the hash of its weights."""
    shown = [BY_KEY[key] for key in OF_RUNS]
    header = [("Run", ""), ("Status", ""), *((m.label, ms.unit_of(m, study.meta)) for m in shown),
              ("Weights", "sha256")]  # fmt: skip
    values = study.values
    rows = [_run_row(study, row, values, shown) for row in study.runs.to_dict("records")]
    note = (
        "One row a run, from its own files; no intervals. Below its name: where its record, "
        f"run.json, lies in runs/{study.meta['testbed']}. Weights: the first digits of the hash of "
        "its model."
    )
    return Table("Every run", header, rows, [note])


OF_RUNS = ("gold", "gold_delta", "win", "win_lc", "kl", "length", "entropy", "proxy", "preference",
           "flops", "cost", "memory")  # fmt: skip


def _run_row(study, row: dict, values, shown) -> list[Cell]:
    """One run."""
    arm, seed = row["arm"], row["seed"]
    found = values[(values.arm == arm) & (values.seed == seed)].set_index("measure").value
    status = Cell(row["status"], mark="" if row["status"] == "ok" else "bad")
    cells = [_value(m, found.get(m.key)) for m in shown]
    return [_run_name(study, arm, seed, "runs"), status, *cells, Cell(weights(row))]


def _run_name(study, arm: str, seed: int, anchor: str) -> Cell:
    """A run by name and place; the first of an arm is what links to the arm's runs lead to."""
    first = seed == study.runs[study.runs.arm == arm].seed.iloc[0]
    return Cell(f"{label(arm)} seed {seed}", f"align/{arm}/seed{seed}",
                study.looks[arm].colour, anchor=f"{anchor}-{arm}" if first else "")  # fmt: skip


def task_runs(study) -> Table:
    """Every run's lm-eval scores."""
    rows = study.tables["tasks"]
    asked = list(dict.fromkeys(zip(rows.task, rows.metric, strict=True))) if len(rows) else []
    known = {(r.arm, r.seed, r.task, r.metric): r.value for r in rows.itertuples()}
    body = [
        [
            _run_name(study, arm, seed, "tasks"),
            *(_score(known.get((arm, seed, *question))) for question in asked),
        ]
        for arm, seed in zip(study.runs.arm, study.runs.seed, strict=True)
    ]
    header = [("Run", ""), *((task, metric) for task, metric in asked)]
    note = f"From evaluate/<arm>/seed<k>/tasks.csv in runs/{study.meta['testbed']}; no intervals."
    return Table("lm-eval of every run", header, body if asked else [], [note])


def _score(value: float | None) -> Cell:
    return Cell("–") if value is None else Cell(f"{value:.3f}", value=value)


def _value(measure, value) -> Cell:
    """A run's value of a measure."""
    if value is None or not math.isfinite(value):
        return Cell("–")
    if measure.key == "flops":
        return Cell(scaled(value), value=value)
    return Cell(plain(measure.key, value).text, value=value)


def weights(row: dict) -> str:
    """The first digits of the hash of a run's model; a failed run may have left none."""
    known = row.get("model_sha256")
    return known[:12] if isinstance(known, str) else "–"


def record(study, arm: str, seed: int) -> str:
    """Where the record of a run lies, below the working directory."""
    return f"runs/{study.meta['testbed']}/align/{arm}/seed{seed}/run.json"


def settings(study) -> Table:
    """What each arm was trained with; the same for each of its seeds, as the contract checks."""
    columns = [(c, w) for c, w in SHOWN if c in study.runs]
    header = [("", ""), *((words, "") for _, words in columns), ("Settings", "")]
    rows = []
    for arm, group in study.runs.groupby("arm", sort=False):
        row = group.iloc[0]
        cells = [Cell("–" if pd.isna(row[c]) else short(row[c])) for c, _ in columns]
        rows.append([arm_cell(study, arm), *cells, Cell(_settings(row.get("settings")))])
    return Table("Settings", header, rows)


def failures(study, title: str = "Failed runs") -> Table:
    """Every run of the study that failed, with its reason."""
    rows = [
        [
            Cell(f"{label(r.arm)} seed {r.seed}", link=runs_of(study, r.arm)),
            Cell(verdict.STATUS.get(r.status, r.status), mark="bad"),
            Cell(r.reason if isinstance(r.reason, str) else "–"),
        ]
        for r in study.failures.itertuples()
    ]
    return Table(title, [("Run", ""), ("Outcome", ""), ("Reason", "")], rows)


def _settings(text) -> str:
    """'lr 0.0003, beta 0.1' from JSON."""
    values = json.loads(text) if isinstance(text, str) else {}
    return ", ".join(
        f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()
    )
