"""What only a CUDA device can show; the same trainings are tested on CPUs elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import trainings
from test_machine import STEP
from test_processes import assert_same, train

from bench.core.machine import gpus
from bench.steps import rehearse, runner
from bench.steps.launch import command
from bench.training.ledger import Ledger

pytestmark = pytest.mark.gpu
METHODS = ["dpo", "ipo", "orpo", "ppo", "ppo-shared"]


def on(device, dtype, name, monkeypatch, **more):
    """A training's settings on a device."""
    method, model, rows, settings = trainings.RUNS[name]
    model = model.model_copy(update={"device": device, "dtype": dtype} | more)
    monkeypatch.setitem(trainings.RUNS, name, (method, model, rows, settings))


def first_loss(name, sft_and_reward, root):
    root.mkdir()
    return trainings.aligned(name, sft_and_reward, root).monitor.log[0]["loss"]


@pytest.mark.parametrize("name", ["dpo", "ipo", "orpo"])  # PPO's luck is the device's own
def test_the_first_loss_is_the_cpu_s(name, sft_and_reward, tmp_path, monkeypatch):
    found = []
    for device in ("cpu", "cuda"):
        on(device, "float32", name, monkeypatch)
        found.append(first_loss(name, sft_and_reward, tmp_path / device))
    assert found[1] == pytest.approx(found[0], rel=1e-4)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_in_bfloat16(
    name, checkpointing, sft_and_reward, tmp_path, monkeypatch
):
    on("cuda", "bfloat16", name, monkeypatch, checkpointing=checkpointing)
    assert first_loss(name, sft_and_reward, tmp_path / name) < 100


def test_the_ledger_reads_the_device_s_memory():
    ledger = Ledger()
    with ledger.phase("train"):
        held = torch.zeros(2**26, device="cuda")  # 256 MiB
        torch.cuda.synchronize()
    assert ledger.memory.peaks["peak_reserved_mb"] >= held.numel() * 4 / 2**20


def test_a_step_that_needs_a_gpu_finds_it():
    runner.check_gpu()


MOST = """
def take_memory(again):
    import torch

    most = torch.cuda.get_device_properties(0).total_memory
    torch.empty(most // 2, dtype=torch.uint8, device="cuda")  # more than the third of a slot
"""


def test_a_slot_has_its_part_of_the_memory_and_a_run_alone_has_more(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    (tmp_path / "step.py").write_text(MOST + STEP)
    words = [sys.executable, tmp_path / "step.py", tmp_path]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout == "first 3 True\nagain 3 False\n", done.stderr


@pytest.mark.skipif(gpus() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("config", ["ddp", "fsdp", "zero2", "zero3"])
def test_two_gpus_train_what_one_trains(config, sft_and_reward, tmp_path):
    if config.startswith("zero"):
        pytest.importorskip("deepspeed", reason="pip install deepspeed")
    names = ["dpo", "orpo", *(["ppo"] if config == "ddp" else [])]
    _, *launcher, _, _ = command(2, config, True, ["align"])
    for out, words in (("one", ()), ("two", launcher)):
        train(sft_and_reward, tmp_path / out, names, words, device="cuda")
    for name in names:  # kernels add in another order each time
        assert_same(tmp_path / "one", tmp_path / "two", name, atol=1e-4)


def test_a_rehearsal_measures_the_device(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rehearse.main(["--testbed", "tiny", "--set", "jobs.gpu=1"])
    text = capsys.readouterr().out
    assert torch.cuda.get_device_name() in text and "GPU-hours" in text
    assert "failed" not in text
