"""Hash all that a step's result depends on: its code, its settings, the libraries' versions.

Snakemake does not track modules behind ``python -m``, so the Snakefile puts these hashes into
``params:``. The code is the step's module and all modules of ``bench`` that it imports, at any
depth. It is hashed as a syntax tree, so that comments and docstrings do not count. Modules imported
by name (``bench.core.registry``) are added: the method that a run trains, the testbed's world, the
study's page. Of a method outside the package, its file and the files beside it that it imports
count.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from bench.core.code import bare_tree, statements, tree_sha256

ROOT = Path(__file__).parent.parent.parent
# Modules that every step imports, but whose code affects no result: settings are hashed by value,
# Snakemake compares paths, and progress lines and advice are no result. If a package's `__init__`
# is listed here, its other modules still count where they are imported.
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
# These steps do depend on two of them, which tell bases, companions and what an arm varies.
TABLED = dict.fromkeys(("contract", "collect"), ("bench.core.layout", "bench.settings.config"))
PAGES = ("report", "blog")  # the steps that make a page
# packages whose every module a page loads
LOADED = (
    "bench.analysis.measures",
    "bench.studies.claims.tested",
    "bench.studies.compare.figures",
)
FILES = {
    "evaluate": ("bench/worlds/{kind}/tasks",),
    "report": ("bench/report/templates",),
    "blog": ("bench/report/templates", "bench/studies/*/templates"),
}
DRAWING = ("matplotlib", "jinja2", "pandas", "scipy", "pillow")  # what pages depend on too
LIBRARIES = ("torch", "transformers", "trl", "peft", "tokenizers", "numpy", "accelerate", "lm-eval")


def fingerprint(cfg, step: str, arm: str | None = None) -> str:
    """Hash a step's code, the settings that it reads, and the libraries' versions."""
    method = cfg.known_methods[cfg.arm(arm).method] if step == "align" else None
    settings = cfg.slice(step, arm).values()
    study = cfg.study if step in PAGES else None
    code = code_hash(step, method, cfg.data.kind, study)
    parts = [code, settings, library_versions()]
    if step == "collect" and hasattr(cfg.plan, "slim"):
        folder = Path(cfg.plan.__file__).parent
        parts.append([code_of(path) for path in sorted(folder.rglob("*.py"))])
    if study:
        parts += [said_of_methods(cfg), library_versions(DRAWING)]
    return _sha256(json.dumps(parts, sort_keys=True, default=str))[:16]


@cache
def code_hash(
    step: str,
    method: ModuleType | None = None,
    kind: str | None = None,
    study: str | None = None,
) -> str:
    """Hash the modules that a step runs, with its method, world and study's page.

    The runner counts too, as do the templates that the step reads.
    """
    modules = modules_of(step, method, kind, study)
    lines = sorted(f"{shown(name)} {code_of(path)}" for name, path in modules.items())
    for folder in FILES.get(step, ()):
        files = sorted(ROOT.glob(f"{folder.format(kind=kind)}/*.*"))
        lines += [f"{path.name} {path.read_text()}" for path in files]
    return _sha256("\n".join(lines))


def shown(name: str | Path) -> str:
    """Return a module's name in the hash; of a file outside ``bench``, without its folder."""
    return name.name if isinstance(name, Path) else name


def modules_of(step: str, method=None, kind=None, study=None) -> dict[str | Path, Path]:
    """Return {name: file} of the modules of ``bench`` that a step runs, and of a method outside."""
    named = imported_by_name(method, kind, study)
    return closure("bench.steps.runner", f"bench.steps.{step}", *named, *TABLED.get(step, ()))


def imported_by_name(method, kind: str | None, study: str | None) -> Iterable[str | Path]:
    """List what ``bench.core.registry`` loads for a step: dotted names, or a method's own file."""
    if method is not None:
        yield method.__name__ if method.__name__.startswith("bench.") else Path(method.__file__)
    if kind:
        yield f"bench.worlds.{kind}"
    if study:
        yield from pages(kind)


def pages(kind: str | None) -> Iterable[str]:
    """Yield what ``bench.core.registry`` loads for a page: measures, figures, the pages of all
    studies, since they lend to each other, the words of the world, what writes overrides."""
    yield from (name for package in LOADED for name in members(package))
    yield from (f"{study}.page" for study in members("bench.studies"))
    yield from (f"bench.worlds.{kind}.words", "bench.settings.overrides")


def members(package: str) -> list[str]:
    """List the dotted names of a package's modules, without importing it."""
    stems = sorted(path.stem for path in path_of(package).parent.iterdir())
    return [f"{package}.{s}" for s in stems if s[0] not in "._" and path_of(f"{package}.{s}")]


def said_of_methods(cfg) -> list[tuple]:
    """What a page says of each method, as its module has it."""
    said = ("TRAINER", "PAPER", "NEEDS")
    methods = cfg.known_methods.items()
    return [(name, [getattr(module, key, None) for key in said]) for name, module in methods]


def closure(*starts: str | Path) -> dict[str | Path, Path]:
    """Return {name: file} of the modules of ``bench`` that ``starts`` import, at any depth.

    The name of a file outside ``bench`` is its path.
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
    """True if a module's code affects no result; a study's plan is hashed through its values."""
    plan = name.startswith("bench.studies.") and name.count(".") == 2
    return name in NEUTRAL or name.startswith(PLANNING) or plan


@cache
def path_of(name: str) -> Path | None:
    """Return the file of a module of ``bench``; None for any other name."""
    if name.split(".")[0] != "bench":
        return None
    return file_at(ROOT.joinpath(*name.split(".")))


def file_at(base: Path) -> Path | None:
    """Return the file of a module or package; None if there is none."""
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def imports(name: str | Path, path: Path) -> tuple[str | Path, ...]:
    """List what a module imports, anywhere in it: dotted names; files, if beside one outside."""
    found = []
    for node in statements(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level and isinstance(name, Path):
            found += _beside(path, node)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(name, path, node)
            found += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _beside(path: Path, node: ast.ImportFrom) -> list[Path]:
    """List the files that a relative import in a file outside the package refers to."""
    folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
    bases = [folder, *(folder / alias.name for alias in node.names)]
    return [file for base in bases if (file := file_at(base))]


def _absolute(name: str, path: Path, node: ast.ImportFrom) -> str:
    """Return the dotted name of the module that a `from` import in module ``name`` refers to."""
    parts = [*str(name).split("."), *(["__init__"] if path.name == "__init__.py" else [])]
    parents = parts[: -node.level] if node.level else []
    return ".".join([*parents, *([node.module] if node.module else [])])


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a file once, for its imports and its hash."""
    return bare_tree(path.read_bytes())


@cache
def code_of(path: Path) -> str:
    """Hash a file's code."""
    return tree_sha256(tree_of(path))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def library_versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Return the versions of the libraries that results depend on."""
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
