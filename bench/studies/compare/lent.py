"""Collect what other studies of the same SFT base show on the page of a comparison.

A study says what it lends in `bench.report.sections.Lent`; this module names no study.
"""

from dataclasses import replace

from bench import studies
from bench.analysis.measures.stability import failed
from bench.analysis.statistics import Share
from bench.core.names import DEFAULT_STUDY
from bench.report.figure import Figure
from bench.report.reproduce import snakemake
from bench.report.sections import Lent, Section, of_companion
from bench.report.tables import Table


def every() -> dict[str, Lent]:
    """Return {study: what it lends}."""
    found = {name: studies.kind_of(name).lent for name in studies.PLANS}
    return {name: lent for name, lent in found.items() if lent}


def present(study) -> list[tuple[Lent, object]]:
    """Return what is lent by each study beside this one, with that study."""
    beside = study.companions
    return [(lent, beside[name]) for name, lent in every().items() if name in beside]


def glances(study) -> list[str]:
    """Return a sentence for the headline from each study beside this one."""
    found = [lent.glance(study, study.companions.get(name)) for name, lent in every().items()]
    return [sentence for sentence in found if sentence]


def cards(study, card: str) -> list[str]:
    """Return the sentences that other studies add on quality, cost or stability."""
    return [
        sentence
        for name, lent in every().items()
        if card in lent.cards
        for sentence in lent.cards[card](study, study.companions.get(name))
    ]


def changes(study) -> list[str]:
    """Say whether the answer is another in the studies beside this one."""
    return [sentence for lent, beside in present(study) for sentence in lent.changes(study, beside)]


def untested(study) -> list[str]:
    """Say what other studies would show if they had been run; only in the default study."""
    found = [lent.missing for name, lent in every().items() if is_absent(study, name, lent)]
    return [f"Not run here: {'; '.join(found)}."] * bool(found)


def is_absent(study, name: str, lent: Lent) -> bool:
    """Return whether a study would show more on this page if it had been run."""
    default = study.meta.study == DEFAULT_STUDY
    return bool(lent.missing) and name not in study.companions and default


def joined_to(study, section: Section) -> Section:
    """Return a section of the comparison with what other studies add to it, theirs first."""
    lines, absent, tables, figures = [], [], [], []
    for name, lent in every().items():
        if lent.section == section.anchor:
            beside = study.companions.get(name)
            lines += lent.lines(study, beside)
            absent += missing(study, name, lent)
            tables += lent.tables(study, beside)
            figures += figures_of(study, name, lent)
    return replace(
        section,
        lines=[*lines, *section.lines, *absent],
        tables=[*tables, *section.tables],
        figures=[*figures, *section.figures],
    )


def new_sections(known: set[str]) -> list[Section]:
    """Return the sections that other studies add."""
    titles = {lent.section: lent.title for lent in every().values()}
    return [Section(anchor, title) for anchor, title in titles.items() if anchor not in known]


def figures_of(study, name: str, lent: Lent) -> list[Figure]:
    """Return the figures of a study; those of a companion are drawn from its own results."""
    beside = study.companions.get(name)
    found = lent.figures(study, beside)
    return [of_companion(name, figure) for figure in found] if beside else found


def figures(study) -> list[Figure]:
    """Return all figures that other studies lend."""
    return [f for name, lent in every().items() for f in figures_of(study, name, lent)]


def missing(study, name: str, lent: Lent) -> list[str]:
    """Say how to get what is not shown here; only in the default study."""
    if not is_absent(study, name, lent):
        return []
    return [f"Not run here: {lent.missing} ({snakemake(study.meta.source, name)})."]


def failures(study) -> tuple[dict[str, Share], str]:
    """Return ({arm: how many failed}, what was counted).

    Counts what a study beside this one counts, if there is one that does, else this study's runs.
    """
    for lent, beside in present(study):
        if lent.failed:
            return lent.failed(beside), lent.counted[1]
    return {arm: failed(study.results, arm) for arm in study.arms}, "runs"


def columns(study) -> list[tuple]:
    """Return (measure, {arm: Share}, link) of each column of the scorecard that a study lends."""
    return [
        (lent.counted[0], lent.failed(beside), f"#{lent.section}")
        for lent, beside in present(study)
        if lent.failed
    ]


def failed_tables(study) -> list[Table]:
    """Return tables of what failed in the studies beside this one."""
    return [table for lent, beside in present(study) for table in lent.failures(beside)]


def measures() -> list:
    """Return the measures that other studies add."""
    return [m for name in every() for m in studies.kind_of(name).measures()]
