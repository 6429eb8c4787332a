"""Count GPUs and memory for Snakemake's limits, and reserve a GPU for a run."""

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

HIDDEN = ("", "-1", "NoDevFiles")  # in CUDA_VISIBLE_DEVICES, by people or Slurm: no device


def gpus() -> int:
    """Count the CUDA devices that this process may use; 0 without a driver."""
    return len(visible()) if shutil.which("nvidia-smi") else 0


def uuids() -> list[str]:
    """List the UUIDs of the driver's CUDA devices, which are the same in every process."""
    if shutil.which("nvidia-smi") is None:
        return []
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return re.findall(r"^GPU .*\(UUID: (.+)\)", found.stdout, re.MULTILINE)


def visible() -> list[str]:
    """List the devices that CUDA_VISIBLE_DEVICES leaves to this process (clusters set it).

    Devices are named by UUID because two jobs on one node may both call theirs 0.
    """
    here, given = uuids(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return here
    numbered = {str(i): name for i, name in enumerate(here)}
    return [numbered.get(name, name) for name in given.split(",") if name not in HIDDEN]


def pin_gpus(n: int, folder: Path | None = None) -> list[str]:
    """Reserve ``n`` of the visible GPUs for this process, and hide the others from it.

    Snakemake's ``gpu`` resource only counts: it tells no job which GPU to use. So each GPU has a
    lock file in ``folder``, locked until the process ends, also after ``os.exec``. Waits while
    other runs hold the GPUs. Returns the GPUs' UUIDs, [] on a machine without any; raises UserError
    if fewer than ``n`` are visible.
    """
    names = visible()
    if not names:
        return []
    if len(names) < n:
        raise UserError(
            f"launch.processes asks for {n} GPUs, but only {len(names)} visible: lower it"
        )
    folder = folder or Path(tempfile.gettempdir(), f"prefbench-gpus-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    taken = take(names, n, folder)
    if not taken:
        print(f"waiting for {n} of the GPUs: other runs hold them", file=sys.stderr)
    while not taken:
        time.sleep(1)
        taken = take(names, n, folder)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
    return taken


def take(names: list[str], n: int, folder: Path) -> list[str]:
    """Lock the first ``n`` GPUs that are free, or none of them; returns those locked."""
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
                os.set_inheritable(lock, True)  # so that it outlasts os.exec
            return list(locks)
    for lock in locks.values():
        os.close(lock)
    return []


def memory_mb() -> int:
    """Return the physical memory in MB."""
    return psutil.virtual_memory().total // 2**20
