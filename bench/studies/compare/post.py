"""Draft a post about a comparison: the page's sentences in another order, with references.

What comes from the results is quoted from facts.json, between marks (`bench.report.marked_text`).
The text outside them does not depend on how the runs ended.
"""

import re
from pathlib import Path

from bench.methods import METHODS
from bench.report import render
from bench.report.marked_text import code, digest, inert, mark
from bench.report.words import joined, label, named
from bench.worlds import words as words_of

UNSEALED = "00000000"
SEAL = re.compile(r"<!--draft ([0-9a-f]{8})")
CITED = re.compile(r"\[@([\w-]+)\]")
TEMPLATES = Path(__file__).parent / "templates"


def draft(study, facts: dict[str, str], figures: dict[str, dict], report: Path) -> str:
    """Return the post, with a hash of itself that shows later whether it was edited.

    facts, figures: the content of the report's facts.json and figures.json; report: its folder.
    """
    shown = {
        "study": study,
        "report": report.as_posix(),
        "f": lambda *parts: quoted(facts, ".".join(parts)),
        "figure": lambda name: picture(facts, figures, name),
        "names": named(study.listed) + " and variants" * study.many,
        "direct": direct(study),
        "gold": words_of(study.meta.world).GOLD_CITED,
        "families": [k.removesuffix(".prompt") for k in facts if k.endswith(".prompt")],
        "limitations": [key for key in facts if key.startswith("limitation.")],
    }
    text = environment().get_template("post.md").render(shown)
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


def direct(study) -> str:
    """Say ', DPO [@rafailov2023] among them,' of the methods that need no reward model."""
    used = [m for m in study.meta.methods if m in set(study.method.values()) and m in METHODS]
    papers = {
        m: getattr(METHODS[m], "PAPER", None) for m in used if "reward" not in METHODS[m].NEEDS
    }
    cited = [f"{label(m)} [@{paper}]" for m, paper in papers.items() if paper]
    return f", {joined(cited)} among them," if cited else ""


def edited(text: str) -> bool:
    """Return True if a draft is no longer what was written."""
    seal = SEAL.search(text)
    return not seal or digest(text.replace(seal[1], UNSEALED, 1)) != seal[1]


def environment():
    """Return the pages' Jinja for Markdown, with the filters of a post."""
    jinja = render.environment(False, TEMPLATES)
    jinja.filters |= {"label": label, "code": code, "inert": inert}
    return jinja


def tidy(text: str) -> str:
    """Drop trailing blanks, and all but one of several empty lines in a row."""
    return re.sub(r"\n{3,}", "\n\n", render.clean(text)).lstrip("\n")


def entries() -> dict[str, str]:
    """Return {key: BibTeX entry} of all that can be cited."""
    text = (TEMPLATES / "references.bib").read_text(encoding="utf-8")
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
