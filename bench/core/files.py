"""Read, write and hash files: JSON, JSON lines, CSV. Imports nothing heavy.

Every artefact is written through this module: to a temporary name first, which is then renamed, so
that a reader never sees half a file.
"""

import csv
import glob
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
from bench.core.warm import is_alive

MISSING = "is missing: run snakemake, which makes it"
REMEDY = "delete it and run snakemake, which makes it again"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path for a file or folder; rename it to `path` if the block succeeds.

    An old folder at `path` is removed first, since a rename cannot replace it. So is what processes
    of this machine that were killed left of their own tries.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part{os.getpid()}-{platform.node()}")  # nodes share disks
    for left in path.parent.glob(f".{glob.escape(path.name)}.part[0-9]*-{platform.node()}"):
        if not is_alive(int(left.name.removeprefix(f".{path.name}.part").partition("-")[0])):
            remove(left)
    try:
        yield part
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(part, path)
    finally:
        remove(part)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as JSON, atomically."""
    with atomic(path) as part:
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_lines(path: str | Path, rows: Iterable[dict]) -> None:
    """Write rows as JSON lines, atomically."""
    with atomic(path) as part, open(part, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_table(path: str | Path, rows: list[dict], head: list[str]) -> None:
    """Write rows as CSV, atomically, with every column of any row; without rows only `head`."""
    columns = list(dict.fromkeys(key for row in rows for key in row)) or head
    with atomic(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def write_text(path: Path, text: str) -> None:
    """Write text, atomically."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def plain(value):
    """Replace NaN and infinities by None, at any depth, since JSON has neither."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path, needed: bool = False) -> dict:
    """Read a JSON object; returns {} if there is no file.

    Raises UserError if the file holds something else, or is missing although `needed`.
    """
    if not path.exists():
        if needed:
            raise UserError(f"{path} {MISSING}")
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not valid JSON ({error}): {REMEDY}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object: {REMEDY}")
    return value


def read_csv(path: Path):
    """Read a CSV as a DataFrame, which is empty if the file has not even a header.

    Raises UserError if the file is no CSV.
    """
    import pandas as pd

    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is no table ({error}): {REMEDY}") from None


def read_rows(path: Path) -> list[dict]:
    """Read the rows of a JSON-lines file; raises UserError if it is missing, empty or invalid."""
    try:
        with open(path, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
    except FileNotFoundError:
        raise UserError(f"{path} {MISSING}") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): {REMEDY}") from None
    if not rows:
        raise UserError(f"{path} is empty: {REMEDY}")
    return rows


def file_sha256(path: Path) -> str:
    """Hash a file in pieces, since it may be larger than the memory. Returns the hex sha256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(value) -> str:
    """Hash a value's JSON. Returns the hex sha256."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def ids_sha256(rows: list[dict]) -> str:
    """Hash the rows' ids in their order. Returns the hex sha256 of their JSON list."""
    return json_sha256([row["id"] for row in rows])


def spread(rows: list[dict], n: int) -> list[dict]:
    """Pick ``n`` rows, one of each family in turn, so that families have about as many each.

    Draws nothing at random: the first rows of each family are taken.
    """
    families: dict[str, list] = {}
    for row in rows:
        families.setdefault(row["family"], []).append(row)
    return in_turn(list(families.values()))[:n]


def in_turn(columns: list[list]) -> list:
    """Take one item of each list in turn, as long as it has some."""
    longest = max(map(len, columns), default=0)
    return [column[i] for i in range(longest) for column in columns if i < len(column)]


def write_rows(path: Path, rows: list[dict]) -> dict[str, str | int]:
    """Write rows as JSON lines; returns the file's entry in the manifest."""
    write_lines(path, rows)
    return {"sha256": file_sha256(path), "rows": len(rows)}
