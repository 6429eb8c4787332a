"""Tabulate a comparison of arms."""

import math

from bench.analysis import measures as ms
from bench.analysis.measure import Measure
from bench.analysis.tasks import Change, changes
from bench.core.grouping import grouped
from bench.core.names import SFT
from bench.methods import METHODS
from bench.report.reference import COUNTED
from bench.report.tables import DASH, Cell, Table, arm_cell, cell, head, share, short, single
from bench.report.words import bounds, fixed, joined, label, named, p_words, pair, verdict
from bench.worlds import words as words_of

MATCHED = {
    "hash_start": "SFT weights",
    "pairs": "pairs per seed",
    "trainable_parameters": "trainable parameters",
    "curve_prompts_sha256": "validation prompts",
    "template": "template",
    "eos": "end of text",
}


def scorecard(study, lent: list) -> Table:
    """Tabulate arms x quality, cost and stability, with intervals; SFT first.

    lent: (measure, {arm: Share}, link) of the columns that other studies lend.
    """
    shown = ms.shown_in("scorecard")
    if not len(study.failures):
        shown = [measure for measure in shown if measure.key != "expected_gain"]
    heads = [head(m, study.meta) for m in (*shown, *(m for m, *_ in lent))]
    rows = [
        [*_row(study, arm, shown), *(_lent(arm, *column) for column in lent)]
        for arm in (*study.bases, *study.arms)
    ]
    covers = "seeds and prompts" if study.seeds > 1 else "prompts only (one seed)"
    notes = [
        f"Each cell is the mean ± half of its 95 % interval over {covers}; for cost, memory and "
        "distinct bigrams over seeds only; of SFT, and of an arm with one run that ended, over "
        "prompts only. A count of failures has its exact 95 % interval beside it; the SD "
        "between seeds has none. A dash means not measured or not applicable. Failed runs are in "
        "no mean but the expected gain"
        + ", which has the ends of its interval beside it." * bool(len(study.failures))
        + "." * (not len(study.failures)),
        *libraries(study),
    ]
    return Table("Scorecard", [("", ""), *heads], rows, notes)


def _lent(arm: str, measure: Measure, found: dict, link: str) -> Cell:
    """Return an arm's cell in a column that another study lends."""
    return share(found[arm], link) if arm in found else DASH


def _row(study, arm: str, shown: list[Measure]) -> list[Cell]:
    """Return an arm's name and its measures."""
    return [arm_cell(study, arm), *(measured(study, arm, m) for m in shown)]


def measured(study, arm: str, measure: Measure) -> Cell:
    """Return a measure of an arm; an SFT base has only those that have intervals."""
    if measure.interval:
        return cell(measure, study.interval(arm, measure.key))
    return DASH if arm in study.bases else single(measure, measure(study.results, arm))


def writing(study) -> Table:
    """Tabulate arms x what the answers look like, SFT first."""
    shown = ms.shown_in("writing")
    rows = [_row(study, arm, shown) for arm in (*study.bases, *study.arms)]
    note = (
        "Each cell is the mean ± half of its 95 % interval, as in the scorecard; for the "
        "length-controlled win rate and preference accuracy, over seeds only."
    )
    heads = [head(m, study.meta) for m in shown]
    return Table("How the answers differ", [("", ""), *heads], rows, [note])


def libraries(study) -> list[str]:
    """Say so if the model is too small for peaks of memory to tell methods apart."""
    weights = 4 * float(study.runs.parameters.max()) / 2**20  # MiB, in float32
    if not weights < 0.1 * float(study.runs.peak_mb.min()):
        return []
    return [
        f"Memory tells little about the methods here: one copy of the model takes {weights:,.1f} "
        "MiB, and libraries take most of the peak."
    ]


def comparisons(study) -> Table:
    """Tabulate the declared comparisons."""
    families = (study.versus_sft, study.versus, study.versus_tuned)
    counted = any(row.expected for family in families for row in family)
    header = [
        *(("Pair", ""), ("Difference in gold", "first − second")),
        *([("Expected", "failed runs counted")] if counted else []),
        *(("p", "after Holm"), ("Verdict", "and seeds")),
    ]
    rows = [_compared(row, counted) for family in families for row in family]
    own = ", every variant against its method as tuned" * bool(study.versus_tuned)
    note = (
        "Holm's correction is made within each family of comparisons: every arm against SFT, "
        f"every pair of methods as tuned{own}. Without it, some of many comparisons would look "
        "decided by chance."
    )
    notes = [note, *failure_notes(counted)]
    return Table("Comparisons of gold reward", header, rows, notes, compact=True)


def failure_notes(counted: bool) -> list[str]:
    """Say how failed runs count, if any failed."""
    return [
        "The difference in gold is that of the runs that ended. 'Expected' counts each failed run "
        "as no gain, since its user keeps the SFT base; its interval covers the share that fails "
        "too (MOVER), and p tests it where a run of the pair failed. A comparison that cannot be "
        "tested keeps its place in Holm's correction."
    ] * counted


def _counted(row) -> Cell:
    """Format the difference in expected gain with its interval beside it."""
    if row.expected is None:
        return DASH
    return Cell(fixed(row.expected.mean, "+.2f"), bounds(row.expected), value=row.expected.mean)


def _compared(row, counted: bool) -> list[Cell]:
    """Return the row of a declared pair; counted: with the difference that counts failed runs."""
    return [
        Cell(pair(row), link="#runs"),
        Cell(fixed(row.interval.mean, "+.2f"), bounds(row.interval), value=row.interval.mean),
        *([_counted(row)] if counted else []),
        Cell(p_words(row.p_holm), f"alone {p_words(row.p)}", value=row.p_holm),
        Cell(verdict(row), _seeds(row)),
    ]


def _seeds(row) -> str:
    """Format '10 seeds', or '8 of 10 and 10 seeds; 8 shared' if runs failed."""
    ended = row.ended[:1] if row.b == SFT else row.ended
    each = dict.fromkeys(str(n.n) if n.all else f"{n.count} of {n.n}" for n in ended)
    shared = f"; {row.interval.seeds} shared" * any(n.count != row.interval.seeds for n in ended)
    return f"{' and '.join(each)} seeds{shared}"


def ledger(study) -> Table:
    """Tabulate where the core-seconds of the whole study went."""
    rows = study.results.ledger
    header = [("Step", ""), ("Processes", ""), ("CPU", "core-seconds"), ("Wall", "seconds, summed")]
    body = [
        [Cell(r.step), Cell(f"{r.processes}"), Cell(f"{r.cpu_s:,.0f}"), Cell(f"{r.wall_s:,.0f}")]
        for r in rows.itertuples()
    ]
    total = [rows[k].sum() for k in ("processes", "cpu_s", "wall_s")]
    body.append([Cell("all"), *(Cell(f"{value:,.0f}") for value in total)])
    note = (
        "Seconds are of whole processes, curves and evaluation included, as each step last ran; "
        "they have no intervals. Steps run side by side, so the study as a whole takes less wall "
        "time."
    )
    if "imports" in set(rows.step):
        note += (
            " Steps were forked from the process `imports`, which imports the libraries once; its "
            "seconds and Snakemake's are those of all tries, up to the making of these tables."
        )
    return Table("Where the time of this study went", header, body, [note], sortable=False)


def training(study) -> Table:
    """Tabulate what training looked like at the tuned settings."""
    shown = ms.shown_in("training")
    rows = [_row(study, arm, shown) for arm in study.arms]
    heads = [head(m, study.meta) for m in shown]
    note = "At the tuned settings; these numbers have no intervals."
    return Table("Training at the tuned settings", [("", ""), *heads], rows, [note])


def tasks(study) -> Table:
    """Tabulate lm-eval, a row per task and metric; each arm with its change from its SFT base."""
    found, arms = changes(study.results), [*study.bases, *study.arms]
    header = [
        ("Task", "metric"),
        *((label(a), "" if a in study.bases else "change from SFT") for a in arms),
    ]
    groups: dict[tuple, dict] = {}
    for row in found:
        groups.setdefault((row.task, row.metric), {})[row.arm] = row
    rows = []
    for (task, metric), group in groups.items():
        any_of = next(iter(group.values()))
        up = "↑" if any_of.higher_is_better else "↓"
        first = Cell(task, f"{metric} {up}, n = {any_of.n}")
        rows.append([first, *(_task_cell(study, group.get(arm)) for arm in arms)])
    alone = [r for r in found if not r.items and r.arm not in study.bases]
    alone = list(dict.fromkeys(f"{row.task} ({row.metric})" for row in alone))
    over = f"; of {joined(alone)} over seeds alone, since the scores of documents are not known"
    note = (
        "An arrow shows which direction is good. ± is half of the 95 % interval of the change, "
        f"over seeds and documents{over * bool(alone)}."
    )
    links = ["", *(f"#tasks-{arm}" if arm in study.arms else "" for arm in arms)]
    return Table("lm-eval", header, rows, [*asked(study, {row.task for row in found}), note], links)


def _task_cell(study, row: Change | None) -> Cell:
    """Format '0.931' with the change from SFT and its ± beside it."""
    if row is None or not math.isfinite(row.mean):
        return DASH
    if row.arm in study.bases:
        return Cell(f"{row.mean:.3f}", value=row.mean)
    half = f" ± {row.change.half:.3f}" if math.isfinite(row.change.half) else ""
    share = study.ended[row.arm]
    some = f", {share.count} of {share.n} seeds" * (not share.all)
    change = fixed(row.change.mean, "+.3f") + half + some
    return Cell(f"{row.mean:.3f}", change, value=row.mean)


def asked(study, names: set[str]) -> list[str]:
    """Say what the lm-eval tasks of a table ask, in the words of their world."""
    known = words_of(study.meta.world).TASKS
    items = [f"{name}: {words}" for name, words in known.items() if name in names]
    return [f"What each task counts: {'; '.join(items)}."] if items else []


def matched(study) -> list[tuple[str, str]]:
    """Return what the contract holds equal, as (name, value); values that differ are all listed."""
    runs, out = study.runs, []
    for column, name in MATCHED.items():
        if column in runs and runs[column].notna().any():
            values = dict.fromkeys(short(v) for v in runs[column].dropna())
            out.append((name, ", ".join(values)))
    tuned = (study.meta.provenance or {}).get("methods", {})
    used = dict.fromkeys(study.method.values()) if tuned else ()
    trials = dict.fromkeys(str(tuned.get(method, {}).get("trials", 0)) for method in used)
    out.append(("tuning trials per method", ", ".join(trials) or "settings are not from a search"))
    decode = ", ".join(f"{k} {v}" for k, v in study.meta.decode.items())
    return out + ([("sampling", decode)] if decode else [])


def unmatched(study) -> list[str]:
    """Say what differs between the methods by their nature, or by whose code trains them."""
    parts = []
    for column, name in COUNTED.items():
        if column in study.runs:
            by_arm = study.runs.groupby("arm", sort=False)[column].first().dropna()
            values = [f"{label(a)} {short(v)}" for a, v in by_arm.items() if a in study.arms]
            parts += [f"{name} ({', '.join(values)})"] if by_arm.nunique() > 1 else []
    differs = [f"Not matched: compute; {'; '.join(parts)}."] if parts else []
    return [*differs, f"{trainers(study)}; see the limitations."]


def trainers(study) -> str:
    """Say 'PPO and DPO are trained by prefbench's own code; HINGE by my/hinge.py'."""
    groups = grouped((trainer(study.meta, method), method) for method in study.methods)
    (by, first), *others = groups.items()
    verb = "is" if len(first) == 1 else "are"
    rest = [f"{named(methods)} by {other}" for other, methods in others]
    return "; ".join([f"{named(first)} {verb} trained by {by}", *rest])


def trainer(meta, method: str) -> str:
    """Return whose code trains a method: as its module says, else its file."""
    if method in meta.own_methods:
        return meta.own_methods[method]
    return getattr(METHODS.get(method), "TRAINER", f"bench/methods/{method}.py")


def held(study) -> str:
    """Say '3,000 pairs per seed and 176,320 trainable parameters'."""
    names = ("pairs per seed", "trainable parameters", "tuning trials per method")
    known = {name: value for name, value in matched(study) if value[:1].isdigit()}
    found = [f"{known[name].replace(', ', ' or ')} {name}" for name in names if name in known]
    return joined(found) or "nothing was recorded"
