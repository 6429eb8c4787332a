"""Set up a training job: seeds, checkpoint folder, monitor; write its model and its record."""

import errno
import hashlib
import json
import shutil
from contextlib import contextmanager
from pathlib import Path

from bench.core import processes
from bench.core.files import atomic
from bench.core.machine import gpu_slots
from bench.core.progress import Progress
from bench.core.records import write_record
from bench.core.schema import UserError
from bench.training import checkpoints
from bench.training.ledger import Ledger, machine, versions
from bench.training.monitor import Monitor

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # flock's errors if there are no locks
FRACTIONS = (0.25, 0.5, 0.75)  # shares of the optimiser steps after which to write a checkpoint


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and random."""
    from transformers import set_seed

    set_seed(seed)


def checkpoint_root(cfg, name: str, code: str, inputs: dict[str, str]) -> Path:
    """Return ``runs/<testbed>/checkpoints/<name>/<hash of code, settings and inputs>``."""
    launch = cfg.launch  # only the same launch.config can read a sharded checkpoint
    sharded = [launch.config] if launch.processes > 1 and launch.config != "ddp" else []
    key = json.dumps([code, cfg.values(), inputs, *sharded], sort_keys=True, default=str)
    return Path(cfg.layout.checkpoints(name), hashlib.sha256(key.encode()).hexdigest()[:16])


@contextmanager
def held(root: Path):
    """Lock the checkpoint folder ``root`` and delete it once the work inside has succeeded.

    Where several processes train together, the main one does so for all. Raises UserError if
    another job holds the lock, or if the file system has no locks.
    """
    if not processes.is_main():
        yield root
        return
    try:
        with checkpoints.lease(root):
            yield root
    except BlockingIOError as error:
        raise UserError(
            f"{error.strerror} is still training into {root} (perhaps left by a killed snakemake): "
            "wait for it or end it, then run the same command again"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise UserError(
            f"the file system of {root} has no file locks, so two jobs could write the same run: "
            "mount it with locks (Lustre: -o flock) or clone to another file system"
        ) from None
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
