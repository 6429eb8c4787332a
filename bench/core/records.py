"""Write the records of steps (run.json, eval.json, step.json) with hashes.

A record holds the sha256 of the files beside it that numbers come from, in ``written``, and that of
its own other content, in ``sha256``. ``bench.steps._altered`` finds what was changed since.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from bench.core.files import file_sha256, json_sha256, write_json

WRITTEN, OWN = "written", "sha256"


def write_record(path: Path, record: dict, files: Iterable[Path] = ()) -> None:
    """Write a record, with the hashes of files in its folder that have been written before it."""
    write_json(path, sealed(record | {WRITTEN: {file.name: file_sha256(file) for file in files}}))


def write_manifest(out: Path, entries: dict[str, dict], **more) -> None:
    """Write manifest.json, the last file of a data folder.

    entries: what ``write_rows`` returned of each file; more: what else to say of the data.
    """
    written = {name: entry["sha256"] for name, entry in entries.items()}
    write_json(Path(out, "manifest.json"), sealed(entries | more | {WRITTEN: written}))


def sealed(record: dict) -> dict:
    """Return the record with the hash of its content."""
    content = {key: value for key, value in record.items() if key != OWN}
    return content | {OWN: json_sha256(json.loads(json.dumps(content)))}
