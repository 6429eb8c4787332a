"""Count failed runs: the expected gain of a method, of which some runs fail.

A run fails where that is visible without gold: no number, too far from the SFT base, out of memory.
Its user keeps the SFT base, so it gains nothing. The expected gain is then the share of runs that
ended times the gain of those. Its interval is by MOVER (Zou & Donner 2008): the distance to each
limit is that of the factors' own limits, weighted with the slopes and added in squares; those of a
share are exact (Clopper & Pearson 1934). A t interval over seeds with zeros for failures covers too
little, since a failure is rare and large (`tests/analysis/test_expected.py` simulates both).
"""

from collections.abc import Callable
from math import hypot, isnan, nan

from scipy import optimize

from bench.analysis.statistics import LEVEL, Interval, Share, rate_interval

OVER = "seeds and prompts, failures counted"
NOTHING = Interval(0.0, nan, nan, nan, 0.0, 0, 0, "nothing (every run failed)")


def gain(ended: Share, of_ended: Interval, level: float = LEVEL) -> Interval:
    """Return the expected gain of an arm; of_ended: the gain over SFT of its runs that ended.

    One run that ended gives no interval; none is NOTHING.
    """
    if not ended.count:
        return NOTHING
    factors = [
        (ended.rate, of_ended.mean, of_ended.ends(level)),
        (of_ended.mean, ended.rate, rate_interval(ended.count, ended.n, level)),
    ]
    return mover(ended.rate * of_ended.mean, factors, of_ended)


def difference(
    ended: tuple[Share, Share],
    gains: tuple[Interval, Interval],
    paired: Interval,
    level: float = LEVEL,
) -> Interval:
    """Return the difference of two arms' expected gains.

    gains: of the runs that ended; paired: the difference of gold on the seeds and prompts that both
    have. With shares q and gains g, q_a g_a - q_b g_b is the paired difference at the mean share,
    plus the mean gain at the difference of the shares, whose limits are here those of the gain that
    is known less well; it varies with q_a at slope g_a, and with q_b at slope -g_b.
    """
    (a, b), (gain_a, gain_b) = ended, gains
    middle, width = (gain_a.mean + gain_b.mean) / 2, max(_half(g, level) for g in gains)
    factors = [
        ((a.rate + b.rate) / 2, paired.mean, paired.ends(level)),
        (a.rate - b.rate, middle, (middle - width, middle + width)),
        (gain_a.mean, a.rate, rate_interval(a.count, a.n, level)),
        (-gain_b.mean, b.rate, rate_interval(b.count, b.n, level)),
    ]
    return mover(a.rate * gain_a.mean - b.rate * gain_b.mean, factors, paired)


def _half(interval: Interval, level: float) -> float:
    """Return half the width of an interval at another level."""
    low, high = interval.ends(level)
    return (high - low) / 2


def mover(
    mean: float, factors: list[tuple[float, float, tuple[float, float]]], like: Interval
) -> Interval:
    """Return the interval of a function of factors: (slope, estimate, its limits) of each.

    like: an interval over the same seeds and prompts.
    """
    moves = [
        sorted(slope * (limit - estimate) for limit in limits)
        for slope, estimate, limits in factors
    ]
    low, high = (hypot(*ends) if like.seeds > 1 else nan for ends in zip(*moves, strict=True))
    return Interval(mean, mean - low, mean + high, nan, nan, like.seeds, like.prompts, OVER)


def p_value(interval: Callable[[float], Interval]) -> float:
    """Return the two-sided p of the hypothesis 0: 1 - the highest level whose interval leaves 0
    out.

    interval: a function of the level. No p is below 1e-9.
    """

    def nearest(p: float) -> float:
        found = interval(1 - p)
        return found.low if found.mean > 0 else -found.high

    least, most = 1e-9, 1 - 1e-6
    if isnan(nearest(most)):
        return nan
    if nearest(most) <= 0:
        return 1.0
    return float(optimize.brentq(nearest, least, most)) if nearest(least) < 0 else least
