"""The layers of the package: each imports only those below it, and nothing goes round that by name.

pyproject.toml lists the layers; import-linter reads every import, those inside functions too. An
import by name it cannot see: all of these go through bench/core/registry.py, into the package that
asks, and the fingerprint of a step holds what they load.
"""

import ast
import shutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from bench.core import registry, warm
from bench.methods import METHODS
from bench.steps.fingerprint import modules_of
from bench.studies import PLANS
from bench.worlds import WORLDS

REPO = Path(__file__).parents[2]
FILES = sorted((REPO / "bench").rglob("*.py"))
DOOR = "bench/core/registry.py"
BY_NAME = {"importlib", "runpy", "pkgutil", "imp"}  # modules that import by name
CALLS = {"__import__", "exec", "eval"}
# Packages that another asks for, which imports them as modules too: {who asks: whose members}.
DECLARED = {f"bench/{f}.py": {"steps.__name__"} for f in ("__main__", "steps/_guide")}


def lint(root: Path) -> subprocess.CompletedProcess:
    """What import-linter says of the package in a folder."""
    command = Path(sys.executable).with_name("lint-imports")
    words = [command, "--no-cache", "--no-logo", REPO / "pyproject.toml"]
    return subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)


def test_a_layer_imports_only_those_below_it():
    done = lint(REPO)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "line",
    ["from bench.worlds import micro", "def late():\n    from bench.worlds.micro import grammar"],
)
def test_an_import_that_goes_up_is_named_wherever_it_stands(tmp_path, line):
    shutil.copytree(REPO / "bench", tmp_path / "bench")
    path = tmp_path / "bench" / "core" / "names.py"
    path.write_text(f"{path.read_text()}\n\n{line}\n")
    done = lint(tmp_path)
    assert (
        done.returncode == 1 and "bench.core is not allowed to import bench.worlds" in done.stdout
    )


def test_a_module_outside_the_layers_is_named(tmp_path):
    shutil.copytree(REPO / "bench", tmp_path / "bench")
    (tmp_path / "bench" / "utils.py").write_text("")
    assert "bench.utils" in lint(tmp_path).stdout


def test_no_module_imports_itself_by_way_of_others():
    graph = grimp.build_graph("bench", cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def named(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


def by_name(node: ast.AST) -> str:
    """The name of what could import a module by its name; '' for anything else."""
    names = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
        return ast.unparse(node.func)
    heads = BY_NAME.intersection(name.split(".")[0] for name in names)
    return "" if all(name.startswith("importlib.metadata.") for name in names) else " ".join(heads)


def test_only_the_registry_imports_by_name():
    found = {named(path) for path in FILES if any(by_name(node) for node in ast.walk(tree(path)))}
    assert found == {DOOR, "bench/core/warm.py"}
    libraries = {name for names in warm.LIBRARIES.values() for name in names}
    assert not [name for name in libraries if name.startswith("bench")]  # all that warm.py imports


def loads(path: Path) -> set[str]:
    """The packages whose members a module asks the registry for, as its code has them."""
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    asked = [c for c in calls if ast.unparse(c.func) in ("registry.members", "registry.member")]
    return {ast.unparse(call.args[0]) for call in asked}


def test_a_package_asks_the_registry_for_its_own_members():
    asked = {named(path): found for path in FILES if (found := loads(path))}
    assert {path: asked.pop(path) for path in DECLARED} == DECLARED
    packages = ["methods", "studies", "worlds", "analysis/measures", "studies/compare/figures"]
    packages += ["steps/speed", "studies/claims/tested"]
    assert set(asked) == {f"bench/{package}/__init__.py" for package in packages}
    for found in asked.values():
        assert found <= {"__name__", "f'{__name__}.{name}'"}


def test_the_registry_is_called_by_its_own_name():
    """Else the tests above would not see a call."""
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom):
                assert node.module != "bench.core.registry", named(path)
                assert all(a.name != "registry" or not a.asname for a in node.names), named(path)


def holds(modules: dict[str, Path], name: str) -> bool:
    """Whether a fingerprint covers the file that a module is loaded from."""
    return Path(sys.modules[name].__file__) in modules.values()


@pytest.mark.parametrize("method", METHODS)
def test_the_fingerprint_of_a_run_holds_its_method(method):
    name = registry.member("bench.methods", method).__name__
    assert holds(modules_of("align", METHODS[method]), name)
    other = next(module for module in METHODS.values() if module.__name__ != name)
    assert not holds(modules_of("align", other), name)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("step", ["data", "base", "pairs", "align", "evaluate", "collect"])
def test_the_fingerprint_of_a_step_holds_its_world(step, world):
    name = registry.member("bench.worlds", world).__name__
    assert holds(modules_of(step, kind=world), name)
    assert not holds(modules_of(step), name)


@pytest.mark.parametrize("study", ["compare", *PLANS])
@pytest.mark.parametrize("step", ["report", "blog"])
def test_the_fingerprint_of_a_page_holds_its_study(step, study):
    name = registry.member(f"bench.studies.{study}", "page").__name__
    assert holds(modules_of(step, study=study), name)


def test_the_page_of_a_declared_study_is_that_of_compare():
    name = registry.member("bench.studies.compare", "page").__name__
    assert holds(modules_of("report", study="mine"), name)
