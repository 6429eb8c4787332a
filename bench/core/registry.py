"""Import modules by name: methods, worlds, studies, steps and users' files. Only this module does.

A package lists its own modules with `members`, so each dynamic import stays inside the layer that
asks for it; tests/core/test_layers.py checks that no other module imports by name. `from_file`
loads a file that a user names by path; `bench.steps.fingerprint` hashes it like a module of bench.
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
    """List the modules of a package, ``first`` leading, without names that begin with `_`.

    folders: list only modules that are packages themselves.
    """
    here = iter_modules(sys.modules[package].__path__)
    found = {m.name for m in here if not m.name.startswith("_") and (m.ispkg or not folders)}
    return [*first, *sorted(found.difference(first))]


def member(package: str, name: str) -> ModuleType:
    """Import and return a module of a package."""
    return import_module(f"{package}.{name}")


def source(package: str, name: str) -> tuple[Path, ast.Module]:
    """Return the path and the syntax tree of a package's module, without running it."""
    place = Path(sys.modules[package].__path__[0], name)
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return path, ast.parse(path.read_text(encoding="utf-8"))


def is_installed(package: str) -> bool:
    """True if a library is installed; does not import it."""
    return find_spec(package) is not None


def from_file(path: str | Path, shown: str = "") -> ModuleType:
    """Import a Python file outside the package; import it again once it has changed.

    The file may import files beside it: ``from ._shared import X``. shown: the path to name in
    messages, if ``path`` is a copy. Raises UserError if the file is missing or cannot be imported.
    """
    path, shown = Path(path), shown or str(path)
    if not path.is_file():
        raise UserError(f"there is no file '{shown}' in {Path.cwd()}: check the path")
    text = path.read_bytes()
    name = f"own_{hashlib.sha256(str(path.resolve()).encode() + text).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    if spec is None:
        raise UserError(f"'{shown}' is not a Python file: its name must end in .py")
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up
    try:  # without its loader, which may use a stale .pyc if size and second are the same
        exec(compile(text, spec.origin, "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        said = error.msg if isinstance(error, SyntaxError) else error
        reason = " ".join(str(said).split())
        where = f"{shown}{_line(error, spec.origin)}"
        raise UserError(f"{where} cannot be imported: {type(error).__name__}: {reason}") from error
    return module


def _line(error: Exception, path: str) -> str:
    """Return ', line 3,', the line of a file that raised an error; '' if it is not known."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines = [error.lineno]
    return f", line {lines[-1]}," if lines else ""
