"""Pack the data that a report is made of into the folder evidence/ beside its page, and read it
back.

It holds the collected tables of the study and, in folders of their names, those of the studies
beside it. A table is packed column by column (`runs.columns.xz`), and numbers of single precision
are written in the fewest digits that restore them. That takes half the bytes of a compressed csv,
and unpacking restores the csv byte by byte. `manifest.json` has the sha256 of each file, and the
versions of the libraries that the page was drawn with.

What no page reads stays in runs/: most columns of the training logs, answers that are not shown,
and the scores of the studies beside it other than gold and KL.
"""

import csv
import io
import json
import lzma
from collections.abc import Iterable, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bench.analysis.results import COLUMNS, FILES, RUN, json_lines, meta_json
from bench.core.files import atomic, file_sha256, write_json
from bench.core.schema import UserError
from bench.report import samples
from bench.report.study import Study

SCHEMA = "prefbench.evidence/2"
MOST = 9_000_000  # bytes of the whole folder: about 500 evaluated runs
FOLDER, MANIFEST = "evidence", "manifest.json"
CSV, TABLE, PACKED = ".csv", ".columns.xz", ".xz"
LOG = {"log.csv": COLUMNS["log"]}
SCORES = {"prompts.csv": (*RUN, "prompt_id", "draw", "family", "gold", "kl")}
CUT = (*LOG, "samples.jsonl")  # tables of the study that are packed in part
DRAWN_WITH = ("jinja2", "matplotlib", "numpy", "pandas", "pillow", "scipy")


def pack(study: Study, out: Path) -> None:
    """Write the evidence of a study that was read from files."""
    found = _texts(study.results.folder, LOG, samples.shown(study))
    for name, other in study.companions.items():
        texts = _texts(other.results.folder, LOG | SCORES, [])
        found |= {f"{name}/{file}": text for file, text in texts.items()}
    with atomic(out) as part:
        files = dict(_write(part, name, text) for name, text in found.items())
        manifest = {"schema": SCHEMA, "drawn_with": _versions(), "files": files}
        write_json(part / MANIFEST, manifest)


def _texts(folder: Path, cut: dict[str, tuple[str, ...]], shown: list[dict]) -> dict[str, str]:
    """Return {file: its text} of a study's results; cut: the columns to keep of these tables."""
    found = {p.name: p.read_bytes().decode() for p in sorted(folder.glob("*.csv"))}
    for name, kept in cut.items():
        found[name] = _text(c for c in _columns(found[name]) if c[0] in kept)
    found["samples.jsonl"] = json_lines(shown)
    meta = json.loads((folder / "meta.json").read_bytes())
    hashes = {name: sha256(found[name].encode()).hexdigest() for name in FILES}
    return found | {"meta.json": meta_json(meta, hashes)}


def _write(out: Path, name: str, text: str) -> tuple[str, dict]:
    """Pack a file; return its path in the folder and its entry in the manifest."""
    packed, about = name + PACKED, {}
    if name.endswith(CSV):
        packed, columns = name.removesuffix(CSV) + TABLE, _columns(text)
        short = {column[0]: _shortened(column) for column in columns}
        about["single"] = [head for head, column in short.items() if column]
        text = _rows(short[column[0]] or column for column in columns)
    path = out / packed
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    return packed, about | {"sha256": file_sha256(path)}


def _columns(text: str) -> list[tuple[str, ...]]:
    """Return the columns of a csv; each begins with its name."""
    return list(zip(*csv.reader(io.StringIO(text, newline="")), strict=True))


def _text(columns: Iterable[Sequence[str]]) -> str:
    """Return columns as a csv."""
    return _rows(zip(*columns, strict=True))


def _rows(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as a csv, as pandas writes them."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _shortened(column: Sequence[str]) -> tuple[str, ...] | None:
    """Return a column in the fewest digits (0.10000000149011612 -> 0.1).

    None if it holds anything but numbers of single precision.
    """
    head, *cells = column
    try:
        with np.errstate(over="ignore"):
            short = [cell and str(np.float32(cell)) for cell in cells]
    except ValueError:  # no numbers
        return None
    return (head, *short) if [_whole(cell) for cell in short] == cells else None


def _whole(cell: str) -> str:
    """Return a number of single precision in all digits that Python writes: 0.10000000149011612."""
    return cell and repr(float(np.float32(cell)))


def _versions() -> dict[str, str]:
    """Return the versions of the libraries that the bytes of a page and its figures depend on."""
    return {name: version(name) for name in DRAWN_WITH}


def size(place: Path) -> int:
    """Return the bytes of the evidence in a folder."""
    return sum(p.stat().st_size for p in place.rglob("*") if p.is_file())


def manifest(place: Path) -> dict:
    """Read the manifest of the evidence in a folder; raises UserError if there is none."""
    path = place / MANIFEST
    if not path.is_file():
        raise UserError(f"{path} is missing: only a report with its evidence can be made again")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        remedy = "another version wrote it, so use the commit that its README names"
        raise UserError(f"{path} is not of the schema {SCHEMA}: {remedy}")
    files, libraries = found.get("files"), found.get("drawn_with")
    if (
        not isinstance(libraries, dict)
        or not isinstance(files, dict)
        or not all(isinstance(about, dict) and "sha256" in about for about in files.values())
    ):
        raise UserError(f"{path} does not list the files of the evidence: restore the folder")
    return found


def made_with(place: Path, study: Study) -> str:
    """Return a report's commit, and which of its libraries have another version here."""
    here = _versions()
    other = [
        f"{name} {was} (here {here.get(name)})"
        for name, was in manifest(place)["drawn_with"].items()
        if was != here.get(name)
    ]
    return ", ".join([f"commit {study.meta.commit[:12]}", *other])


def unpack(place: Path, out: Path) -> Study:
    """Return the study of the evidence in a folder, and write its tables to `out`.

    Raises UserError if a file is missing, changed or not in the manifest.
    """
    known = manifest(place)["files"]
    found = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file()}
    if odd := sorted(found ^ {*known, MANIFEST}):
        wrong = "is not in" if odd[0] in found else "is missing, but in"
        raise UserError(f"{place / odd[0]} {wrong} {place / MANIFEST}: restore the folder")
    for name, about in known.items():
        if file_sha256(place / name) != about["sha256"]:
            raise UserError(f"{place / name} was changed: its hash is not in {place / MANIFEST}")
    try:
        for name, about in known.items():
            _restore(place / name, out / name, about)
        study = Study.read(out)
    except (UserError, KeyError, ValueError, lzma.LZMAError) as error:
        said = str(error).replace(f"{out}/", "").partition(": ")[0]
        raise UserError(f"the evidence in {place} does not fit ({said}): restore it") from None
    study.companions.update(
        {p.parent.name: Study.read(p.parent) for p in sorted(out.glob("*/meta.json"))}
    )
    return study


def read(path: Path, out: Path) -> Study:
    """Return the study in a folder: of results, of a report with its evidence, or of the evidence
    alone, whose tables are written to `out`. Raises UserError if it is none of these."""
    if (path / "meta.json").is_file():
        return Study.read(path)
    for place in (path, path / FOLDER):
        if (place / MANIFEST).is_file():
            return unpack(place, out)
    raise UserError(f"{path} holds neither results nor a report with evidence: name another folder")


def _restore(packed: Path, out: Path, about: dict) -> None:
    """Unpack a file into the folder of `out`."""
    name, text = out.name.removesuffix(PACKED), lzma.decompress(packed.read_bytes()).decode()
    if out.name.endswith(TABLE):
        name = out.name.removesuffix(TABLE) + CSV
        columns = csv.reader(io.StringIO(text, newline=""))
        single = {*about["single"]}
        text = _text([c[0], *map(_whole, c[1:])] if c[0] in single else c for c in columns)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_name(name).write_bytes(text.encode())
