"""Renew what Markdown files quote from reports (README, docs, a post of yours), or check it.

    python -m bench quote README.md docs/*.md [--check]
    python -m bench quote my-post.md --report runs/micro/report [--check]

A quote stands between marks with the key of a fact (`bench.report.marked_text`). The fact is from
`--report` or, if the report's name stands before the key (`micro/views:headline`), from
reports/<name>. It is renewed in place from the report's facts.json, and so are the report's figures
beside the file; all other text stays byte for byte. A fact that is gone, or that was edited by
hand, is flagged, and the exit code is 1. `--check` writes nothing, and exits with 1 also if there
is something to renew.
"""

import argparse
import shutil
from pathlib import Path

from bench.core.files import atomic, read_json
from bench.core.progress import say
from bench.core.schema import UserError
from bench.report import marked_text


def main(argv: list[str]) -> None:
    """Run the command. Raises UserError if a file cannot be renewed, or is stale with --check."""
    parser = argparse.ArgumentParser(prog="python -m bench quote")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="the files that quote")
    parser.add_argument("--report", type=Path, help="the folder of the report that is quoted")
    parser.add_argument("--check", action="store_true", help="say what is stale, write nothing")
    args = parser.parse_args(argv)
    late = [renew(path, args.report, args.check) for path in args.files]
    if any(late):
        raise UserError("; ".join(filter(None, late)))


def renew(path: Path, report: Path | None, check: bool) -> str:
    """Renew the facts and figures of a file and say each change; returns what is wrong if a fact
    stays stale, or if there was something to renew and `check` forbids it."""
    old = read(path)
    text, changes = marked_text.renew(old, facts(old, report))
    redrawn = redraw(path, old, report)
    for line in [*changes, *(f"{name}: drawn anew" for name in redrawn), *warnings(text)]:
        say("quote", str(line))
    if not check:
        put(path, text, old)
        for name in redrawn:
            shutil.copyfile(report / name, path.parent / name)
    stale = [change for change in changes if change.stale]
    counts = f"{len(changes) - len(stale)} changed, {len(stale)} stale, {len(redrawn)} drawn anew"
    say("quote", f"{path}: {len(marked_text.MARK.findall(text))} facts, {counts}")
    late = stale or (check and (redrawn or text != old))
    return f"{path} is not up to date: {counts}" if late else ""


def facts(text: str, report: Path | None) -> dict[str, str]:
    """Return {key: fact} of all reports that a text quotes; UserError if one has no facts."""
    names = {key.rpartition(":")[0] for key, *_ in marked_text.MARK.findall(text)}
    found = {}
    for name in sorted(names):
        if not name and report is None:
            raise UserError("a fact without the name of its report: say --report FOLDER")
        place = Path("reports", name) if name else report
        if not (path := place / "facts.json").is_file():
            raise UserError(f"there is no {path}: name the folder of a report that has one")
        known = read_json(path)
        found |= {f"{name}:{key}" if name else key: fact for key, fact in known.items()}
    return found


def read(path: Path) -> str:
    """Return a file's text as it is, line ends included; raises UserError if it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is missing: check the path") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: name a Markdown file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8") from None


def redraw(path: Path, text: str, report: Path | None) -> list[str]:
    """Return the figures beside a file that differ from the report's."""
    names = marked_text.figures(text) if report else []
    return [name for name in names if differs(path.parent / name, report / name)]


def differs(mine: Path, fresh: Path) -> bool:
    """Return True if both figures exist and are not the same."""
    return mine.is_file() and fresh.is_file() and mine.read_bytes() != fresh.read_bytes()


def warnings(text: str) -> list[str]:
    """Name the lines that Markdown would take for HTML."""
    said = "begins with a mark, so Markdown takes the line for HTML: put a word before it"
    return [f"line {n} {said}" for n in marked_text.at_start(text)]


def put(path: Path, text: str, old: str) -> None:
    """Replace a file in one step if its text changed, and keep its permissions."""
    if text == old:
        return
    path = path.resolve()
    with atomic(path) as part:
        part.write_bytes(text.encode("utf-8"))
        shutil.copymode(path, part)
