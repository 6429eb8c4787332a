"""The methods that are compared: each is a file of this folder. To add one, write its file.

A method is a module with

- ``Settings``: its hyper-parameters, a frozen ``Section`` with a default each; ``lr`` and ``beta``
  (its strength) are among them, since every study varies both;
- ``NEEDS``: which artefacts it trains from, out of ``"reward"`` (the seed's reward model) and
  ``"reference"`` (log-probs of the pool under the SFT base);
- ``HEAD``, where it is not ``"fused"``: what its passes end in, for ``bench.estimate``;
- ``train(run)``: trains ``run.policy`` in place (see ``bench.align.Run``).

A file whose name begins with an underscore is none. Importing this package imports no torch: the
Snakefile reads it.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from bench.schema import Section, UserError

FIRST = ("ppo", "dpo", "ipo", "orpo")  # in every table and figure; others follow by name
ARTEFACTS = {"reward", "reference"}


def discovered() -> dict[str, ModuleType]:
    """{name: module} of every method here."""
    found = {m.name for m in iter_modules(__path__) if not m.name.startswith("_")}
    names = [*FIRST, *sorted(found.difference(FIRST))]
    return {name: import_module(f"{__name__}.{name}") for name in names}


def check(name: str, module: ModuleType, taken: set[str]) -> None:
    """Raise UserError for a module that is no method; ``taken``: the settings' other sections."""
    for lack in lacking(module):
        raise UserError(f"{Path(module.__file__).name} of bench/methods lacks {lack}")
    if name in taken:
        raise UserError(f"a method cannot be called '{name}', as a section of the settings is")


def lacking(module: ModuleType) -> list[str]:
    """What a module would need to be a method, in words."""
    settings, needs = getattr(module, "Settings", None), getattr(module, "NEEDS", None)
    if not (isinstance(settings, type) and issubclass(settings, Section)):
        return ["Settings, a class of its hyper-parameters that extends bench.schema.Section"]
    found = [f"{key} in Settings" for key in ("lr", "beta") if key not in settings.model_fields]
    open_ends = [key for key, field in settings.model_fields.items() if field.is_required()]
    found += [f"a default of Settings.{key}" for key in open_ends]
    if not isinstance(needs, tuple) or not ARTEFACTS.issuperset(needs):
        found.append('NEEDS, a tuple: (), ("reward",), ("reference",) or both')
    return found if callable(getattr(module, "train", None)) else [*found, "train(run)"]


METHODS = discovered()
