"""Build the command that makes a report again, as it is pasted into a shell.

Snakemake takes `--config key=value ...`, where no key has a dot, strips quotes at either end of a
value, reads it as a number if it can, and else as YAML whose leaves are strings. The Snakefile then
reads those strings as YAML once more (``bench.settings.overrides.asked``).
"""

import shlex
from typing import Any, ClassVar

import yaml

from bench.core.names import DEFAULT_STUDY, DEFAULT_TESTBED
from bench.settings.overrides import flow, merge, parse


def command(meta) -> str:
    """Return what to type to make a report again; meta: a ``bench.analysis.results.Meta``."""
    return snakemake(meta.source, meta.study, meta.overrides)


def snakemake(testbed: str, study: str = DEFAULT_STUDY, overrides=()) -> str:
    """Return the command that runs a study of a testbed; overrides: as 'a.b=value'."""
    config = {} if testbed == DEFAULT_TESTBED else {"testbed": testbed}
    asked = {} if study == DEFAULT_STUDY else {"study": study}
    for item in overrides:
        asked = merge(asked, parse(item, asked))
    config |= {key: texts(value) for key, value in asked.items()}
    words = [shlex.quote(f"{key}={written(value)}") for key, value in config.items()]
    return " ".join(["snakemake --cores all", *(["--config", *words] if words else [])])


def texts(value: Any) -> Any:
    """Return a value with each leaf replaced by the text of its YAML."""
    if isinstance(value, dict):
        return {key: texts(item) for key, item in value.items()}
    return [texts(item) for item in value] if isinstance(value, list) else flow(value)


class Plain(yaml.SafeDumper):
    """Quotes a string only where YAML's syntax needs it, even one that looks like a number."""

    yaml_implicit_resolvers: ClassVar = {}


def written(value: Any) -> str:
    """Write a tree of texts as Snakemake's key=value takes it; spaces keep quotes at its ends."""
    text = flow(value, Plain, '"' if misread(value) else None)
    return f" {text} " if {text[0], text[-1]} & set("'\"") else text


def misread(value: Any) -> bool:
    """Return True for a text that Snakemake reads as a number but YAML as a string: 1e5, nan."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return isinstance(yaml.safe_load(value), str)
