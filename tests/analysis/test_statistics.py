"""The intervals, against independent implementations and against simulated truth."""

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import special, stats

from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison, Family, Kind

PROMPTS, TRIALS = 100, 4000  # the Monte-Carlo error of 5 % is then 0.34 %
# standard deviations of seeds, of prompts and of the rest
REGIMES = {
    "seeds": (0.5, 0.5, 1.0),
    "balanced": (0.2, 1.0, 1.0),
    "prompts": (0.02, 2.0, 1.0),
    "nothing but noise": (0.0, 0.0, 1.0),
    "narrowest": (1.0, 1.15, 1.0),  # the least coverage of a sweep over ratios, at 3 seeds
    "widest": (0.2, 1.73, 1.0),  # and the most
}
SEEDS = [3, 5, 10]
cells = pytest.mark.parametrize(("regime", "seeds"), list(itertools.product(REGIMES, SEEDS)))


def simulate(rng, seeds, prompts, sd_seed, sd_prompt, sd_rest=1.0):
    """A table [S, P] whose true mean is 0."""
    return (
        rng.normal(0, sd_seed, (seeds, 1))
        + rng.normal(0, sd_prompt, (1, prompts))
        + rng.normal(0, sd_rest, (seeds, prompts))
    )


@cache
def studies(regime, seeds):
    """Intervals of TRIALS studies whose true mean is 0."""
    rng = np.random.default_rng([7, seeds, *regime.encode()])
    tables = (simulate(rng, seeds, PROMPTS, *REGIMES[regime]) for _ in range(TRIALS))
    return [st.crossed(table) for table in tables]


def truth(regime, seeds):
    """The interval around 0 that the variance components themselves give."""
    sd_seed, sd_prompt, sd_rest = REGIMES[regime]
    ms_s, ms_p = PROMPTS * sd_seed**2 + sd_rest**2, seeds * sd_prompt**2 + sd_rest**2
    se, df = st.standard_error((ms_s, ms_p, sd_rest**2), seeds, PROMPTS)
    return st.Interval(0, 0, 0, se, df, seeds, PROMPTS, "")


def moved(intervals, effect):
    """The same studies, had the true mean been `effect`."""
    return [replace(i, mean=i.mean + effect) for i in intervals]


def alike(rng, arms, regime, seeds, own):
    """Tables [arm, S, P] of arms of one true mean; `own` of the luck of prompts is an arm's own."""
    sd_seed, sd_prompt, sd_rest = REGIMES[regime]
    shared = simulate(rng, 1, PROMPTS, 0, sd_prompt, 0)
    tables = [simulate(rng, seeds, PROMPTS, sd_seed, own * sd_prompt, sd_rest) for _ in range(arms)]
    return shared + np.array(tables)


def compared(difference, margin=0.0):
    """A comparison of two arms with this difference, alone in its family until it joins one."""
    p = st.p_value(difference)
    ended = (st.Share(difference.seeds, difference.seeds),) * 2
    return Comparison("a", "b", difference, p, ended, margin=margin, p_holm=p)


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


@cells
def test_coverage_is_what_it_claims(regime, seeds):
    hits = [i.low <= 0 <= i.high for i in studies(regime, seeds)]
    assert 0.93 <= np.mean(hits) <= 0.97


@pytest.mark.parametrize("own", [0, 1])
@cells
def test_a_against_a_is_found_different_once_in_twenty(regime, seeds, own):
    rng = np.random.default_rng([11, seeds, own, *regime.encode()])
    pairs = (alike(rng, 2, regime, seeds, own) for _ in range(TRIALS // 2))
    ps = [st.p_value(st.paired_difference(a, b)) for a, b in pairs]
    assert 0.03 <= np.mean(np.array(ps) < 0.05) <= 0.07


@cells
def test_six_comparisons_of_arms_that_are_alike_seldom_find_a_winner(regime, seeds):
    rng = np.random.default_rng([13, seeds, *regime.encode()])
    wrong, trials = 0, 500
    for _ in range(trials):
        arms = alike(rng, 4, regime, seeds, own=0.5)
        diffs = [st.paired_difference(a, b) for a, b in itertools.combinations(arms, 2)]
        wrong += any(row.kind is Kind.BETTER for row in Family.of(map(compared, diffs)))
    assert wrong / trials <= 0.07


def power(interval, effect, level=st.LEVEL):
    """Chance that p < 1 - level in a study with this se and df, both taken as true values."""
    return st._found(effect / interval.se, st._reach(interval, (1 + level) / 2))


@pytest.mark.parametrize(("level", "slack"), [(0.95, 0.035), (1 - 0.05 / 6, 0.07)])
@cells
def test_the_power_claimed_is_the_power_found(regime, seeds, level, slack):
    known = truth(regime, seeds)
    effect = st.detectable(known, level=level)
    assert power(known, effect, level) == pytest.approx(st.POWER)
    found = [st.p_value(i) < 1 - level for i in moved(studies(regime, seeds), effect)]
    assert abs(np.mean(found) - st.POWER) <= slack


@pytest.mark.parametrize("regime", REGIMES)
def test_equivalence_is_said_as_often_as_claimed(regime):
    """At a difference of the margin in 1 of 20 at most; at none with the power claimed."""
    known, found = truth(regime, 10), studies(regime, 10)
    for margin in known.se * np.array([2.5, 4]):
        wrong = [st.equivalent(i, margin) for i in moved(found, margin)]
        assert np.mean(wrong) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / TRIALS)
        right = np.mean([st.equivalent(i, margin) for i in found])
        assert right == pytest.approx(equivalence_power(known, margin), abs=0.035)


def equivalence_power(interval, margin):
    """Chance that `equivalent` is said of arms that are alike: Phillips 1990, averaged over the
    luck of the standard error."""
    room = margin / interval.se - st._reach(interval, st.LEVEL)
    return np.maximum(special.ndtr(room) - special.ndtr(-room), 0).mean()


def test_power_is_that_of_the_noncentral_t():
    for df, effect in itertools.product([2, 4.5, 60], [0.5, 2.0]):
        reach = stats.t.ppf(0.975, df)
        expected = stats.nct.sf(reach, df, effect) + stats.nct.cdf(-reach, df, effect)
        interval = st.Interval(0, 0, 0, 1.0, df, 5, 0, "")
        assert power(interval, effect) == pytest.approx(expected, abs=2e-4)


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
    assert st.holm([np.nan, 0.02])[1] == 0.02
    assert st.holm([np.nan, 0.02], size=2)[1] == 0.04  # what cannot be tested keeps its place


def test_equivalence_is_never_said_below_ten_seeds():
    def flat(seeds):
        return st.crossed(np.random.default_rng(8).normal(0, 0.01, (seeds, 50)))

    def kind(seeds):
        return replace(compared(flat(seeds), margin=1.0), p_holm=0.9).kind

    assert (kind(5), kind(9), kind(10)) == (Kind.INCONCLUSIVE, Kind.INCONCLUSIVE, Kind.EQUIVALENT)


def test_one_seed_never_decides_between_methods():
    diff = st.crossed(np.random.default_rng(9).normal(5, 0.1, (1, 50)))
    row = compared(diff)
    assert row.p_holm < 1e-9
    assert (row.kind, row.winner, row.loser) == (Kind.INCONCLUSIVE, None, None)


def test_a_missing_standard_error_claims_no_power():
    nothing = st.over_seeds([1.0])
    assert np.isnan(st.detectable(nothing))
    assert not st.equivalent(nothing, 1)


def test_fisher_by_hand():
    assert st.fisher(0, 3, 3, 3) == pytest.approx(2 / 20)  # both corners of C(6, 3) tables
    assert st.fisher(1, 2, 1, 2) == pytest.approx(1)
    assert st.fisher(0, 12, 5, 12) == pytest.approx(2 * 792 / 42504)  # C(12, 5) of C(24, 5)
    assert np.isnan(st.fisher(0, 0, 1, 2))


def test_rate_interval_by_hand():
    assert st.rate_interval(0, 12) == pytest.approx((0, 1 - 0.025 ** (1 / 12)))
    assert st.rate_interval(12, 12) == pytest.approx((0.025 ** (1 / 12), 1))
    low, high = st.rate_interval(5, 12)  # the bounds solve two binomial tails
    assert stats.binom.sf(4, 12, low) == pytest.approx(0.025)
    assert stats.binom.cdf(5, 12, high) == pytest.approx(0.025)
    assert st.rate_interval(0, 0) == (0, 1)


def test_exchanged_by_hand():
    assert st.exchanged([0] * 5, [3] * 5) == pytest.approx(2 / 252)  # both extremes of C(10, 5)
    assert st.exchanged([1, 2], [1, 2]) == 1 and st.exchanged([2, 2], [2, 2]) == 1
    assert st.exchanged([0, 0, 5], [0, 0, 0]) == 1  # one bad seed of three
    assert np.isnan(st.exchanged([], [1]))


def test_exchanged_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 4), rng.normal(1, 1, 5)
    expected = stats.permutation_test(
        (a, b), lambda x, y: abs(x.mean() - y.mean()), n_resamples=1000, alternative="greater"
    )
    assert st.exchanged(a, b) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("values", [[3.0], [2.0, 1.0, 2.0], [0.5, -2.0, -1.0, 4.0]])
def test_best_of_matches_every_possible_draw(values):
    trials, best = st.best_of(values)
    assert trials.tolist() == list(range(1, len(values) + 1))
    for k, mean in enumerate(best, start=1):
        draws = itertools.product(values, repeat=k)
        assert mean == pytest.approx(np.mean([max(draw) for draw in draws]))


@pytest.mark.parametrize("values", [[], [1.0, np.nan]])
def test_best_of_refuses_no_trial_and_one_without_a_value(values):
    with pytest.raises(ValueError, match="needs trials"):
        st.best_of(values)
