"""Write a testbed's texts, prompts and tasks: python -m bench.data --testbed micro."""

import argparse
from pathlib import Path

from bench import cli
from bench.data import world


def run(cfg, args: argparse.Namespace) -> None:
    """Let the testbed's world write runs/<testbed>/data; its manifest comes last."""
    out = Path("runs", cfg.testbed, "data")
    out.mkdir(parents=True, exist_ok=True)
    world(cfg.data.kind).write(cfg.data, out)
    cli.say("data", f"wrote {out}")


if __name__ == "__main__":
    cli.main("data", run)
