"""Check names, find the nearest known name, and split the names of label sets."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")

SHOWN = 12  # most names that a message lists
DEFAULT_TESTBED, DEFAULT_STUDY = "micro", "compare"
SFT = "sft"  # the SFT base, in lists of arms
ALONE_SPLIT = "alone"  # the split of prompts.jsonl whose prompts have no pair
POOL = "pool"  # the pairs that every seed draws from
DEMONSTRATIONS = "demonstrations"  # pairs of a demonstration and the base's own answer
ON_POLICY = "on-policy"  # pairs sampled from the SFT base, on a testbed that comes with pairs
TWINS, WORKED = "twins", "worked"
WRITTEN = (TWINS, WORKED)  # pools that the world writes, with the preferences that begin so
REFERRED = (POOL, ON_POLICY, *WRITTEN)  # pools that methods with a reference can read
OWN_POOLS = (DEMONSTRATIONS, ON_POLICY, *WRITTEN)  # the pools beside that of sampled pairs


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


@dataclass(frozen=True)
class LabelSet:
    """The pairs that a run learns from, and whose preference they hold.

    only: a family, or a word of their prompts; flip: how many labels in a hundred are turned round;
    copies: how often each pair is listed; fresh: whether each copy has a label of its own; n: the
    number of pairs, None for all. Its name, ``str(label_set)``, holds what is not as usual:
    'gold-only-review-flip20-n750', 'gold-copies5', 'gold-fresh5'.
    """

    preference: str
    only: str | None = None
    flip: int = 0
    copies: int = 1
    fresh: bool = False
    n: int | None = None

    def __str__(self) -> str:
        parts = [
            self.preference,
            f"only-{self.only}" if self.only else "",
            f"flip{self.flip}" if self.flip else "",
            f"{'fresh' if self.fresh else 'copies'}{self.copies}" if self.copies > 1 else "",
            f"n{self.n}" if self.n else "",
        ]
        return "-".join(filter(None, parts))


LABEL_SET = re.compile(
    r"(?P<preference>.+?)(-only-(?P<only>[^-]+))?(-flip(?P<flip>\d+))?"
    r"(-(?P<kind>copies|fresh)(?P<copies>\d+))?(-n(?P<n>\d+))?"
)


def parsed(label_set: str) -> LabelSet:
    """Return the label set of a name: 'gold-n750' -> LabelSet('gold', n=750)."""
    found = LABEL_SET.fullmatch(label_set)
    n, copies = found["n"], found["copies"]
    return LabelSet(
        found["preference"],
        found["only"],
        int(found["flip"] or 0),
        int(copies or 1),
        found["kind"] == "fresh",
        int(n) if n else None,
    )


def pool_of(label_set: str) -> str:
    """Return the name of the pool that a label set's pairs are drawn from."""
    preference = parsed(label_set).preference
    head = preference.partition("-")[0]
    return next((name for name in (preference, head) if name in OWN_POOLS), POOL)
