"""The blog kit: a draft in Markdown with its figures and references; an author's copy kept fresh.

Every number and finding of the draft is a fact (`bench.studies.compare.facts`) between marks
(`bench.studies.compare.marked_text`). What stands outside them does not depend on how the runs
ended.
"""

import re

from bench.report import page, render
from bench.report.introduction import EXACT, GOLD, PREDICTED
from bench.report.style import label
from bench.report.verdict import joined
from bench.studies.compare import facts
from bench.studies.compare import page as compare_page
from bench.studies.compare.findings import plain
from bench.studies.compare.marked_text import code, digest, inert, mark

OTHERS = ("stability", "tune", "views")  # studies that compare no finished methods
UNSEALED = "00000000"
SEAL = re.compile(r"<!--draft ([0-9a-f]{8})")
CITED = re.compile(r"\[@([\w-]+)\]")
FIGURE = re.compile(r"\]\((figures/[\w.-]+)\)")
DIRECT = {"dpo": "DPO [@rafailov2023]", "ipo": "IPO [@azar2023]", "orpo": "ORPO [@hong2024]"}


def draft(study) -> str:
    """The post, sealed with a hash of itself, so that an edited one is not taken for a draft."""
    text = environment().get_template("post.md").render(shown(study))
    text = tidy(text + "\n" + reference_list(text))
    return text.replace(UNSEALED, digest(text), 1)


def shown(study) -> dict:
    """All that the template shows; `f` puts a fact between its marks."""
    known, used = facts.every(study), study.method.values()
    return {
        "study": study,
        "f": lambda *parts: mark(known[".".join(parts)]),
        "title": page.title(study),
        "names": joined(map(label, plain(study))) + " and variants" * study.many,
        "gold": gold(study.meta["testbed"]),
        "with_ppo": "ppo" in used,
        "direct": joined(cited for method, cited in DIRECT.items() if method in used),
        "by_trl": joined(label(method) for method in DIRECT if method in used),
        "arms": study.arms,
        "listed": plain(study),
        "plates": {plate.name: plate for plate in compare_page.plates(study)},
        "pairs": pairs(study),
        "tasks": tasks(study),
        "samples": facts.one_a_family(study),
        "limitations": [key for key in known if key.startswith("limitation.")],
    }


def gold(testbed: str) -> str:
    """What gold is, with its source."""
    words = GOLD.get(testbed, "the testbed's ground truth")
    sources = {EXACT: " [@hutto2014]", PREDICTED: ", which were collected for VADER [@hutto2014]"}
    return words + sources.get(words, "")


def pairs(study) -> list[tuple[str, str]]:
    """Key and words of each comparison between arms: ('ppo-dpo', 'PPO − DPO')."""
    declared = [pair for pairs, _ in facts.families(study)[1:] for pair in pairs]
    return [("-".join(pair), " − ".join(map(label, pair))) for pair in declared]


def tasks(study) -> list[tuple[str, str, str]]:
    """Name, metric and direction of each lm-eval task but that of preferences, which is no tax."""
    rows = study.tables["tasks"]
    found = zip(rows.task, rows.metric, rows.higher_is_better, strict=True) if len(rows) else ()
    return sorted({(t, m, "↑" if up else "↓") for t, m, up in found if "pref" not in t})


def edited(text: str) -> bool:
    """Whether a draft is no longer what was written."""
    seal = SEAL.search(text)
    return not seal or digest(text.replace(seal[1], UNSEALED, 1)) != seal[1]


def environment():
    """The pages' Jinja for Markdown, with the filters of a post."""
    jinja = render.environment(False)
    jinja.filters |= {"label": label, "code": code, "inert": inert}
    return jinja


def tidy(text: str) -> str:
    """Without trailing blanks and with no more than one empty line in a row."""
    return re.sub(r"\n{3,}", "\n\n", render.clean(text)).lstrip("\n")


def entries() -> dict[str, str]:
    """{key: entry} of all that can be cited."""
    text = (render.TEMPLATES / "references.bib").read_text(encoding="utf-8")
    return {re.match(r"@\w+\{(\w+),", e)[1]: e for e in text.strip().split("\n\n")}


def bibliography(text: str, commit: str) -> str:
    """BibTeX of what a text cites."""
    cited = {key: entry for key, entry in entries().items() if key in CITED.findall(text)}
    return "\n\n".join(cited.values()).replace("COMMIT", commit) + "\n"


def reference_list(text: str) -> str:
    """What a text cites, for readers, and for renderers without citations the address of each."""
    known = entries()
    cited = sorted(set(CITED.findall(text)))
    lines = [f"- {described(known[key])} [@{key}]" for key in cited]
    links = [f"[@{key}]: {field(known[key], 'url') or 'references.bib'}" for key in cited]
    return "\n".join([*lines, "", *links])


def described(entry: str) -> str:
    """'Gao, Schulman and Hilton (2022), *Scaling Laws ...*.'"""
    people = [name.split(",")[0].strip("{}") for name in field(entry, "author").split(" and ")]
    who = f"{people[0]} et al." if len(people) > 3 else joined(people)
    year, title = field(entry, "year"), re.sub(r"[{}]", "", field(entry, "title"))
    return f"{who}{f' ({year})' if year else ''}: *{title}*."


def field(entry: str, name: str) -> str:
    """A field of a BibTeX entry; empty if it has none."""
    found = re.search(rf"^ +{name} = \{{(.*)\}},?$", entry, re.M)
    return found[1] if found else ""


def figures(text: str) -> list[str]:
    """The figures that a post shows, by their paths beside it."""
    return list(dict.fromkeys(FIGURE.findall(text)))
