"""Read the energy used, in joules: from NVML for the GPU, or from RAPL for the CPU packages.

Both count everything that runs on the device, not this process alone.
"""

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class Nvml:
    """Count the joules that one GPU has used since its driver was loaded; library: ``pynvml``."""

    SHARED = False  # each process reads the counter of its own GPU

    def __init__(self, library, uuid: str):
        library.nvmlInit()
        self.library, self.handle = library, library.nvmlDeviceGetHandleByUUID(uuid)
        self.joules()  # raises NVMLError if this GPU has no energy counter

    def joules(self) -> float:
        """Return the joules used so far."""
        return self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle) / 1e3  # from mJ


class Rapl:
    """Count the joules of all CPU packages since this object was made (Linux powercap, Intel, AMD).

    The counters wrap to 0 after minutes to hours of load: call ``joules`` more often than that.
    """

    SHARED = True  # all processes on a machine read the same counters

    def __init__(self, folder: Path = POWERCAP):
        self.zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if is_package(zone)]
        if not self.zones:
            raise FileNotFoundError(f"no CPU package has a counter in {folder}")
        self.ranges = [number(zone / "max_energy_range_uj") for zone in self.zones]
        self.last, self.total = self._read(), 0

    def _read(self) -> list[int]:
        return [number(zone / "energy_uj") for zone in self.zones]

    def joules(self) -> float:
        """Return the joules used so far."""
        now = self._read()
        for old, new, top in zip(self.last, now, self.ranges, strict=True):
            self.total += new - old if new >= old else new - old + top
        self.last = now
        return self.total / 1e6  # from uJ


def number(path: Path) -> int:
    """Read a file that holds one whole number."""
    return int(path.read_text())


def is_package(zone: Path) -> bool:
    """True if a powercap zone is a CPU package; its cores and memory are zones inside it."""
    return (zone / "name").read_text().startswith("package")


def counter(folder: Path = POWERCAP) -> Nvml | Rapl | None:
    """Return a counter of the current GPU if CUDA is available, else of the CPUs; None if none."""
    import torch

    if torch.cuda.is_available():
        return gpu_counter(str(torch.cuda.get_device_properties().uuid))
    try:
        return Rapl(folder)
    except (OSError, ValueError):
        return None


def gpu_counter(uuid: str) -> Nvml | None:
    """Return a counter of the GPU with this UUID; None without pynvml or an energy counter."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        return Nvml(pynvml, f"GPU-{uuid}")
    except pynvml.NVMLError:
        return None
