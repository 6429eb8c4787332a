"""List the devices to estimate for, with their makers' figures (no heavy import)."""

import re
import shutil
import subprocess
from dataclasses import dataclass

from bench.core.machine import memory_mb
from bench.core.schema import UserError
from bench.estimate.memory import GB


@dataclass(frozen=True)
class Device:
    """A GPU or CPU core.

    half, single: TFLOP/s of dense matrix products in bfloat16 (float16 on a T4) and in float32
    (without TF32, which this project leaves off); bandwidth: of its memory, GB/s; memory: GB.
    """

    name: str
    half: float
    single: float
    bandwidth: float
    memory: float


DEVICES = {
    "h200": Device("an H200", 989, 67, 4800, 141),
    "h100": Device("an H100 80 GB", 989, 67, 3350, 80),
    "a100-80gb": Device("an A100 80 GB", 312, 19.5, 2039, 80),
    "a100-40gb": Device("an A100 40 GB", 312, 19.5, 1555, 40),
    "l40s": Device("an L40S", 362, 91.6, 864, 48),
    "a10": Device("an A10", 125, 31.2, 600, 24),
    "a10g": Device("an A10G", 70, 35, 600, 24),
    "rtx-4090": Device("an RTX 4090", 165, 82.6, 1008, 24),
    "rtx-3090": Device("an RTX 3090", 71, 35.6, 936, 24),
    "t4": Device("a T4", 65, 8.1, 320, 16),
    # one core with AVX2; times the utilisation of steps/estimate.py: the 35 to 50 GFLOP/s measured
    "cpu": Device("one CPU core", 0.18, 0.18, 10, memory_mb() * 2**20 / GB),
}
DEFAULT = "a100-80gb"


def choose(asked: str | None, on_gpu: bool) -> tuple[Device, str]:
    """Return (device, why this one): the one asked for, else the one found, else a default.

    on_gpu: whether the testbed is for a GPU. Raises UserError if ``asked`` is unknown.
    """
    if asked is not None:
        return DEVICES[named(asked)], "as asked"
    found = listed()
    known = match(found) if found else None
    if known:
        return DEVICES[known], f"found here: {found}"
    lacking = f"'{found}' is not in the table" if found else "no GPU was found"
    if not on_gpu:
        return DEVICES["cpu"], f"{lacking}; choose with --gpu"
    return DEVICES[DEFAULT], f"assumed, since {lacking}; choose with --gpu"


def named(key: str) -> str:
    """Return ``key``; raise UserError if it names no device."""
    if key not in DEVICES:
        raise UserError(f"unknown gpu '{key}'; known: {', '.join(DEVICES)}")
    return key


def listed() -> str | None:
    """Return the name that the driver gives the first GPU; None without a GPU."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    lines = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split("\n")
    return lines[0].strip() or None


def match(name: str) -> str | None:
    """Return the key whose words are all in ``name``: 'NVIDIA A100-SXM4-80GB' -> 'a100-80gb'."""
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    return max((k for k in DEVICES if set(k.split("-")) <= words), key=len, default=None)
