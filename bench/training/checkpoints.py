"""Write checkpoints, and resume only from complete ones.

Checkpoints lie in ``runs/<testbed>/checkpoints/<run>/<hash>/``. The hash covers code, settings and
inputs, so a run never resumes from a checkpoint of other code or settings. The manifest, a sha256
of every file, is written last: a checkpoint whose writing was interrupted has none, and the run
resumes from the newest complete one.
"""

import fcntl
import json
import os
import platform
import shutil
from contextlib import contextmanager
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


@contextmanager
def lease(root: Path):
    """Lock ``root`` so that one process alone writes there.

    A job whose Snakemake was killed may still be training there. Raises BlockingIOError, whose text
    names the other process, if that holds the lock; the system frees the lock when it ends.
    """
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "lease", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise BlockingIOError(error.errno, file.read() or "another process") from None
        file.truncate(0)
        file.write(holder())
        file.flush()
        yield


def holder() -> str:
    """Name this process so that a user can find and end it: 'Slurm job 7 on node3'."""
    job = os.environ.get("SLURM_JOB_ID")
    return (f"Slurm job {job}" if job else f"process {os.getpid()}") + f" on {platform.node()}"
