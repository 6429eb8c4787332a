"""The methods that are compared, each a file or folder here. To add a method, write its file.

A method is a module with

- ``Settings``: its hyper-parameters, a ``Section`` in which each has a default; it must have ``lr``
  and ``beta`` (the strength of the method), since every study varies both;
- ``NEEDS``: a tuple of what it trains from besides pairs: ``"reward"`` (the seed's reward model),
  ``"reference"`` (log-probs of the pairs under the SFT base);
- ``train(run)``: trains ``run.policy`` in place (see ``bench.training.run.Run``).

Optional are

- ``HEAD``: which logits its passes make, for the memory and FLOPs in ``bench.estimate``:
  ``"pair"`` (the default: those of both answers), ``"likelihood"`` (the prompt's too, as ORPO),
  ``"rollout"`` (it samples completions, as PPO does) or ``"none"`` (nothing is trained: it needs
  no ``lr`` and no ``beta``, and reports show no cost of it);
- ``PAPER``: the BibTeX key of its paper in bench/report/templates/references.bib;
- ``TITLE``: how a built-in method's name is written, if not in capitals;
- ``TRAINER``: whose code trains it, in words ("prefbench's own code"), for the report.

A file whose name begins with an underscore is no method. The setting `methods` adds methods from
files outside the package. Importing this package imports no torch: the Snakefile imports it.
"""

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from bench.core import registry
from bench.core.layout import UPSTREAM
from bench.core.schema import Section, UserError

FIRST = ("ppo", "dpo", "ipo", "orpo")  # order in tables and figures; other methods follow by name
ARTEFACTS = {"reward", "reference"}
HEADS = ("pair", "likelihood", "rollout", "none")


def known(paths: Iterable[str] = ()) -> dict[str, ModuleType]:
    """Return {name: module} of the built-in methods, then of the files at ``paths``.

    Raises UserError if a file has the name of another method, or a name that Python cannot import.
    """
    found = dict(METHODS)
    for path in paths:
        name = Path(path).stem
        if name in found:
            raise UserError(f"methods: '{name}' is the name of another method: rename '{path}'")
        if not name.isidentifier() or name.startswith("_"):
            raise UserError(
                f"methods: '{name}' is no valid name: rename '{path}' with a letter first, then "
                "letters, digits and '_'"
            )
        found[name] = registry.from_file(path)
    return found


def named_by(name: str, paths: Iterable[str]) -> str | None:
    """Return the path in ``paths`` that adds method ``name``; None if it is built in."""
    return next((str(path) for path in paths if Path(path).stem == name), None)


def stamped(paths: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Return (path, time of its last change in ns) for each path; 0 if there is no such file."""
    files = [Path(path) for path in paths]
    return tuple((str(f), f.stat().st_mtime_ns if f.is_file() else 0) for f in files)


def check(name: str, module: ModuleType, taken: set[str]) -> None:
    """Raise UserError if a module is no valid method.

    taken: names that the settings already use, which a method cannot have.
    """
    for lack in lacking(module):
        raise UserError(f"{shown(module)} lacks {lack}")
    if name in taken:
        raise UserError(
            f"a method cannot be called '{name}', the settings use that name: rename its file"
        )


def head_of(module: ModuleType) -> str:
    """Return which logits the passes of a method make, one of HEADS."""
    return getattr(module, "HEAD", "pair")


def trains(module: ModuleType) -> bool:
    """Tell whether a method trains something; else an arm of it is only measured."""
    return head_of(module) != "none"


def shown(module: ModuleType) -> str:
    """Return the file of a method as messages name it: 'dpo.py of bench/methods', or its path."""
    path = file_of(module)
    if path.parent == Path(__file__).parent:
        return f"{path.name} of bench/methods"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def name_of(module: ModuleType) -> str:
    """Return the name of a method: its file's or folder's name."""
    return file_of(module).stem


def file_of(module: ModuleType) -> Path:
    """Return the file of a method, or its folder if it is a package."""
    path = Path(module.__file__)
    return path.parent if path.name == "__init__.py" else path


def lacking(module: ModuleType) -> list[str]:
    """List what a module lacks to be a method, in words; [] for a valid method."""
    settings, needs = getattr(module, "Settings", None), getattr(module, "NEEDS", None)
    if not (isinstance(settings, type) and issubclass(settings, Section)):
        return ["Settings, a class of its hyper-parameters that extends bench.core.schema.Section"]
    varied = ("lr", "beta") if trains(module) else ()
    found = [f"{key} in Settings" for key in varied if key not in settings.model_fields]
    open_ends = [key for key, field in settings.model_fields.items() if field.is_required()]
    found += [f"a default of Settings.{key}" for key in open_ends]
    found += [f"another name for Settings.{k}" for k in UPSTREAM if k in settings.model_fields]
    if not isinstance(needs, tuple) or not ARTEFACTS.issuperset(needs):
        found.append('NEEDS, a tuple: (), ("reward",), ("reference",) or both')
    if head_of(module) not in HEADS:
        found.append(f"HEAD, one of {', '.join(HEADS)}")
    return found if callable(getattr(module, "train", None)) else [*found, "train(run)"]


METHODS = {name: registry.member(__name__, name) for name in registry.members(__name__, FIRST)}
