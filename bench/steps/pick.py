"""Pick the settings of an arm that has candidates: those that gain most on seeds of their own.

    python -m bench pick --testbed micro --arm orpo-from-base

A setting that suits one model, or one kind of pairs, does not suit another. An arm may have
candidates, which are tried beside its own settings on `pick_seeds`. The runs that a study compares
have other seeds, and are judged on other prompts, so nothing is picked on what it is compared by.
"""

import argparse

from bench.core.files import read_csv, read_json
from bench.core.layout import RunFiles
from bench.core.progress import say
from bench.core.records import write_record


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arm", required=True, help="an arm of the settings with candidates")


def run(cfg, args: argparse.Namespace) -> None:
    """Write ``pick/<arm>.json``: each candidate's settings and gains, and which one is picked."""
    arm, seeds, found = cfg.arm(args.arm), cfg.pick_seeds, {}
    for name, tried in cfg.tries(arm.name).items():
        own = cfg.arm(tried)
        gains = [gain(cfg.layout.run(own, seed)) for seed in seeds]
        found[name] = {"settings": own.settings.model_dump(mode="json"), "gains": gains}
    best = max(found, key=lambda name: sum(found[name]["gains"]))  # of equal ones, the first
    record = {"arm": arm.name, "seeds": list(seeds), "candidates": found, "picked": best}
    write_record(cfg.layout.pick(arm), record | {"sets": arm.candidates.get(best, {})})
    say(f"pick {arm.name}", best)


def gain(files: RunFiles) -> float:
    """Return how far gold rose along a run's curve on validation prompts; 0 for a failed run."""
    if read_json(files.record, needed=True)["status"] != "ok":
        return 0.0
    rows = read_csv(files.curve)
    gold = rows[rows.family == "all"].sort_values("fraction").gold
    return round(float(gold.iloc[-1] - gold.iloc[0]), 4)
