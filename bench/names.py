"""Names: which are allowed, and which of those known is the nearest to one that is not."""

import difflib
import re
from collections.abc import Iterable

NAME = re.compile(r"[A-Za-z0-9._-]+")


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """'; did you mean ...?' or the list of what is known."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    dotted = [f"{prefix}.{item}" if prefix else item for item in close or known]
    if close:
        return f"; did you mean '{dotted[0]}'?"
    return f"; known: {', '.join(dotted)}" if known else ""
