"""Describe every setting for `help`: its description, type, default, value and file.

All is read from the classes that validate: ``bench.settings.sections``, and the ``Settings`` of the
testbed's world, of each method and of each study.
"""

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from inspect import get_annotations
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from bench.core.schema import Section
from bench.settings.overrides import flow
from bench.settings.sections import OF_ARM, Arm
from bench.settings.validation import section_of


@dataclass(frozen=True)
class Setting:
    """A key of the settings.

    key: dotted, such as dpo.lr; name: its last part; owner: class of the section that holds it;
    default: PydanticUndefined if it must be set; section: its class if it is a section itself.
    """

    key: str
    name: str
    owner: type[Section]
    default: Any
    section: type[Section] | None

    @property
    def description(self) -> str:
        """Return what the setting does, from the docstring under its field."""
        field = self.owner.model_fields[self.name]
        own = docstrings(self.declarer).get(self.name) or field.description
        return " ".join((own or (self.section and self.section.__doc__) or "").split())

    @property
    def declarer(self) -> type[Section]:
        """Return the class that declares it: the owner, or a class that this extends."""
        return next(kind for kind in self.owner.__mro__ if self.name in get_annotations(kind))

    @property
    def schema(self) -> dict:
        """Return its type and limits as JSON schema."""
        return self.owner.model_json_schema()["properties"][self.name]

    @property
    def path(self) -> Path:
        """Return the file that declares it; for a section, the file that declares its settings."""
        if self.section:
            first = next(iter(self.section.model_fields))
            return Setting("", first, self.section, None, None).path
        return Path(sys.modules[self.declarer.__module__].__file__)


@cache
def docstrings(kind: type[Section]) -> dict[str, str]:
    """Return {setting: the docstring under it} of a class; {} of one that was made without source.

    pydantic could read them (`use_attribute_docstrings`), but would do so at each start of a step,
    which takes 0.15 seconds.
    """
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body
    except OSError:
        return {}
    return {
        field.target.id: text.value.value
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def all_settings(cfg) -> list[Setting]:
    """List every key of a testbed's settings, then those of an arm as `arms.<key>`."""
    arms = (s for s in settings_in(Arm, "arms.") if s.name in OF_ARM)
    return [*settings_in(type(cfg)), *arms]


def settings_in(owner: type[Section], prefix: str = "", given: Any = None) -> Iterator[Setting]:
    """Yield the keys of a section and of the sections inside it; given: the section's default."""
    for name, field in owner.model_fields.items():
        own = field.get_default(call_default_factory=True)
        default = own if given is None else getattr(given, name)
        section = section_of(field.annotation)
        yield Setting(f"{prefix}{name}", name, owner, default, section)
        if section:
            inner = default if isinstance(default, Section) else None
            yield from settings_in(section, f"{prefix}{name}.", inner)


def default_of(setting: Setting) -> str:
    """Return a setting's default as YAML."""
    if setting.default is PydanticUndefined:
        return "must be set"
    return written(json.loads(json.dumps(setting.default)))


def value_of(cfg, key: str) -> str:
    """Return a setting's value in the testbed as YAML."""
    head, *parts = key.split(".")
    value = cfg.section(head)
    for part in parts:
        if value is None:
            return "not set"
        value = value[part]
    return written(value)


def written(value: Any) -> str:
    """Write a value as one line of YAML, long decimals cut to three digits."""
    return re.sub(r"\d+\.\d{6,}", lambda m: f"{float(m[0]):.3g}", flow(value))


TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
    "null": "null",
}
BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def type_of(schema: dict) -> str:
    """Put a type of JSON schema into words: 'whole number >= 1 or null'."""
    if "anyOf" in schema:
        return " or ".join(type_of(part) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " or ".join(map(str, schema.get("enum") or [schema["const"]]))
    ends = {key: schema[key] for key in BOUNDS if key in schema}
    bounds = [f"{BOUNDS[k]} {int(v) if v == int(v) else v}" for k, v in ends.items()]
    words = " ".join([TYPES.get(schema.get("type"), "any"), " and ".join(bounds)]).strip()
    return f"{words} of: {type_of(schema['items'])}" if "items" in schema else words
