"""A full disk is one line, whichever library finds it; what was half written goes."""

import errno
import os
import platform
import subprocess
from pathlib import Path

import pytest

from bench.core import disk, files
from bench.core.schema import UserError


@pytest.fixture
def small(disk_of):
    return disk_of("2M")


def by_safetensors(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1_000_000)}, path)


def by_torch(path: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(1_000_000)}, path)


def by_pandas(path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"a": range(1_000_000)}).to_csv(path)


def by_numpy(path: Path) -> None:
    import numpy as np

    np.save(path, np.zeros(1_000_000))


def by_arrow(path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"a": list(range(1_000_000))}), path, compression="none")


def by_us(path: Path) -> None:
    files.write_lines(path, ({"a": i} for i in range(1_000_000)))


@pytest.mark.parametrize(
    "write",
    [by_safetensors, by_torch, by_pandas, by_numpy, by_arrow, by_us],
    ids=lambda f: f.__name__,
)
def test_a_full_disk_is_recognised(small, write):
    with pytest.raises(Exception) as error:
        write(small / "file")
    assert "the disk is full" in disk.explained(error.value)
    assert "run the same command" in disk.explained(error.value)


@pytest.mark.parametrize("write", [by_safetensors, by_torch, by_pandas, by_arrow, by_us])
def test_a_limit_on_files_is_recognised(tmp_path, write):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, 10**5))\n"
        "from pathlib import Path; from bench.core import disk; from tests.core import test_disk\n"
        f"try: test_disk.{write.__name__}(Path(sys.argv[1]))\n"
        "except Exception as error: print(disk.explained(error))"
    )
    words = [os.sys.executable, "-c", code, str(tmp_path / "file")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert "`ulimit -f`" in done.stdout, done.stdout + done.stderr


def test_a_quota_is_recognised_through_the_errors_that_follow():
    try:
        try:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        except OSError:
            raise ValueError("no such table")  # noqa: B904
    except ValueError as error:
        assert disk.explained(error).startswith("the disk quota is used up")


def test_what_is_full_is_named():
    """Shared memory, for example, which is no disk of ours."""
    said = "unable to write to file </torch_1_2>: No space left on device (28)"
    assert disk.explained(RuntimeError(said)).endswith(f"({said})")
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
    assert disk.explained(full).endswith("(/tmp/x)")


def test_other_errors_are_not_the_disk_s():
    assert disk.explained(OSError(errno.EACCES, "Permission denied")) is None
    assert disk.explained(RuntimeError("CUDA out of memory")) is None
    assert disk.explained(ValueError("3 requested and 2 given")) is None


def test_too_little_disk_is_refused_with_what_is_needed(tmp_path):
    with pytest.raises(
        UserError, match=r"^study 'views' needs about 1e\+06 GB of disk in .*not/yet"
    ):
        disk.check(tmp_path / "not" / "yet", 1e15, "study 'views'")


@pytest.mark.parametrize("kind", ["a file", "a link to nothing"])
def test_what_is_in_the_way_is_named(tmp_path, kind):
    runs = tmp_path / "runs"
    runs.touch() if kind == "a file" else runs.symlink_to("nowhere")
    with pytest.raises(UserError, match=f"^{runs} is {kind}, where a folder is needed"):
        disk.checked(runs / "tiny")


def test_a_folder_that_is_read_only_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(UserError, match=f"^this user may not write into {tmp_path}: "):
        disk.checked(tmp_path / "runs")


def ended() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_a_killed_process_left_half_written_goes_with_the_next_try(tmp_path):
    path, here = tmp_path / "a [1].json", platform.node()
    left = [
        path.with_name(f".{path.name}.part{number}-{node}")
        for number, node in ((ended(), here), (os.getppid(), here), (ended(), "elsewhere"))
    ]
    left[0].mkdir()
    (left[0] / "half").write_text("x")
    for other in left[1:]:
        other.write_text("x")
    files.write_json(path, {})
    assert [part.exists() for part in left] == [False, True, True]


def test_what_another_user_s_process_may_still_write_stays(tmp_path, monkeypatch):
    def refuse(number, signal):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "kill", refuse)
    left = tmp_path / f".a.json.part1-{platform.node()}"
    left.write_text("x")
    files.write_json(tmp_path / "a.json", {})
    assert left.exists()
