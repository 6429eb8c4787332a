"""Describe a page as a list of sections, in the order in which a reader meets them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from bench.analysis.measure import Measure
from bench.report.figure import Figure
from bench.report.tables import Table


@dataclass(frozen=True)
class Section:
    """A heading with sentences, figures and tables under it, in this order.

    body: the name of a template (`_<body>.html`, `_<body>.md`) for content that is none of these;
    folded: whether the section belongs to the appendix, which a page shows on demand.
    """

    anchor: str
    title: str
    lines: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    body: str = ""
    folded: bool = False


def nothing(study, *beside) -> list:
    """Return no line, no table, no figure."""
    return []


@dataclass(frozen=True)
class Lent:
    """What a study shows on the page of a comparison with the same SFT base.

    Each function takes the comparison and, beside it, this study, or None if that has not been run.
    section, title: the section that it joins, or adds; missing: what it would show if it had been
    run, in words; glance: a sentence for the headline; cards: {quality, cost or stability: further
    sentences on it}; changes: sentences on whether the answer is another there;
    failed: a column of the scorecard, {arm: how many failed}, whose measure is among `measures`;
    counted: that measure, and what it counts, in words; failures: a table of what failed.
    """

    section: str
    title: str
    lines: Callable = nothing
    tables: Callable = nothing
    figures: Callable = nothing
    missing: str = ""
    glance: Callable = nothing
    cards: Mapping[str, Callable] = field(default_factory=dict)
    changes: Callable = nothing
    failed: Callable | None = None
    counted: tuple[Measure, str] | None = None
    failures: Callable = nothing


@dataclass(frozen=True)
class Kind:
    """A kind of page, made by functions of a study.

    headline: returns sentences, the most important first; sections, figures: the content; results:
    the table that becomes results.csv, as `report.results.table`; more: what its templates show
    beside these; facts: what can be quoted beyond `report.facts`; card: writes its picture for
    social media, if it has one; post: drafts its post, as `studies.compare.post.draft`; measures:
    those that the study adds; lent: what it shows on the page of a comparison; units: (how many, of
    what) its intervals cover besides prompts; each_arm: whether it tabulates every arm and run: a
    study of hundreds leaves them to its evidence.
    """

    headline: Callable
    sections: Callable
    figures: Callable
    results: Callable
    more: Callable = lambda study: {}
    facts: Callable = lambda study, shared: {}
    card: Callable | None = None
    post: Callable | None = None
    measures: Callable[[], list[Measure]] = list
    lent: Lent | None = None
    units: Callable = lambda study: (study.seeds, "seed")
    each_arm: bool = True


def of_companion(name: str, figure: Figure) -> Figure:
    """Return a figure of another study with the same SFT base, for the page of this one."""

    def inner(function):
        return lambda study, *pen: function(study.companions[name], *pen)

    words = {key: inner(getattr(figure, key)) for key in ("draw", "caption", "alt", "finding")}
    return replace(figure, **words, foot=lambda s: f"study {name} · {inner(figure.foot)(s)}")
