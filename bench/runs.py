"""What the steps after training read of a study's runs: run.json and eval.json."""

import json
from pathlib import Path

from bench.schema import UserError

SFT = "sft"  # the start of every method, evaluated once as seed 0


def read_json(path: Path) -> dict:
    """A JSON object, or an empty one where there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        remedy = "delete it and run snakemake again: it is made anew"
        raise UserError(f"{path} is no valid JSON ({error}); {remedy}") from None


def read_run(root: Path, arm: str, seed: int) -> dict:
    """The run.json of a run; empty where there is none."""
    return read_json(root / "align" / arm / f"seed{seed}" / "run.json")


def read_evaluation(root: Path, arm: str, seed: int) -> dict:
    """The eval.json of a run, or of the SFT base; empty where there is none."""
    return read_json(root / "evaluate" / arm / f"seed{seed}" / "eval.json")


def read_runs(root: Path, keys) -> tuple[list[dict], list[dict]]:
    """All run.json and eval.json of (arm, seed) in `keys` that exist, the SFT's eval.json first."""
    runs = [read_run(root, arm, seed) for arm, seed in keys]
    evals = [read_evaluation(root, arm, seed) for arm, seed in [(SFT, 0), *keys]]
    return [r for r in runs if r], [e for e in evals if e]
