"""A page as a list of sections, in the order in which a reader meets them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from bench.analysis.measure import Measure
from bench.report.figure import Figure
from bench.report.tables import Table


@dataclass(frozen=True)
class Section:
    """A heading with sentences, figures and tables under it, in this order.

    body: the name of a template (`_<body>.html`, `_<body>.md`) for what is none of these.
    """

    anchor: str
    title: str
    lines: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    body: str = ""


def nothing(study, *beside) -> list:
    """No line, no table, no figure."""
    return []


@dataclass(frozen=True)
class Lent:
    """What a study shows on the page of a comparison of the same SFT base.

    Each function takes the comparison and this study of the same base, None where it has not been
    run. section, title: the section that it joins, or adds; missing: what it would show, in words;
    glance: a sentence for the headline; cards: {card of the verdict: its sentences}; failed: a
    column of the scorecard, {arm: how many failed}, its measure among `measures`; counted: what
    that counts, in words; failures: a table of what failed.
    """

    section: str
    title: str
    lines: Callable = nothing
    tables: Callable = nothing
    figures: Callable = nothing
    missing: str = ""
    glance: Callable = nothing
    cards: Mapping[str, Callable] = field(default_factory=dict)
    failed: Callable | None = None
    counted: tuple[Measure, str] | None = None
    failures: Callable = nothing


@dataclass(frozen=True)
class Kind:
    """A kind of page: functions of a study.

    headline: a sentence; sections; figures; results: the table that becomes results.csv; more: what
    its templates show beside these; facts: what can be quoted beside what `report.facts` knows;
    card: writes its picture for social media, where
    it has one; measures: those that the study adds; lent: what
    it shows on the page of a comparison.
    """

    headline: Callable
    sections: Callable
    figures: Callable
    results: Callable
    more: Callable = lambda study: {}
    facts: Callable = lambda study, shared: {}
    card: Callable | None = None
    measures: Callable[[], list[Measure]] = list
    lent: Lent | None = None


def of_companion(name: str, figure: Figure) -> Figure:
    """A figure of another study of the same SFT base, for the page of this one."""

    def inner(function):
        return lambda study, *pen: function(study.companions[name], *pen)

    words = {key: inner(getattr(figure, key)) for key in ("draw", "caption", "alt")}
    return replace(figure, **words, foot=lambda s: f"study {name} · {inner(figure.foot)(s)}")
