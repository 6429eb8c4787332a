"""What a step's result depends on, as one hash: its code, its settings, the libraries.

Snakemake does not track modules behind ``python -m``; the Snakefile puts these hashes in
``params:``. Code is the import closure of the step's module within ``bench``, read by AST, so that
a comment or a docstring changes nothing. What is imported by name (``bench.core.registry``) is
added here: the method that a run trains, the testbed's world, the study's page.
Of a method outside the package its file counts, and the files beside it that it imports.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType

from bench.core.code import bare_tree, tree_sha256

ROOT = Path(__file__).parent.parent.parent
# Reached by every step, but writing no artefact and deciding nothing that a step computes: what it
# reads of the settings is hashed by value, its paths are Snakemake's to compare, and progress lines
# and advice are no result. The rest of a package whose `__init__` is neutral counts where imported.
NEUTRAL = {
    "bench.core.layout",
    "bench.core.progress",
    "bench.core.registry",
    "bench.estimate.memory",
    "bench.methods",
    "bench.steps.fingerprint",
    "bench.studies",
    "bench.worlds",
}
PLANNING = "bench.settings."
# but where the tables say what they say: of bases, companions, what an arm varies
TABLED = dict.fromkeys(("contract", "collect"), ("bench.core.layout", "bench.settings.config"))
PAGES = ("report", "blog")  # the steps that make a page
# packages whose every module a page loads
LOADED = ("bench.analysis.measures", "bench.studies.compare.figures", "bench.methods")
FILES = {
    "evaluate": "bench/worlds/{kind}/tasks",
    "report": "bench/report/templates",
    "blog": "bench/studies/compare/templates",
}
LIBRARIES = ("torch", "transformers", "trl", "peft", "tokenizers", "numpy", "accelerate", "lm-eval")


def fingerprint(cfg, step: str, arm: str | None = None) -> str:
    """Hash of a step's code, of the settings it reads, and of the libraries' versions."""
    method = cfg.known_methods[cfg.arm(arm).method] if step == "align" else None
    settings = cfg.slice(step, arm).values()
    study = cfg.study if step in PAGES else None
    code = code_hash(step, method, cfg.data.kind, study)
    parts = [code, settings, library_versions()]
    return _sha256(json.dumps(parts, sort_keys=True, default=str))[:16]


@cache
def code_hash(
    step: str,
    method: ModuleType | None = None,
    kind: str | None = None,
    study: str | None = None,
) -> str:
    """Hash of a step's import closure, with the method, the world and the study's page it imports
    by name; ``bench.steps.runner`` runs them all."""
    modules = modules_of(step, method, kind, study)
    lines = sorted(f"{shown(name)} {code_of(path)}" for name, path in modules.items())
    folder = ROOT / FILES.get(step, "none").format(kind=kind)
    lines += [f"{path.name} {path.read_text()}" for path in sorted(folder.glob("*.*"))]
    return _sha256("\n".join(lines))


def shown(name: str | Path) -> str:
    """A module's part in the hash: of a file outside its name alone, wherever its folder lies."""
    return name.name if isinstance(name, Path) else name


def modules_of(step: str, method=None, kind=None, study=None) -> dict[str | Path, Path]:
    """{name: file} of all that a step runs of ``bench``, and of a method outside."""
    named = imported_by_name(method, kind, study)
    return closure("bench.steps.runner", f"bench.steps.{step}", *named, *TABLED.get(step, ()))


def imported_by_name(method, kind: str | None, study: str | None) -> Iterable[str | Path]:
    """What ``bench.core.registry`` loads for a step: dotted, or the file of a method outside."""
    if method is not None:
        yield method.__name__ if method.__name__.startswith("bench.") else Path(method.__file__)
    if kind:
        yield f"bench.worlds.{kind}"
    if study:
        yield from pages(kind)


def pages(kind: str | None) -> Iterable[str]:
    """What ``bench.core.registry`` loads for a page: measures, figures, the pages of all studies,
    since they lend to each other, the words of the world, and what methods say of themselves."""
    for package in LOADED:
        base = path_of(package)
        yield from (f"{package}.{m.name}" for m in iter_modules([str(base.parent)]))
    for study in iter_modules([str(path_of("bench.studies").parent)]):
        yield f"bench.studies.{study.name}.page"
    yield f"bench.worlds.{kind}.words"


def closure(*starts: str | Path) -> dict[str | Path, Path]:
    """{name: file} of the modules that ``starts`` import within ``bench``, at any depth.

    A file outside ``bench`` has no name but its path.
    """
    todo, found = [*starts], {}
    while todo:
        name = todo.pop()
        path = name if isinstance(name, Path) else path_of(name)
        if path is None or name in found or (name not in starts and is_neutral(str(name))):
            continue
        found[name] = path
        todo += imports(name, path)
    return found


def is_neutral(name: str) -> bool:
    """Whether a module decides nothing that a step computes; a study's plan is read as values."""
    plan = name.startswith("bench.studies.") and name.count(".") == 2
    return name in NEUTRAL or name.startswith(PLANNING) or plan


@cache
def path_of(name: str) -> Path | None:
    """The file of a module of ``bench``; None for any other name."""
    if name.split(".")[0] != "bench":
        return None
    return file_at(ROOT.joinpath(*name.split(".")))


def file_at(base: Path) -> Path | None:
    """The file of a module or package; None where there is none."""
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def imports(name: str | Path, path: Path) -> tuple[str | Path, ...]:
    """What a module imports, anywhere in it: dotted names, and files beside one outside."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level and isinstance(name, Path):
            found += _beside(path, node)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(name, path, node)
            found += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _beside(path: Path, node: ast.ImportFrom) -> list[Path]:
    """The files that a relative `from` means in a file outside the package."""
    folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
    bases = [folder, *(folder / alias.name for alias in node.names)]
    return [file for base in bases if (file := file_at(base))]


def _absolute(name: str, path: Path, node: ast.ImportFrom) -> str:
    """The module that a `from` in the module ``name`` means."""
    parts = [*str(name).split("."), *(["__init__"] if path.name == "__init__.py" else [])]
    parents = parts[: -node.level] if node.level else []
    return ".".join([*parents, *([node.module] if node.module else [])])


@cache
def tree_of(path: Path) -> ast.Module:
    """The code of a file, read once for its imports and its hash."""
    return bare_tree(path.read_bytes())


@cache
def code_of(path: Path) -> str:
    """The hash of a file's code."""
    return tree_sha256(tree_of(path))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that results depend on."""
    return {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
