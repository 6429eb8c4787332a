"""Set two results side by side: of two machines, commits, studies or testbeds.

    python -m bench diff reports/micro ~/elsewhere/reports/micro [--out runs/side-by-side]

Each of the two is the folder of a report, or its results.json. Writes index.html, README.md,
results.csv and figures/, and says which numbers moved beyond noise.
"""

import argparse
import json
from pathlib import Path

from bench.core.files import atomic
from bench.core.progress import say
from bench.core.schema import UserError


def read(place: str) -> dict:
    """Read a results.json, by its path or its folder; raises UserError if it is none."""
    from bench.report.results import SCHEMA

    path = Path(place) / "results.json" if Path(place).is_dir() else Path(place)
    if not path.is_file():
        raise UserError(f"{path} is missing: give the folder of a report, such as reports/micro")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON ({error}): make its report again") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise UserError(f"{path} is not of the schema {SCHEMA}: make its report again")
    return found


def names(first: str, second: str) -> tuple[str, str]:
    """Name the two results: their paths without what both begin with."""
    parts = [Path(place).absolute().parts for place in (first, second)]
    shared = 0
    while shared < min(map(len, parts)) - 1 and parts[0][shared] == parts[1][shared]:
        shared += 1
    return tuple("/".join(p[shared:]) for p in parts)


def build(both, out: Path) -> None:
    """Write the page, the README, results.csv and the figures into a folder."""
    from bench.report import differences, figure, render

    drawn = figure.draw_all(both, out / "figures", differences.figures(both))
    shared = differences.context(both)
    page = render.html("diff.html", shared, drawn)
    (out / "index.html").write_text(page, encoding="utf-8")
    (out / "README.md").write_text(render.text("diff.md", shared), encoding="utf-8")
    table = differences.results(both)
    table.to_csv(out / "results.csv", index=False, lineterminator="\n")


def main(argv: list[str] | None = None) -> None:
    """Run the command. Raises UserError."""
    parser = argparse.ArgumentParser(prog="python -m bench diff")
    parser.add_argument("first", help="a report's folder, or its results.json")
    parser.add_argument("second", help="the other, likewise")
    parser.add_argument(
        "--out", default="runs/side-by-side", type=Path, help="where to write (%(default)s)"
    )
    args = parser.parse_args(argv)
    first, second = read(args.first), read(args.second)
    from bench.report import differences

    both = differences.Two(first, second, names(args.first, args.second))
    with atomic(args.out) as part:
        part.mkdir()
        build(both, part)
    say("diff", " ".join(differences.headline(both)))
    say("diff", f"{args.out / 'index.html'}")
