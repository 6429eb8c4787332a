"""The methods that are compared: each is a file or folder here. To add one, write its file.

A method is a module with

- ``Settings``: its hyper-parameters, a frozen ``Section`` with a default each; ``lr`` and ``beta``
  (its strength) are among them, since every study varies both;
- ``NEEDS``: which artefacts it trains from, out of ``"reward"`` (the seed's reward model) and
  ``"reference"`` (log-probs of the pool under the SFT base);
- ``HEAD``, where it is not ``"fused"``: what its passes end in (HEADS), for ``bench.estimate``;
- optional: ``PAPER``, the BibTeX key of its paper in bench/report/templates/references.bib, and
  ``TRAINER``, whose code trains it, in words ("TRL's DPOTrainer"): the report shows both;
- ``train(run)``: trains ``run.policy`` in place (see ``bench.training.run.Run``).

A file whose name begins with an underscore is none. A method may also lie outside the package: the
setting `methods` names its file. Importing this package imports no torch: the Snakefile reads it.
"""

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from bench.core import registry
from bench.core.layout import UPSTREAM
from bench.core.schema import Section, UserError

FIRST = ("ppo", "dpo", "ipo", "orpo")  # in every table and figure; others follow by name
ARTEFACTS = {"reward", "reference"}
HEADS = ("fused", "full", "rollout")


def known(paths: Iterable[str] = ()) -> dict[str, ModuleType]:
    """{name: module} of the built-in methods, then of the files at ``paths``."""
    found = dict(METHODS)
    for path in paths:
        name = Path(path).stem
        if name in found:
            raise UserError(f"methods: '{name}' is the name of another method: rename '{path}'")
        if not name.isidentifier() or name.startswith("_"):
            raise UserError(
                f"methods: '{name}' is no name: use letters, digits and '_' in '{path}'"
            )
        found[name] = registry.from_file(path)
    return found


def named_by(name: str, paths: Iterable[str]) -> str | None:
    """The path that names a method from outside; None for a built-in one."""
    return next((str(path) for path in paths if Path(path).stem == name), None)


def stamped(paths: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Each path with the time of its last change, 0 where there is no file."""
    files = [Path(path) for path in paths]
    return tuple((str(f), f.stat().st_mtime_ns if f.is_file() else 0) for f in files)


def check(name: str, module: ModuleType, taken: set[str]) -> None:
    """Raise UserError for a module that is no method; taken: names of parts of the settings."""
    for lack in lacking(module):
        raise UserError(f"{shown(module)} lacks {lack}")
    if name in taken:
        raise UserError(f"a method cannot be called '{name}', as a part of the settings is")


def shown(module: ModuleType) -> str:
    """How a message names the file of a method."""
    path = file_of(module)
    if path.parent == Path(__file__).parent:
        return f"{path.name} of bench/methods"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def name_of(module: ModuleType) -> str:
    """The name of a method, which is that of its file or folder."""
    return file_of(module).stem


def file_of(module: ModuleType) -> Path:
    """The file of a method, or its folder."""
    path = Path(module.__file__)
    return path.parent if path.name == "__init__.py" else path


def lacking(module: ModuleType) -> list[str]:
    """What a module would need to be a method, in words."""
    settings, needs = getattr(module, "Settings", None), getattr(module, "NEEDS", None)
    if not (isinstance(settings, type) and issubclass(settings, Section)):
        return ["Settings, a class of its hyper-parameters that extends bench.core.schema.Section"]
    found = [f"{key} in Settings" for key in ("lr", "beta") if key not in settings.model_fields]
    open_ends = [key for key, field in settings.model_fields.items() if field.is_required()]
    found += [f"a default of Settings.{key}" for key in open_ends]
    found += [f"another name for Settings.{k}" for k in UPSTREAM if k in settings.model_fields]
    if not isinstance(needs, tuple) or not ARTEFACTS.issuperset(needs):
        found.append('NEEDS, a tuple: (), ("reward",), ("reference",) or both')
    if getattr(module, "HEAD", "fused") not in HEADS:
        found.append(f"HEAD, one of {', '.join(HEADS)}")
    return found if callable(getattr(module, "train", None)) else [*found, "train(run)"]


METHODS = {name: registry.member(__name__, name) for name in registry.members(__name__, FIRST)}
