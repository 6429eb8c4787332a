"""Tables of a report as plain data: a header and rows of Cells, for the page and the README."""

import math
import re
from dataclasses import dataclass, field

from bench.analysis import statistics as st
from bench.analysis.measure import ARROW, SCALED, Measure
from bench.analysis.results import Meta
from bench.report.words import fixed, label, scaled


@dataclass
class Cell:
    """A cell: its text, a quieter text beside it, the class or colour it is marked with.

    value: the number to sort by; link: the runs that it comes from; anchor: what links lead to.
    """

    text: str
    quiet: str = ""
    mark: str = ""
    value: float | None = None
    link: str = ""
    anchor: str = ""


DASH = Cell("–")


@dataclass
class Table:
    """Title, header cells as (text, note) and rows; notes stand below. No page shows one without
    rows.

    links: of each column, the runs that its numbers come from, where that is not a row's affair;
    sortable: whether another order of rows makes sense.
    """

    title: str
    header: list[tuple[str, str]]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    sortable: bool = True

    def numeric(self, column: int) -> bool:
        """True for a column, other than the first, of numbers, which are set flush right."""
        texts = [row[column].text for row in self.rows]
        return column > 0 and any(re.match(r"[+−<]?\s?\d", text) for text in texts)

    def link(self, row: list[Cell], column: int) -> str:
        """The runs that a number comes from: its own, its row's, or its column's."""
        if column and not re.search(r"\d", row[column].text):
            return ""
        of_column = self.links[column] if self.links else ""
        return row[column].link or row[0].link or of_column


def arm_cell(study, arm: str) -> Cell:
    """The name of an arm in its colour, leading to its runs; an SFT base has none."""
    if arm in study.bases:
        return Cell(label(arm))
    return Cell(label(arm), mark=study.looks[arm].colour, link=runs_of(study, arm))


def runs_of(study, arm: str) -> str:
    """Where the page lists the runs of an arm; nowhere if they are another study's."""
    return f"#runs-{arm}" if arm in study.arms else ""


def head(measure: Measure, meta: Meta) -> tuple[str, str]:
    """The header cell of a measure: label, and unit with direction."""
    return measure.label, measure.unit_in(meta) + ARROW[measure.better]


def cell(measure: Measure, found: st.Interval | None) -> Cell:
    """A measure of an arm: '0.71' with '± 0.16' beside it; a dash where nothing was measured."""
    if found is None or not math.isfinite(found.mean):
        return DASH
    if measure.form == SCALED:
        known = math.isfinite(found.half) and found.half
        quiet = f"± {scaled(found.half, found.mean)}" if known else ""
        return Cell(scaled(found.mean), quiet, value=found.mean)
    exact = found.half == 0 and found.mean == int(found.mean)
    digits = measure.digits + (measure.digits == 0 and abs(found.mean) < 10 and not exact)
    quiet = f"± {found.half:,.{digits}f}" if math.isfinite(found.half) and not exact else ""
    return Cell(fixed(found.mean, f"{measure.form}.{digits}f"), quiet, value=found.mean)


def plain(measure: Measure, value: float | None) -> Cell:
    """One value of a measure with its digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    if measure.form == SCALED:
        return Cell(scaled(value), value=value)
    return Cell(fixed(value, f",.{measure.digits}f"), value=value)


def share(found: st.Share, link: str = "") -> Cell:
    """'2 of 12' with its exact interval, in the colour of a warning if there is any."""
    low, high = found.span
    quiet = f"{100 * low:.0f} to {100 * high:.0f} %" if found.n else ""
    rate = found.count / found.n if found.n else None
    return Cell(f"{found.count} of {found.n}", quiet, "bad" * bool(found.count), rate, link)


def short(value) -> str:
    """A value as a reader wants it: 12 digits of a hash, whole numbers without a point."""
    if isinstance(value, float) and value == int(value):
        value = int(value)
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{32,}", text) else text
