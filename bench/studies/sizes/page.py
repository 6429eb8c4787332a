"""Say whether the winner changes with the size of the model."""

import math

import pandas as pd

from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison
from bench.core.grouping import grouped
from bench.report.results import flat
from bench.report.sections import Kind, Section
from bench.report.tables import DASH, Cell, Table
from bench.report.words import (
    bounds,
    count,
    fixed,
    joined,
    label,
    leader,
    p_words,
    pair,
    said,
    verdict,
)
from bench.studies.sizes import analysis
from bench.studies.sizes.figures import BY_RATE, BY_SIZE, in_millions

FEW = "there are too few seeds for a verdict"


def headline(study) -> list[str]:
    """Say who gains most at each size, and where that is a verdict."""
    groups = grouped(
        (leader(analysis.family(study.results, size)) or FEW, in_millions(size))
        for size in analysis.sizes(study.results)
    )
    items = [f"With {joined(sizes)} parameters {words}." for words, sizes in groups.items()]
    return [" ".join(items)]


def lines(study) -> list[str]:
    """Say what differs between sizes, how rates were picked, and what an interval covers."""
    edges = analysis.at_edge(study.results)
    items = [f"{label(method)} at {in_millions(size)}" for size, method in edges]
    return [
        "Each size has its own SFT base, pairs sampled from it, and reward models. Strengths, "
        "lengths and batches are those found at the testbed's own size.",
        "At other sizes every learning rate, also of SFT and of the reward model, is multiplied by "
        "one factor, and each method is tried at several rates around its own, on validation "
        "prompts and on seeds that are not compared.",
        "Each size has one SFT base: an interval covers seeds and prompts, not bases. Pairs of "
        "methods are corrected within a size.",
        *change_lines(study),
        *([f"The lowest or the highest rate tried was picked for {joined(items)}: rates further "
           "out may be better."] if items else []),
    ]  # fmt: skip


def change_lines(study) -> list[str]:
    """Say which differences change from the smallest model to the largest."""
    found = [row for row in analysis.changes(study.results) if math.isfinite(row.p_holm)]
    if not found:
        return []
    small, *_, large = map(in_millions, analysis.sizes(study.results))
    sure = [row for row in found if row.p_holm < 1 - st.LEVEL]
    items = [f"{pair(row)} by {said(row.interval)}" for row in sure]
    span = f"From {small} to {large} parameters"
    if not items:
        return [f"{span} no difference between two methods is shown to change."]
    return [f"{span} these differences change: {joined(items)}."]


def changes_table(study) -> Table:
    """Tabulate how the differences change from the smallest model to the largest."""
    rows = [
        [Cell(pair(row)), Cell(said(row.interval)), Cell(p_words(row.p_holm))]
        for row in analysis.changes(study.results)
    ]
    note = (
        "The difference with the largest model minus that with the smallest, on the same test "
        "prompts, with 95 % intervals over seeds and prompts, corrected over all pairs. A dash: a "
        "run failed. Sizes differ in SFT base too, of which there is one each."
    )
    header = [("Pair", ""), ("Change of the difference", "gold"), ("Holm p", "")]
    return Table("From the smallest model to the largest", header, rows, [note])


def gains_table(study) -> Table:
    """Tabulate the gain of each method at each size."""
    methods = study.methods
    header = [("Parameters", ""), ("SFT base", "gold"), *((label(m), "gain") for m in methods)]
    rows = []
    for size in analysis.sizes(study.results):
        gains = {m: analysis.gain(study.results, arm) for m, arm in size.arms.items()}
        cells = [Cell(said(gains[m]), value=gains[m].mean) if m in gains else DASH
                 for m in methods]  # fmt: skip
        start = analysis.gold(study.results, size)
        rows.append([Cell(f"{size.parameters:,}"), Cell(fixed(start, ".2f")), *cells])
    note = (
        "Gold above the SFT base of that size on test prompts, with 95 % intervals over seeds and "
        f"prompts, {count(study.seeds, 'seed')}; a failed run counts as no gain."
    )
    return Table("Gain at each size", header, rows, [note])


def pairs_table(study) -> Table:
    """Tabulate each pair of methods at each size."""
    header = [("Parameters", ""), ("Pair", ""), ("Difference", "gold"), ("Holm p", ""),
              ("Verdict", "")]  # fmt: skip
    rows = [
        [Cell(f"{size.parameters:,}"), *_row(row)]
        for size in analysis.sizes(study.results)
        for row in analysis.family(study.results, size)
    ]
    note = "Differences with 95 % intervals over seeds and prompts, failed runs counted."
    return Table("Pairs of methods at each size", header, rows, [note])


def _row(row: Comparison) -> list[Cell]:
    difference = Cell(fixed(row.decisive.mean, "+.2f"), bounds(row.decisive))
    return [Cell(pair(row)), difference, Cell(p_words(row.p_holm)), Cell(verdict(row))]


def rates_table(study) -> Table:
    """Tabulate the learning rate that was picked for each method, by size."""
    methods = study.methods
    header = [("Parameters", ""), *((label(m), "rate, × the tuned one") for m in methods)]
    rows = [
        [Cell(f"{size.parameters:,}"), *(_picked(study, size, m) for m in methods)]
        for size in analysis.sizes(study.results)
    ]
    return Table("Learning rates", header, rows)


def _picked(study, size, method: str) -> Cell:
    if method not in size.arms:
        return DASH
    return Cell(f"×{analysis.picked(study.results, size.arms[method]):.2g}")


def sections(study) -> list[Section]:
    """Return the sections of the page."""
    tables = [gains_table(study), pairs_table(study), changes_table(study)]
    return [
        Section("sizes", "Does the winner change?", lines(study), tables, [BY_SIZE]),
        Section("rates", "Learning rates", tables=[rates_table(study)], figures=[BY_RATE]),
    ]


def results(study) -> pd.DataFrame:
    """Return results.csv: a row for each size and pair of methods."""
    rows = [
        {"parameters": size.parameters} | flat(row)
        for size in analysis.sizes(study.results)
        for row in analysis.family(study.results, size)
    ]
    return pd.DataFrame(rows).rename(columns={"mean": "difference"})


KIND = Kind(headline, sections, lambda study: [BY_SIZE, BY_RATE], results)
