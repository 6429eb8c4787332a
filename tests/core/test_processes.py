"""Several processes train what one trains: each method on two (gloo, CPU) against one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from trainings import RUNS, TRAININGS

from bench.core import processes
from bench.core.schema import UserError
from bench.methods import METHODS, trains
from bench.methods.ppo import Settings
from bench.settings.sections import Launch
from bench.steps.launch import CONFIGS, command
from bench.studies import load
from bench.training.batches import check_rollouts, splits

HERE = Path(__file__).parents[1]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# TRL averages these over passes, and two processes make other passes of a batch than one
BY_PASS = {"entropy", "mean_token_accuracy", "min_reward", "max_reward"}


def train(folder, out, names, launcher=(), device="cpu"):
    env = os.environ | {"PYTHONPATH": str(HERE.parent), "TRAININGS_DEVICE": device}
    env |= {"ACCELERATE_USE_CPU": "true"} if device == "cpu" else {}
    words = [sys.executable, *launcher, HERE / "trainings.py", folder, out, *names]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.fixture(scope="module")
def outcomes(sft_and_reward, tmp_path_factory):
    """The folders of what one process and what two have written."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    train(sft_and_reward, one, TRAININGS)
    train(sft_and_reward, two, TRAININGS, TORCHRUN)
    return one, two


def read(out, name):
    return json.loads((out / f"{name}.json").read_text()), torch.load(out / f"{name}.pt")


def assert_same(one, two, name, atol=2e-6):
    """But for the order in which floats were added."""
    (a, weights), (b, others) = (read(out, name) for out in (one, two))
    assert len(a["log"]) == len(b["log"]) > 2
    for row, other in zip(a["log"], b["log"], strict=True):
        assert row.keys() == other.keys() >= {"loss", "grad_norm"}
        for key in row.keys() - BY_PASS:
            assert row[key] == pytest.approx(other[key], rel=1e-3, abs=1e-4), key
    ends = [run["validation_loss"] or 0.0 for run in (a, b)]  # the pair methods have one
    assert ends[0] == pytest.approx(ends[1], rel=1e-5)
    torch.testing.assert_close(weights, others, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_train_what_one_trains(outcomes, name):
    assert_same(*outcomes, name)


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_book_what_one_books(outcomes, name):
    one, two = (read(out, name)[0]["cost"] for out in outcomes)
    work = [[row[key] for row in rows for key in ("tokens", "generated")] for rows in (one, two)]
    assert work[0] == work[1]
    flops = [sum(row["flops"] for row in rows) for rows in (one, two)]
    assert flops[0] == pytest.approx(flops[1]) and flops[0] > 0
    assert len({row["phase"] for row in two}) == len(two)


def test_episodes_of_ppo_end_at_different_times(outcomes):
    """Or it would not show that no row's draws depend on when others end."""
    rows = read(outcomes[0], "ppo")[0]["log"]
    assert any(0 < row["ended"] < 1 for row in rows)


@pytest.mark.parametrize("there,here", [(0, TORCHRUN), (1, ())])
def test_a_run_goes_on_with_another_number_of_processes(
    there, here, sft_and_reward, outcomes, tmp_path
):
    names = ["orpo", "ppo"]
    for name in names:
        where = f"checkpoints/{name}"
        shutil.copytree(outcomes[there] / where, tmp_path / where)
        assert list((tmp_path / where).glob("checkpoint-*/manifest.json"))
    said = train(sft_and_reward, tmp_path, names, here)
    assert said.count("resuming from") == len(names)
    for name in names:
        assert_same(outcomes[0], tmp_path, name)


@pytest.mark.parametrize(
    "batch,micro,n,count,expected",
    [
        (64, None, 100, 1, (64, 1)),  # one pass: its last may be short
        (64, 16, 128, 1, (16, 4)),
        (64, 16, 100, 1, (4, 16)),  # 36 are left: passes of 9 do not divide 64
        (64, None, 128, 8, (8, 1)),
        (64, 4, 128, 8, (4, 2)),
        (32, None, 1500, 2, (2, 8)),  # 28 are left
    ],
)
def test_passes_make_up_the_batch_and_the_last_one(batch, micro, n, count, expected):
    rows, passes = splits(batch, micro, n, count)
    assert (rows, passes) == expected
    assert rows * passes * count == batch
    assert count == passes == 1 or n % (rows * count) == 0


def test_a_batch_that_cannot_be_shared_is_one_line():
    with pytest.raises(UserError, match=r"8 processes cannot share 1500 rows in .* of 32.* of 8"):
        splits(32, None, 1500, 8)
    check_rollouts(Settings(batch=64, minibatch=12), 4)
    with pytest.raises(UserError, match=r"batch=64 in minibatches of 12 .* multiples of 8"):
        check_rollouts(Settings(batch=64, minibatch=12), 8)


def test_shares_are_all_rows_once(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    shares = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        shares.append("abcdefghij"[processes.own_rows(10)])
    assert "".join(shares) == "abcdefghij"
    assert {len(share) for share in shares} == {3, 4}


@pytest.mark.parametrize("config", Launch.model_fields["config"].annotation.__args__)
def test_accelerate_accepts_each_configuration(config):
    from accelerate.commands.config.config_args import load_config_from_file

    file = CONFIGS / f"{config}.yaml"
    found = load_config_from_file(str(file))
    assert found.distributed_type.value == yaml.safe_load(file.read_text())["distributed_type"]
    words = command(4, config, True, ["align", "--arm", "dpo"])
    assert words[2:5] == ["accelerate.commands.launch", "--config_file", str(file)]
    assert words[-5:] == ["-m", "bench", "align", "--arm", "dpo"]


def test_ppo_and_adapters_are_not_sharded():
    with pytest.raises(UserError, match=r"arm ppo, which samples, does not support: set .*=ddp"):
        load("tiny", ["launch={processes: 2, config: fsdp}"])
    only = "studies={mine: [dpo]}", "study=mine", "launch={processes: 2, config: zero3}"
    assert load("tiny", only).launch.config == "zero3"
    with pytest.raises(UserError, match=r"LoRA \(model\.lora\) does not support: set .*=ddp"):
        load("tiny", [*only, "model.lora={r: 4}"])


def test_graphs_need_whole_weights_on_one_gpu():
    graph = "launch.cuda_graph=true"
    only = "studies={mine: [dpo]}", "study=mine", "launch={processes: 2, config: fsdp}"
    with pytest.raises(
        UserError, match=r"unlike launch\.config=fsdp: set launch\.cuda_graph=false"
    ):
        load("tiny", [*only, graph])
    quantised = "model={lora: {r: 4}, dtype: bfloat16, quantise: nf4}"
    with pytest.raises(UserError, match=r"unlike model\.quantise=nf4: set launch\.cuda_graph"):
        load("tiny", [quantised, graph])
    assert load("tiny", [graph, "launch.processes=2"]).launch.cuda_graph


def test_a_gpu_is_shared_by_runs_or_a_run_takes_several():
    with pytest.raises(UserError, match=r"jobs\.per_gpu=3 shares a GPU .* holds 2 whole ones"):
        load("tiny", ["jobs.per_gpu=3", "launch.processes=2"])
    assert load("tiny", ["jobs.per_gpu=3"]).jobs.per_gpu == 3


def test_batches_that_processes_cannot_share_are_refused_before_anything_runs():
    only = "studies={mine: [dpo]}", "study=mine", "launch.processes=3"
    with pytest.raises(UserError, match=r"arm dpo: .* of 3"):
        load("tiny", only)
    with pytest.raises(UserError, match=r"reward model of arm dpo: .* of 3"):
        load("tiny", [*only, "dpo.batch=12"])
    load("tiny", [*only, "dpo.batch=12", "reward.batch=12"])
    with pytest.raises(UserError, match=r"arm ppo: batch=16"):
        load("tiny", ["studies={mine: [ppo]}", "study=mine", "launch.processes=3"])


def test_the_number_of_processes_reruns_nothing():
    from bench.steps.fingerprint import fingerprint

    one, two = (load("tiny", [f"launch.processes={n}"]) for n in (1, 2))
    for arm in ("dpo", "ppo"):
        assert fingerprint(one, "align", arm) == fingerprint(two, "align", arm)


def test_all_trainings_are_of_known_methods():
    known = {name for name, module in METHODS.items() if trains(module)}
    assert {method for method, *_ in RUNS.values()} == known - {"simpo"}
