"""Failed runs in gains and verdicts, by hand and against simulated truth.

`PREFBENCH_STUDIES=4000 pytest tests/analysis/test_expected.py -s` simulates more, and prints what
came out.
"""

import os
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.analysis import comparisons as cs
from bench.analysis import expected
from bench.analysis import statistics as st
from bench.analysis.comparisons import Side
from bench.analysis.statistics import Interval, Share

STUDIES = int(os.environ.get("PREFBENCH_STUDIES", "250"))
SEEDS, PROMPTS = 10, 200
SD_SEED, SD_PROMPT, SD_REST = 0.05, 0.5, 0.9  # of gold in micro


def interval(mean: float, half: float) -> Interval:
    """The interval of ten seeds that are all that varies."""
    se = half / stats.t.ppf(0.975, 9)
    return Interval(mean, mean - half, mean + half, se, 9.0, 10, 0, "seeds")


def close(found: Interval, mean: float, low: float, high: float) -> None:
    assert (found.mean, found.low, found.high) == pytest.approx((mean, low, high))


# --- by hand


def test_expected_gain_by_hand():
    low, high = st.rate_interval(8, 10)
    found = expected.gain(Share(8, 10), interval(1.0, 0.2))
    close(found, 0.8, 0.8 - np.hypot(0.16, 0.8 - low), 0.8 + np.hypot(0.16, high - 0.8))


def test_expected_gain_below_sft_turns_the_limits_of_the_share():
    low, high = st.rate_interval(8, 10)
    found = expected.gain(Share(8, 10), interval(-1.0, 0.2))
    close(found, -0.8, -0.8 - np.hypot(0.16, high - 0.8), -0.8 + np.hypot(0.16, 0.8 - low))


def test_runs_that_all_ended_may_fail_next_time():
    """The upper end is the gain's own; the lower one covers a rate of failure of up to 31 %."""
    found = expected.gain(Share(10, 10), interval(1.0, 0.2))
    close(found, 1.0, 1 - np.hypot(0.2, 1 - 0.025**0.1), 1.2)


def test_difference_by_hand():
    ended, paired = (Share(10, 10), Share(5, 10)), interval(-0.2, 0.1)
    gains = interval(1.0, 0.1), interval(1.2, 0.4)
    (low_a, _), (low_b, high_b) = (st.rate_interval(share.count, 10) for share in ended)
    found = expected.difference(ended, gains, paired)
    gain = (0.75 * 0.1) ** 2 + (0.5 * 0.4) ** 2
    down = np.sqrt(gain + (1 - low_a) ** 2 + (1.2 * (high_b - 0.5)) ** 2)
    close(found, 0.4, 0.4 - down, 0.4 + np.sqrt(gain + (1.2 * (0.5 - low_b)) ** 2))


def test_one_run_that_ended_gives_no_interval():
    found = expected.gain(Share(1, 10), st.crossed(np.ones((1, 40))))
    assert found.mean == pytest.approx(0.1) and np.isnan([found.low, found.high]).all()


def test_no_gain_has_no_p():
    assert np.isnan(expected.p_value(lambda level: interval(np.nan, np.nan)))


@pytest.mark.parametrize("mean", [0.8, -0.8, 0.3])
def test_p_is_where_the_interval_begins_to_leave_out_zero(mean):
    def counted(level: float = st.LEVEL) -> Interval:
        return expected.difference((Share(9, 10), Share(10, 10)), gains, paired, level)

    paired = interval(mean, 0.2)
    gains = paired, interval(0.0, 0.1)
    p = expected.p_value(counted)
    found = counted(1 - p)
    assert 1e-9 < p < 1
    assert min(abs(found.low), abs(found.high)) == pytest.approx(0, abs=1e-6)


def test_p_of_no_difference_is_one_and_of_a_sure_one_is_tiny():
    ended = Share(9, 10), Share(9, 10)
    nothing = interval(0.0, 0.2)
    one = (interval(1.0, 0.2),) * 2
    assert expected.p_value(lambda level: expected.difference(ended, one, nothing, level)) == 1
    sure = interval(9.0, 1e-9)
    ended = Share(999, 1000), Share(1, 1)
    gains = sure, interval(0.0, 1e-9)
    p = expected.p_value(lambda level: expected.difference(ended, gains, sure, level))
    assert p == 1e-9


# --- against simulated truth


def side(rng, gain: float, rate: float, hard: tuple, survivors: int | None = None) -> Side:
    """An arm of SEEDS runs, of which each fails with a rate, or all but so many."""
    ended = rng.random(SEEDS) >= rate
    if survivors is not None:
        ended = rng.permutation(SEEDS) < survivors
    gold = gain + rng.normal(0, SD_SEED, (SEEDS, 1)) + rng.normal(0, SD_REST, (SEEDS, PROMPTS))
    truth, base = hard
    table = pd.DataFrame(gold + truth)[ended]
    return Side(table, pd.DataFrame([base]), Share(int(ended.sum()), SEEDS))


def prompts(rng) -> tuple[np.ndarray, np.ndarray]:
    """The prompts' own gold, and that of the SFT base's one answer to each."""
    hard = rng.normal(0, SD_PROMPT, PROMPTS)
    return hard, hard + rng.normal(0, SD_REST, PROMPTS)


def share_of(cell: str, found: list[bool]) -> float:
    rate = float(np.mean(found))
    print(f"{cell}: {100 * rate:.1f} % of {len(found)}")
    return rate


def above(rate: float) -> float:
    """The highest share that chance makes of a true rate, in one of a thousand suites."""
    return stats.binom.ppf(0.999, STUDIES, rate) / STUDIES


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.2])
def test_the_expected_gain_is_covered(rate):
    """A t interval over seeds that counts failures as zeros covers far less."""
    rng = np.random.default_rng([1, int(100 * rate)])
    covered, plain = [], []
    for _ in range(STUDIES):
        hard = prompts(rng)
        found = side(rng, 1.0, rate, hard)
        if len(found.scores) < st.VERDICT_SEEDS:
            continue
        gain = expected.gain(found.ended, found.gain)
        covered.append(gain.low <= 1 - rate <= gain.high)
        zeros = np.zeros(SEEDS - len(found.scores))
        gains = (found.scores - found.base.iloc[0]).mean(axis=1)
        values = st.over_seeds(np.concatenate([gains, zeros]))
        plain.append(values.low <= 1 - rate <= values.high)
    assert share_of(f"expected gain, {rate} fail", covered) > 1 - above(0.07)
    if rate:
        assert share_of(f"zeros, {rate} fail", plain) < 0.93


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.2])
def test_arms_that_are_alike_seldom_get_a_winner(rate):
    """Family error of six comparisons, each arm with the same gain and the same rate of failure."""
    rng = np.random.default_rng([2, int(100 * rate)])
    wrong = []
    for _ in range(STUDIES):
        hard = prompts(rng)
        arms = {name: side(rng, 1.0, rate, hard) for name in "abcd"}
        family = cs.compared({both: tuple(arms[x] for x in both) for both in combinations(arms, 2)})
        wrong.append(any(row.winner for row in family))
    assert share_of(f"family of four alike, {rate} fail", wrong) <= above(0.05)


@pytest.mark.parametrize("rate", [0.1, 0.2])
def test_a_gain_that_failures_take_away_is_seldom_called_better(rate):
    """b gains more where it ends, and as much as a, which never fails, in expectation."""
    rng = np.random.default_rng([3, int(100 * rate)])
    wrong = []
    for _ in range(STUDIES):
        hard = prompts(rng)
        a, b = side(rng, 1.0, 0, hard), side(rng, 1 / (1 - rate), rate, hard)
        if b.ended.all:
            continue  # nothing shows that b fails: the page says how often it still may
        (row,) = cs.compared({("a", "b"): (a, b)})
        wrong.append(row.winner is not None)
    assert share_of(f"equal expected gains, {rate} fail and some did", wrong) <= above(0.05)


@pytest.mark.parametrize("gain", [1.0, 1 / 0.3])
def test_an_arm_down_to_three_seeds_is_covered(gain):
    """With the same gain where it ends, or with the same expected gain as the other arm."""
    rng = np.random.default_rng([4, int(gain)])
    wrong, covered = [], []
    for _ in range(STUDIES):
        hard = prompts(rng)
        pair = side(rng, 1.0, 0, hard), side(rng, gain, 0, hard, survivors=3)
        (row,) = cs.compared({("a", "b"): pair})
        wrong.append(row.winner == "b")
        covered.append(row.expected.low <= 1 - 0.3 * gain <= row.expected.high)
    assert share_of(f"three of ten end, gain {gain:.1f}, better", wrong) <= above(0.05)
    assert share_of(f"three of ten end, gain {gain:.1f}, covered", covered) > 1 - above(0.07)


def test_a_real_difference_is_found_with_and_without_failures():
    """A gain of 1.0 against 0.4: always if none fail, mostly if a tenth of both do."""
    for rate, least in ((0.0, 0.99), (0.1, 0.3)):
        rng = np.random.default_rng([5, int(100 * rate)])
        found = []
        for _ in range(STUDIES):
            hard = prompts(rng)
            pair = side(rng, 1.0, rate, hard), side(rng, 0.4, rate, hard)
            (row,) = cs.compared({("a", "b"): pair})
            found.append(row.winner == "a")
        assert share_of(f"1.0 against 0.4, {rate} fail", found) >= least
