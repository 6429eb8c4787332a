"""The intervals, against independent implementations and against simulated truth."""

import itertools

import numpy as np
import pytest
from scipy import stats

from bench.analysis import statistics as st

REGIMES = {"balanced": (0.1, 1.0), "seeds": (0.5, 1.0), "prompts": (0.0, 2.0)}


def simulate(rng, seeds, prompts, sd_seed, sd_prompt, sd_rest=1.0):
    """A table [S, P] whose true mean is 0."""
    return (
        rng.normal(0, sd_seed, (seeds, 1))
        + rng.normal(0, sd_prompt, (1, prompts))
        + rng.normal(0, sd_rest, (seeds, prompts))
    )


def brute_force_mean_squares(y):
    """The textbook sums of squares, by loops."""
    seeds, prompts = y.shape
    grand = sum(sum(row) for row in y) / y.size
    rows = [sum(y[s]) / prompts for s in range(seeds)]
    cols = [sum(y[:, p]) / seeds for p in range(prompts)]
    ss_s = prompts * sum((r - grand) ** 2 for r in rows)
    ss_p = seeds * sum((c - grand) ** 2 for c in cols)
    ss_total = sum((v - grand) ** 2 for v in y.ravel())
    rest = ss_total - ss_s - ss_p
    return ss_s / (seeds - 1), ss_p / (prompts - 1), rest / ((seeds - 1) * (prompts - 1))


def test_mean_squares_match_the_textbook():
    y = simulate(np.random.default_rng(0), 4, 7, 1.0, 2.0)
    np.testing.assert_allclose(st.mean_squares(y), brute_force_mean_squares(y))


def test_two_seeds_reduce_to_the_paired_t_test():
    """With S = 2, MS_s / MS_e is the square of the paired t over prompts."""
    y = simulate(np.random.default_rng(1), 2, 9, 1.0, 1.0)
    ms_s, _, ms_e = st.mean_squares(y)
    assert ms_s / ms_e == pytest.approx(stats.ttest_rel(y[0], y[1]).statistic ** 2)


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("regime", REGIMES)
def test_coverage_is_what_it_claims(seeds, regime):
    rng = np.random.default_rng(7)
    trials = 2000
    hits = 0
    for _ in range(trials):
        interval = st.crossed(simulate(rng, seeds, 100, *REGIMES[regime]))
        hits += interval.low <= 0 <= interval.high
    assert (0.915 if seeds == 3 else 0.93) <= hits / trials <= 0.975


def test_degrees_of_freedom_stay_within_their_bounds():
    rng = np.random.default_rng(3)
    for sd_seed, sd_prompt in itertools.product([0, 1, 10], [0, 1, 10]):
        df = st.crossed(simulate(rng, 5, 30, sd_seed, sd_prompt)).df
        assert 4 <= df <= 29


def test_one_seed_says_that_it_covers_prompts_only():
    y = np.random.default_rng(4).normal(1, 1, (1, 50))
    interval = st.crossed(y)
    low, high = stats.t.interval(0.95, 49, y.mean(), stats.sem(y[0]))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.over == "prompts only (one seed)"


def test_a_paired_difference_drops_what_is_shared():
    rng = np.random.default_rng(5)
    shared = rng.normal(0, 10, (1, 80))
    a, b = shared + rng.normal(1, 0.1, (5, 80)), shared + rng.normal(0, 0.1, (5, 80))
    diff = st.paired_difference(a, b)
    assert diff.low < 1 < diff.high and diff.half < 0.1 < st.crossed(a).half


def test_a_difference_from_one_fixed_model_keeps_every_seed():
    a, sft = np.ones((3, 4)), np.zeros((1, 4))
    diff = st.paired_difference(a, sft)
    assert (diff.mean, diff.seeds, diff.half) == (1, 3, 0)
    with pytest.raises(ValueError, match="not paired"):
        st.paired_difference(np.ones((3, 4)), np.ones((2, 4)))


def test_missing_scores_are_refused():
    with pytest.raises(ValueError, match="full table"):
        st.crossed([[1.0, np.nan], [1.0, 2.0]])


def test_holm_by_hand():
    np.testing.assert_allclose(st.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert np.isnan(st.holm([np.nan, 0.02])).tolist() == [True, False]


def test_detectable_effect_is_found_with_the_power_claimed():
    rng = np.random.default_rng(6)
    se = np.sqrt(0.1**2 / 5 + 1 / 100 + 1 / 500)
    effect = st.detectable(st.Interval(0, 0, 0, se, 60, 5, 100, ""))
    found = [
        st.p_value(st.crossed(effect + simulate(rng, 5, 100, 0.1, 1.0))) < 0.05 for _ in range(800)
    ]
    assert 0.74 <= np.mean(found) <= 0.86


def test_equivalence_is_never_said_below_ten_seeds():
    def flat(seeds):
        return st.crossed(np.random.default_rng(8).normal(0, 0.01, (seeds, 50)))

    assert st.verdict("A", "B", flat(5), 0.9, margin=1.0) == "inconclusive"
    assert st.verdict("A", "B", flat(10), 0.9, margin=1.0) == "equivalent within 1"


def test_one_seed_never_decides_between_methods():
    diff = st.crossed(np.random.default_rng(9).normal(5, 0.1, (1, 50)))
    assert st.verdict("A", "B", diff, st.p_value(diff)) == "inconclusive"
