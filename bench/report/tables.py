"""Hold a report's tables as plain data, a header and rows of Cells, for the page and the README."""

import math
import re
from dataclasses import dataclass, field

from bench.analysis import statistics as st
from bench.analysis.measure import ARROW, SCALED, Measure
from bench.analysis.results import Meta
from bench.report.words import fixed, label, scaled


@dataclass
class Cell:
    """A cell: its text, a quieter text beside it, and the class or colour that marks it.

    value: the number to sort by; link: where the runs behind it are listed; anchor: the target of
    such links.
    """

    text: str
    quiet: str = ""
    mark: str = ""
    value: float | None = None
    link: str = ""
    anchor: str = ""


DASH = Cell("–")
NARROW = 3  # columns that a phone has room for
LONG = 60  # cells up to which a phone gives each a line of its own


@dataclass
class Table:
    """A table: title, header cells as (text, note), rows, and notes below; no page shows one
    without rows.

    links: for each column, where the runs behind its numbers are listed, if that depends on the
    column; sortable: whether another order of rows makes sense; compact: whether a phone has
    room for all columns.
    """

    title: str
    header: list[tuple[str, str]]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    sortable: bool = True
    compact: bool = False

    @property
    def on_phone(self) -> str:
        """Return how a phone shows a row: as it is, '' or 'compact'; its cells one below the other,
        'stack'; or as a paragraph, 'flow'."""
        columns = len(self.header)
        if self.compact or columns <= NARROW:
            return "compact" * self.compact
        return "stack" if columns * len(self.rows) <= LONG else "flow"

    def head(self, column: int) -> str:
        """Return a column's name, with its note if another has the same name."""
        name, note = self.header[column]
        several = sum(other == name for other, _ in self.header) > 1
        return f"{name} {note}" if several else name

    def numeric(self, column: int) -> bool:
        """Return True for a column of numbers, other than the first; it is set flush right."""
        texts = [row[column].text for row in self.rows]
        return column > 0 and any(re.match(r"[+−<]?\s?\d", text) for text in texts)

    def link(self, row: list[Cell], column: int) -> str:
        """Return the link of a number: that of its cell, its row, or its column."""
        if column and not re.search(r"\d", row[column].text):
            return ""
        of_column = self.links[column] if self.links else ""
        return row[column].link or row[0].link or of_column


def arm_cell(study, arm: str) -> Cell:
    """Return the name of an arm in its colour, linked to its runs; an SFT base has none."""
    if arm in study.bases:
        return Cell(label(arm))
    return Cell(label(arm), mark=study.looks[arm].colour, link=runs_of(study, arm))


def runs_of(study, arm: str) -> str:
    """Return the link to the page's list of an arm's runs; '' if they are another study's."""
    return f"#runs-{arm}" if arm in study.arms else ""


def head(measure: Measure, meta: Meta) -> tuple[str, str]:
    """Return the header cell of a measure: label, and unit with direction."""
    return measure.label, measure.unit_in(meta) + ARROW[measure.better]


def cell(measure: Measure, found: st.Interval | None) -> Cell:
    """Format a measure of an arm: '0.71' with '± 0.16' beside it; a dash if not measured."""
    if found is None or not math.isfinite(found.mean):
        return DASH
    if measure.form == SCALED:
        known = math.isfinite(found.half) and found.half
        quiet = f"± {scaled(found.half, found.mean)}" if known else ""
        return Cell(scaled(found.mean), quiet, value=found.mean)
    exact = found.half == 0 and found.mean == int(found.mean)
    digits = measure.digits + (measure.digits == 0 and abs(found.mean) < 10 and not exact)
    form = f"{measure.form}.{digits}f"
    quiet = "" if exact or not math.isfinite(found.half) else spread(found, form, digits)
    return Cell(fixed(found.mean, form), quiet, value=found.mean)


def spread(found: st.Interval, form: str, digits: int) -> str:
    """Format '± 0.16', or the ends of an interval without a standard error, which is lopsided."""
    if math.isfinite(found.se):
        return f"± {found.half:,.{digits}f}"
    return f"{fixed(found.low, form)} to {fixed(found.high, form)}"


def single(measure: Measure, found: st.Share | float) -> Cell:
    """Return a measure without an interval: a count of n, or one number."""
    return share(found) if isinstance(found, st.Share) else plain(measure, found)


def plain(measure: Measure, value: float | None) -> Cell:
    """Format one value of a measure with its digits; a dash if there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    if measure.form == SCALED:
        return Cell(scaled(value), value=value)
    return Cell(fixed(value, f",.{measure.digits}f"), value=value)


def share(found: st.Share, link: str = "") -> Cell:
    """Format '2 of 12' with its exact interval, marked as bad if the count is not 0."""
    low, high = found.span
    quiet = f"{100 * low:.0f} to {100 * high:.0f} %" if found.n else ""
    rate = found.count / found.n if found.n else None
    return Cell(f"{found.count} of {found.n}", quiet, "bad" * bool(found.count), rate, link)


def short(value) -> str:
    """Format a value for readers: 12 digits of a hash, whole numbers without a point."""
    if isinstance(value, float) and value == int(value):
        value = int(value)
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{32,}", text) else text
