"""Measures by hand: the win rate that does not count length."""

import fake_runs
import numpy as np
import pytest
from scipy import optimize

from bench.analysis.measures.quality import win_at_no_difference, win_lc
from bench.analysis.results import Arm


def test_wins_that_length_explains_leave_an_even_chance():
    longer = np.repeat([-6, -3, 3, 6], 25)
    assert win_at_no_difference(100.0 * (longer > 0), longer) == pytest.approx(50, abs=0.1)


def test_without_a_difference_in_length_it_is_the_plain_rate():
    wins = np.array([100, 100, 100, 50, 0])
    assert win_at_no_difference(wins, np.zeros(5)) == 70
    assert win_at_no_difference(wins, np.full(5, 4.0)) == 70  # lengths that cannot explain


def test_length_that_has_nothing_to_do_with_winning_changes_nothing():
    wins, longer = np.tile([100, 100, 0, 50], 10), np.repeat([-5, 5], 20)
    assert win_at_no_difference(wins, longer) == pytest.approx(62.5, abs=0.01)


def test_the_model_is_that_of_dubois_and_colleagues():
    """Wins drawn from sigmoid(a + b tanh(d / SD)): the rate at d = 0 is sigmoid(a)."""
    rng = np.random.default_rng(0)
    longer = rng.normal(4, 6, 20_000)  # most answers are longer, which helps
    chance = 1 / (1 + np.exp(-(-0.5 + 1.5 * np.tanh(longer / longer.std()))))
    wins = 100.0 * (rng.random(20_000) < chance)
    assert win_at_no_difference(wins, longer) == pytest.approx(100 / (1 + np.exp(0.5)), abs=1.5)
    assert wins.mean() > 50


def test_few_prompts_are_fitted_as_the_likelihood_has_it():
    """Against a general optimiser, so that the penalty is seen to do nothing."""
    rng = np.random.default_rng(3)
    longer = rng.normal(3, 5, 40)
    won = 1.0 * (rng.random(40) < 1 / (1 + np.exp(-np.tanh(longer / 5) * 2)))
    x = np.tanh(longer / longer.std())

    def cost(w):
        score = w[0] + w[1] * x
        return np.sum(np.logaddexp(0, score) - won * score)

    best = optimize.minimize(cost, [0.0, 0.0]).x[0]
    expected = 100 / (1 + np.exp(-best))
    assert win_at_no_difference(100 * won, longer) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    "wins,expected", [([100] * 4, 100), ([0] * 4, 0), ([50] * 4, 50), ([100], 100), ([50], 50)]
)
def test_all_wins_all_ties_or_one_prompt_are_no_trouble(wins, expected):
    assert win_at_no_difference(np.array(wins), np.arange(len(wins)) + 1) == expected


def test_it_is_taken_seed_by_seed_on_prompts_that_sft_answered():
    """Seed 1 wins where it is longer, seed 2 wins three of four whatever its length."""
    base = [10, 10, 40, 40, 10, 10, 40, 40, 10]  # the SFT's own length is the prompt's affair
    rows = [("sft", 0, p, base[p], 0.0) for p in range(8)]
    rows += [("dpo", 1, p, base[p] + (4 if p % 2 else -4), 2.0 * (p % 2) - 1) for p in range(9)]
    rows += [
        ("dpo", 2, p, base[p] + (4 if p < 4 else -4), 1.0 if p % 4 else -1.0) for p in range(9)
    ]
    keys = ("arm", "seed", "prompt_id", "length", "gold")
    prompts = [dict(zip(keys, row, strict=True), family="review") for row in rows]
    results = fake_runs.by_hand([Arm("dpo", "dpo"), Arm("ppo", "ppo")], {"prompts": prompts})
    found = win_lc(results, "dpo")
    assert found[1] == pytest.approx(50, abs=0.1) and found[2] == pytest.approx(75, abs=0.1)
    assert win_lc(results, "ppo").empty and win_lc(results, "sft").empty
