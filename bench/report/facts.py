"""List the facts of a report, which README files, docs and posts may quote by key: facts.json.

A fact is inert Markdown. Keys do not depend on how runs ended:

    headline, answer              what the page says first; its first sentence
    lines.ANCHOR                  the sentences of a section
    table.TITLE                   a table of the page (scorecard, every-run)
    caption.FIGURE                the words under a figure
    ARM.MEASURE                   +0.98 (+0.86 to +1.09): mean and 95 % interval
    A-B.difference, .p, .verdict  a declared comparison in gold
    ARM.TASK.METRIC               the change of an lm-eval score from the SFT base's
    caveat                        runs that are missing, other settings, breaches of the contract
    limitation.FIRST-WORDS        a limitation
"""

import math
import re
from collections.abc import Iterator

from bench.analysis import measures as ms
from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison
from bench.analysis.measure import SCALED, Measure
from bench.analysis.tasks import Change, changes
from bench.report import render
from bench.report.figure import counts
from bench.report.marked_text import code, inert
from bench.report.reference import breaches
from bench.report.sections import Kind
from bench.report.tables import Table, single
from bench.report.words import (
    difference,
    fixed,
    joined,
    p_words,
    parameters,
    said,
    scaled,
    verdict,
)


def of(study, kind: Kind, shared: dict) -> dict[str, str]:
    """Return {key: fact} of a study; shared: the context of its page."""
    first, *rest = map(inert, shared["lead"])
    said_once = {"headline": " ".join([first, *rest]), "answer": first}
    said_once |= dict(of_study(study, shared))
    own = [of_arms(study), of_pairs(study), of_tasks(study)] if kind.each_arm else []
    groups = [of_sections(shared), of_figures(study, shared), *own, of_limitations(shared)]
    found = said_once | {key: text for group in groups for key, text in group}
    return found | kind.facts(study, shared)


def of_study(study, shared: dict) -> Iterator[tuple[str, str]]:
    """Yield the facts on the study's size, cost and origin."""
    meta, spent = study.meta, float(study.results.ledger.cpu_s.sum())
    yield "title", inert(shared["title"])
    yield "introduction", inert(" ".join(shared["words"]))
    yield "caveat", caveat(study)
    yield "level", f"{100 * st.LEVEL:.0f} %"
    yield "n", counts(study)
    yield "runs", f"{len(study.runs):,}"
    yield "seeds", str(study.seeds)
    yield "seeds.list", joined(map(str, meta.seeds))
    yield "prompts", f"{study.prompts:,}"
    yield "pairs", f"{meta.pairs:,}"
    yield "parameters", parameters(study)
    yield "core_seconds", f"{spent:,.0f}"
    yield "minutes", f"{math.ceil(spent / 120)}"  # on two cores
    yield "command", code(shared["command"])
    yield "commit", code(meta.commit[:12])
    yield "machine", inert(", ".join(f"{name} {value}" for name, value in meta.machine.items()))


def caveat(study) -> str:
    """Say what a quote must not hide: missing runs, other settings, breaches; empty if nothing."""
    meta = study.meta
    broken = [f"{b['field']} ({b['why']}): {', '.join(b['values'])}" for b in breaches(study)]
    parts = [
        "Runs are missing: do not quote this." * (not meta.complete),
        f"Not the default settings: {' '.join(meta.overrides)}." * (not meta.default_settings),
        *(f"Breach of the fairness contract: {words}." for words in broken),
    ]
    said_of = " ".join(filter(None, parts))
    return f"**{inert(said_of)}**" * bool(said_of)


def of_sections(shared: dict) -> Iterator[tuple[str, str]]:
    """Yield the sentences and the tables of each section."""
    for section in shared["sections"]:
        yield f"lines.{section.anchor}", inert(" ".join(section.lines))
        for table in section.tables:
            yield f"table.{slug(table.title)}", markdown(table)


def slug(title: str) -> str:
    """Turn 'Where the time of this study went' into 'where-the-time-of-this-study-went'."""
    return "-".join(re.findall(r"[a-z0-9]+", title.lower()))


def markdown(table: Table) -> str:
    """Return a table in Markdown, without its notes."""
    return render.table(table, inert)


def of_figures(study, shared: dict) -> Iterator[tuple[str, str]]:
    """Yield the caption of each figure."""
    for name, figure in shared["figures"].items():
        yield f"caption.{name}", inert(figure.caption(study))


def of_arms(study) -> Iterator[tuple[str, str]]:
    """Yield each measure of each arm."""
    for arm in (*study.bases, *study.arms):
        for m in ms.MEASURES:
            yield f"{arm}.{m.key}", measured(study, arm, m)


def measured(study, arm: str, m: Measure) -> str:
    """Format a measure with its interval; one without an interval as a number or 'k of n'."""
    if m.interval:
        return number(study.interval(arm, m.key), m)
    if arm in study.bases:
        return "–"
    return single(m, m(study.results, arm)).text


def number(found: st.Interval | None, m: Measure) -> str:
    """Format a mean with its interval, '29.4 (28.1 to 30.7)', or say that it has none.

    A value that is the same in all runs stands alone.
    """
    if found is None or not math.isfinite(found.mean):
        return "–"
    mean, low, high = (_shown(v, m, found) for v in (found.mean, found.low, found.high))
    if not math.isfinite(found.half):
        return f"{mean} (no interval)"
    return mean if not found.half or low == high else f"{mean} ({low} to {high})"


def _shown(value: float, m: Measure, found: st.Interval) -> str:
    """Format a value with the measure's digits, with one more if a count is small and varies."""
    if m.form == SCALED:
        return scaled(value) if math.isfinite(value) else "–"
    digits = m.digits + (m.digits == 0 and abs(found.mean) < 10 and found.half != 0)
    return fixed(value, f"{m.form}.{digits}f")


def of_pairs(study) -> Iterator[tuple[str, str]]:
    """Yield difference, Holm's p and verdict of each declared comparison in gold."""
    for row in (*study.versus_sft, *study.versus, *study.versus_tuned):
        for name, text in compared(row).items():
            yield f"{row.a}-{row.b}.{name}", text


def compared(row: Comparison) -> dict[str, str]:
    """Return the facts of a pair."""
    p, words = inert(p_words(row.p_holm)), inert(verdict(row))
    return {"difference": difference(row), "p": p, "verdict": words}


def of_tasks(study) -> Iterator[tuple[str, str]]:
    """Yield the bases' lm-eval scores, and each arm's change from its base's with its interval."""
    known = {(row.arm, row.task, row.metric): row for row in changes(study.results)}
    for task, metric in dict.fromkeys((task, metric) for _, task, metric in known):
        for arm in (*study.bases, *study.arms):
            row = known.get((arm, task, metric))
            yield f"{arm}.{task}.{metric}", "–" if row is None else scored(study, row)


def scored(study, row) -> str:
    """Return a base's score, or an arm's change from its base's."""
    return f"{row.mean:.3f}" if row.arm in study.bases else change(row)


def change(row: Change) -> str:
    """Format a change, '−0.103 (−0.151 to −0.055)'; without an interval if there is none."""
    return said(row.change, 3) if row.change.half else fixed(row.change.mean, "+.3f")


def of_limitations(shared: dict) -> Iterator[tuple[str, str]]:
    """Yield each limitation, by its first words."""
    for line in shared["limitations"]:
        words = re.findall(r"[a-z]+", line.lower())[:4]
        yield f"limitation.{'-'.join(words)}", inert(line)
