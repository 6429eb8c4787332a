"""Build the command that makes a report again."""

import shlex

from bench.core.names import DEFAULT_STUDY, DEFAULT_TESTBED
from bench.settings.overrides import flow, merge, parse


def command(meta) -> str:
    """Return the command to type to make a report again."""
    config = [shlex.quote(f"testbed={meta.source}")] if meta.source != DEFAULT_TESTBED else []
    config += [f"study={meta.study}"] if meta.study != DEFAULT_STUDY else []
    changed = {}
    for item in meta.overrides:
        changed = merge(changed, parse(item, changed))
    config += [shlex.quote(f"{key}={flow(value)}") for key, value in changed.items()]
    return " ".join(["snakemake --cores all", *(["--config", *config] if config else [])])
