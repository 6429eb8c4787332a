"""Write a testbed's texts, prompts and tasks.

python -m bench data --testbed micro
"""

import argparse

from bench.core.progress import say
from bench.worlds import world


def run(cfg, args: argparse.Namespace) -> None:
    """Let the testbed's world write ``runs/<testbed>/data``, the manifest last."""
    out = cfg.layout.data
    out.mkdir(parents=True, exist_ok=True)
    world(cfg.data.kind).write(cfg.data, out)
    say("data", f"wrote {out}")
