"""Downloads all that a testbed needs of the hub, so that compute nodes need no network.

    python -m bench.prefetch --testbed zephyr-7b       # or: snakemake prefetch --config testbed=...

It fills the hub's cache ($HF_HOME), which the nodes must share; there, set HF_HUB_OFFLINE=1.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import cli
from bench.schema import UserError


def run(cfg, args: argparse.Namespace) -> None:
    """Writes ``runs/<testbed>/prefetch.json``: what was asked for, and where it lies."""
    from huggingface_hub.constants import HF_HOME

    wanted = todo(cfg)
    if not wanted:
        raise UserError(f"testbed '{cfg.testbed}' needs nothing of the hub")
    for name, get in wanted.items():
        cli.say("prefetch", name)
        get()
    cli.write_json(Path(cfg.runs, "prefetch.json"), {"HF_HOME": HF_HOME, "fetched": list(wanted)})


def todo(cfg) -> dict[str, Callable]:
    """{what: how to get it}."""
    from bench import standard
    from bench.hub import fetch_model, load_rows

    models, splits = needed(cfg)
    wanted = {f"model {source}": partial(fetch_model, source) for source in models}
    wanted |= {f"data {rows}, {split}": partial(load_rows, rows, split) for rows, split in splits}
    return wanted | {f"task {name}": partial(standard.load, (name,)) for name in cfg.eval.tasks}


def needed(cfg) -> tuple[list, list]:
    """(models, splits of data sets) that the settings name."""
    models = [cfg.model.hub] if cfg.model.hub else []
    if cfg.data.kind != "hub":
        return models, []
    data, pairs = cfg.data, cfg.data.pairs
    splits = [(data.sft, data.sft.split)] if data.sft else []
    splits += [(pairs, split) for split in (pairs.train, pairs.test) if split]
    return [*models, *([data.gold] if data.gold.id else [])], splits


if __name__ == "__main__":
    cli.main("prefetch", run)
