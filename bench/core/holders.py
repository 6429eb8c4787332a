"""Free the lock that a killed Snakemake left, so that the same command goes on.

Each Snakemake notes its host, process and start in `.snakemake/holders`. A lock is freed if every
Snakemake that is noted ran on this host and is dead; else Snakemake itself refuses to start. The
marks of jobs that were under way go with it, and go where nothing is noted or locked, since a job
that is killed leaves its mark behind a Snakemake that ends by itself. Steps write their outputs
whole, the record last, so that what is there is complete.
"""

import json
import os
import socket
from pathlib import Path

from bench.core.files import write_text

FOLDER = Path(".snakemake/holders")
LOCKS = Path(".snakemake/locks")
LEFT = LOCKS, Path(".snakemake/incomplete")


def free() -> bool:
    """Remove what Snakemakes that are dead have left; returns whether there was anything."""
    notes = [*FOLDER.glob("*.json")]
    unknown = not notes and _files(LOCKS)  # a Snakemake that notes nothing
    if unknown or not all(map(_is_dead, notes)):
        return False
    left = [path for folder in LEFT for path in _files(folder)]
    for path in [*left, *notes]:
        path.unlink(missing_ok=True)
    return bool(left)


def enter() -> None:
    """Note this Snakemake."""
    write_text(_own(), json.dumps(_identity(os.getpid())))


def leave() -> None:
    """Remove the note of this Snakemake."""
    _own().unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _own() -> Path:
    return FOLDER / f"{socket.gethostname()}-{os.getpid()}.json"


def _identity(pid: int) -> dict:
    """Return what tells a process from one that gets its number later."""
    import psutil

    return {"host": socket.gethostname(), "pid": pid, "began": psutil.Process(pid).create_time()}


def _is_dead(note: Path) -> bool:
    """Return whether a noted Snakemake ran on this host and has ended."""
    import psutil

    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        return known["host"] == socket.gethostname() and known != _identity(known["pid"])
    except psutil.NoSuchProcess:
        return True
    except (ValueError, KeyError, TypeError, OSError):
        return False  # half a note: nobody knows whose
