"""Tell whether there is disk enough, and recognise that there was not."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.core.schema import UserError

SPARE = 500_000_000  # bytes that every step wants free beside what it writes
FREE = "free some space and run the same command, what is finished stays"
PARTLY = (
    "a file could not be written whole: the disk is full, or a quota or `ulimit -f` is reached: "
    "make room and run the same command"
)
# What cannot be written any more, and the remedy, by the system's error.
ERRORS = {
    errno.ENOSPC: f"the disk is full: {FREE}",
    errno.EDQUOT: f"the disk quota is used up: {FREE}",
    errno.EFBIG: "a file is larger than `ulimit -f` allows: raise it and run the same command",
}
# Libraries that write by themselves keep the system's words (safetensors, arrow), or neither words
# nor number (torch, numpy, SQLite).
WORDS = {
    **{os.strerror(number): said for number, said in ERRORS.items()},
    "PytorchStreamWriter failed": PARTLY,
    "unexpected pos": PARTLY,
    "Not enough free space to write": PARTLY,
    "database or disk is full": PARTLY,
}
SHORT = re.compile(r"\d+ requested and \d+ written")  # numpy
LONGEST = 200  # characters of a library's words that are shown


def explained(error: BaseException) -> str | None:
    """Return what an error says about the disk, and the remedy; None if it is about other things.

    Looks at the errors that it came from, too.
    """
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in ERRORS:
            return f"{ERRORS[cause.errno]} ({cause.filename or cause.strerror})"
        said = str(cause).partition("\n")[0]
        for words, remedy in WORDS.items():
            if words in said:
                return f"{remedy} ({said[:LONGEST]})"
        if SHORT.fullmatch(said):
            return f"{PARTLY} ({said})"
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that were being handled when it was raised."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def check(where: Path, need: float = 0, what: str = "") -> None:
    """Raise UserError unless `need` bytes, and some to spare, are free where `where` is or will be.

    what: who needs them, for the message.
    """
    there, where = checked(where), where.absolute()
    free = shutil.disk_usage(there).free
    if free < need + SPARE:
        raise UserError(
            f"{what or 'this step'} needs about {size(need + SPARE)} of disk in {where}, "
            f"{size(free)} are free: free some, or link that folder to a larger disk"
        )


def checked(where: Path) -> Path:
    """Return the nearest folder to `where` that exists; raises UserError if none can be made there,
    since a file is in the way or nobody may write."""
    where = where.absolute()
    there = next(path for path in (where, *where.parents) if os.path.lexists(path))
    if not there.is_dir():
        kind = "a link to nothing" if there.is_symlink() else "a file"
        raise UserError(f"{there} is {kind}, where a folder is needed: move it away")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"this user may not write into {there}: change its permissions")
    return there


def size(n: float) -> str:
    """Format bytes: 500 MB, 12 GB."""
    return f"{n / 1e9:.3g} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"
