"""Marks around generated text in a Markdown post, by which it is found again and renewed.

    <!--fact ppo.gold_delta 1a2b3c4d 9f8e7d6c-->+0.98 (+0.86 to +1.09)<!--/fact-->

A mark carries the fact's key, a hash of the runs behind it and a hash of the text as it was
generated, so that an author's own words are told from ours. Readers see none of it.
"""

import hashlib
import re
from dataclasses import dataclass

from bench.report.samples import visible

MARK = re.compile(
    r"<!--fact\s+(\S+)\s+([0-9a-f]{8})\s+([0-9a-f]{8})\s*-->((?:(?!<!--/?fact\b).)*?)<!--/fact-->",
    re.S,
)
FLAG = re.compile(r"<!--stale:(?:(?!-->).)*-->(?:(?!<!--).)*<!--/stale-->", re.S)
AT_START = re.compile(r"^ {0,3}(?:[-*+] +|> ?)*<!--fact\b")
# All that is markup to CommonMark, pandoc or a site's templates, or makes a link of a bare address
RISKY = re.compile(r"[\\`*_\[\]{}<>&|~#@$^]|:(?=//)|(?<=www)\.")
LONGEST = 4000  # characters of a text
GONE, EDITED, BROKEN = "no such fact any more", "edited by hand", "a mark without an end"


@dataclass(frozen=True)
class Fact:
    """A generated text: inert Markdown on one line; stamp: a hash of the runs it comes from."""

    key: str
    text: str
    stamp: str


@dataclass(frozen=True)
class Change:
    """What a refresh found at a fact: the old text, the new one, and why it is stale, if it is."""

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


def mark(fact: Fact, text: str | None = None) -> str:
    """The fact between its marks; text: the same words as they stand in a post, lines broken."""
    text = fact.text if text is None else text
    return f"<!--fact {fact.key} {fact.stamp} {digest(text)}-->{text}<!--/fact-->"


def flag(why: str) -> str:
    """What stands behind a stale fact, for the reader too."""
    return f"<!--stale: {why}--> ⚠ stale<!--/stale-->"


def renew(post: str, facts: dict[str, Fact]) -> tuple[str, list[Change]]:
    """The post with every fact as it is now, and what changed; all other text is kept as it is.

    A fact without a key here, or whose text its author changed, stays and is flagged.
    """
    changes = []

    def renewed(match: re.Match) -> str:
        key, _, known, old = match.groups()
        fact = facts.get(key)
        same = fact is not None and plain(old) == plain(fact.text)
        why = GONE if fact is None else EDITED if digest(old) != known and not same else ""
        if why or not same:
            changes.append(Change(key, plain(old), fact.text if fact else "", why))
        return match[0] + flag(why) if why else mark(fact, old if same else None)

    text = MARK.sub(renewed, FLAG.sub("", post))
    lost = text.count("<!--fact") - len(MARK.findall(text))
    return text, [*dict.fromkeys(changes), *[Change("a mark", "?", stale=BROKEN)] * lost]


def at_start(post: str) -> list[int]:
    """The numbers of the lines that begin with a mark, which Markdown takes for lines of HTML."""
    return [n for n, line in enumerate(post.split("\n"), 1) if AT_START.match(line)]
