"""Files: atomic writing, JSON, JSON lines, tables, hashes (no heavy import).

Whatever writes an artefact writes it by this module: under another name first, then renamed, so
that a reader never sees half of it.
"""

import csv
import hashlib
import json
import math
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.core.schema import UserError

MISSING = "is missing: run snakemake, which makes it"
REMEDY = "delete it and run snakemake again: it is made anew"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write a file or folder to; renamed if all went well.

    An old folder at `path` is removed first, since a rename cannot replace it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part{os.getpid()}-{platform.node()}")  # nodes share disks
    try:
        yield part
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(part, path)
    finally:
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON to a temporary name, then rename."""
    with atomic(path) as part:
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_lines(path: str | Path, rows: Iterable[dict]) -> None:
    """Write JSON lines to a temporary name, then rename."""
    with atomic(path) as part, open(part, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_table(path: str | Path, rows: list[dict], head: list[str]) -> None:
    """A CSV with every column that any row has; a header alone where there are no rows."""
    columns = list(dict.fromkeys(key for row in rows for key in row)) or head
    with atomic(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def write_text(path: Path, text: str) -> None:
    """Write text to a temporary name, then rename."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def plain(value):
    """JSON has no NaN: such numbers become null, at any depth."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path, needed: bool = False) -> dict:
    """A JSON object, an empty one where there is no file; raises UserError where it is broken, and
    where it is missing but needed."""
    if not path.exists():
        if needed:
            raise UserError(f"{path} {MISSING}")
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON ({error}); {REMEDY}") from None


def read_csv(path: Path):
    """A csv as a table; a table without columns where the file has not even a header."""
    import pandas as pd

    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def read_rows(path: Path) -> list[dict]:
    """The rows of a JSON-lines file; raises UserError where it is missing, empty or broken."""
    try:
        with open(path, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
    except FileNotFoundError:
        raise UserError(f"{path} {MISSING}") from None
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON ({error}); {REMEDY}") from None
    if not rows:
        raise UserError(f"{path} is empty; {REMEDY}")
    return rows


def file_sha256(path: Path) -> str:
    """sha256 of a file, read in pieces: it may be larger than the memory."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(value) -> str:
    """sha256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def ids_sha256(rows: list[dict]) -> str:
    """sha256 of the JSON list of the rows' ids: which prompts, in which order."""
    return json_sha256([row["id"] for row in rows])


def spread(rows: list[dict], n: int) -> list[dict]:
    """``n`` rows, families in turn, so that each family has about as many; always the same."""
    families = {}
    for row in rows:
        families.setdefault(row["family"], []).append(row)
    turns = [row for turn in _turns(list(families.values())) for row in turn]
    return turns[:n]


def _turns(columns: list[list]):
    for i in range(max(map(len, columns), default=0)):
        yield [column[i] for column in columns if i < len(column)]


def write_rows(path: Path, rows: list[dict]) -> dict[str, str | int]:
    """Rows as JSON lines; returns what the manifest says of the file."""
    write_lines(path, rows)
    return {"sha256": file_sha256(path), "rows": len(rows)}


def write_manifest(out: Path, manifest: dict) -> None:
    """The last file of a data folder: the others' hashes, and where they come from."""
    write_text(Path(out, "manifest.json"), json.dumps(manifest, indent=1) + "\n")
