"""The one place that imports modules by name: methods, worlds, studies, steps, files of one's own.

A package finds its own members by `members`, so each dynamic import stays inside the layer that
asks for it; tests/core/test_layers.py holds that nothing else imports by name. What a user names by
path is loaded by `from_file`, and `bench.steps.fingerprint` hashes it like a module of the package.
"""

import ast
import hashlib
import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from bench.core.schema import UserError


def members(package: str, first: Iterable[str] = (), folders: bool = False) -> list[str]:
    """Names of the modules in a package, ``first`` leading; one that begins with `_` is none.

    folders: of those alone that are packages themselves.
    """
    here = iter_modules(sys.modules[package].__path__)
    found = {m.name for m in here if not m.name.startswith("_") and (m.ispkg or not folders)}
    return [*first, *sorted(found.difference(first))]


def member(package: str, name: str) -> ModuleType:
    """A module of a package."""
    return import_module(f"{package}.{name}")


def source(package: str, name: str) -> tuple[Path, ast.Module]:
    """The file of a module of a package, and its code, which is not run."""
    place = Path(sys.modules[package].__path__[0], name)
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return path, ast.parse(path.read_text(encoding="utf-8"))


def is_installed(package: str) -> bool:
    """Whether a library is there, asked without importing it."""
    return find_spec(package) is not None


def from_file(path: str | Path, shown: str = "") -> ModuleType:
    """A Python file outside the package as a module, read anew once it has changed.

    It may import files beside it: ``from ._shared import X``. shown: how messages call it, where it
    is a copy. Raises UserError where there is no such file, or where it cannot be imported.
    """
    path, shown = Path(path), shown or str(path)
    if not path.is_file():
        raise UserError(f"there is no file '{shown}' in {Path.cwd()}")
    text = path.read_bytes()
    name = f"own_{hashlib.sha256(str(path.resolve()).encode() + text).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    if spec is None:
        raise UserError(f"'{shown}' is no Python file: its name must end in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up
    try:  # not by its loader, which may take the .pyc of a file of the same size and second
        exec(compile(text, spec.origin, "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        said = error.msg if isinstance(error, SyntaxError) else error
        reason = " ".join(str(said).split())
        where = f"{shown}{_line(error, spec.origin)}"
        raise UserError(f"{where} cannot be imported: {type(error).__name__}: {reason}") from error
    return module


def _line(error: Exception, path: str) -> str:
    """', line 3,': where in a file an error arose; '' where that is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines = [error.lineno]
    return f", line {lines[-1]}," if lines else ""
