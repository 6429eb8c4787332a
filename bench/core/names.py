"""Names: which are allowed, the nearest of those known, and what names of label sets mean."""

import difflib
import re
from collections.abc import Iterable

NAME = re.compile(r"[A-Za-z0-9._-]+")

DEFAULT_TESTBED, DEFAULT_STUDY = "micro", "compare"
SFT = "sft"  # the SFT base, where it stands among arms
POOL = "pool"  # of pairs, from which every seed draws
DEMONSTRATIONS = "demonstrations"  # pairs of a demonstration and the base's own answer
ON_POLICY = "on-policy"  # pairs sampled from the SFT base, where the testbed's own were given
OWN_POOLS = (DEMONSTRATIONS, ON_POLICY)  # preferences that come with pairs of their own


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """'; did you mean ...?' or the list of what is known."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    dotted = [f"{prefix}.{item}" if prefix else item for item in close or known]
    if close:
        return f"; did you mean '{dotted[0]}'?"
    return f"; known: {', '.join(dotted)}" if known else ""


def parsed(label_set: str) -> tuple[str, int | None]:
    """A label set as (whose preference, how many pairs): 'gold-n750' -> ('gold', 750)."""
    preference, _, number = label_set.rpartition("-n")
    found = preference and number.isdigit()
    return (preference, int(number)) if found else (label_set, None)


def pool_of(label_set: str) -> str:
    """The pool that the pairs of a label set are drawn from."""
    preference, _ = parsed(label_set)
    return preference if preference in OWN_POOLS else POOL
