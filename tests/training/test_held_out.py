"""Held-out accuracy: how often the log-ratio of the chosen answer is the larger one."""

import copy
import math

import pytest
import torch
from test_losses import PAIRS, logps

from bench.evaluation.samples import HeldOut
from bench.models.passes import tokenised


def moved(policy, scale=0.5):
    """A copy of the policy with other weights."""
    torch.manual_seed(1)
    other = copy.deepcopy(policy)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(scale * weight.std() * torch.randn_like(weight))
    return other


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_accuracy_is_that_of_the_log_ratios(policy, tokenizer, batch):
    pairs = PAIRS + [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in PAIRS]
    pairs += [PAIRS[0] | {"rejected": "the but then ."}]
    other = moved(policy)
    right = []
    for row in tokenised(tokenizer, pairs):
        gaps = [
            (logps(model, row["prompt_ids"], row["chosen_ids"]).sum()
             - logps(model, row["prompt_ids"], row["rejected_ids"]).sum()).item()
            for model in (other, policy)
        ]  # fmt: skip
        right.append(gaps[0] > gaps[1])
    found = HeldOut(tokenizer, pairs, policy, batch)
    assert found.accuracy(other) == pytest.approx(sum(right) / len(right))
    assert 0 < sum(right) < len(right)
    assert found.accuracy(policy) == 0.5  # of the SFT base itself: all are ties


def test_without_pairs_it_is_unknown_and_training_mode_stays(policy, tokenizer):
    assert math.isnan(HeldOut(tokenizer, [], policy, 4).accuracy(policy))
    other = moved(policy).train()
    HeldOut(tokenizer, PAIRS, policy, 4).accuracy(other)
    assert other.training
