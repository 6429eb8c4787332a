"""Draft a post about the claims: every sentence with its verdict, its numbers and its picture."""

from pathlib import Path

from bench.report import post
from bench.studies.claims import analysis
from bench.studies.claims.tested import every

TEMPLATES = Path(__file__).parent / "templates"


def draft(study, facts: dict[str, str], figures: dict[str, dict], report: Path) -> str:
    """Return the post (``bench.report.post.draft``); report: the folder of its report."""
    tested = analysis.by_claim(study.results)
    shown = {
        "study": study,
        "report": report.as_posix(),
        "tested": [(key.lower(), f"{key}. {every()[key].sentence}") for key in tested],
        "mapped": "lines.map" in facts,
        "limitations": [key for key in facts if key.startswith("limitation.")],
    }
    return post.draft(TEMPLATES, shown, facts, figures)
