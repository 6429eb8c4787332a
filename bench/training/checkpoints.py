"""Write checkpoints, and resume only from complete ones.

Checkpoints lie in ``runs/<testbed>/checkpoints/<run>/<hash>/``. The hash covers code, settings and
inputs, so a run never resumes from a checkpoint of other code or settings. The manifest, a sha256
of every file, is written last: a checkpoint whose writing was interrupted has none, and the run
resumes from the newest complete one.
"""

import json
import shutil
from pathlib import Path

from bench.core.files import file_sha256, write_json

MANIFEST = "manifest.json"


def seal(folder: Path) -> None:
    """Mark the checkpoint in ``folder`` as complete: write its manifest of file hashes."""
    write_json(folder / MANIFEST, _hashes(folder))


def is_whole(folder: Path) -> bool:
    """True if every file of the checkpoint has the hash that its manifest records."""
    manifest = folder / MANIFEST
    try:
        return json.loads(manifest.read_text()) == _hashes(folder)
    except (OSError, ValueError):
        return False


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def newest(root: Path) -> Path | None:
    """Return the newest complete checkpoint under ``root``; delete broken ones that are newer."""
    found = sorted(root.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    for folder in reversed(found):
        if is_whole(folder):
            return folder
        shutil.rmtree(folder)
    return None


def keep_last(root: Path, n: int = 2) -> None:
    """Delete all checkpoints under ``root`` but the newest ``n``."""
    found = sorted(root.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    for folder in found[:-n]:
        shutil.rmtree(folder)
