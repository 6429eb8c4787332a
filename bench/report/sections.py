"""A page as a list of sections: what a study other than a plain comparison shows."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.report.plate import Plate
from bench.report.tables import Table


@dataclass(frozen=True)
class Section:
    """A heading with sentences, tables and figures under it, in this order."""

    anchor: str
    title: str
    lines: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    plates: list[Plate] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """A kind of page: functions of a study that give its headline, sections and results.csv."""

    headline: Callable
    sections: Callable
    results: Callable
    plates: tuple[Plate, ...]
