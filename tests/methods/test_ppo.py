"""methods/ppo/trainer.py against brute force, worked cases and a reward whose optimum is known."""

import math

import numpy as np
import pytest
import torch

from bench.methods.ppo.trainer import (
    gae,
    masked_mean,
    policy_loss,
    token_rewards,
    value_loss,
    whiten,
)


def ragged(rows=6, columns=5, seed=0):
    """Random (B, T) values and a mask of random lengths from 1 to T."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, columns + 1, rows)
    mask = (np.arange(columns) < lengths[:, None]).astype(float)
    return torch.tensor(rng.normal(size=(rows, columns)) * mask), torch.tensor(mask), lengths


def brute_gae(rewards, values, length, gamma, lam):
    """Equation 16 of 1506.02438 as a double sum over one episode."""
    following = [*values[1:length], 0.0]
    delta = [rewards[t] + gamma * following[t] - values[t] for t in range(length)]
    return [
        sum((gamma * lam) ** k * delta[t + k] for k in range(length - t)) for t in range(length)
    ]


@pytest.mark.parametrize("gamma,lam", [(1.0, 0.95), (0.9, 0.8), (1.0, 1.0), (1.0, 0.0)])
def test_gae_is_the_sum_of_its_definition(gamma, lam):
    rewards, mask, lengths = ragged(seed=1)
    values, _, _ = ragged(seed=2)
    values = values * mask
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    for row, length in enumerate(lengths):
        expected = brute_gae(rewards[row].tolist(), values[row].tolist(), length, gamma, lam)
        assert advantages[row, :length].tolist() == pytest.approx(expected)
        assert advantages[row, length:].abs().sum() == 0
    torch.testing.assert_close(returns, (advantages + values) * mask)


def test_with_lambda_one_returns_are_the_rewards_to_go():
    rewards, mask, lengths = ragged(seed=3)
    values, _, _ = ragged(seed=4)
    _, returns = gae(rewards, values * mask, mask, 1.0, 1.0)
    for row, length in enumerate(lengths):
        togo = rewards[row, :length].flip(0).cumsum(0).flip(0)
        torch.testing.assert_close(returns[row, :length], togo)


def test_score_lands_on_the_last_token_and_kl_on_each():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    logps = torch.tensor([[-1.0, -2.0, 0.0], [-1.0, -1.0, -1.0]])
    ref = torch.tensor([[-1.5, -1.0, 0.0], [-1.0, -1.0, -3.0]])
    rewards = token_rewards(torch.tensor([10.0, 20.0]), logps, ref, mask, beta=0.1)
    expected = torch.tensor([[-0.05, 10.1, 0.0], [0.0, 0.0, 19.8]])
    torch.testing.assert_close(rewards, expected)


def test_whitening_has_zero_mean_and_unit_population_variance():
    x, mask, _ = ragged(rows=20, seed=5)
    white = whiten(x * 3 + 7 * mask, mask)
    real = white[mask.bool()]
    assert real.mean().item() == pytest.approx(0, abs=1e-9)
    assert real.var(unbiased=False).item() == pytest.approx(1, abs=1e-5)
    assert white[~mask.bool()].abs().sum() == 0


@pytest.mark.parametrize(
    "ratio,advantage,loss,clipped",
    [(1.5, 1.0, -1.2, 1), (0.5, 1.0, -0.5, 0), (1.5, -1.0, 1.5, 0), (0.5, -1.0, 0.8, 1)],
)
def test_the_clip_is_pessimistic_on_both_sides(ratio, advantage, loss, clipped):
    new, old = torch.tensor([[math.log(ratio)]]), torch.zeros(1, 1)
    got, share = policy_loss(new, old, torch.full((1, 1), advantage), torch.ones(1, 1), 0.2)
    assert got.item() == pytest.approx(loss, rel=1e-6)
    assert share.item() == clipped


def test_a_clipped_ratio_has_no_gradient():
    new = torch.tensor([[math.log(1.5)]], requires_grad=True)
    policy_loss(new, torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1), 0.2)[0].backward()
    assert new.grad.item() == 0


def test_value_loss_takes_the_worse_of_plain_and_clipped():
    values, old = torch.tensor([[2.0, 0.1]]), torch.tensor([[0.0, 0.0]])
    returns, mask = torch.tensor([[2.0, 1.0]]), torch.ones(1, 2)
    # first: the clipped value 0.2 is 1.8 away; second: 0.1 is within the clip, 0.9 away
    expected = 0.5 * (1.8**2 + 0.9**2) / 2
    assert value_loss(values, old, returns, mask, 0.2).item() == pytest.approx(expected)


def test_masked_mean_ignores_padding():
    x, mask = torch.tensor([[1.0, 99.0], [3.0, 5.0]]), torch.tensor([[1, 0], [1, 1]])
    assert masked_mean(x, mask).item() == pytest.approx(3.0)
