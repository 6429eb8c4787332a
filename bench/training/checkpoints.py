"""Checkpoints that are trusted only when whole.

They lie in ``runs/<testbed>/checkpoints/<run>/<hash>/``, where the hash covers code, settings and
inputs: another hash is never resumed. The manifest, a sha256 of every file, is written last, so a
checkpoint cut short has none and the newest whole one before it serves.
"""

import fcntl
import json
import os
import platform
import shutil
from contextlib import contextmanager
from pathlib import Path

from bench.core.files import file_sha256

MANIFEST = "manifest.json"


def seal(folder: Path) -> None:
    """Writes the manifest that makes ``folder`` a valid checkpoint."""
    (folder / MANIFEST).write_text(json.dumps(_hashes(folder)))


def is_whole(folder: Path) -> bool:
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
    """The newest whole checkpoint under ``root``; broken ones are removed."""
    found = sorted(root.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    for folder in reversed(found):
        if is_whole(folder):
            return folder
        shutil.rmtree(folder)
    return None


def keep_last(root: Path, n: int = 2) -> None:
    found = sorted(root.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    for folder in found[:-n]:
        shutil.rmtree(folder)


@contextmanager
def lease(root: Path):
    """Holds ``root`` for one writer: an orphan of a killed Snakemake may still be training.

    Raises BlockingIOError, with the holder's name in it, where another process holds it; the system
    frees it when that ends.
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
    """This process, as one finds it to end it: a Slurm job, or a process of a machine."""
    job = os.environ.get("SLURM_JOB_ID")
    return (f"Slurm job {job}" if job else f"process {os.getpid()}") + f" on {platform.node()}"
