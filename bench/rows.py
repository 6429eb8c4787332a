"""Rows of JSON-lines files, and fixed choices among them (no heavy import)."""

import hashlib
import json
from pathlib import Path

from bench.schema import UserError


def read_rows(path: Path) -> list[dict]:
    """The rows of a JSON-lines file; raises UserError where it is missing, empty or broken."""
    remedy = "delete it and run snakemake again: it is made anew"
    try:
        with open(path, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run snakemake, which makes it") from None
    except ValueError as error:
        raise UserError(f"{path} is no valid JSON ({error}); {remedy}") from None
    if not rows:
        raise UserError(f"{path} is empty; {remedy}")
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
