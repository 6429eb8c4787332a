"""Read a testbed's files and merge them, later over earlier.

The layers: base.yaml, the testbed that it `extends`, its own file, its tuned settings.
"""

from itertools import takewhile
from pathlib import Path

import yaml

from bench.core.names import NAME, nearest
from bench.core.schema import UserError
from bench.settings import yaml_text
from bench.settings.overrides import merge, spelled_out

TESTBEDS = Path(__file__).parent / "testbeds"
TUNED = ".tuned"


def layers(testbed: str, above: tuple[Path, ...] = ()) -> dict:
    """Return the merged settings of a testbed, as plain values.

    above: files that extend this one. Raises UserError if a file is missing, no valid YAML, or
    extends itself.
    """
    path = file_of(testbed).resolve()
    if path in above:
        raise UserError(f"'{testbed}' extends itself: let `extends` name another testbed")
    (own, parent), above = opened(testbed), (*above, path)
    low = renamed_sources(layers(parent, above), own) if parent else read(TESTBEDS / "base.yaml")
    whole, tuned = merge(low, own), tuned_file(testbed)
    return merge(whole, read(tuned)) if tuned.exists() else whole


def opened(testbed: str) -> tuple[dict, str | None]:
    """Return (settings in a testbed's own file, the testbed that it extends or None)."""
    own = read(file_of(testbed))
    return own, own.pop("extends", None)


def declaring(testbed: str, study: str) -> Path:
    """Return the file that declares a study: the testbed's, one that it extends, or base.yaml."""
    own, parent = opened(testbed)
    if study in (own.get("studies") or {}):
        return file_of(testbed)
    return declaring(parent, study) if parent else TESTBEDS / "base.yaml"


def about(testbed: str) -> str:
    """What a testbed is, in a line: the first comment of its file."""
    return next(iter(comment(file_of(testbed))), "")


def comment(path: Path) -> list[str]:
    """The lines of comment that open a testbed's file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("#").strip() for line in takewhile(_is_comment, lines)]


def _is_comment(line: str) -> bool:
    return line.startswith("#")


def is_path(testbed: str) -> bool:
    """Tell whether a testbed is given by the path of its file."""
    return str(testbed).endswith((".yaml", ".yml"))


def name_of(testbed: str) -> str:
    """Return the name of a testbed, under which its runs lie; for a path, the name of the file."""
    return Path(testbed).stem if is_path(testbed) else testbed


def file_of(testbed: str) -> Path:
    """Return the file of a testbed; raise UserError if it is missing or its name is taken."""
    if not is_path(testbed):
        if testbed not in testbeds():
            path = "; a path to a file must end in .yaml" if "/" in str(testbed) else ""
            known = path or nearest(str(testbed), testbeds())
            raise UserError(f"unknown testbed '{testbed}'" + known)
        return TESTBEDS / f"{testbed}.yaml"
    path = Path(testbed)
    if not path.is_file():
        raise UserError(f"there is no testbed file '{testbed}' in {Path.cwd()}: check the path")
    if not NAME.fullmatch(path.stem):
        raise UserError(
            f"'{path.stem[:40]}' cannot name a testbed: rename its file with up to 100 letters, "
            "digits, '.', '_' and '-', the first no '.' or '-'"
        )
    if path.stem in testbeds() and path.resolve().parent != TESTBEDS.resolve():
        raise UserError(f"'{path.stem}' is the name of a built-in testbed: rename '{testbed}'")
    return path


def tuned_file(testbed: str) -> Path:
    """Return the file of a testbed's tuned settings, beside its own file."""
    return file_of(testbed).with_name(f"{name_of(testbed)}{TUNED}.yaml")


def read(path: Path) -> dict:
    """Read a YAML file of settings; raise UserError if it is no valid YAML or no mapping."""
    try:
        found = yaml_text.read(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark, reason = getattr(error, "problem_mark", None), getattr(error, "problem", error)
        line = f", line {mark.line + 1}," if mark else ""
        what = "cannot be read" if isinstance(error, yaml_text.Refused) else "is no valid YAML"
        raise UserError(f"{path}{line} {what}: {' '.join(str(reason).split())}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no settings: write lines of the form `key: value`")
    return spelled_out(found)


def testbeds() -> list[str]:
    """Return the names of the built-in testbeds."""
    names = [path.stem for path in TESTBEDS.glob("*.yaml")]
    return sorted(name for name in names if name != "base" and not name.endswith(TUNED))


def renamed_sources(low: dict, high: dict, files: bool = False) -> dict:
    """Return ``low`` without the settings of a model, data set or gold that ``high`` replaces.

    If ``high`` names another source, the old one's splits, tokens or revision would be wrong.
    files: only where ``high`` names a data file, since a folder may be a copy of the old source.
    """
    out = dict(low)
    for key, value in high.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            other = [k for k in ("id", "file") if k in value and value[k] != out[key].get(k)]
            renamed = other and (not files or Path(str(value.get("id"))).is_file())
            out[key] = {} if renamed else renamed_sources(out[key], value, files)
    return out
