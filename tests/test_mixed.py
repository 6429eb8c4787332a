"""Whole weights are trained in float32 although passes are in bfloat16."""

import pytest
import torch
import trainings

HALF = trainings.PLAIN.model_copy(update={"dtype": "bfloat16"})


@pytest.mark.parametrize("name", ["dpo", "ipo", "orpo", "ppo"])
def test_a_method(name, sft_and_reward, tmp_path, monkeypatch):
    method, _, rows, settings = trainings.RUNS[name]
    settings = settings | {"epochs": 1, "lr": 1e-6}  # steps that bfloat16 weights would lose
    runs = []
    for model in (trainings.PLAIN, HALF):
        monkeypatch.setitem(trainings.RUNS, name, (method, model, rows, settings))
        torch.manual_seed(0)
        root = tmp_path / model.dtype
        root.mkdir()
        runs.append(trainings.aligned(name, sft_and_reward, root))
    plain, half = (run.monitor.log for run in runs)
    assert half[0]["loss"] == pytest.approx(plain[0]["loss"], rel=0.02, abs=0.02)
    assert half[0]["loss"] != plain[0]["loss"]
    policy = runs[1].policy
    assert {weight.dtype for weight in policy.parameters()} == {torch.float32}
    start = trainings.load_policy(sft_and_reward / "sft", HALF).float()
    both = zip(policy.parameters(), start.parameters(), strict=True)
    assert not any(torch.equal(a, b) for a, b in both)
