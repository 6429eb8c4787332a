"""GPUs are held by one run each, by lock files that end with their process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.core.machine import gpus, hold, pin_gpus, take, visible
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


def test_slots_fill_the_emptiest_gpu_first_and_keep_out_who_wants_it_whole(tmp_path):
    taken = [take(["a", "b"], 1, tmp_path, slots=2) for _ in range(5)]
    assert taken == [["a"], ["b"], ["a"], ["b"], []]
    assert take(["a"], 1, tmp_path) == take(["b"], 1, tmp_path) == []


def test_a_gpu_that_is_held_whole_has_no_slot(tmp_path):
    assert take(["a"], 1, tmp_path) == ["a"]
    assert take(["a", "b"], 1, tmp_path, slots=3) == ["b"]


NO_MEMORY = """
def take_memory(again):
    if not again:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
"""
STEP = """
import os, sys
from bench.core import machine
from bench.steps import runner

def step(cfg, args):
    again = machine.ALONE in os.environ
    print("again" if again else "first", machine.gpu_slots(), machine.is_shared(), flush=True)
    take_memory(again)

os.chdir(sys.argv[1])
become = os.execv
os.execv = lambda python, words: become(python, [python, *sys.argv, *words[3:]])
runner.main("base", step, argv=["--testbed", "tiny", "--set", "jobs.per_gpu=3"])
"""


def test_a_step_out_of_memory_beside_others_begins_again_when_they_have_left(monkeypatch, tmp_path):
    """It gives up its slot, nobody gets one while it waits, and its locks end with it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "step.py").write_text(NO_MEMORY + STEP)
    words = [sys.executable, tmp_path / "step.py", tmp_path]
    locks = tmp_path / f"prefbench-gpus-{os.getuid()}"
    locks.mkdir()
    other = hold(locks / "5", 0)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as done:
        assert done.stdout.readline() == "first 3 True\n"
        while third := hold(locks / "5", 2):  # until it waits, and keeps others out
            for lock in third:
                os.close(lock)
            time.sleep(0.1)
        assert done.poll() is None
        for lock in other:
            os.close(lock)
        said, errors = done.communicate(timeout=60)
    assert said == "again 3 False\n" and "begins again, alone" in errors
    assert done.returncode == 0
    assert take(["5"], 1, locks) == ["5"]


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
