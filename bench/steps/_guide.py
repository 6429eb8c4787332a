"""Answer `python -m bench list` and `help` from docstrings and declarations in the code itself.

    python -m bench
    python -m bench list measures
    python -m bench list settings --markdown
    python -m bench help pairs.n --testbed reviews

Imports nothing heavy, except pandas where one asks about measures, and what a step that one asks
about imports itself.
"""

import argparse
import ast
import contextlib
import inspect
import io
import math
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import bench
from bench import steps, studies
from bench.core import registry
from bench.core.names import DEFAULT_STUDY, DEFAULT_TESTBED, nearest
from bench.core.schema import UserError
from bench.settings import layers, renamed
from bench.settings.described import all_settings, written
from bench.steps import _settings_list, runner
from bench.steps._plain_text import ROOT, WIDTH, columns, first_line, heading, prose, shown
from bench.steps._settings_guide import about_setting
from bench.steps.fingerprint import path_of
from bench.studies.claims import tested

SETTINGS = "settings"

OVERVIEW = """\
{what}

  python -m bench list [KIND]         list {kinds}
  python -m bench help WORD           explain one of these, or a setting or section of settings
  python -m bench STEP --help         show a step's options
  python -m bench STEP ...            run one step
  snakemake --cores all               run the default study, with all steps that it needs

Answers name the files of the code. For example
  python -m bench help kl             how the report's KL is computed, and where
  python -m bench help better         when one of two arms is called better
  python -m bench help dpo            DPO: its loss, its settings
  python -m bench help ppo.clip       what PPO clips, and where
  python -m bench help pairs.n        what the setting does, its default, its value in a testbed
"""


def main(name: str, words: list[str]) -> None:
    """Answer `list` or `help`. Raises UserError if a word is unknown."""
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}")
    parser.add_argument("word", nargs="?", help="what to list or explain; all if left out")
    parser.add_argument("--testbed", default=DEFAULT_TESTBED, help="show its values (%(default)s)")
    if name == "list":
        parser.add_argument("--markdown", action="store_true", help="of settings: docs/settings.md")
    args = parser.parse_args(words)
    try:
        cfg = studies.load(args.testbed)
        print("\n".join(answer(name, cfg, args)), flush=True)
    except BrokenPipeError:  # `| head` closes the pipe once it has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def answer(name: str, cfg, args: argparse.Namespace) -> list[str]:
    """The lines that `list` or `help` prints; settings are listed alone, for they are many."""
    if name == "help":
        return helped(cfg, args.word)
    if args.word == SETTINGS:
        return _settings_list.markdown(cfg) if args.markdown else _settings_list.plain(cfg)
    if args.markdown:
        raise UserError(f"--markdown goes with `list {SETTINGS}` alone")
    return listed(cfg, args.word)


# --- list -----------------------------------------------------------------------------------------


def listed(cfg, kind: str | None) -> list[str]:
    """List everything of a kind, or of all kinds, one line each."""
    if kind is not None and kind not in LISTS:
        raise UserError(f"there is no list of '{kind}'" + nearest(kind, [*LISTS, SETTINGS]))
    lines = []
    for name in [kind] if kind else LISTS:
        lines += [*heading(name.capitalize()), *columns(LISTS[name](cfg)), ""]
    return lines[:-1]


def testbeds(cfg) -> list[tuple[str, ...]]:
    """List testbeds, each with the first line of its file."""
    return [(name, layers.about(name)) for name in layers.testbeds()]


def methods(cfg) -> list[tuple[str, ...]]:
    """List methods, each with the first line of its module."""
    return [(name, first_line(module.__doc__)) for name, module in cfg.known_methods.items()]


def list_of_studies(cfg) -> list[tuple[str, ...]]:
    """List the studies that the testbed declares, with their arms, then those in bench/studies."""
    declared = [(name, "arms " + ", ".join(arms)) for name, arms in cfg.studies.items()]
    return [*declared, *((name, first_line(plan.__doc__)) for name, plan in studies.PLANS.items())]


def measures(cfg) -> list[tuple[str, ...]]:
    """List measures with label, unit and direction, then the verdicts of a comparison."""
    found = [(m.key, m.label, m.unit, m.better) for m in known_measures()]
    return [*found, *((word, "Verdict on two arms", "", "") for word in known_verdicts())]


def known_measures() -> list:
    """Return the measures of every study, then those that single studies add."""
    from bench.analysis.measures import MEASURES

    return [*MEASURES, *studies.kind_of(DEFAULT_STUDY).measures()]


def known_verdicts() -> dict[str, str]:
    """Return the names of verdicts with the rules that decide them."""
    from bench.report.words import VERDICTS

    return dict(VERDICTS.values())


def claims(cfg) -> list[tuple[str, ...]]:
    """List the claims that are tested, each in its sentence."""
    return [(key, claim.sentence) for key, claim in tested.every().items()]


def list_of_steps(cfg) -> list[tuple[str, ...]]:
    """List steps, each with the first line of its module."""
    return [(name, first_line(docstring(name))) for name in step_names()]


def step_names() -> list[str]:
    """List the names of all steps."""
    return [name for name in registry.members(steps.__name__) if name not in steps.SHARED]


def docstring(step: str) -> str:
    """Return the docstring of a step's module."""
    return ast.get_docstring(registry.source(steps.__name__, step)[1], clean=False) or ""


LISTS: dict[str, Callable[[Any], list[tuple[str, ...]]]] = {
    "testbeds": testbeds,
    "methods": methods,
    "studies": list_of_studies,
    "claims": claims,
    "measures": measures,
    "steps": list_of_steps,
}


# --- help -----------------------------------------------------------------------------------------


def helped(cfg, word: str | None) -> list[str]:
    """Explain everything that a word names, one thing after another; None: give the overview."""
    if word is None:
        return overview(cfg)
    answers = answers_about_runs(cfg)
    found = [tell for name, tell in answers if name == word]
    answers += [] if found else answers_about_results(cfg)  # which import pandas
    found = found or [tell for name, tell in answers if name == word]
    found = found or [tell for name, tell in answers if name.lower() == word.lower()]
    found = found or [tell for name, tell in answers if name.rpartition(".")[2] == word.lower()]
    found = found or [partial(about_word, word, text) for text in meanings(word)]
    if not found and (new := renamed.of(word)):
        raise UserError(f"'{word}' is called '{new}' now: ask for that")
    if not found:
        hint = nearest(word, [name for name, _ in answers])
        hint = hint if hint.startswith("; did") else "; run `python -m bench list` to see all names"
        hint = other_world(word) or hint
        raise UserError(f"nothing here is called '{word}'{hint}")
    return "\n\n".join("\n".join(tell()) for tell in found).splitlines()


def meanings(word: str) -> list[str]:
    """Return what the glossary says of a word, in the repository where the package lies in one."""
    path = ROOT.parent / "docs/glossary.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    known = re.findall(r"\*\*([^*]+)\*\*: (.+?)(?=\s\*\*[^*]+\*\*:|\n- |\n\n|\Z)", text, re.DOTALL)
    return [
        " ".join(said.split()) for names, said in known if word.lower() in names.lower().split(", ")
    ]


def about_word(word: str, text: str) -> list[str]:
    """Explain a word of the glossary, without its links."""
    plain = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text).replace("**", "")
    return [*heading(word), *textwrap.wrap(plain, WIDTH)]


def other_world(word: str) -> str:
    """Return a hint if a word is a setting of the data of other testbeds; else ''."""
    for name in ("smol-hub", *layers.testbeds()):
        if word in (setting.key for setting in all_settings(studies.load(name))):
            return f"; other testbeds have this setting: add --testbed {name}"
    return ""


def overview(cfg) -> list[str]:
    """Describe the package, its commands, and all names that they accept."""
    text = OVERVIEW.format(what=first_line(bench.__doc__), kinds=", ".join([*LISTS, SETTINGS]))
    names = [(kind, ", ".join(row[0] for row in rows(cfg))) for kind, rows in LISTS.items()]
    sections = [s.key for s in all_settings(cfg) if s.section and "." not in s.key]
    return [*text.splitlines(), "", *columns([*names, (SETTINGS, ", ".join(sections))], 0)]


def answers_about_runs(cfg) -> list[tuple[str, Callable[[], list[str]]]]:
    """Pair the words of what makes a run with what explains them."""
    kinds = (
        (about_method, cfg.known_methods),
        (about_testbed, layers.testbeds()),
        (about_study, cfg.known_studies),
        (about_arm, [name for name in cfg.known_arms if name not in cfg.known_methods]),
        (about_step, step_names()),
        (about_claim, tested.every()),
        (about_setting, all_settings(cfg)),
    )
    return explained(cfg, kinds)


def answers_about_results(cfg) -> list[tuple[str, Callable[[], list[str]]]]:
    """Pair measures and verdicts with what explains them; no run has a word in common with them."""
    return explained(cfg, ((about_measure, known_measures()), (about_verdict, known_verdicts())))


def explained(cfg, kinds) -> list[tuple[str, Callable[[], list[str]]]]:
    """Pair the names of things with the function that explains their kind."""
    return [
        (getattr(thing, "key", thing), partial(about, cfg, thing))
        for about, things in kinds
        for thing in things
    ]


def about_method(cfg, name: str) -> list[str]:
    """Explain a method: what it minimises, what it needs, its files."""
    module = cfg.known_methods[name]
    rows = [
        ("trains", first_line(module.train.__doc__)),
        ("needs", ", ".join(module.NEEDS) or "nothing but pairs"),
        ("file", shown(module.__file__)),
        ("through", ", ".join(called_by(module.train))),
    ]
    return [*heading(f"Method {name}"), *prose(module.__doc__), "", *columns(rows)]


def called_by(function: Callable) -> Iterator[str]:
    """List a function's imports from the package: 'bench/training/pair_engine.py (train_orpo)'."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.ImportFrom) and (path := path_of(node.module or "")):
            yield f"{shown(path)} ({', '.join(alias.name for alias in node.names)})"


def about_testbed(cfg, name: str) -> list[str]:
    """Explain a testbed, and name its files."""
    files = [layers.file_of(name), layers.tuned_file(name)]
    rows = [("file", ", ".join(shown(path) for path in files if path.exists()))]
    rows += [("settings", f"python -m bench help SECTION --testbed {name}")]
    return [*heading(f"Testbed {name}"), *layers.comment(files[0]), "", *columns(rows)]


def about_study(cfg, name: str) -> list[str]:
    """Explain a study: its arms and runs on the testbed, its files."""
    plan, folder = studies.PLANS.get(name), ROOT / "studies"
    about = plan.__doc__ if plan else "Compares the arms that the settings list under `studies`."
    page = folder / name / "page.py"
    page = page if page.exists() else folder / DEFAULT_STUDY / "page.py"
    arms, tried = cfg.known_studies[name], len(cfg.with_study(name).tried)
    rows = [
        ("runs", f"{len(cfg.runs_of(name))} on {cfg.testbed}, of {len(arms)} arms"),
        *([("tried", f"{tried} runs of candidates")] if tried else []),
        ("arms", ", ".join(arms)),
        ("file", shown(plan.__file__ if plan else layers.declaring(cfg.source, name))),
        ("page", shown(page)),
    ]
    return [*heading(f"Study {name}"), *prose(about), "", *columns(rows)]


def about_arm(cfg, name: str) -> list[str]:
    """Explain an arm: its method, and the settings that differ from the method's tuned ones."""
    spec = dict(cfg.known_arms[name])
    rows = [("method", spec.pop("method", name)), ("differs", written(spec))]
    studies_of = [study for study, arms in cfg.known_studies.items() if name in arms]
    return [*heading(f"Arm {name}"), *columns([*rows, ("studies", ", ".join(studies_of))])]


def about_claim(cfg, key: str) -> list[str]:
    """Explain a claim: its sentence and experiment, and how to test it."""
    claim = tested.every()[key]
    rows = [("experiment", claim.experiment)]
    for part in claim.parts:
        margin = math.exp(part.margin) if part.logarithm else part.margin
        rule = f"Rule: {part.rule}, margin {margin:.3g} {part.unit}."
        rows.append(("statement", f"{part.sentence} {rule}"))
    rows += [("file", shown(inspect.getfile(claim.arms)))]
    rows += [("test it", f"snakemake --cores all claims --config 'claims=[{key}]'")]
    return [*heading(f"Claim {key}"), claim.sentence, "", *columns(rows)]


def about_step(cfg, name: str) -> list[str]:
    """Explain a step: what it does, its file, its options."""
    path, _ = registry.source(steps.__name__, name)
    rows = columns([("file", shown(path))])
    return [*heading(f"Step {name}"), *prose(docstring(name)), "", *rows, "", *options_of(name)]


def options_of(name: str) -> list[str]:
    """Return a step's options, as `--help` prints them."""
    step = registry.member(steps.__name__, name)
    if not hasattr(step, "main"):
        return runner.arguments(name, getattr(step, "options", None)).format_help().splitlines()
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        step.main(["--help"])
    return text.getvalue().splitlines()


def about_measure(cfg, measure) -> list[str]:
    """Explain how a measure is computed, and where."""
    rows = [
        ("formula", measure.formula),
        ("unit", measure.unit),
        ("direction", measure.better),
        ("source", measure.source),
        ("file", ", ".join(map(found_at, measure.where))),
    ]
    head = heading(f"Measure {measure.key}: {measure.label}")
    return [*head, *columns([row for row in rows if row[1]])]


def about_verdict(cfg, word: str) -> list[str]:
    """Explain when a comparison gets a verdict, and which code decides."""
    place = found_at("analysis/comparisons.py:Comparison.verdict")
    place += ", " + found_at("report/words.py:VERDICTS")
    return [
        *heading(f"Verdict {word}"),
        *columns([("rule", known_verdicts()[word]), ("file", place)]),
    ]


def found_at(place: str) -> str:
    """Name a function by its file: 'bench/evaluation/samples.py (kl_and_entropy)'."""
    path, _, name = place.partition(":")
    return f"bench/{path} ({name})"
