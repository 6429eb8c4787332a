"""Read rows from a local file of JSON, naming the line that is wrong.

`datasets` guesses one type a column, so that rows of two forms fail there, and a line `null` ends
the process.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from bench.core.schema import UserError


class JsonRows:
    """Rows as `datasets` gives them: indexed, each with every column, None where it has none."""

    def __init__(self, rows: list[dict]):
        self.rows = rows
        self.column_names = list(dict.fromkeys(key for row in rows for key in row))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict:
        return dict.fromkeys(self.column_names) | self.rows[number]


def read(path: str) -> JsonRows:
    """Read a file of one object a line, or of one list of objects, perhaps compressed by gzip.

    Raises UserError, in one line, if it holds anything else or nothing.
    """
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"'{path}' cannot be read: {error}") from None
    rows = list(_objects(path, data.removeprefix(b"\xef\xbb\xbf")))
    if not rows:
        raise UserError(f"'{path}' holds no rows: write one JSON object a line")
    return JsonRows(rows)


def _objects(path: str, data: bytes) -> Iterator[dict]:
    if data.lstrip()[:1] == b"[" and Path(path.removesuffix(".gz")).suffix == ".json":
        found = _parsed(data, f"'{path}'")
        places = ((f"'{path}', item {i}", item) for i, item in enumerate(found, 1))
    else:
        lines = ((i, line) for i, line in enumerate(data.split(b"\n"), 1) if line.strip())
        places = ((at := f"'{path}', line {i}", _parsed(line, at)) for i, line in lines)
    for at, item in places:
        if not isinstance(item, dict):
            raise UserError(f"{at} is no JSON object: write {{...}}, or remove it")
        yield item


def _parsed(text: bytes, at: str):
    try:
        return json.loads(text)
    except RecursionError:
        raise UserError(f"{at} is nested too deeply: mend or remove it") from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise UserError(f"{at} is no valid JSON ({error}): mend or remove it") from None
