"""What is trained is float32 although passes are in bfloat16, and stays so where it is loaded."""

from types import SimpleNamespace

import pytest
import torch
import trainings

from bench.methods import ppo
from bench.methods.ppo.roles import assemble
from bench.models.loading import adapt, load_policy, load_scorer, load_tokenizer, save
from bench.steps import reward
from bench.steps.base import small_llama
from bench.studies import load
from bench.training import trainer

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


def test_an_adapter_is_not_rounded_into_the_weights_of_a_loaded_model(
    sft_and_reward, tokenizer, tmp_path
):
    half = trainings.LORA.model_copy(update={"dtype": "bfloat16"})
    trained = adapt(load_policy(sft_and_reward / "sft", half), half).eval()
    for name, weight in trained.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.01)
    save(trained, tokenizer, tmp_path)
    ids = torch.arange(8)[None]
    with torch.no_grad():
        found = load_policy(tmp_path, half).eval()(ids).logits
        assert torch.equal(found, trained(ids).logits)
        with trained.disable_adapter():
            assert not torch.equal(found, trained(ids).logits)


def test_a_head_over_adapters_in_bfloat16_is_trained_in_float32(sft_and_reward, tmp_path):
    half = trainings.LORA.model_copy(update={"dtype": "bfloat16"})
    scorer = reward.new_scorer(load_scorer(sft_and_reward / "sft", half))
    model, watch = adapt(scorer, half, "SEQ_CLS"), trainings.monitor(tmp_path)
    tokenizer = load_tokenizer(sft_and_reward / "sft")
    settings = load("tiny", ["reward.warmup=0"]).reward
    todo = trainer.Training("reward", model, tokenizer, settings, 5, tmp_path, watch, watch.ledger)
    start = model.score.weight.detach().float().clone()
    rows = reward.tokenised(tokenizer, trainings.pairs(8, 3))
    trainer.fit(reward.reward_trainer(todo, rows), todo, head="scalar")
    assert model.score.weight.dtype == torch.float32
    assert not torch.equal(model.score.weight, start)


@pytest.mark.parametrize("rate,kept", [(0.0, torch.bfloat16), (0.05, torch.float32)])
def test_a_reference_takes_the_small_steps_of_one_that_moves(rate, kept, sft_and_reward):
    sft, reward = sft_and_reward / "sft", sft_and_reward / "reward"
    run = SimpleNamespace(
        settings=ppo.Settings(reference_ema=rate),
        policy=adapt(load_policy(sft, HALF), HALF),
        scorer=load_scorer(reward, HALF),
        model=HALF,
        sft=sft,
        reward=reward,
    )
    assert {weight.dtype for weight in assemble(run).reference.parameters()} == {kept}


@pytest.mark.parametrize("name", ["dpo", "orpo"])
def test_adapters_of_quantised_weights_stay_float32(name, tokenizer, tmp_path, monkeypatch):
    """Some trainers cast them: all four would not train alike."""
    pytest.importorskip("bitsandbytes", reason="pip install -e '.[quantise]'")
    method, _, rows, settings = trainings.RUNS[name]
    blocks = {"hidden": 64, "intermediate": 128}  # 4-bit weights come in blocks of 64
    model = trainings.LORA.model_copy(update=blocks | {"dtype": "bfloat16", "quantise": "nf4"})
    save(small_llama(model, tokenizer), tokenizer, tmp_path / "sft")
    monkeypatch.setitem(trainings.RUNS, name, (method, model, rows, settings | {"epochs": 1}))
    named = dict(trainings.aligned(name, tmp_path, tmp_path).policy.named_parameters())
    trained = {key: weight for key, weight in named.items() if weight.requires_grad}
    assert {weight.dtype for weight in trained.values()} == {torch.float32}
    assert all(weight.abs().max() > 0 for key, weight in trained.items() if "lora_B" in key)
