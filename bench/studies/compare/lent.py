"""What other studies of the same SFT base show on the page of a comparison.

A study says what it lends in `bench.report.sections.Lent`; none of them is named here.
"""

from bench import studies
from bench.analysis.measures.stability import failed
from bench.analysis.statistics import Share
from bench.core.names import DEFAULT_STUDY
from bench.report.figure import Figure
from bench.report.reproduce import snakemake
from bench.report.sections import Lent, Section, of_companion
from bench.report.tables import Table


def every() -> dict[str, Lent]:
    """{study: what it lends}."""
    found = {name: studies.kind_of(name).lent for name in studies.PLANS}
    return {name: lent for name, lent in found.items() if lent}


def glances(study) -> list[str]:
    """A sentence for the headline of each study beside this one."""
    found = [lent.glance(study, study.companions.get(name)) for name, lent in every().items()]
    return [sentence for sentence in found if sentence]


def cards(study, card: str) -> list[str]:
    """The sentences that other studies add to a card of the verdict."""
    return [
        sentence
        for name, lent in every().items()
        if card in lent.cards
        for sentence in lent.cards[card](study, study.companions.get(name))
    ]


def joined_to(study, section: Section) -> Section:
    """A section of the comparison with what other studies add to it, theirs first."""
    lines, tables, figures = [], [], []
    for name, lent in every().items():
        if lent.section == section.anchor:
            beside = study.companions.get(name)
            lines += [*lent.lines(study, beside), *missing(study, name, lent)]
            tables += lent.tables(study, beside)
            figures += figures_of(study, name, lent)
    return Section(
        section.anchor,
        section.title,
        [*lines, *section.lines],
        [*tables, *section.tables],
        [*figures, *section.figures],
        section.body,
    )


def new_sections(known: set[str]) -> list[Section]:
    """The sections that other studies add."""
    titles = {lent.section: lent.title for lent in every().values()}
    return [Section(anchor, title) for anchor, title in titles.items() if anchor not in known]


def figures_of(study, name: str, lent: Lent) -> list[Figure]:
    """The figures of a study, those of a companion drawn from its results."""
    beside = study.companions.get(name)
    found = lent.figures(study, beside)
    return [of_companion(name, figure) for figure in found] if beside else found


def figures(study) -> list[Figure]:
    """All figures that other studies lend."""
    return [f for name, lent in every().items() for f in figures_of(study, name, lent)]


def missing(study, name: str, lent: Lent) -> list[str]:
    """How to get what is not shown here; only of methods as they are tuned."""
    if not lent.missing or name in study.companions or study.meta.study != DEFAULT_STUDY:
        return []
    return [f"Not run here: {lent.missing} ({snakemake(study.meta.source, name)})."]


def failures(study) -> tuple[dict[str, Share], str]:
    """({arm: how many failed}, what was counted): of a study beside this one where it counts them,
    else this one's runs."""
    for name, lent in every().items():
        if lent.failed and name in study.companions:
            return lent.failed(study.companions[name]), lent.counted[1]
    return {arm: failed(study.results, arm) for arm in study.arms}, "runs"


def columns(study) -> list[tuple]:
    """(measure, {arm: Share}, link) of each column of the scorecard that a study lends."""
    return [
        (lent.counted[0], lent.failed(study.companions[name]), f"#{lent.section}")
        for name, lent in every().items()
        if lent.failed and name in study.companions
    ]


def failed_tables(study) -> list[Table]:
    """What failed in the studies beside this one."""
    found = [lent.failures(study.companions[name])
             for name, lent in every().items() if name in study.companions]  # fmt: skip
    return [table for tables in found for table in tables]


def measures() -> list:
    """The measures that other studies add."""
    return [m for name in every() for m in studies.kind_of(name).measures()]
