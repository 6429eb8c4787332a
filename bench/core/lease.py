"""Let one process alone write an artefact, whatever its settings.

A job whose Snakemake was killed may still be at work, and a second one may come with other settings
for the same name. The first holds a file lock, which the system frees when it ends.
"""

import errno
import fcntl
import os
import platform
from contextlib import contextmanager
from pathlib import Path

from bench.core.schema import UserError

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # flock's errors if there are no locks


@contextmanager
def lease(path: Path, what: str):
    """Hold the lock file `path`; what: the artefact, for the message.

    Raises UserError that names the holder, or if the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{file.read() or 'another process'} is still at work on {what} (perhaps left by a "
                "killed snakemake): wait for it or end it, then run the same command again"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            raise UserError(
                f"the file system of {path.parent} has no file locks, so two jobs could write "
                f"{what}: mount it with locks (Lustre: -o flock) or clone to another file system"
            ) from None
        file.truncate(0)
        file.write(holder())
        file.flush()
        yield


def holder() -> str:
    """Name this process so that a user can find and end it: 'Slurm job 7 on node3'."""
    job = os.environ.get("SLURM_JOB_ID")
    return (f"Slurm job {job}" if job else f"process {os.getpid()}") + f" on {platform.node()}"
