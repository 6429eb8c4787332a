"""README.md and docs/: short, every link leads somewhere, every number of a result is quoted.

`python -m bench quote --check` says whether each quoted number is that of its report.
"""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from test_own import GOLD, PAIRS_FILE, put, shown

from bench.__main__ import main
from bench.analysis.statistics import LEVEL
from bench.report.marked_text import MARK, at_start
from bench.studies import load

REPO = Path(__file__).parents[2]
README, RESULTS = REPO / "README.md", REPO / "docs/results.md"
PAGES = [README, REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]
MOST = 150  # lines of the README, so that one reads it
# What may stand outside quotes, and why
NUMBERS = {
    r"\b95 %": "the level of every interval, a constant of the code",
    r"\bPython 3\.11 to 3\.14\b": "the versions that pyproject.toml allows",
    r"\bSmolLM2-135M\b": "the name of a model",
    r"\bApache-2\.0\b": "the name of a licence",
}
FENCE = re.compile(r"^ *```.*?^ *```$", re.M | re.S)
CODE = re.compile(r"`[^`\n]*[A-Za-z][^`\n]*`")  # a lone number in backticks is a number
COMMENT = re.compile(r"<!--.*?-->", re.S)
TARGET = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    return {slug(title) for title in re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.M)}


def unquoted(text: str) -> str:
    """A page without code, facts, comments, addresses of links; descriptions of figures stay."""
    for pattern in (FENCE, MARK, COMMENT, CODE, TARGET):
        text = pattern.sub(" ", text)
    return text


def lines_with_digits(text: str) -> list[str]:
    for pattern in NUMBERS:
        text = re.sub(pattern, "", text)
    return [line for line in text.splitlines() if re.search(r"\d", line)]


def test_the_readme_is_short():
    assert len(read(README).splitlines()) <= MOST


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    found = [a or b for a, b in TARGET.findall(FENCE.sub("", read(page)))]
    lost = [link for link in found if not leads_somewhere(page, link)]
    assert lost == []


def leads_somewhere(page: Path, link: str) -> bool:
    """True for a file or folder of the repository, with the heading that the link names, if any."""
    name, _, anchor = link.partition("#")
    path = (page.parent / name).resolve() if name else page
    inside = path.is_relative_to(REPO) and path.exists()
    return inside and (not anchor or anchor in anchors(read(path)))


def test_every_page_is_in_the_index():
    index = REPO / "docs/README.md"
    pages = {page.name for page in PAGES if page.parent == index.parent} - {index.name}
    assert [name for name in sorted(pages) if f"({name})" not in read(index)] == []


@pytest.mark.parametrize("page", [README, RESULTS], ids=lambda page: page.name)
def test_every_number_of_a_result_is_quoted(page):
    assert lines_with_digits(unquoted(read(page))) == []


@pytest.mark.parametrize(
    "line", ["PPO gains 0.98.", "| PPO | `0.98` |", "Three, or 3, of them", '<img alt="PPO 2">']
)
def test_a_number_by_hand_is_found(line):
    assert lines_with_digits(unquoted(f"# Title\n\n{line}\n")) == [unquoted(line)]


def test_what_may_stand_outside_quotes_is_true():
    project = tomllib.loads(read(REPO / "pyproject.toml"))["project"]
    assert project["requires-python"] == ">=3.11,<3.15" and project["license"] == "Apache-2.0"
    assert LEVEL == 0.95
    text = unquoted(read(README) + read(RESULTS))
    assert [pattern for pattern in NUMBERS if not re.search(pattern, text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_facts_are_marked_as_they_can_be_renewed(page):
    text = read(page)
    facts = MARK.findall(text)
    assert text.count("<!--fact ") == text.count("<!--/fact-->") == len(facts)
    for key, _, said in facts:
        folder, colon, name = key.partition(":")
        assert colon and name and (REPO / "reports" / folder / "README.md").exists(), key
        assert said.strip(), key
    assert at_start(text) == []


def test_no_quote_is_stale(capsys, monkeypatch):
    monkeypatch.chdir(REPO)
    main(["quote", "--check", *map(str, PAGES)])
    assert "0 changed, 0 stale" in capsys.readouterr().err


def test_the_committed_post_is_not_stale(monkeypatch):
    monkeypatch.chdir(REPO)
    main(["quote", "--check", "--report", "reports/micro", "reports/micro/blog/post.md"])


def test_a_stale_quote_is_found(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(REPO)
    page = tmp_path / "page.md"
    page.write_text("It gains <!--fact micro:ppo.gold_delta-->+9.98<!--/fact-->.\n")
    with pytest.raises(SystemExit):
        main(["quote", "--check", str(page)])
    assert "micro:ppo.gold_delta: +9.98 -> +" in capsys.readouterr().err


def test_the_readme_s_own_testbed_loads(tmp_path, monkeypatch):
    text = FENCE.search(read(README).partition("## Bring your own data")[2])[0]
    put(tmp_path / "my/lab.yaml", text.partition("\n")[2].rpartition("\n")[0])
    for name in (PAIRS_FILE, GOLD):
        put(tmp_path / name, shown(name))
    monkeypatch.chdir(tmp_path)
    cfg = load("my/lab.yaml")
    assert cfg.data.pairs.id == PAIRS_FILE and cfg.data.gold.file == GOLD
    assert cfg.model.hub.id == "my/model" and cfg.eval.tasks == ()


def test_the_commands_of_the_pages_are_those_that_ci_runs():
    ci, pages = read(REPO / ".ci/run"), read(README) + read(REPO / "CONTRIBUTING.md")
    names = set(re.findall(r"\$\(readme (\w+)\)", ci))
    assert names == {"torch", "main", "tests", "browser"}
    for name in names:
        assert re.search(rf"^<!-- ci: {name} -->\n```bash\n\S.+\n```$", pages, re.M), name
    pins = tomllib.loads(read(REPO / "pyproject.toml"))["project"]["dependencies"]
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    assert re.findall(r"pip install (torch==\S+)", read(README)) == [torch, torch]


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load(read(REPO / "CITATION.cff"))
    project = tomllib.loads(read(REPO / "pyproject.toml"))["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])


def test_the_arms_that_the_docs_declare_load(tmp_path):
    block = re.search(r"```yaml\n(arms:.*?)```", read(REPO / "docs/studies.md"), re.S)[1]
    spec = {"extends": "tiny", **yaml.safe_load(block)}
    cfg = load(str(put(tmp_path / "lab.yaml", yaml.safe_dump(spec))), ["study=mine"])
    assert cfg.study_arms == ("dpo", "dpo-beta0.3", "dpo-base2", "ppo-reward5", "dpo-biased")
    assert cfg.tries("dpo-biased") == {c: f"dpo-biased-try-{c}" for c in ("own", "slow")}
    assert all(cfg.arm(name) for name in cfg.study_arms)
