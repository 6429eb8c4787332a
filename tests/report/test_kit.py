"""The kit knows no method, testbed or study; verdicts are objects, and words say them once."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.core import names
from bench.methods import METHODS
from bench.report.terms import TERMS
from bench.settings import layers
from bench.studies import PLANS

BENCH = Path(__file__).parents[2] / "bench"
FILES = sorted(BENCH.rglob("*.py"))
KIT = sorted((BENCH / "report").glob("*.py"))
WORDS = BENCH / "report" / "words.py"
OF_NAMES = {value for value in vars(names).values() if isinstance(value, str)}
COMMON = {"bases", "sizes", "checkpoint"}  # names of studies and of a method, but common words too
KNOWN = {*METHODS, *layers.testbeds(), *PLANS} - OF_NAMES - COMMON
VERDICT = re.compile(r"\b(better than|inconclusive|equivalent)\b", re.IGNORECASE)
SAID = re.compile(r"(\b|_)verdicts?\b|\b(BETTER|EQUIVALENT|INCONCLUSIVE)\b")  # in code
READERS = {
    *("endswith", "startswith", "removesuffix", "removeprefix", "partition", "rpartition"),
    *("split", "rsplit", "match", "fullmatch", "search", "findall", "sub", "contains"),
}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def named(path: Path) -> str:
    return path.relative_to(BENCH).as_posix()


def docstrings(root: ast.AST) -> set[int]:
    """Strings that stand alone: docstrings, and the descriptions of fields."""
    alone = (node.value for node in ast.walk(root) if isinstance(node, ast.Expr))
    return {id(value) for value in alone if isinstance(value, ast.Constant)}


def texts(root: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of the string literals, names and imports of code, docstrings apart."""
    quiet = docstrings(root)
    for node in ast.walk(root):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in quiet:
            yield node.lineno, node.value
        found = [getattr(node, key, None) for key in ("id", "attr", "name", "arg", "module")]
        yield from ((node.lineno, text) for text in found if isinstance(text, str))


def naming(root: ast.AST, known=KNOWN) -> list[str]:
    """Where code names one of these as a word: 'line 3: dpo-beta0.3'."""
    word = re.compile(rf"(?<![A-Za-z])({'|'.join(map(re.escape, known))})(?![A-Za-z])", re.I)
    return [f"line {line}: {text}" for line, text in texts(root) if word.search(text)]


@pytest.mark.parametrize("path", KIT, ids=named)
def test_the_kit_names_no_method_no_testbed_and_no_study(path):
    assert naming(tree(path)) == []


@pytest.mark.parametrize(
    "code",
    [
        'x = arms["ppo"]',
        'x = "DPO better"',
        'x = arm == "orpo-from-base"',
        "from bench.studies.views import page",
        "x = study.tune",
        'x = f"{a} on zephyr-7b"',
        "def of_stability(x): ...",
    ],
)
def test_a_name_would_be_found(code):
    assert naming(ast.parse(code))


def test_an_example_in_a_docstring_is_no_name():
    assert naming(ast.parse('def f(x):\n    """\'DPO better\'."""\n    return x')) == []
    assert {"ppo", "dpo", "ipo", "orpo", "reviews", "stability"} <= KNOWN
    assert OF_NAMES.isdisjoint(KNOWN)


def verdict_words(root: ast.AST) -> list[str]:
    """String literals that hold the words of a verdict; those of an enum are its values."""
    enums = {
        id(part)
        for node in ast.walk(root)
        if isinstance(node, ast.ClassDef) and any("Enum" in ast.unparse(b) for b in node.bases)
        for part in ast.walk(node)
    }
    quiet = docstrings(root) | enums
    literals = (n for n in ast.walk(root) if isinstance(n, ast.Constant) and id(n) not in quiet)
    return [n.value for n in literals if isinstance(n.value, str) and VERDICT.search(n.value)]


def test_the_words_of_verdicts_stand_in_one_place():
    found = {named(path): words for path in FILES if (words := verdict_words(tree(path)))}
    assert set(found) == {named(WORDS)}, found


def test_a_template_says_no_verdict_of_its_own():
    templates = [path for path in BENCH.rglob("templates/*") if path.suffix in (".html", ".md")]
    assert templates
    assert [named(p) for p in templates if VERDICT.search(p.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "code", ['x = f"{a} better than {b}"', 'x = "Inconclusive"', 'x = {"equivalent within 0.1"}']
)
def test_a_verdict_in_words_would_be_found(code):
    assert verdict_words(ast.parse(code))
    assert verdict_words(ast.parse(f"class Kind(StrEnum):\n    {code.partition(' #')[0]}")) == []


def read_back(root: ast.AST) -> list[str]:
    """Code that reads a verdict out of words: takes them apart, or compares them with a literal."""
    found = []
    for node in ast.walk(root):
        code = ast.unparse(node) if isinstance(node, ast.Call | ast.Compare) else ""
        apart = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if apart and node.func.attr in READERS and (SAID.search(code) or of_words(node)):
            found.append(code)
        if isinstance(node, ast.Compare) and against_words(node, code):
            found.append(code)
    return found


def of_words(node: ast.AST) -> bool:
    """Whether a literal of an expression is one of a verdict, such as ' better'."""
    literals = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
    return any(isinstance(x, str) and re.search(r"(^|\s)better$|" + VERDICT.pattern, x, re.I)
               for x in literals)  # fmt: skip


def against_words(node: ast.Compare, code: str) -> bool:
    """Whether a comparison sets a verdict beside a string, or anything beside words for one."""
    sides = [node.left, *node.comparators]
    strings = any(
        isinstance(side, ast.JoinedStr)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in sides
    )
    names = {ast.unparse(side).rpartition(".")[2] for side in sides}
    kinds = any(ast.unparse(side).startswith("Kind.") for side in sides)
    worded = not kinds and names & {"BETTER", "EQUIVALENT", "INCONCLUSIVE"}
    return bool(worded) or (strings and (bool(SAID.search(code)) or of_words(node)))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_code_reads_a_verdict_out_of_its_words(path):
    assert read_back(tree(path)) == []


@pytest.mark.parametrize(
    "code",
    [
        'row.verdict == "inconclusive"',
        'row["verdict"] == f"{a} better"',
        'row.verdict.endswith("better")',
        'text.removesuffix(" better")',
        'row.verdict.partition(" ")',
        'row["verdict"].split()[0]',
        'table.verdict.str.contains("x")',
        'words.verdict(row).startswith("inconclusive")',
        '"better" in row.verdict',
        "text == INCONCLUSIVE",
        "text.startswith(words.EQUIVALENT)",
        're.match("equivalent within (.*)", text)',
    ],
)
def test_reading_a_word_would_be_found(code):
    assert read_back(ast.parse(code))


@pytest.mark.parametrize(
    "code", ["row.kind is Kind.BETTER", "row.kind == Kind.EQUIVALENT", "row.verdict != MOVED"]
)
def test_asking_the_object_is_allowed(code):
    assert read_back(ast.parse(code)) == []


def test_terms_of_pages_are_those_of_the_glossary():
    written = " ".join((Path(__file__).parents[2] / "docs/glossary.md").read_text().split())
    for term, meaning in TERMS.items():
        first = term[0].upper() + term[1:]
        rest = meaning[0].lower() + meaning[1:]
        assert re.search(rf"\*\*(Fairness )?{first}\*\*: {re.escape(rest)}", written, re.I), term
