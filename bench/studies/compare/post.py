"""Draft a post about a comparison of methods."""

from pathlib import Path

from bench.methods import METHODS
from bench.report import post
from bench.report.words import joined, label, named
from bench.worlds import words as words_of

TEMPLATES = Path(__file__).parent / "templates"


def draft(study, facts: dict[str, str], figures: dict[str, dict], report: Path) -> str:
    """Return the post (``bench.report.post.draft``); report: the folder of its report."""
    shown = {
        "study": study,
        "report": report.as_posix(),
        "names": named(study.listed) + " and variants" * study.many,
        "direct": direct(study),
        "gold": words_of(study.meta.world).GOLD_CITED,
        "families": [k.removesuffix(".prompt") for k in facts if k.endswith(".prompt")],
        "limitations": [key for key in facts if key.startswith("limitation.")],
    }
    return post.draft(TEMPLATES, shown, facts, figures)


def direct(study) -> str:
    """Say ', DPO [@rafailov2023] among them,' of the methods that need no reward model."""
    used = [method for method in study.methods if method in METHODS]
    papers = {
        m: getattr(METHODS[m], "PAPER", None) for m in used if "reward" not in METHODS[m].NEEDS
    }
    cited = [f"{label(m)} [@{paper}]" for m, paper in papers.items() if paper]
    return f", {joined(cited)} among them," if cited else ""
