"""SFT's trainer against TRL's SFTTrainer, on ragged demonstrations: the same loss and weights."""

import copy

import pytest
import torch
from trainings import PLAIN, monitor, pairs

from bench.models.loading import load_policy, load_tokenizer
from bench.steps import sft
from bench.steps.speed import trl_sft
from bench.studies import load
from bench.training.answer_trainer import DemonstrationTrainer
from bench.training.trainer import Training

STEPS = 12


def job(folder, root, micro_batch):
    """20 demonstrations in batches of 8, the last of 4."""
    settings = load("tiny").sft.model_copy(update={"batch": 8, "steps": STEPS})
    model, watch = load_policy(folder / "sft", PLAIN), monitor(root)
    tokenizer = load_tokenizer(folder / "sft")
    parts = "sft", model, tokenizer, settings, 5, root, watch, watch.ledger
    todo = Training(*parts, micro_batch)
    texts = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in pairs(20, 3)]
    return todo, sft.tokenised(tokenizer, texts)


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_weights_after_some_steps_are_trl_s(micro_batch, sft_and_reward, tmp_path):
    todo, rows = job(sft_and_reward, tmp_path, micro_batch)
    start = weights(todo.policy)
    other = copy.copy(todo)
    other.policy = copy.deepcopy(todo.policy)
    DemonstrationTrainer(todo, rows).train()
    trl_sft.trainer(other, rows).train()
    apart = (weights(todo.policy) - weights(other.policy)).norm()
    assert apart <= 1e-3 * (weights(other.policy) - start).norm()


def test_loss_is_the_mean_over_the_answers_tokens(sft_and_reward, tmp_path):
    todo, rows = job(sft_and_reward, tmp_path, None)
    trainer = DemonstrationTrainer(todo, rows)
    batch = trainer.collate(rows[:8])
    trainer.mean_tokens = batch["counts"][0] / batch["counts"][1]
    losses = []
    for row in rows[:8]:
        ids, start = torch.tensor(row["prompt_ids"] + row["answer_ids"]), len(row["prompt_ids"])
        logps = trainer.model(ids[None]).logits[0, :-1].log_softmax(-1)
        losses += (-logps.gather(1, ids[1:, None])[start - 1 :, 0]).tolist()
    found = trainer.compute_loss(trainer.model, batch).item()
    assert found == pytest.approx(sum(losses) / len(losses), rel=1e-5)
