"""Measure how fast the suite is: beside TRL, beside stock scripts, and its parts with and without.

    python -m bench speed                         all races that need nothing else
    python -m bench speed pairs --work micro      one of them, at one size
    python -m bench speed ppo suite --trl112 DIR  those that need TRL 1.12, the last with a PPO

A race runs both sides in turn, after a round that is not counted, and prints the median of the
ratios of their times and the lowest and highest: above 1, ours is faster. Ratios of one race hold
on a noisy machine; seconds do not.
"""

import argparse
import subprocess
import sys

from bench.core import registry

RACES = ("pairs", "ppo", "starts", "sampling", "suite")
WORKS = ("micro", "1M", "1M-ends", "smollm2")


def main(words: list[str]) -> None:
    """Run the races that are asked for, each in a process of its own: they need different TRLs."""
    args = parser().parse_args(words)
    if len(args.races) == 1:
        registry.member(__name__, args.races[0]).race(args)
        return
    options = [word for word in words if word not in args.races]
    for name in args.races or RACES:
        subprocess.run([sys.executable, "-m", "bench", "speed", name, *options], check=True)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command's options."""
    made = argparse.ArgumentParser(
        prog="python -m bench speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "races",
        nargs="*",
        choices=[*RACES, []],
        metavar="RACE",
        help=f"which races: {', '.join(RACES)} (all)",
    )
    made.add_argument("--work", action="append", choices=WORKS, help="a model; repeat it (all)")
    made.add_argument("--rounds", type=int, default=5, help="rounds that count (%(default)s)")
    made.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    made.add_argument("--seeds", type=int, metavar="N", help="the suite's first N seeds (all)")
    made.add_argument(
        "--trl112",
        metavar="DIR",
        help="folder of TRL 1.12: pip install --no-deps --target DIR trl==1.12.0",
    )
    return made
