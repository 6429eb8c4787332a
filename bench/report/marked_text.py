"""Marks around quoted text in a Markdown file, by which it is found again and renewed.

    It gains <!--fact micro:ppo.gold_delta 9f8e7d6c-->+0.98 (+0.86 to +1.09)<!--/fact--> over SFT.

A mark carries the key of a fact (`bench.report.facts`), behind the name of its report where the
file quotes several, and a hash of the text as it was generated, so that an author's own words are
told from ours. Readers see none of it.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from bench.report.samples import visible

MARK = re.compile(
    r"<!--fact\s+(\S+?)(?:\s+([0-9a-f]{8}))?\s*-->((?:(?!<!--/?fact\b).)*?)<!--/fact-->", re.S
)
FLAG = re.compile(r"<!--stale:(?:(?!-->).)*-->(?:(?!<!--).)*<!--/stale-->", re.S)
AT_START = re.compile(r"^ {0,3}(?:[-*+] +|> ?)*<!--fact\b.*-->.*\S")
# All that is markup to CommonMark, pandoc or a site's templates, or makes a link of a bare address
RISKY = re.compile(r"[\\`*_\[\]{}<>&|~#@$^]|:(?=//)|(?<=www)\.")
LONGEST = 4000  # characters of a text
GONE, EDITED, BROKEN = "no such fact any more", "edited by hand", "a mark without an end"


@dataclass(frozen=True)
class Change:
    """What a renewal found at a fact: the old text, the new one, and why it is stale, if it is."""

    key: str
    old: str
    new: str = ""
    stale: str = ""

    def __str__(self) -> str:
        if self.stale:
            now = f"; the results say: {self.new}" * bool(self.new)
            return f"{self.key}: STALE, {self.stale}: {self.old}{now}"
        return f"{self.key}: {self.old} -> {self.new}"


def inert(text) -> str:
    """Any text on one line as Markdown that shows it and does nothing else."""
    return RISKY.sub(lambda c: f"&#{ord(c[0])};", plain(visible(str(text), LONGEST)))


def code(text: str) -> str:
    """Text as code, or inert where a span of code would not hold it."""
    return inert(text) if re.search(r"[`<|\n]", text) else f"`{text}`"


def digest(text: str) -> str:
    """8 hex digits of a text; how its lines are broken does not count."""
    return hashlib.sha256(plain(text).encode()).hexdigest()[:8]


def plain(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())


def mark(key: str, text: str) -> str:
    """A fact between its marks; a table stands on lines of its own."""
    return around(key, f"\n\n{text.strip()}\n\n" if text.lstrip().startswith("|") else text)


def around(key: str, shown: str) -> str:
    """A text as it stands, between the marks of a fact."""
    return f"<!--fact {key} {digest(shown)}-->{shown}<!--/fact-->"


def flag(why: str) -> str:
    """What stands behind a stale fact, for the reader too."""
    return f"<!--stale: {why}--> ⚠ stale<!--/stale-->"


def renew(text: str, facts: Mapping[str, str]) -> tuple[str, list[Change]]:
    """The text with every fact as it is now, and what changed; all else is kept as it is.

    A fact that is unknown, or whose text its author changed, stays and is flagged.
    """
    changes = []

    def renewed(match: re.Match) -> str:
        key, known, old = match.groups()
        fact = facts.get(key)
        same = fact is not None and plain(old) == plain(fact)
        edited = known and digest(old) != known and not same
        why = GONE if fact is None else EDITED if edited else ""
        if why or not same:
            changes.append(Change(key, plain(old), plain(fact or ""), why))
        if why:
            return match[0] + flag(why)
        return around(key, old) if same else mark(key, fact)

    out = MARK.sub(renewed, FLAG.sub("", text))
    lost = out.count("<!--fact") - len(MARK.findall(out))
    return out, [*dict.fromkeys(changes), *[Change("a mark", "?", stale=BROKEN)] * lost]


def at_start(text: str) -> list[int]:
    """The numbers of the lines that begin with a mark, which Markdown takes for lines of HTML."""
    return [n for n, line in enumerate(text.split("\n"), 1) if AT_START.match(line)]
