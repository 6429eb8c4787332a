"""What this machine has, for Snakemake's budgets and for one run to a GPU (no heavy import)."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.core.schema import UserError

HIDDEN = ("", "-1", "NoDevFiles")  # what people and Slurm write where no device is to be seen


def gpus() -> int:
    """Number of CUDA devices that are visible here; 0 without a driver."""
    return len(visible()) if shutil.which("nvidia-smi") else 0


def uuids() -> list[str]:
    """The CUDA devices that the driver lists, by the name that is the same in every process."""
    if shutil.which("nvidia-smi") is None:
        return []
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return re.findall(r"^GPU .*\(UUID: (.+)\)", found.stdout, re.MULTILINE)


def visible() -> list[str]:
    """Those of them that CUDA_VISIBLE_DEVICES, which clusters set, leaves to this process.

    By UUID, for two jobs of one node may both call theirs 0.
    """
    here, given = uuids(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return here
    numbered = {str(i): name for i, name in enumerate(here)}
    return [numbered.get(name, name) for name in given.split(",") if name not in HIDDEN]


def pin_gpus(n: int, folder: Path | None = None) -> list[str]:
    """Keeps ``n`` of the visible GPUs for this process, and hides the others from it.

    Snakemake's ``gpu`` resource counts, and says to no job which one is its own. The lock files lie
    in ``folder``; a lock ends with the process, or with what it becomes by ``os.exec``. Waits for
    GPUs that others hold. Returns their names, none where the machine has none; raises UserError
    where it has fewer than ``n``.
    """
    names = visible()
    if not names:
        return []
    if len(names) < n:
        raise UserError(f"{n} GPUs are asked for and {len(names)} are here: lower launch.processes")
    folder = folder or Path(tempfile.gettempdir(), f"prefbench-gpus-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    taken = take(names, n, folder)
    if not taken:
        print(f"waiting for {n} of the GPUs here: other runs hold them", file=sys.stderr)
    while not taken:
        time.sleep(1)
        taken = take(names, n, folder)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
    return taken


def take(names: list[str], n: int, folder: Path) -> list[str]:
    """Locks the first ``n`` that are free, or none; returns those locked."""
    locks = {}
    for name in names:
        lock = os.open(folder / name, os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locks[name] = lock
        except BlockingIOError:
            os.close(lock)
        if len(locks) == n:
            for lock in locks.values():
                os.set_inheritable(lock, True)  # over os.exec
            return list(locks)
    for lock in locks.values():
        os.close(lock)
    return []


def memory_mb() -> int:
    """Physical memory in MB."""
    return psutil.virtual_memory().total // 2**20
