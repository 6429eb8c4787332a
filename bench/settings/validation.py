"""Validate settings; turn the first error into one line with key, nearest key and remedy."""

import json
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError

from bench.core.names import nearest
from bench.core.schema import Section, UserError
from bench.settings import renamed

# What to write instead, by pydantic's kind of error.
REMEDIES = {
    **dict.fromkeys(("dict_type", "model_type"), "write settings in braces, {key: value}"),
    **dict.fromkeys(("float_type", "float_parsing", "int_type", "int_parsing"), "write a number"),
    **dict.fromkeys(("tuple_type", "list_type"), "write a list, [first, second]"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "write true or false"),
    "int_from_float": "write a whole number",
    "string_type": "write a name, in quotes if YAML takes it for something else",
}


def checked(schema: type[Section], values: dict, where: str) -> Any:
    """Return ``values`` as a ``schema``; raise UserError, in one line, for the first error.

    where: dotted key of the section, for the message.
    """
    for path in truths(schema, values):
        key = ".".join([where, *path] if where else path)
        raise UserError(f"{key} is true or false: write a number")
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(schema, error.errors()[0], where)) from None


def truths(schema: Any, values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths at which true or false stands for a number, as which Python would take it."""
    fields = getattr(schema, "model_fields", {}) if isinstance(values, dict) else {}
    for name, field in fields.items():
        value, kinds = values.get(name), parts(field.annotation)
        if isinstance(value, bool) and {int, float} & kinds and bool not in kinds:
            yield (*path, name)
        for kind in kinds:
            if hasattr(kind, "model_fields"):
                yield from truths(kind, value, (*path, name))


def section_of(annotation: Any) -> Any:
    """Return the section that an annotation names, or may name beside null; None if it is none."""
    return next((kind for kind in parts(annotation) if hasattr(kind, "model_fields")), None)


def parts(annotation: Any) -> set:
    """Return the types that an annotation names outside of containers: int and None of
    `int | None`."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        inner = [a for a in get_args(annotation) if isinstance(a, type) or get_origin(a)]
        return set().union(*map(parts, inner))
    return {annotation} if isinstance(annotation, type) else set()


def explain(schema: type[Section], error: dict, where: str) -> str:
    """Put one pydantic error into one line."""
    path = [str(part) for part in error["loc"]]
    key = ".".join([where, *path] if where else path)
    if error["type"] == "extra_forbidden":
        if new := renamed.of(key):
            return f"'{key}' is called '{new}' now: rename it"
        prefix = key.rpartition(".")[0]
        return f"unknown key '{key}'" + nearest(path[-1], fields_at(schema, path[:-1]), prefix)
    if error["type"] == "missing":
        return f"missing key '{key}': set it in the testbed's file or with --config"
    if error["type"] == "value_error":  # settings that do not fit together
        return f"{key}: {error['ctx']['error']}"
    remedy = REMEDIES.get(error["type"], error["msg"].lower())
    return f"{key}={shown(error['input'])} is not valid: {remedy}"


def shown(value: Any) -> str:
    """Return a value as a user writes it."""
    plain = value is None or isinstance(value, bool)
    return json.dumps(value) if plain else repr(value)


def fields_at(schema: Any, path: list[str]) -> list[str]:
    """Return the field names of the section at a path; [] if there is no section."""
    for part in path:
        field = getattr(schema, "model_fields", {}).get(part)
        schema = (section_of(field.annotation) if field else None) or schema
    return list(getattr(schema, "model_fields", {}))
