"""Say whether the order of the methods holds from one SFT base to another."""

import pandas as pd

from bench.analysis.comparisons import Comparison
from bench.report.results import flat
from bench.report.sections import Kind, Section
from bench.report.tables import Cell, Table
from bench.report.words import (
    BETTER,
    bounds,
    count,
    fixed,
    label,
    leader,
    p_words,
    pair,
    said,
)
from bench.studies.bases import analysis
from bench.studies.bases.figures import BY_BASE, leads


def headline(study) -> list[str]:
    """Say on how many bases which method gains most, and what holds over bases."""
    return [f"{leads(study)}. {over_bases(study)}"]


def over_bases(study) -> str:
    """Say who is better over bases."""
    found = leader(analysis.family(study.results))
    return f"Over bases {found}." if found else "Too few bases for a verdict."


def lines(study) -> list[str]:
    """Say what an interval covers here, and what varies."""
    size = analysis.gains(study.results).groupby(["base", "method"]).size().max()
    return [
        f"Each method was trained from each base with {count(int(size), 'seed')}. Bases differ in "
        "the seeds of SFT and, where there is any, of pretraining. Each has pairs sampled "
        "from itself, unless the testbed comes with pairs. The testbed's own base is the first; "
        "settings were searched from it alone.",
        "An interval covers bases and prompts: how the result would vary with another base. A "
        "comparison from one base covers seeds and prompts only.",
    ]


def matrix(study) -> Table:
    """Tabulate pairs of methods: the difference over bases, on how many a leads, what varies."""
    header = [("Pair", ""), ("Difference", "gold"), ("Holm p", ""), ("Verdict", ""),
              ("Leads", "bases"), ("SD over bases", "gold"), ("SD over seeds", "gold"),
              ("SD over prompts", "gold")]  # fmt: skip
    rows = [_row(study, row) for row in analysis.family(study.results)]
    note = (
        "Differences with 95 % intervals over bases and prompts; a failed run counts as no gain. "
        "Leads: on how many bases the first has the higher mean gain. SD over bases: of the "
        "difference that a base would show with many seeds; over seeds: between runs from one "
        "base; over prompts: of a prompt's mean. The first is an estimate cut at 0."
    )
    return Table("Over SFT bases", header, rows, [note])


def _row(study, row: Comparison) -> list[Cell]:
    leads, spread = (f(study.results, row.a, row.b) for f in (analysis.leads, analysis.spread))
    verdict = f"{label(row.winner)} {BETTER}" if row.winner else str(row.kind)
    return [
        Cell(pair(row)),
        Cell(fixed(row.decisive.mean, "+.2f"), bounds(row.decisive)),
        Cell(p_words(row.p_holm)),
        Cell(verdict),
        Cell(f"{leads.count} of {leads.n}"),
        *(Cell(fixed(value, ".2f")) for value in (spread.base, spread.seed, spread.prompt)),
    ]


def gains_table(study) -> Table:
    """Tabulate the gain of each method from each base, and over all of them."""
    table, starts = analysis.by_base(study.results), analysis.starts(study.results)
    header = [("SFT base", ""), ("Its gold", "test"), *((label(m), "gain") for m in table)]
    rows = [
        [Cell(str(i)), Cell(fixed(starts[base], ".2f")), *_gains(table.loc[base])]
        for i, base in enumerate(table.index, 1)
    ]
    whole = [Cell(said(analysis.interval(study.results, m))) for m in table]
    rows.append([Cell("all"), Cell(fixed(starts.mean(), ".2f")), *whole])
    note = (
        "Means over seeds on test prompts, a failed run counting as no gain; the last row has 95 % "
        "intervals over bases and prompts."
    )
    return Table("Gain from each base", header, rows, [note])


def _gains(row: pd.Series) -> list[Cell]:
    return [Cell(fixed(value, "+.2f"), value=value) for value in row]


def sections(study) -> list[Section]:
    """Return the sections of the page."""
    return [
        Section("bases", "Does the order hold?", lines(study), [matrix(study)], [BY_BASE]),
        Section("gains", "From each base", tables=[gains_table(study)]),
    ]


def results(study) -> pd.DataFrame:
    """Return results.csv: a row per pair of methods."""
    rows = [flat(row) for row in analysis.family(study.results)]
    return pd.DataFrame(rows).rename(columns={"mean": "difference", "seeds": "bases"})


def units(study) -> tuple[int, str]:
    """Return how many SFT bases there are: an interval is over them."""
    return len(analysis.by_base(study.results)), "SFT base"


KIND = Kind(headline, sections, lambda study: [BY_BASE], results, units=units)
