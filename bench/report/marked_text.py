"""Mark quoted facts in a Markdown file, so that they can be found and renewed.

    It gains <!--fact micro:ppo.gold_delta 9f8e7d6c-->+0.98 (+0.86 to +1.09)<!--/fact--> over SFT.

A mark holds the key of a fact (`bench.report.facts`), after the name of its report if the file
quotes several, and a hash of the generated text, which shows whether an author edited it. Readers
see none of it.
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
FIGURE = re.compile(r"\]\((figures/[\w.-]+)\)")
FENCE = re.compile(r"(^ {0,3}```.*?^ {0,3}```[^\n]*$)", re.M | re.S)
AT_START = re.compile(r"^ {0,3}(?:[-*+] +|> ?)*<!--fact\b.*-->.*\S")
# Characters that are markup to CommonMark, pandoc or a site's templates, or make an address a link
RISKY = re.compile(r"[\\`*_\[\]{}<>&|~#@$^]|:(?=//)|(?<=www)\.")
GONE, EDITED, BROKEN = (
    "no such fact any more",
    "edited by hand (restore it, or remove its marks to keep yours)",
    "a mark that is not whole",
)


@dataclass(frozen=True)
class Change:
    """A fact that a renewal changed: its old text, its new one, and why it is stale, if it is."""

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
    """Return any text on one line, as Markdown that shows it and does nothing else."""
    return RISKY.sub(lambda c: f"&#{ord(c[0])};", plain(visible(str(text), len(str(text)))))


def code(text: str) -> str:
    """Return text as code, or inert if a span of code could not hold it."""
    return inert(text) if re.search(r"[`<|\n]", text) else f"`{text}`"


def digest(text: str) -> str:
    """Return 8 hex digits of a text's hash, which does not depend on its line breaks."""
    return hashlib.sha256(plain(text).encode()).hexdigest()[:8]


def plain(text: str) -> str:
    """Return the text on one line."""
    return " ".join(text.split())


def mark(key: str, text: str) -> str:
    """Put a fact between its marks; a table gets lines of its own."""
    return around(key, f"\n\n{text.strip()}\n\n" if text.lstrip().startswith("|") else text)


def around(key: str, shown: str) -> str:
    """Put a text, unchanged, between the marks of a fact."""
    return f"<!--fact {key} {digest(shown)}-->{shown}<!--/fact-->"


def flag(why: str) -> str:
    """Return the flag that follows a stale fact, which readers see too."""
    return f"<!--stale: {why}--> ⚠ stale<!--/stale-->"


def renew(text: str, facts: Mapping[str, str]) -> tuple[str, list[Change]]:
    """Renew every fact in a text; return the new text and what changed. All else is kept.

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

    parts = FENCE.split(text)  # code that shows marks is every second part
    parts[::2] = [MARK.sub(renewed, FLAG.sub("", part)) for part in parts[::2]]
    broken = [Change(f"line {n}", "?", stale=BROKEN) for n in unmatched("".join(parts))]
    return "".join(parts), [*dict.fromkeys(changes), *broken]


def unmatched(text: str) -> list[int]:
    """Return the numbers of the lines where a mark begins that is not whole."""
    whole = {match.start() for match in MARK.finditer(text)}
    code = [range(*match.span()) for match in FENCE.finditer(text)]
    begun = [match.start() for match in re.finditer("<!--fact", text)]
    lost = [at for at in begun if at not in whole and not any(at in span for span in code)]
    return [text.count("\n", 0, at) + 1 for at in lost]


def at_start(text: str) -> list[int]:
    """Return the numbers of the lines that begin with a mark, which Markdown takes for HTML."""
    return [n for n, line in enumerate(text.split("\n"), 1) if AT_START.match(line)]


def figures(text: str) -> list[str]:
    """Return the paths of the figures that a post shows, as they stand in it."""
    return list(dict.fromkeys(FIGURE.findall(text)))
