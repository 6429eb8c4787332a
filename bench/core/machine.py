"""Count GPUs and memory for Snakemake's limits, and reserve a GPU for a run."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import chain, product
from pathlib import Path
from typing import NoReturn

import psutil

from bench.core.schema import UserError

SLOTS = "PREFBENCH_SLOTS"  # in the environment: how many runs may share this process's GPU
ALONE = "PREFBENCH_ALONE"  # in the environment of a step that waits for its GPU's other runs
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


def pin_gpus(n: int, folder: Path | None = None, slots: int = 1) -> list[str]:
    """Reserve ``n`` of the visible GPUs, or a slot of each, and hide the others from this process.

    Snakemake's ``gpu`` resource only counts: it tells no job which GPU to use. So each GPU has lock
    files in ``folder``, locked until the process ends, also after ``os.exec``. slots: how many runs
    may share a GPU. Waits while other runs hold the GPUs. Returns the GPUs' UUIDs, [] on a machine
    without any; raises UserError if fewer than ``n`` are visible.
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
    os.environ[SLOTS] = str(slots)
    if ALONE in os.environ:
        return take_alone(names[0], folder)
    taken = take(names, n, folder, slots)
    if not taken:
        print(f"waiting for {n} of the GPUs: other runs hold them", file=sys.stderr)
    while not taken:
        time.sleep(1)
        taken = take(names, n, folder, slots)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
    return taken


def take(names: list[str], n: int, folder: Path, slots: int = 1) -> list[str]:
    """Lock the first ``n`` GPUs that are free, or none of them; returns those locked.

    With several slots the emptiest GPUs come first.
    """
    held = {}
    for slot, name in product(range(slots), names):
        if name not in held and (locks := hold(folder / name, slot if slots > 1 else None)):
            held[name] = locks
        if len(held) == n:
            keep(*chain(*held.values()))
            return list(held)
    for lock in chain(*held.values()):
        os.close(lock)
    return []


def hold(gpu: Path, slot: int | None) -> list[int]:
    """Lock a GPU, or one slot of it; returns the open lock files, [] if another run holds it.

    Runs with a slot share the GPU's own lock, so that nobody has it alone beside them.
    """
    turn = locked(gpu.with_name(f"{gpu.name}.turn"), fcntl.LOCK_SH)
    whole = locked(gpu, fcntl.LOCK_EX if slot is None else fcntl.LOCK_SH)
    mine = whole if slot is None else locked(gpu.with_name(f"{gpu.name}.{slot}"), fcntl.LOCK_EX)
    free = None not in (turn, whole, mine)
    kept = {whole, mine} if free else set()
    for lock in {turn, whole, mine} - kept - {None}:
        os.close(lock)
    return list(kept)


def locked(path: Path, how: int, wait: bool = False) -> int | None:
    """Open and lock a file; None if it is not free and we do not wait."""
    lock = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, how | (0 if wait else fcntl.LOCK_NB))
        return lock
    except BlockingIOError:
        os.close(lock)
        return None


def take_alone(name: str, folder: Path) -> list[str]:
    """Wait until no other run holds the GPU or a slot of it, and lock it all.

    Nobody else gets a slot while this process waits: it holds the GPU's turn.
    """
    turn = locked(folder / f"{name}.turn", fcntl.LOCK_EX, wait=True)
    keep(locked(folder / name, fcntl.LOCK_EX, wait=True))
    os.close(turn)
    return [name]


HELD: list[int] = []  # the lock files of this process's GPUs


def keep(*locks: int) -> None:
    """Hold locks until this process ends, also if it becomes another program."""
    HELD.extend(locks)
    for lock in locks:
        os.set_inheritable(lock, True)


def begin_alone(words: list[str]) -> NoReturn:
    """Start `python -m bench WORDS` again in place of this process, alone on its GPU.

    All memory of this process is freed, and its slot, before it waits for the GPU.
    """
    for lock in HELD:
        os.close(lock)
    os.environ[ALONE] = "1"
    os.execv(sys.executable, [sys.executable, "-m", "bench", *words])


def gpu_slots() -> int:
    """Return how many runs may share this process's GPU; 1 without a GPU.

    Still so if the process began again alone: what it did before counts among its seconds.
    """
    return int(os.environ.get(SLOTS, "1"))


def is_shared() -> bool:
    """True if other runs may be on this process's GPU now."""
    return gpu_slots() > 1 and ALONE not in os.environ


def memory_mb() -> int:
    """Return the physical memory in MB."""
    return psutil.virtual_memory().total // 2**20
