"""Setting up a training job of a step: seeds, checkpoint folder, monitor, and what it records."""

import errno
import hashlib
import json
import shutil
from contextlib import contextmanager
from pathlib import Path

from bench.core import processes
from bench.core.files import atomic, write_json
from bench.core.progress import Progress
from bench.core.schema import UserError
from bench.training import checkpoints
from bench.training.ledger import Ledger, machine, versions
from bench.training.monitor import Monitor

NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # what flock says where there are none
FRACTIONS = (0.25, 0.5, 0.75)  # of a step's budget, at which it writes a checkpoint


def seed_everything(seed: int) -> None:
    """Seeds torch, numpy and random."""
    from transformers import set_seed

    set_seed(seed)


def checkpoint_root(cfg, name: str, code: str, inputs: dict[str, str]) -> Path:
    """``runs/<testbed>/checkpoints/<name>/<hash of code, settings and inputs>``."""
    launch = cfg.launch  # a sharded checkpoint is read by its own form alone
    sharded = [launch.config] if launch.processes > 1 and launch.config != "ddp" else []
    key = json.dumps([code, cfg.values(), inputs, *sharded], sort_keys=True, default=str)
    return Path(cfg.layout.checkpoints(name), hashlib.sha256(key.encode()).hexdigest()[:16])


@contextmanager
def held(root: Path):
    """Holds ``root`` for this process and removes it when the work inside has succeeded.

    Of several processes the main one does so for all.
    """
    if not processes.is_main():
        yield root
        return
    try:
        with checkpoints.lease(root):
            yield root
    except BlockingIOError as error:
        raise UserError(
            f"{error.strerror} is still training into {root} (left by a killed snakemake?): "
            "wait for it or end it, then run the same command again"
        ) from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise UserError(
            f"the file system of {root} has no locks, so two jobs could write one run: "
            "mount it with them (Lustre: -o flock) or work on another"
        ) from None
    shutil.rmtree(root, ignore_errors=True)


def plain_monitor(head: str, total: int, ledger: Ledger, root: Path) -> Monitor:
    """A monitor that has no curve: progress, checkpoints, and an end where the loss is NaN."""
    return Monitor(None, FRACTIONS, (), ledger, Progress(head, total), root)


def step_record(step: str, cfg, ledger: Ledger, metrics: dict) -> dict:
    """The content of ``step.json``."""
    return {
        "step": step,
        "status": "ok",
        "cost": ledger.table(),
        **ledger.memory.peaks,
        "metrics": metrics,
        "settings": cfg.values(),
        "versions": versions(),
        "machine": machine(),
    }


def write(folder: Path, todo, model, recorded: dict) -> None:
    """The folder of a trained model, with its tokenizer and ``step.json``, by the main process.

    todo: the ``bench.training.trainer.Training`` that it was trained by.
    """
    from bench.models.loading import save

    if not processes.is_main():
        return
    with atomic(folder) as part:
        save(model, todo.tokenizer, part, todo.weights)
        write_json(part / "step.json", recorded)
