"""Set up a training job: seeds, checkpoint folder, monitor; write its model and its record."""

import hashlib
import json
import shutil
from pathlib import Path

from bench.core import processes
from bench.core.files import atomic
from bench.core.machine import gpu_slots
from bench.core.progress import Progress
from bench.core.records import write_record
from bench.training.ledger import Ledger, machine, versions
from bench.training.monitor import Monitor

FRACTIONS = (0.25, 0.5, 0.75)  # shares of the optimiser steps after which to write a checkpoint


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and random."""
    from transformers import set_seed

    set_seed(seed)


def checkpoint_root(cfg, name: str, code: str, inputs: dict[str, str]) -> Path:
    """Make the folder ``runs/<testbed>/checkpoints/<name>/<hash of code, settings and inputs>``."""
    launch = cfg.launch  # only the same launch.config can read a sharded checkpoint
    sharded = [launch.config] if launch.processes > 1 and launch.config != "ddp" else []
    key = json.dumps([code, cfg.values(), inputs, *sharded], sort_keys=True, default=str)
    root = Path(cfg.layout.checkpoints(name), hashlib.sha256(key.encode()).hexdigest()[:16])
    root.mkdir(parents=True, exist_ok=True)
    return root


def discard(root: Path) -> None:
    """Delete the checkpoints of a training whose outputs are written."""
    if processes.is_main():
        shutil.rmtree(root, ignore_errors=True)


def plain_monitor(head: str, total: int, ledger: Ledger, root: Path) -> Monitor:
    """Make a monitor without a curve: progress, checkpoints, and Diverged at a loss of NaN."""
    return Monitor(None, FRACTIONS, (), ledger, Progress(head, total), root)


def step_record(step: str, cfg, ledger: Ledger, metrics: dict) -> dict:
    """Return the content of ``step.json``: what a step cost, its metrics, settings and versions."""
    return {
        "step": step,
        "status": "ok",
        "cost": ledger.table(),
        **ledger.memory.peaks,
        "metrics": metrics,
        "settings": cfg.values(),
        "versions": versions(),
        "machine": machine(),
        "gpu_slots": gpu_slots(),
    }


def write(folder: Path, todo, model, recorded: dict) -> None:
    """Write the folder of a trained model: weights, tokenizer, ``step.json``.

    todo: the ``bench.training.trainer.Training`` that trained it. Only the main process writes.
    """
    from bench.models.loading import save

    if not processes.is_main():
        return
    with atomic(folder) as part:
        save(model, todo.tokenizer, part, todo.weights)
        write_record(part / "step.json", recorded)
