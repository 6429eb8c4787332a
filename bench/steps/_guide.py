"""What `python -m bench` answers about itself, out of what is declared where it is used.

    python -m bench
    python -m bench list measures
    python -m bench list settings --markdown
    python -m bench help pairs.n --testbed reviews

Nothing heavy is imported, but what a step that is asked about imports itself.
"""

import argparse
import ast
import contextlib
import inspect
import io
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import bench
from bench import steps, studies
from bench.analysis.catalogue import MEASURES, VERDICTS, Measure, Verdict
from bench.core import registry
from bench.core.names import nearest
from bench.core.schema import UserError
from bench.settings import layers, renamed
from bench.settings.described import Setting, all_settings, default_of, type_of, value_of, written
from bench.settings.sections import Arm
from bench.steps import _settings_list, runner
from bench.steps.fingerprint import path_of

WIDTH = 100
ROOT = Path(bench.__file__).parent
SETTINGS = "settings"
CELL = 22  # characters of a value in a table of settings

OVERVIEW = """\
{what}

  python -m bench list [KIND]         list {kinds}
  python -m bench help WORD           about one of these, or about a setting or section of settings
  python -m bench STEP --help         a step's options
  python -m bench STEP ...            run one step
  snakemake --cores all               run the default study, with all steps that it needs

Answers name the files that hold the code. For example
  python -m bench help kl             how the report's KL is computed, and where
  python -m bench help better         what decides that one method is better than another
  python -m bench help dpo            DPO: its loss, its settings
  python -m bench help ppo.clip       what PPO clips, and where
  python -m bench help pairs.n        what the setting does, its default, its value in a testbed
"""


def main(name: str, words: list[str]) -> None:
    """Answer `list` or `help`; an unknown word is one line `error: ...` and exit code 1."""
    parser = argparse.ArgumentParser(prog=f"python -m bench {name}")
    parser.add_argument("word", nargs="?", help="which one; without it, all")
    parser.add_argument("--testbed", default="micro", help="whose values are shown (%(default)s)")
    if name == "list":
        parser.add_argument("--markdown", action="store_true", help="of settings: docs/settings.md")
    args = parser.parse_args(words)
    try:
        cfg = studies.load(args.testbed)
        print("\n".join(answer(name, cfg, args)), flush=True)
    except UserError as error:
        runner.fail(str(error))
    except BrokenPipeError:  # of `| head`, which has read enough
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
    """Everything of a kind, or of all kinds, with a line each."""
    if kind is not None and kind not in LISTS:
        raise UserError(f"there is no list of '{kind}'" + nearest(kind, [*LISTS, SETTINGS]))
    lines = []
    for name in [kind] if kind else LISTS:
        lines += [*heading(name.capitalize()), *columns(LISTS[name](cfg)), ""]
    return lines[:-1]


def testbeds(cfg) -> list[tuple[str, ...]]:
    """Testbeds with the first line of their file."""
    return [(name, comment(layers.file_of(name))[0]) for name in layers.testbeds()]


def comment(path: Path) -> list[str]:
    """The lines of comment that open a testbed's file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.removeprefix("#").strip() for line in lines[:end]] or [""]


def methods(cfg) -> list[tuple[str, ...]]:
    """Methods with the first line of their module."""
    return [(name, first_line(module.__doc__)) for name, module in cfg.known_methods.items()]


def first_line(text: str | None) -> str:
    """The first line of a docstring; empty where there is none."""
    return (text or "").strip().partition("\n")[0]


def list_of_studies(cfg) -> list[tuple[str, ...]]:
    """The testbed's declared studies with their arms, then the computed ones."""
    declared = [(name, "arms " + ", ".join(arms)) for name, arms in cfg.studies.items()]
    return [*declared, *((name, first_line(plan.__doc__)) for name, plan in studies.PLANS.items())]


def measures(cfg) -> list[tuple[str, ...]]:
    """Measures with label, unit and direction, then the verdicts of a comparison."""
    found = [(m.key, m.label, m.unit, m.better) for m in MEASURES]
    return [*found, *((v.key, "Verdict on two arms", "", "") for v in VERDICTS)]


def list_of_steps(cfg) -> list[tuple[str, ...]]:
    """Steps with the first line of their module."""
    return [(name, first_line(docstring(name))) for name in step_names()]


def step_names() -> list[str]:
    """The names of all steps."""
    return [name for name in registry.members(steps.__name__) if name not in steps.SHARED]


def docstring(step: str) -> str:
    """The docstring of a step's module."""
    return ast.get_docstring(registry.source(steps.__name__, step)[1], clean=False) or ""


LISTS: dict[str, Callable[[Any], list[tuple[str, ...]]]] = {
    "testbeds": testbeds,
    "methods": methods,
    "studies": list_of_studies,
    "measures": measures,
    "steps": list_of_steps,
}


# --- help -----------------------------------------------------------------------------------------


def helped(cfg, word: str | None) -> list[str]:
    """All that is called by a word, one after another; without a word the overview."""
    if word is None:
        return overview(cfg)
    answers = answers_to(cfg)
    found = [tell for name, tell in answers if name == word]
    found = found or [tell for name, tell in answers if name.lower() == word.lower()]
    found = found or [tell for name, tell in answers if name.rpartition(".")[2] == word.lower()]
    if not found and (new := renamed.of(word)):
        raise UserError(f"'{word}' is called '{new}' now")
    if not found:
        hint = nearest(word, [name for name, _ in answers])
        hint = hint if hint.startswith("; did") else "; `python -m bench list` says what there is"
        raise UserError(f"nothing here is called '{word}'{hint}")
    return "\n\n".join("\n".join(tell()) for tell in found).splitlines()


def overview(cfg) -> list[str]:
    """What this is, the commands, and the names of all that they take."""
    text = OVERVIEW.format(what=first_line(bench.__doc__), kinds=", ".join([*LISTS, SETTINGS]))
    names = [(kind, ", ".join(row[0] for row in rows(cfg))) for kind, rows in LISTS.items()]
    sections = [s.key for s in all_settings(cfg) if s.section and "." not in s.key]
    return [*text.splitlines(), "", *columns([*names, (SETTINGS, ", ".join(sections))], 0)]


def answers_to(cfg) -> list[tuple[str, Callable[[], list[str]]]]:
    """(word, what answers it) of everything; a word may stand for several things."""
    kinds = (
        (about_method, cfg.known_methods),
        (about_testbed, layers.testbeds()),
        (about_study, cfg.known_studies),
        (about_arm, [name for name in cfg.known_arms if name not in cfg.known_methods]),
        (about_step, step_names()),
        (about_setting, all_settings(cfg)),
        (about_measure, MEASURES),
        (about_verdict, VERDICTS),
    )
    return [
        (getattr(thing, "key", thing), partial(about, cfg, thing))
        for about, things in kinds
        for thing in things
    ]


def about_method(cfg, name: str) -> list[str]:
    """What a method is, what it minimises, what it needs, and its file."""
    module = cfg.known_methods[name]
    rows = [
        ("trains", first_line(module.train.__doc__)),
        ("needs", ", ".join(module.NEEDS) or "nothing but pairs"),
        ("file", shown(module.__file__)),
        ("through", ", ".join(called_by(module.train))),
    ]
    return [*heading(f"Method {name}"), *prose(module.__doc__), "", *columns(rows)]


def called_by(function: Callable) -> Iterator[str]:
    """What a function imports from the package, as 'bench/training/pair_engine.py (train_orpo)'."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.ImportFrom) and (path := path_of(node.module or "")):
            yield f"{shown(path)} ({', '.join(alias.name for alias in node.names)})"


def about_testbed(cfg, name: str) -> list[str]:
    """What a testbed is, and its files."""
    files = [layers.file_of(name), layers.tuned_file(name)]
    rows = [("file", ", ".join(shown(path) for path in files if path.exists()))]
    rows += [("settings", f"python -m bench help SECTION --testbed {name}")]
    return [*heading(f"Testbed {name}"), *comment(files[0]), "", *columns(rows)]


def about_study(cfg, name: str) -> list[str]:
    """What a study is, its arms and runs on the testbed, and its files."""
    plan, folder = studies.PLANS.get(name), ROOT / "studies"
    about = plan.__doc__ if plan else "Arms side by side, as the settings declare them."
    page = folder / name / "page.py"
    page = page if page.exists() else folder / studies.COMPARE / "page.py"
    arms = cfg.known_studies[name]
    rows = [
        ("runs", f"{len(cfg.runs_of(name))} on {cfg.testbed}, of {len(arms)} arms"),
        ("arms", ", ".join(arms)),
        ("file", shown(plan.__file__ if plan else layers.declaring(cfg.source, name))),
        ("page", shown(page)),
    ]
    return [*heading(f"Study {name}"), *prose(about), "", *columns(rows)]


def about_arm(cfg, name: str) -> list[str]:
    """What an arm is: a method, and what differs from the method as tuned."""
    spec = dict(cfg.known_arms[name])
    rows = [("method", spec.pop("method", name)), ("differs", written(spec))]
    studies_of = [study for study, arms in cfg.known_studies.items() if name in arms]
    return [*heading(f"Arm {name}"), *columns([*rows, ("studies", ", ".join(studies_of))])]


def about_step(cfg, name: str) -> list[str]:
    """What a step does, its file, and its options."""
    path, _ = registry.source(steps.__name__, name)
    rows = columns([("file", shown(path))])
    return [*heading(f"Step {name}"), *prose(docstring(name)), "", *rows, "", *options_of(name)]


def options_of(name: str) -> list[str]:
    """The options of a step, as `--help` shows them."""
    step = registry.member(steps.__name__, name)
    if not hasattr(step, "main"):
        return runner.arguments(name, getattr(step, "options", None)).format_help().splitlines()
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        step.main(["--help"])
    return text.getvalue().splitlines()


def about_measure(cfg, measure: Measure) -> list[str]:
    """How a measure is computed, and where."""
    rows = [
        ("formula", measure.formula),
        ("unit", measure.unit),
        ("direction", measure.better),
        ("source", measure.basis),
        ("file", ", ".join(map(found_at, measure.where))),
    ]
    head = heading(f"Measure {measure.key}: {measure.label}")
    return [*head, *columns([row for row in rows if row[1]])]


def about_verdict(cfg, verdict: Verdict) -> list[str]:
    """When a comparison is called so, and what decides it."""
    rows = [("rule", verdict.rule), ("file", ", ".join(map(found_at, verdict.where)))]
    return [*heading(f"Verdict {verdict.key}"), *columns(rows)]


def found_at(place: str) -> str:
    """A function as readers look for it: 'bench/evaluation/samples.py (kl_and_entropy)'."""
    path, _, name = place.partition(":")
    return f"bench/{path} ({name})"


# --- settings -------------------------------------------------------------------------------------


def about_setting(cfg, setting: Setting) -> list[str]:
    """Type, default, value and file of a setting; of a section a line for each of its settings."""
    if setting.section or setting.key == "arms":
        return about_section(cfg, setting)
    rows = [("type", type_of(setting.schema)), ("default", default_of(setting))]
    if setting.owner is not Arm:
        rows += [(f"in {cfg.testbed}", value_of(cfg, setting.key))]
    rows += [("file", shown(setting.path)), ("read by", ", ".join(readers(setting)))]
    about = textwrap.wrap(setting.description, WIDTH)
    return [*heading(f"Setting {setting.key}"), *about, "", *columns(r for r in rows if r[1])]


def about_section(cfg, section: Setting) -> list[str]:
    """What a section is for, and each of its settings with value and default."""
    inside = re.compile(re.escape(section.key) + r"\.[^.]+")
    rows = [("", cfg.testbed, "default", "")]
    for setting in all_settings(cfg):
        if inside.fullmatch(setting.key):
            rows.append((setting.name, *in_table(cfg, setting), setting.description))
    about = textwrap.wrap(section.description, WIDTH)
    place = columns([("file", shown(section.path))]) if section.section else []
    return [*heading(f"Settings {section.key}"), *about, "", *columns(rows), "", *place]


def in_table(cfg, setting: Setting) -> tuple[str, str]:
    """Value and default of a setting in short; a section inside another has a table of its own."""
    if setting.section:
        return "section", ""
    value = "" if setting.owner is Arm else value_of(cfg, setting.key)
    return clipped(value), clipped(default_of(setting))


def clipped(text: str) -> str:
    """A value that fits a column."""
    return text if len(text) <= CELL else text[: CELL - 3] + "..."


def readers(setting: Setting) -> list[str]:
    """Where code reads a setting, as file:line: the first place in each file.

    That of a method or world is looked for in its own folder, of a method in one file in
    bench/training, any other in all code, as an attribute of the settings or of a section.
    """
    path = setting.path
    inside = path.relative_to(ROOT).parts if path.is_relative_to(ROOT) else ()
    if inside[:1] == ("worlds",) or (inside[:1] == ("methods",) and len(inside) > 2):
        files, pattern = path.parent.glob("*.py"), rf"\b(\w*settings|s|self)\.{setting.name}\b"
    elif inside[:1] == ("methods",):
        files, pattern = (ROOT / "training").glob("*.py"), rf"settings\.{setting.name}\b"
    else:
        last = r"\.".join(setting.key.split(".")[-2:])
        whose = r"\w" if "." in setting.key else "cfg"
        files, pattern = [*ROOT.rglob("*.py"), *ROOT.rglob("*.smk")], rf"\b\w*{whose}\.{last}\b"
    return [place for file in sorted(files) for place in first_hit(file, pattern)]


def first_hit(path: Path, pattern: str) -> Iterator[str]:
    """The first line of a file that matches, as 'bench/steps/pairs.py:48'."""
    text = path.read_text(encoding="utf-8")
    if found := re.search(pattern, text):
        yield f"{shown(path)}:{text.count(chr(10), 0, found.start()) + 1}"


# --- plain text -----------------------------------------------------------------------------------


def heading(text: str) -> list[str]:
    """A title, underlined."""
    return [text, "-" * len(text)]


def prose(text: str | None) -> list[str]:
    """The docstring of a module, as it stands."""
    return (text or "").strip().splitlines()


def columns(rows: Iterable[tuple[str, ...]], indent: int = 2) -> list[str]:
    """Rows in aligned columns, of which the last is wrapped."""
    rows = list(rows)
    widths = [max(map(len, cells)) + 2 for cells in list(zip(*rows, strict=True))[:-1]]
    lines = []
    for *cells, text in rows:
        head = " " * indent + "".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True))
        edges = {"initial_indent": head, "subsequent_indent": " " * len(head)}
        lines += textwrap.wrap(text, WIDTH, break_on_hyphens=False, **edges) or [head.rstrip()]
    return lines


def shown(path: str | Path) -> str:
    """A file from the repository's root where it lies in the package."""
    path = Path(path)
    return str(path.relative_to(ROOT.parent)) if path.is_relative_to(ROOT) else str(path)
