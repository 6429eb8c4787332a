"""What a user sees: one line for a mistake, writing that never leaves half a file, progress."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.core import disk, machine
from bench.core.files import atomic, write_json
from bench.core.progress import Progress
from bench.steps import runner

REPO = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "step,hint",
    [
        (["sft"], "runs/tiny/base holds no model: run snakemake"),
        (["pairs", "draw", "--seed", "1"], "pool.jsonl is missing: run snakemake"),
        (["report"], "is missing: run snakemake"),
        (["verify"], "is missing: run snakemake, which makes the report"),
        (["align", "--arm", "dpoo", "--seed", "1"], "did you mean 'dpo'"),
    ],
)
def test_a_step_without_its_input_is_one_line(tmp_path, step, hint):
    command = [sys.executable, "-m", "bench", *step, "--testbed", "tiny"]
    env = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and hint in lines[0]


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(cfg, args):
        with atomic(tmp_path / "out.csv") as part:
            part.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SystemExit) as stop:
        runner.main("data", run, argv=["--testbed", "tiny"])
    assert stop.value.code == 1
    assert "disk is full" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_too_little_disk_is_refused_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(disk, "SPARE", 1e15)
    with pytest.raises(SystemExit):
        runner.main("data", lambda *_: pytest.fail("it began"), argv=["--testbed", "tiny"])
    assert "error: this step needs about 1e+06 GB of disk in" in capsys.readouterr().err


def test_an_old_result_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "result.json"
    write_json(target, {"a": 1})
    with pytest.raises(RuntimeError), atomic(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert "1" in target.read_text()


def test_progress_speaks_of_rate_and_time_left():
    line = Progress("dpo seed 1", 10).line({"loss": 0.5})
    assert line.startswith("0/10 step") and "s left" in line and "loss 0.5" in line


def test_out_of_memory_is_a_result_only_of_a_run_alone_on_its_gpu(monkeypatch):
    from bench.steps import align

    def train(run):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(align, "out_of_memory", lambda error, *_: str(error)[:18])
    method = SimpleNamespace(train=train)
    monkeypatch.setenv("PREFBENCH_SLOTS", "4")
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        align.attempt(method, None)
    for name, value in (("PREFBENCH_ALONE", "1"), ("PREFBENCH_SLOTS", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert align.attempt(method, None) == ("oom", "CUDA out of memory")


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried 2 GiB")])
def test_a_step_out_of_memory_is_one_line(error, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def step(cfg, args):
        raise error

    with pytest.raises(SystemExit):
        runner.main("data", step, argv=["--testbed", "tiny"])
    said = capsys.readouterr().err
    assert said.startswith(f"error: {str(error) or 'MemoryError'}: lower model.micro_batch")
    assert "python -m bench estimate --testbed tiny" in said and said.count("\n") == 1


@pytest.mark.parametrize("slots,alone,share", [(4, False, [0.25]), (4, True, []), (1, False, [])])
def test_a_run_that_shares_its_gpu_is_held_to_its_share(slots, alone, share, monkeypatch):
    import torch

    given = []
    monkeypatch.setenv(machine.SLOTS, str(slots))
    monkeypatch.delenv(machine.ALONE, raising=False)
    if alone:
        monkeypatch.setenv(machine.ALONE, "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", given.append)
    runner.cap_memory()
    assert given == share
