"""Write the records of steps (run.json, eval.json, step.json) with hashes, and find what changed.

A record holds the sha256 of the files beside it that numbers come from, in ``written``, and that of
its own other content, in ``sha256``. So an edited or damaged file is found by whoever reads it.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from bench.core.files import file_sha256, json_sha256, read_json, write_json
from bench.core.schema import UserError

WRITTEN, OWN = "written", "sha256"


def write_record(path: Path, record: dict, files: Iterable[Path] = ()) -> None:
    """Write a record, with the hashes of files in its folder that have been written before it."""
    write_json(path, sealed(record | {WRITTEN: {file.name: file_sha256(file) for file in files}}))


def sealed(record: dict) -> dict:
    """Return the record with the hash of its content."""
    content = {key: value for key, value in record.items() if key != OWN}
    return content | {OWN: json_sha256(json.loads(json.dumps(content)))}


def altered(path: Path, asked: Iterable[str] = ()) -> list[str]:
    """Say, of a record and of the files that it lists, which are missing or not as written.

    asked: names of files that it must list. A record that is not there has nothing to compare, so
    nothing is said of it.
    """
    try:
        record = read_json(path)
    except UserError:
        return [f"{path} is not valid JSON"]
    if not record:
        return []
    if not isinstance(record, dict) or OWN not in record or WRITTEN not in record:
        return [f"{path} has no hashes"]
    found = [f"{path} was changed"] if sealed(record) != record else []
    listed = record[WRITTEN]
    found += [f"{path} does not list {name}" for name in asked if name not in listed]
    for name, known in listed.items():
        file = path.parent / name
        if not file.is_file():
            found.append(f"{file} is missing")
        elif file_sha256(file) != known:
            found.append(f"{file} was changed")
    return found
