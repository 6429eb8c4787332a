"""GPUs are held by one run each, by lock files that end with their process."""

import os
import subprocess
import sys

import pytest

from bench.core.machine import gpus, pin_gpus, take, visible
from bench.core.schema import UserError
from bench.steps import runner

LISTED = """GPU 0: NVIDIA H200 (UUID: GPU-aa)
  MIG 1g.18gb     Device  0: (UUID: MIG-cc)
GPU 1: NVIDIA H200 (UUID: GPU-bb)
"""


@pytest.fixture
def listed(monkeypatch, tmp_path):
    """An nvidia-smi that lists two GPUs."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTED}END\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_what_a_cluster_gives_is_what_is_seen(monkeypatch, listed):
    assert gpus() == 2 and visible() == ["GPU-aa", "GPU-bb"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpus() == 1 and visible() == ["GPU-bb"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-bb,MIG-cc")
    assert visible() == ["GPU-bb", "MIG-cc"]
    for hidden in ("", "-1", "NoDevFiles"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert visible() == []


def test_a_gpu_that_is_held_is_not_given_twice(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    hold = "import sys; from bench.core.machine import pin_gpus; "
    hold += "from pathlib import Path; print(pin_gpus(2, Path(sys.argv[1])), flush=True); input()"
    words = [sys.executable, "-c", hold, tmp_path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline().strip() == "['2', '5']"
        assert take(["2", "5", "7"], 2, tmp_path) == []  # nor is the third kept meanwhile
        assert pin_gpus(1, tmp_path) == ["7"]
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
        other.communicate("\n")
    assert take(["2", "5"], 2, tmp_path) == ["2", "5"]


def test_more_than_there_are_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError, match="asks for 2 GPUs, but only 1 visible"):
        pin_gpus(2, tmp_path)


def test_a_machine_without_gpus_holds_none(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert pin_gpus(4, tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_a_gpu_is_taken_before_torch_looks_for_one(monkeypatch, tmp_path):
    """Later CUDA_VISIBLE_DEVICES changes nothing, and all runs of a machine would share one."""
    done = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "pin", lambda *_: done.append("taken"))
    monkeypatch.setattr(runner, "check_gpu", lambda: done.append("looked for"))
    runner.main("base", lambda *_: done.append("run"), argv=["--testbed", "tiny", "--needs-gpu"])
    assert done == ["taken", "looked for", "run"]
