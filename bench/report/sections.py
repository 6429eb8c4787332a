"""A page as a list of sections, in the order in which a reader meets them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bench.report.plate import Plate
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
    plates: list[Plate] = field(default_factory=list)
    body: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of page: functions of a study that give its headline, sections, figures, the table
    that becomes results.csv, and what its templates show beside these; card: whether it has a
    picture for social media."""

    headline: Callable
    sections: Callable
    results: Callable
    plates: Callable
    more: Callable = lambda study: {}
    card: bool = False


def of_companion(name: str, plate: Plate) -> Plate:
    """A figure of another study of the same SFT base, for the page of this one."""

    def inner(function):
        return lambda study, *pen: function(study.companions[name], *pen)

    words = {key: inner(getattr(plate, key)) for key in ("draw", "caption", "alt")}
    return replace(plate, **words, foot=lambda s: f"study {name} · {inner(plate.foot)(s)}")
