"""Turn overrides such as 'a.b=value' into nested settings and back; merge settings."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from bench.core.layout import UPSTREAM
from bench.core.names import DEFAULT_TESTBED
from bench.core.schema import UserError
from bench.settings import yaml_text


def merge(low: dict, high: dict) -> dict:
    """Return ``low`` with ``high`` on top: mappings merge deeply, anything else is replaced."""
    out = dict(low)
    for key, value in high.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merge(out[key], value) if both else value
    return out


def spelled_out(values: dict) -> dict:
    """Replace the short form `sft: skip` by what it stands for."""
    return values | {"sft": {"steps": 0}} if values.get("sft") == "skip" else values


def leaves(tree: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of each leaf; a list or an empty mapping is a leaf too."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flow(value: Any, dumper: type = yaml.SafeDumper, style: str | None = None) -> str:
    """Write a value as one line of YAML that ``parse`` reads back; style: quotes of all strings."""
    how = {"default_flow_style": True, "default_style": style, "sort_keys": False}
    text = yaml.dump(value, Dumper=dumper, width=10**6, allow_unicode=True, **how)
    return text.removesuffix("\n").removesuffix("...").strip()


def asked(config: dict) -> tuple[str, list[str]]:
    """Return the testbed and the overrides that Snakemake's `config` asks for.

    `gpu` is no setting: the estimate reads it.
    """
    settings = {key: value for key, value in config.items() if key not in ("testbed", "gpu")}
    return str(config.get("testbed", DEFAULT_TESTBED)), flatten(settings)


def flatten(config: dict) -> list[str]:
    """Turn Snakemake's nested `config`, whose values may be strings, into overrides 'a.b=value'."""
    return [f"{key}={flow(unquoted(value))}" for key, value in leaves(config)]


def unquoted(value: Any) -> Any:
    """Read a string as YAML: '[7]' -> [7], 'null' -> None; return it unchanged if it is no YAML."""
    if isinstance(value, list):
        return [unquoted(item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return yaml_text.read(value)
    except yaml_text.Refused as error:
        raise UserError(f"cannot read '{value[:80]}': {error.problem}") from None
    except yaml.YAMLError:
        return value


def parse(item: str, known: dict | None = None) -> dict:
    """Turn 'a.b=value' into {'a': {'b': value}}; raise UserError if it has no key or no '='.

    known: settings so far; an arm declared there may hold dots in its name: arms.dpo-beta0.3.lr=1.
    """
    key, equals, text = item.partition("=")
    if not equals or not key.strip():
        raise UserError(f"cannot read override '{item}': write key=value, for example dpo.lr=2e-5")
    value = unquoted(text)
    path = split_key(key.strip(), known or {}, isinstance(value, dict))
    for part in reversed(path):
        value = {part: value}
    return spelled_out(value)


def split_key(key: str, known: dict, whole: bool = False) -> list[str]:
    """Split a key at its dots, except dots inside the name of an arm or study.

    known: settings so far; whole: whether the value is a mapping, and so may be a whole arm.
    """
    head, _, rest = key.partition(".")
    if head in ("arms", "studies") and rest:
        names = [n for n in known.get(head, {}) if rest == n or rest.startswith(f"{n}.")]
        name = max(names, key=len) if names else None
        if name is None:  # new: the name of an arm ends before a section, or before the last part
            own = re.split(rf"\.(?={'|'.join(UPSTREAM)})", rest)[0]
            last = own if own != rest else rest.rpartition(".")[0] or rest
            name = rest if whole or head == "studies" else last
        tail = rest[len(name) + 1 :]
        return [head, name] + (tail.split(".") if tail else [])
    return key.split(".")
