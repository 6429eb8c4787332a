"""Download all that a testbed needs from the hub, so that compute nodes need no network.

    python -m bench prefetch --testbed zephyr-7b       # or: snakemake prefetch --config testbed=...

It fills the hub's cache ($HF_HOME), which the nodes must share. Set HF_HUB_OFFLINE=1 on the nodes.
"""

import argparse
from collections.abc import Callable
from functools import partial

from bench.core.files import write_json
from bench.core.hub import Source
from bench.core.progress import say
from bench.core.schema import UserError


def run(cfg, args: argparse.Namespace) -> None:
    """Write ``runs/<testbed>/prefetch.json``: what was downloaded, and where it lies.

    Raises UserError if there is nothing to download, or the hub cannot be reached.
    """
    from huggingface_hub.constants import HF_HOME

    wanted = todo(cfg)
    if not wanted:
        raise UserError(f"testbed '{cfg.testbed}' needs nothing from the hub: skip this step")
    for name, get in wanted.items():
        say("prefetch", name)
        get()
    write_json(cfg.layout.prefetched, {"HF_HOME": HF_HOME, "fetched": list(wanted)})


def todo(cfg) -> dict[str, Callable]:
    """Return {what is needed: the function that downloads it}."""
    from bench.core.hub import fetch_model, load_rows
    from bench.evaluation import harness

    models, splits = needed(cfg)
    wanted = {f"model {source}": partial(fetch_model, source) for source in models}
    wanted |= {f"data {rows}, {split}": partial(load_rows, rows, split) for rows, split in splits}
    return wanted | {f"task {name}": partial(harness.load, (name,)) for name in cfg.eval.tasks}


def needed(cfg) -> tuple[list, list]:
    """Return the models, and the (data set, split) pairs, that the settings name; an arm of the
    chosen study may name a model and a reward model of its own."""
    own = [cfg, *(member.layout.cfg for member in cfg.members)]
    named = [one for some in own for one in (some.model.hub, some.reward.model)]
    named += [Source(id=path) for m in cfg.members if (path := m.arm.finished(m.seed))]
    models = [hub for i, hub in enumerate(named) if hub and hub not in named[:i]]
    if cfg.data.kind != "hub":
        return models, []
    data, pairs = cfg.data, cfg.data.pairs
    splits = [(source, source.split) for source in (data.sft, data.prompts) if source]
    splits += [(pairs, split) for split in (pairs.train, pairs.test) if split]
    return [*models, *([data.gold] if data.gold.id else [])], splits
