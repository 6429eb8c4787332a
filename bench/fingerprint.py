"""What a step's result depends on, as one hash: its code, its settings, the libraries.

Snakemake does not track modules behind ``python -m``; the Snakefile puts these hashes in
``params:``. Code is the import closure of the step's module within ``bench``, read by AST, so that
a comment or a docstring changes nothing. Of the methods only the one that a run trains counts.
"""

import ast
import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parent.parent
METHODS = "bench.methods"
# Reached by every step, but deciding nothing that a step computes: what a step reads of the
# settings is hashed by value, and progress lines and advice are no result.
NEUTRAL = {"bench.config", "bench.cli", "bench.fingerprint", "bench.estimate.memory"}
PAGE = "bench/report/templates"
FILES = {"evaluate": "bench/data/tasks/{kind}", "report": PAGE, "blog": PAGE}  # beside code
LIBRARIES = ("torch", "transformers", "trl", "peft", "tokenizers", "numpy", "accelerate", "lm-eval")


def fingerprint(cfg, step: str, arm: str | None = None) -> str:
    """Hash of a step's code, of the settings it reads, and of the libraries' versions."""
    method = cfg.arm(arm).method if step == "align" else None
    settings = cfg.slice(step, arm).values()
    parts = [code_hash(step, method, cfg.data.kind), settings, library_versions()]
    return _sha256(json.dumps(parts, sort_keys=True, default=str))[:16]


@cache
def code_hash(step: str, method: str | None = None, kind: str | None = None) -> str:
    """Hash of a step's import closure; with ``method``, of that method's files and no other's.

    kind: the world whose module counts (the worlds are imported by name).
    """
    modules = closure(f"bench.{step}", method, kind)
    lines = [f"{name} {module_hash(name)}" for name in sorted(modules)]
    folder = ROOT / FILES.get(step, "none").format(kind=kind)
    lines += [f"{path.name} {path.read_text()}" for path in sorted(folder.glob("*.*"))]
    return _sha256("\n".join(lines))


def closure(start: str, method: str | None, kind: str | None) -> set[str]:
    """Names of the modules of ``bench`` that ``start`` imports, at any depth."""
    todo = [start, *([f"{METHODS}.{method}"] if method else [])]
    if kind and start not in ("bench.contract", "bench.collect"):
        from bench.data import WORLDS

        todo.append(WORLDS[kind])
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name in found or name in NEUTRAL or name == METHODS or path_of(name) is None:
            continue
        found.add(name)
        todo += imports(name)
    return found


@cache
def path_of(name: str) -> Path | None:
    """The file of a module of ``bench``; None for any other name."""
    if name.split(".")[0] != "bench":
        return None
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__main__.py", base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(path_of(name).read_text(encoding="utf-8"))


@cache
def imports(name: str) -> tuple[str, ...]:
    """Dotted names that a module imports, anywhere in it."""
    found = []
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(name, node)
            found += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _absolute(name: str, node: ast.ImportFrom) -> str:
    """The module that a `from` in the module ``name`` means."""
    parts = [*name.split("."), *(["__init__"] if path_of(name).name == "__init__.py" else [])]
    parents = parts[: -node.level] if node.level else []
    return ".".join([*parents, *([node.module] if node.module else [])])


@cache
def module_hash(name: str) -> str:
    """Hash of a module's code without comments and docstrings."""
    return _sha256(ast.dump(_Bare().visit(tree_of(name)), include_attributes=False))


class _Bare(ast.NodeTransformer):
    """Takes docstrings out (comments are not in the tree)."""

    def generic_visit(self, node):
        super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
        return node


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
