"""How the house stands, by its syntax alone: `python tests/house.py [CHECKOUT]`.

Prints modules at the top of the package, imports against the layers, lengths of functions and of
files, and paths that are built by hand. It reads the flat package of de1a664 too, whose modules it
puts where their code went, so that both can be compared.
"""

import ast
import re
import statistics
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[1]
LAYERS = [
    *("core", "models", "worlds", "evaluation", "training", "methods", "settings", "estimate"),
    *("analysis", "report", "studies", "steps", "__main__"),
]  # each imports only those before it
# Where the flat package's modules went; a package as a whole, but for modules that stand here too.
FLAT = {
    "core": "data.fetch data.files hub machine names processes rows schema thresholds",
    "models": "data.gguf data.hub_model flops models sampling text",
    "worlds": "data",
    "evaluation": "measure standard",
    "training": "batches checkpoints energy job monitor preference record runs trainer",
    "methods": "methods ppo roles",
    "settings": "checks config",
    "estimate": "estimate",
    "analysis": "analysis",
    "report": "report",
    "studies": "studies report.blog report.comparison report.facts report.findings report.grid "
    "report.marks report.tuning report.views",
    "steps": "align base blog cli collect compare contract data.__main__ estimate.__main__ "
    "evaluate fingerprint launch pairs prefetch reference report.__main__ reward sft tune verify",
}
OLD = {module: layer for layer, modules in FLAT.items() for module in modules.split()}
ROOTS = r"(cfg|self|CFG)\.(runs|study_dir)\b|\blayout\.|\b(RUNS|STUDY|LAYOUT)\b"  # of artefacts
BY_HAND = re.compile(r'f"\{(RUNS|STUDY)\}/')  # in what Snakemake reads


@dataclass(frozen=True)
class Import:
    """One `import` or `from`, and whether it stands inside a function."""

    source: str
    target: str
    late: bool


class House:
    """The package `bench` of a checkout."""

    def __init__(self, root: Path):
        self.root = root
        self.files = sorted((root / "bench").rglob("*.py"))
        self.trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in self.files}
        self.modules = {self.name(path): path for path in self.files}
        self.flat = not (root / "bench" / "core").is_dir()

    def name(self, path: Path) -> str:
        """'methods.dpo', without `bench`."""
        parts = path.relative_to(self.root / "bench").with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def layer(self, module: str) -> int:
        """The place of a module's layer; of none of them above all, where all may be imported."""
        while self.flat and module and module not in OLD:
            module = module.rpartition(".")[0]
        layer = OLD.get(module) if self.flat else module.partition(".")[0]
        return LAYERS.index(layer) if layer in LAYERS else len(LAYERS)

    def top(self) -> list[str]:
        """Modules that lie directly in `bench/`."""
        return [path.stem for path in self.files if path.parent == self.root / "bench"]

    def imports(self) -> Iterator[Import]:
        """Every import of one module of the package by another."""
        for path, tree in self.trees.items():
            functions = [node for node in ast.walk(tree) if is_function(node)]
            late = {id(part) for function in functions for part in ast.walk(function)}
            for node in ast.walk(tree):
                for target in {*self.targets(node)} - {self.name(path)}:
                    yield Import(self.name(path), target, id(node) in late)

    def targets(self, node: ast.AST) -> Iterator[str]:
        """The modules of the package that a statement imports."""
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            deep = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if self.known(name) else node.module for name in deep]
        else:
            return
        yield from (name.removeprefix("bench.") for name in names if self.known(name))

    def known(self, name: str) -> bool:
        """Whether a dotted name is a module of the package."""
        return name.removeprefix("bench.") in self.modules and name.startswith("bench.")

    def against(self) -> list[Import]:
        """Imports of a layer above one's own."""
        return [i for i in self.imports() if self.layer(i.target) > self.layer(i.source)]

    def by_name(self) -> list[str]:
        """Modules that import others by name, which no import shows."""
        calls = re.compile(r"(importlib\.)?import_module|__import__|runpy\.\w+|iter_modules")
        found = {
            self.name(path)
            for path, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and calls.fullmatch(said(node.func))
        }
        return sorted(found)

    def functions(self) -> list[tuple[int, str]]:
        """(lines, name) of every function."""
        return sorted(
            (node.end_lineno - node.lineno + 1, f"{self.name(path)}.{node.name}")
            for path, tree in self.trees.items()
            for node in ast.walk(tree)
            if is_function(node)
        )

    def lengths(self) -> list[tuple[int, str]]:
        """(lines, path) of every file that Python or Snakemake reads."""
        lines = {f: len(f.read_text().splitlines()) for f in (*self.files, *self.rules())}
        return sorted((n, path.relative_to(self.root).as_posix()) for path, n in lines.items())

    def rules(self) -> list[Path]:
        """The Snakefile and what it includes."""
        return [self.root / "Snakefile", *sorted((self.root / "bench").rglob("*.smk"))]

    def by_hand(self) -> tuple[int, int]:
        """(in Python, in rules): how often the path of an artefact is put together."""
        home = [tree for path, tree in self.trees.items() if self.name(path) != "core.layout"]
        python = sum(is_path_by_hand(node) for tree in home for node in ast.walk(tree))
        return python, sum(len(BY_HAND.findall(path.read_text())) for path in self.rules())


def is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def said(node: ast.AST) -> str:
    """The code of a name with dots; '' for anything longer."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def is_path_by_hand(node: ast.AST) -> bool:
    """True for Path(cfg.runs, "sft") and cfg.runs / "sft": a folder and a name in it."""
    if isinstance(node, ast.Call) and said(node.func) == "Path" and len(node.args) > 1:
        return bool(re.search(ROOTS, ast.unparse(node.args[0])))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return bool(re.search(ROOTS, said(node.left)))
    return False


def layers_of(root: Path) -> list[str]:
    """The layers that pyproject.toml declares, the lowest first; [] where it has none."""
    found = tomllib.loads((root / "pyproject.toml").read_text())["tool"].get("importlinter")
    return found["contracts"][0]["layers"][::-1] if found else []


def main(root: Path) -> None:
    """Print what is said above of a checkout."""
    assert layers_of(root) in ([], LAYERS), "pyproject.toml has other layers"
    house = House(root)
    wrong, lines = house.against(), [n for n, _ in house.functions()]
    late, (python, rules) = sum(i.late for i in wrong), house.by_hand()
    print(f"modules at the top of bench/   {len(house.top())} of {len(house.files)}")
    print(f"imports against the layers     {len(wrong)}, {late} of them inside functions")
    print(f"modules that import by name    {', '.join(house.by_name()) or 'none'}")
    print(f"functions                      {len(lines)}")
    p90 = statistics.quantiles(lines, n=10)[-1]
    print(f"lines of a function            median {statistics.median(lines):g}, p90 {p90:g}")
    print("longest function               {1}, {0} lines".format(*house.functions()[-1]))
    print("longest file                   {1}, {0} lines".format(*house.lengths()[-1]))
    print(f"paths built by hand            {python} in Python, {rules} in rules")
    for found in sorted(wrong, key=lambda i: (i.source, i.target)):
        print(f"  {found.source} imports {found.target}{' in a function' * found.late}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
