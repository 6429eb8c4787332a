"""Check names, find the nearest known name, and split the names of label sets."""

import difflib
import re
from collections.abc import Iterable

NAME = re.compile(r"[A-Za-z0-9._-]+")

SHOWN = 12  # most names that a message lists
DEFAULT_TESTBED, DEFAULT_STUDY = "micro", "compare"
SFT = "sft"  # the SFT base, in lists of arms
POOL = "pool"  # the pairs that every seed draws from
DEMONSTRATIONS = "demonstrations"  # pairs of a demonstration and the base's own answer
ON_POLICY = "on-policy"  # pairs sampled from the SFT base, on a testbed that comes with pairs
OWN_POOLS = (DEMONSTRATIONS, ON_POLICY)  # preferences whose pairs come from a pool of their own


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return '; did you mean ...?', or '; known: ...', the first of them, if no name is close.

    prefix: the section that the names belong to, shown before each with a dot.
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    dotted = [f"{prefix}.{item}" if prefix else item for item in close or known]
    if close:
        return f"; did you mean '{dotted[0]}'?"
    more = f" and {len(dotted) - SHOWN} more" if len(dotted) > SHOWN else ""
    return f"; known: {', '.join(dotted[:SHOWN])}{more}" if known else ""


def parsed(label_set: str) -> tuple[str, int | None]:
    """Split a label set into preference and number of pairs: 'gold-n750' -> ('gold', 750)."""
    preference, _, number = label_set.rpartition("-n")
    found = preference and number.isdigit()
    return (preference, int(number)) if found else (label_set, None)


def pool_of(label_set: str) -> str:
    """Return the name of the pool that a label set's pairs are drawn from."""
    preference, _ = parsed(label_set)
    return preference if preference in OWN_POOLS else POOL
