"""Write a testbed's texts, prompts and tasks.

python -m bench data --testbed micro
"""

import argparse

from bench.core.files import read_json
from bench.core.progress import say
from bench.worlds import world


def run(cfg, args: argparse.Namespace) -> None:
    """Let the testbed's world write ``runs/<testbed>/data``, the manifest last."""
    out = cfg.layout.data
    out.mkdir(parents=True, exist_ok=True)
    world(cfg.data.kind).write(cfg.data, out)
    files = read_json(out / "manifest.json").items()
    rows = [
        f"{name} {own['rows']:,}" for name, own in files if isinstance(own, dict) and "rows" in own
    ]
    say("data", f"wrote {out}; rows: {', '.join(rows)}")
