"""Compute intervals and tests for runs whose seeds and prompts are crossed.

Every seed of an arm answers the same prompts, so scores are a table of S seeds x P prompts. Its
mean is uncertain for two reasons: which seeds were drawn and which prompts were asked. With the
mean squares of the two-way layout without replication (Cornfield & Tukey 1956), for S <= P,

    V  = (MS_s + max(MS_p - MS_e, 0)) / (S P)
    df = 1 / (w/(S-1) + (1-w)/(P-1)),   w = MS_s / (S P V)

and the two factors change places if S > P. MS_s / (S P) is the variance of the mean of the seeds'
means; the rest comes from the prompts, which all seeds share. A p-value is the weighted mean, with
w and 1-w, of the two that Student's t gives with S-1 and P-1 degrees of freedom. The interval holds
the values that this test does not reject. Cochran & Cox (1957, section 4.14) weight quantiles in
the same way; here tail probabilities are weighted.

Satterthwaite's df covers as little as 92 % at three seeds, and the first step of Holm's method with
six comparisons errs in 3.2 % of cases instead of 0.83 %: if the seeds' mean square is small by
chance, the df look many. With the test used here, errors at 5 % and at 0.83 % are, over a sweep of
both variance ratios (81 cells per size, P = 100, 3,000 draws each, normal tails averaged exactly),

    S = 3: 3.5-5.2 % and 0.30-0.85 %
    S = 5: 3.8-5.0 % and 0.33-0.83 %
    S = 10: 4.3-5.0 % and 0.52-0.83 %

and about the same for P = 384 at S = 3 and 10. The tests simulate whole tables
(`tests/analysis/test_statistics.py`). Nothing here reads a file.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import optimize, special, stats

LEVEL = 0.95
VERDICT_SEEDS = 3  # with fewer shared seeds that ended, no verdict on gain
EQUIVALENCE_SEEDS = 10  # with fewer seeds no verdict says "equivalent": the test has no power
QUANTILES = 2000  # at which the luck of a standard error is averaged
POWER = 0.8


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    over: what the interval covers, in words; prompts: 0 if it is over seeds only.
    """

    mean: float
    low: float
    high: float
    se: float
    df: float
    seeds: int
    prompts: int
    over: str

    @property
    def half(self) -> float:
        """Return half the width of the interval, in the unit of the mean."""
        return (self.high - self.low) / 2

    def ends(self, level: float) -> tuple[float, float]:
        """Return the ends of the interval at another level."""
        half = _quantile((1 + level) / 2, self.df, (self.seeds, self.prompts)) * self.se
        return self.mean - half, self.mean + half


def mean_squares(scores) -> tuple[float, float, float]:
    """Return the mean squares of seeds, prompts and interaction of scores [S, P], S, P >= 2."""
    y = np.asarray(scores, float)
    seeds, prompts = y.shape
    by_seed, by_prompt = y.mean(1, keepdims=True), y.mean(0, keepdims=True)
    rest = y - by_seed - by_prompt + y.mean()
    ms_s = prompts * np.var(by_seed, ddof=1)
    ms_p = seeds * np.var(by_prompt, ddof=1)
    return float(ms_s), float(ms_p), float((rest**2).sum() / ((seeds - 1) * (prompts - 1)))


def standard_error(squares, seeds: int, prompts: int) -> tuple[float, float]:
    """Return the standard error of the mean and its degrees of freedom.

    squares: the mean squares of seeds, prompts and interaction.
    """
    ms_few, ms_many, ms_e = squares
    few, many = seeds, prompts
    if seeds > prompts:
        few, many, ms_few, ms_many = many, few, ms_many, ms_few
    # cut at 0 the component with many levels only: with few, a negative one is mostly chance
    total = ms_few + max(ms_many - ms_e, 0.0)
    w = ms_few / total if total > 0 else 1.0
    return float(np.sqrt(total / (few * many))), 1 / (w / (few - 1) + (1 - w) / (many - 1))


def crossed(scores) -> Interval:
    """Return the interval of the mean of scores [S, P].

    With one seed (or one prompt) the variation between seeds (prompts) cannot be estimated; the
    interval then covers the other one only, and its `over` says so. Raises ValueError if a score is
    missing.
    """
    y = np.atleast_2d(np.asarray(scores, float))
    if y.size == 0 or not np.isfinite(y).all():
        raise ValueError("crossed() needs a full table of finite scores, seeds x prompts")
    if min(y.shape) == 1:
        return _one_way(y)
    return _interval(y, *standard_error(mean_squares(y), *y.shape), "seeds and prompts")


def _one_way(y: np.ndarray) -> Interval:
    """Return the t interval if only one of the two factors has more than one level."""
    over = "prompts only (one seed)" if y.shape[0] == 1 else "seeds only (one prompt)"
    if y.size == 1:
        return Interval(float(y.mean()), np.nan, np.nan, np.nan, 0.0, 1, 1, "nothing (one value)")
    se = float(y.std(ddof=1) / np.sqrt(y.size))
    return _interval(y, se, y.size - 1.0, over)


def _interval(y: np.ndarray, se: float, df: float, over: str) -> Interval:
    """Return the interval that the test does not reject, around the mean of y [S, P]."""
    mean, half = float(y.mean()), _quantile((1 + LEVEL) / 2, df, y.shape) * se
    return Interval(mean, mean - half, mean + half, se, df, *y.shape, over)


def _weights(df: float, shape) -> list[tuple[float, float]]:
    """Return (weight, df) of each t of the reference distribution; w is computed back from df."""
    few, many = sorted(levels - 1 for levels in shape)
    if few < 1 or not few < df < many:
        return [(1.0, df)]
    w = (1 / df - 1 / many) / (1 / few - 1 / many)
    return [(w, few), (1 - w, many)]


def _quantile(probability: float, df: float, shape) -> float:
    """Return the t that is exceeded with probability 1 - `probability`, for a table of shape (S,
    P)."""
    parts = _weights(df, shape)
    ends = [float(special.stdtrit(d, probability)) for _, d in parts]
    if len(parts) == 1:
        return ends[0]
    beyond = 1 - probability
    low, high = 0.99 * min(ends), 1.01 * max(ends)  # a weight near 0 puts the root on an end
    return float(
        optimize.brentq(
            lambda t: sum(w * special.stdtr(d, -t) for w, d in parts) - beyond, low, high
        )
    )


def paired_difference(a, b) -> Interval:
    """Return the interval of mean(a - b) for scores [S, P] on the same prompts.

    b may be [1, P] (the SFT base). Raises ValueError if the shapes do not pair.
    """
    a, b = np.atleast_2d(np.asarray(a, float)), np.atleast_2d(np.asarray(b, float))
    if a.shape[1] != b.shape[1] or (b.shape[0] != 1 and a.shape[0] != b.shape[0]):
        raise ValueError(f"not paired: scores {a.shape} and {b.shape}")
    return crossed(a - b)


def over_seeds(values) -> Interval:
    """Return the t interval of a number of which each seed has one (seconds, an lm-eval score)."""
    y = np.asarray(values, float)
    y = y[np.isfinite(y)].reshape(-1, 1)
    if y.size == 0:
        return Interval(*[np.nan] * 4, 0.0, 0, 0, "nothing (no value)")
    if y.size == 1:
        return Interval(float(y[0, 0]), *[np.nan] * 3, 0.0, 1, 0, "nothing (one seed)")
    se = float(y.std(ddof=1) / np.sqrt(y.size))
    return _interval(y, se, y.size - 1.0, "seeds")


def p_value(interval: Interval) -> float:
    """Return the two-sided p-value of the hypothesis that the true mean is 0."""
    if not interval.se > 0:
        return float("nan") if np.isnan(interval.se) else float(interval.mean == 0)
    t, shape = abs(interval.mean) / interval.se, (interval.seeds, interval.prompts)
    return float(sum(2 * w * special.stdtr(d, -t) for w, d in _weights(interval.df, shape)))


def holm(ps, size: float | None = None, weights=None) -> np.ndarray:
    """Return Holm's adjusted p-values (1979) in the order given; NaN stays.

    size: of the declared family, the sum of its weights, which does not shrink when a comparison
    cannot be tested; by default that of the p-values which are not NaN. weights: of each p-value
    (Holm 1979, section 4), by default 1: a hypothesis with half the weight is rejected at half the
    level.
    """
    ps = np.asarray(ps, float)
    weights = np.ones(ps.shape) if weights is None else np.asarray(weights, float)
    known = np.isfinite(ps)
    left, running = float(weights[known].sum()) if size is None else float(size), 0.0
    out, scaled = np.full(ps.shape, np.nan), np.where(known, ps, np.inf) / weights
    for i in np.argsort(scaled, kind="stable")[: known.sum()]:
        running = max(running, min(1.0, left * scaled[i]))
        out[i] = running
        left -= weights[i]
    return out


def _reach(interval: Interval, probability: float) -> np.ndarray:
    """Return the half-width of the interval in true standard errors, at quantiles of its
    variation."""
    df, shape = interval.df, (interval.seeds, interval.prompts)
    luck = np.sqrt(stats.chi2.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES, df) / df)
    return _quantile(probability, df, shape) * luck


def _found(shift: float, reach: np.ndarray) -> float:
    """Return the chance that |t| exceeds its quantile if the true mean is `shift` standard errors.

    Sums the two tails of the noncentral t, since scipy.stats.nct returns NaN far out in them.
    """
    return float((special.ndtr(shift - reach) + special.ndtr(-shift - reach)).mean())


def detectable(interval: Interval, level: float = LEVEL) -> float:
    """Return the smallest true difference that a study with this se and df finds with POWER.

    level: of the interval that must leave out 0. se and df are taken as true values. A study with
    few seeds estimates them with error: the effect that it states is found, on average over
    studies, in about 63-75 % of cases at 3 seeds, 69-78 % at 5 and 74-79 % at 10.
    """
    if not interval.df > 0 or np.isnan(interval.se):
        return float("nan")
    reach = _reach(interval, (1 + level) / 2)
    shift = optimize.brentq(lambda x: _found(x, reach) - POWER, 0, reach.max() + 10)
    return float(shift * interval.se)


def equivalent(interval: Interval, margin: float) -> bool:
    """Return whether two one-sided tests (Schuirmann 1987) place the true difference within
    +-margin."""
    if not interval.se > 0:
        return False
    reach = _quantile(LEVEL, interval.df, (interval.seeds, interval.prompts)) * interval.se
    return abs(interval.mean) + reach < margin


@dataclass(frozen=True)
class Share:
    """A count out of n: 2 of 12."""

    count: int
    n: int

    @property
    def rate(self) -> float:
        """Return the share as a number; NaN of nothing."""
        return self.count / self.n if self.n else float("nan")

    @property
    def all(self) -> bool:
        """Return True if the count is all of n, and n is not 0."""
        return self.count == self.n > 0

    @property
    def span(self) -> tuple[float, float]:
        """Return the exact 95 % interval of the rate."""
        return rate_interval(self.count, self.n)


def fisher(k1: int, n1: int, k2: int, n2: int) -> float:
    """Return the two-sided p of Fisher's exact test of k1/n1 against k2/n2; NaN if an n is 0."""
    if n1 == 0 or n2 == 0:
        return float("nan")
    return float(stats.fisher_exact([[k1, n1 - k1], [k2, n2 - k2]]).pvalue)


def exchanged(a, b) -> float:
    """Return the two-sided p of the exact permutation test that two samples, such as the failures
    of each seed, come from one distribution; NaN if one is empty.

    The statistic is the difference of the means over all ways to divide the values (Fisher 1935).
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if not a.size or not b.size:
        return float("nan")
    both, seen = np.concatenate([a, b]), abs(a.mean() - b.mean())
    gaps = [
        abs(both[list(own)].mean() - np.delete(both, list(own)).mean())
        for own in combinations(range(both.size), a.size)
    ]
    return float(np.mean(np.asarray(gaps) >= seen - 1e-12))


def rate_interval(k: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval (Clopper & Pearson 1934) of the rate k of n; (0, 1) if n is 0."""
    if n == 0:
        return 0.0, 1.0
    beyond = (1 - level) / 2
    low = special.betaincinv(k, n - k + 1, beyond) if k else 0.0
    return float(low), float(special.betaincinv(k + 1, n - k, 1 - beyond) if k < n else 1.0)


def best_of(values) -> tuple[np.ndarray, np.ndarray]:
    """Return k = 1..n and the expected best value [n] of k random trials. Higher is better.

    Trials are drawn with replacement from the n given: E max = sum_i v_(i) [(i/n)^k - ((i-1)/n)^k]
    (Dodge et al. 2019, 1909.03004, eq. 1). Raises ValueError if there is no trial, or one is NaN.
    """
    values = np.sort(np.asarray(values, float))
    if values.size == 0 or np.isnan(values).any():
        raise ValueError("best_of() needs trials, none of which is NaN")
    k, n = np.arange(1, values.size + 1), values.size
    below = (np.arange(n + 1) / n) ** k[:, None]  # [k, i]: that all k are among the i lowest
    return k, np.diff(below, axis=1) @ values
