"""Lay out answers for a terminal: titles, columns, paths."""

import textwrap
from collections.abc import Iterable
from pathlib import Path

import bench

WIDTH = 100
ROOT = Path(bench.__file__).parent


def heading(text: str) -> list[str]:
    """Underline a title."""
    return [text, "-" * len(text)]


def first_line(text: str | None) -> str:
    """Return the first line of a docstring; '' if there is none."""
    return (text or "").strip().partition("\n")[0]


def prose(text: str | None) -> list[str]:
    """Split a module's docstring into lines."""
    return (text or "").strip().splitlines()


def columns(rows: Iterable[tuple[str, ...]], indent: int = 2) -> list[str]:
    """Align rows in columns; wrap the last column."""
    rows = list(rows)
    widths = [max(map(len, cells)) + 2 for cells in list(zip(*rows, strict=True))[:-1]]
    lines = []
    for *cells, text in rows:
        head = " " * indent + "".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True))
        edges = {"initial_indent": head, "subsequent_indent": " " * len(head)}
        lines += textwrap.wrap(text, WIDTH, break_on_hyphens=False, **edges) or [head.rstrip()]
    return lines


def shown(path: str | Path) -> str:
    """Show a path from the repository's root, if it lies in the package."""
    path = Path(path)
    return str(path.relative_to(ROOT.parent)) if path.is_relative_to(ROOT) else str(path)
