"""What this machine has, for Snakemake's budgets (no heavy import)."""

import shutil
import subprocess

import psutil


def gpus() -> int:
    """Number of CUDA devices that the driver lists; 0 without a driver."""
    if shutil.which("nvidia-smi") is None:
        return 0
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in found.stdout.splitlines())


def memory_mb() -> int:
    """Physical memory in MB."""
    return psutil.virtual_memory().total // 2**20
