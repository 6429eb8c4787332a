"""Find records of steps, and files that they list, that are not as they were written."""

from collections.abc import Iterable
from pathlib import Path

from bench.core.files import file_sha256, read_json
from bench.core.records import OWN, WRITTEN, sealed
from bench.core.schema import UserError


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
