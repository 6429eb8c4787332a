"""Draft a post about a study: the page's sentences in another order, with references.

What comes from the results is quoted from facts.json, between marks (`bench.report.marked_text`).
The text outside them does not depend on how the runs ended.
"""

import re
from pathlib import Path

from bench.report import render
from bench.report.marked_text import code, digest, inert, mark
from bench.report.words import joined, label

UNSEALED = "00000000"
SEAL = re.compile(r"<!--draft ([0-9a-f]{8})")
CITED = re.compile(r"\[@([\w-]+)\]")


def draft(folder: Path, shown: dict, facts: dict[str, str], figures: dict[str, dict]) -> str:
    """Return a post, with a hash of itself that shows later whether it was edited.

    folder: of its template, post.md; shown: what that shows besides facts and figures; facts,
    figures: the content of the report's facts.json and figures.json.
    """
    quotes = {
        "f": lambda *parts: quoted(facts, ".".join(parts)),
        "figure": lambda name: picture(facts, figures, name),
    }
    text = environment(folder).get_template("post.md").render(quotes | shown)
    text = tidy(text + "\n" + reference_list(text))
    return text.replace(UNSEALED, digest(text), 1)


def quoted(facts: dict[str, str], key: str) -> str:
    """Return a fact between its marks."""
    return mark(key, facts[key])


def picture(facts: dict[str, str], figures: dict[str, dict], name: str) -> str:
    """Return a figure with its caption; empty if the report has none of this name."""
    if name not in figures:
        return ""
    title = inert(figures[name]["title"])
    caption = quoted(facts, f"caption.{name}")
    return f"![{title}](figures/{name}.png)\n\n*{title}.* {caption}"


def edited(text: str) -> bool:
    """Return True if a draft is no longer what was written."""
    seal = SEAL.search(text)
    return not seal or digest(text.replace(seal[1], UNSEALED, 1)) != seal[1]


def environment(folder: Path):
    """Return the pages' Jinja for Markdown, with the filters of a post."""
    jinja = render.environment(False, folder)
    jinja.filters |= {"label": label, "code": code, "inert": inert}
    return jinja


def tidy(text: str) -> str:
    """Drop trailing blanks, and all but one of several empty lines in a row."""
    return re.sub(r"\n{3,}", "\n\n", render.clean(text)).lstrip("\n")


def entries() -> dict[str, str]:
    """Return {key: BibTeX entry} of all that can be cited."""
    text = (render.TEMPLATES / "references.bib").read_text(encoding="utf-8")
    return {re.match(r"@\w+\{(\w+),", e)[1]: e for e in text.strip().split("\n\n")}


def bibliography(text: str, commit: str) -> str:
    """Return the BibTeX of what a text cites."""
    cited = {key: entry for key, entry in entries().items() if key in CITED.findall(text)}
    return "\n\n".join(cited.values()).replace("COMMIT", commit) + "\n"


def reference_list(text: str) -> str:
    """List what a text cites, for readers, and the address of each, for renderers without
    citations."""
    known = entries()
    cited = sorted(set(CITED.findall(text)))
    lines = [f"- {described(known[key])} [@{key}]" for key in cited]
    links = [f"[@{key}]: {field(known[key], 'url') or 'references.bib'}" for key in cited]
    return "\n".join([*lines, "", *links])


def described(entry: str) -> str:
    """Format an entry: 'Gao, Schulman and Hilton (2022), *Scaling Laws ...*.'"""
    people = [name.split(",")[0].strip("{}") for name in field(entry, "author").split(" and ")]
    who = f"{people[0]} et al." if len(people) > 3 else joined(people)
    year, title = field(entry, "year"), re.sub(r"[{}]", "", field(entry, "title"))
    return f"{who}{f' ({year})' if year else ''}: *{title}*."


def field(entry: str, name: str) -> str:
    """Return a field of a BibTeX entry; empty if it has none."""
    found = re.search(rf"^ +{name} = \{{(.*)\}},?$", entry, re.M)
    return found[1] if found else ""
