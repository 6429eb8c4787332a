"""The README says what the published report says, as both are committed."""

import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


def committed(path: str) -> str:
    """A file as it is committed: a run on this machine publishes over reports/."""
    if not (REPO / ".git").exists():
        pytest.skip("not a git checkout")
    show = ["git", "show", f"HEAD:{path}"]
    return subprocess.run(show, cwd=REPO, capture_output=True, text=True, check=True).stdout


def table_after(text: str, mark: str) -> list[str]:
    """The rows of the first Markdown table below a line that begins with `mark`."""
    lines = text.partition(f"\n{mark}")[2].split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    return lines[start:end]


def test_the_scorecard_is_the_report_s():
    shown = table_after(committed("README.md"), "<!-- scorecard")
    assert len(shown) == 7
    assert shown == table_after(committed("reports/micro/README.md"), "## Scorecard")


def test_the_figures_that_the_readme_shows_are_committed():
    shown = [part.split('"')[0] for part in committed("README.md").split('src="')[1:]]
    assert shown and all(committed(path) for path in shown)
