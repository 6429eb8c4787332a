"""Let the marks of a figure tell their values: in words when they are hovered, and in a table."""

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.report.words import fixed

ENDS = ("value", "low", "high")


@dataclass(frozen=True)
class Value:
    """What one mark shows: a mean and the ends of its interval, NaN if it has none.

    name: whose it is, in words; at: where it lies, {axis: place}; words: the mean as the figure
    writes it, if not in the format `form`.
    """

    name: str
    at: dict
    mean: float
    low: float
    high: float
    form: str = "+.2f"
    words: str = ""

    def said(self, panel: str) -> str:
        """Return 'PPO · KL · share of training 0.5: 2.31 (2.20 to 2.42)'."""
        places = (f"{axis} {shown(place)}" for axis, place in self.at.items())
        head = " · ".join(filter(None, [self.name, panel * (panel != self.name), *places]))
        low, high = (fixed(end, self.form) for end in (self.low, self.high))
        span = f" ({low} to {high})" * math.isfinite(self.high - self.low)
        return f"{head}: {self.words or fixed(self.mean, self.form)}{span}"

    def row(self, panel: str) -> dict:
        """Return the mark's row in the table of its figure."""
        ends = dict(zip(ENDS, (self.mean, self.low, self.high), strict=True))
        numbers = {key: f"{end:.6g}" if math.isfinite(end) else "" for key, end in ends.items()}
        return {"panel": panel, "name": self.name, **self.at, **numbers}


@dataclass
class Told:
    """The marks of a figure that tell their values: [(artist, a Value for each of its points)]."""

    marks: list[tuple[object, list[Value]]] = field(default_factory=list)

    def add(self, artist, name: str, found, form: str = "+.2f", words: str = "", **at) -> None:
        """Add a bar, or a line whose markers are drawn.

        found: of a bar or a single marker an interval, (low, mean, high) or a number; of a line a
        list of them, as is each of `at` then.
        """
        founds = found if isinstance(found, list) else [found]
        places = at if isinstance(found, list) else {axis: [place] for axis, place in at.items()}
        values = [
            Value(name, {axis: places[axis][i] for axis in at}, *_ends(one), form, words)
            for i, one in enumerate(founds)
        ]
        if hasattr(artist, "get_markevery"):
            values = _drawn(values, artist)
        artist.set_gid(f"told-{len(self.marks)}")
        self.marks.append((artist, values))

    def titles(self) -> dict[str, list[str]]:
        """Return {id of a group in the SVG: what each of its marks says}."""
        return {a.get_gid(): [v.said(panel(a)) for v in values] for a, values in self.marks}

    def seeds(self) -> set[str]:
        """Return the ids of groups that show single runs."""
        return {a.get_gid() for a, values in self.marks if any("seed" in v.at for v in values)}

    def save(self, path: Path) -> Path | None:
        """Write the figure's values as a csv, a row for each mark; nothing if no mark tells any."""
        rows = [value.row(panel(artist)) for artist, values in self.marks for value in values]
        if not rows:
            return None
        places = dict.fromkeys(key for row in rows for key in row if key not in ENDS)
        out = io.StringIO()
        writer = csv.DictWriter(out, [*places, *ENDS], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: shown(value) for key, value in row.items()} for row in rows)
        path.write_text(out.getvalue(), encoding="utf-8")
        return path


def shown(place) -> str:
    """Format where a mark lies."""
    return f"{place:.4g}" if isinstance(place, float) else str(place)


def panel(artist) -> str:
    """Return the title of the axes on which a mark is drawn; nothing if they are alone."""
    axes = artist.axes
    return " ".join(axes.get_title(loc="left").split()) if len(axes.figure.axes) > 1 else ""


def _ends(found) -> tuple[float, float, float]:
    """Return mean, low and high of an interval, of (low, mean, high), or of a number."""
    if hasattr(found, "mean") and hasattr(found, "low"):
        return found.mean, found.low, found.high
    if isinstance(found, Iterable):
        low, mean, high = found
        return float(mean), float(low), float(high)
    return float(found), math.nan, math.nan


def _drawn(values: list[Value], line) -> list[Value]:
    """Return the values of a line whose markers are drawn."""
    points = np.asarray(line.get_xydata(), float)
    every = line.get_markevery()
    if isinstance(every, tuple):
        every = slice(every[0], None, every[1])
    chosen = np.arange(len(values))[slice(None) if every is None else every]
    return [values[i] for i in chosen if np.isfinite(points[i]).all()]
