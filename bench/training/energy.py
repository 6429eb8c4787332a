"""Joules, from counters of the machine: NVML's of the GPU, or RAPL's of the CPU packages.

Both count all that runs on the device, not this process alone.
"""

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class Nvml:
    """Energy of one GPU since its driver was loaded; library: ``pynvml``."""

    SHARED = False  # each process has a GPU of its own

    def __init__(self, library, uuid: str):
        library.nvmlInit()
        self.library, self.handle = library, library.nvmlDeviceGetHandleByUUID(uuid)
        self.joules()

    def joules(self) -> float:
        return self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle) / 1e3  # from mJ


class Rapl:
    """Energy of all CPU packages since this was made (Linux's powercap, Intel and AMD).

    The counters start again from 0 after some minutes to hours of load: read more often than that.
    """

    SHARED = True

    def __init__(self, folder: Path = POWERCAP):
        self.zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if is_package(zone)]
        if not self.zones:
            raise FileNotFoundError(f"no CPU package has a counter in {folder}")
        self.ranges = [number(zone / "max_energy_range_uj") for zone in self.zones]
        self.last, self.total = self._read(), 0

    def _read(self) -> list[int]:
        return [number(zone / "energy_uj") for zone in self.zones]

    def joules(self) -> float:
        now = self._read()
        for old, new, top in zip(self.last, now, self.ranges, strict=True):
            self.total += new - old if new >= old else new - old + top
        self.last = now
        return self.total / 1e6  # from uJ


def number(path: Path) -> int:
    return int(path.read_text())


def is_package(zone: Path) -> bool:
    """A package's zone, which those of its cores and memory lie within."""
    return (zone / "name").read_text().startswith("package")


def counter(folder: Path = POWERCAP) -> Nvml | Rapl | None:
    """What can be read here: of the current GPU where there is CUDA, else of the CPU packages."""
    import torch

    if torch.cuda.is_available():
        return gpu_counter(str(torch.cuda.get_device_properties().uuid))
    try:
        return Rapl(folder)
    except (OSError, ValueError):
        return None


def gpu_counter(uuid: str) -> Nvml | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        return Nvml(pynvml, f"GPU-{uuid}")
    except pynvml.NVMLError:
        return None
