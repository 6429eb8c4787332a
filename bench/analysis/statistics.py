"""Intervals and verdicts for runs whose seeds and prompts are crossed.

Every seed of an arm answers the same prompts, so a score is a table of S seeds x P prompts and its
mean is uncertain for two reasons at once: which seeds were drawn and which prompts were asked.
With the mean squares of the two-way layout without replication (Cornfield & Tukey 1956), S <= P,

    V  = (MS_s + max(MS_p - MS_e, 0)) / (S P)
    df = 1 / (w/(S-1) + (1-w)/(P-1)),   w = MS_s / (S P V)

and the two factors change places where S > P. MS_s / (S P) is the variance of the mean of the
seeds' means; the rest is the luck of prompts that all seeds share. A p-value is the mean of the two
that Student's t gives with S-1 and with P-1, weighted w and 1-w, and the interval holds what it
does not reject: as the weighted quantile of Cochran & Cox (1957, section 4.14), but of tails.

Satterthwaite's df, by comparison, covers as little as 92 % at three seeds, and Holm's first step of
six errs in 3.2 % of cases where it claims 0.83 %: the seeds' mean square is small by chance just
when it makes the df look many. Here, over a sweep of both variance ratios (81 cells a size, P =
100, 3,000 draws each, normal tails averaged exactly), errors at 5 % and at 0.83 % are

    S = 3: 3.5-5.2 % and 0.30-0.85 %
    S = 5: 3.8-5.0 % and 0.33-0.83 %
    S = 10: 4.3-5.0 % and 0.52-0.83 %

(P = 384 likewise at S = 3 and 10). The tests simulate whole tables
(`tests/analysis/test_statistics.py`). Nothing here reads a file.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

LEVEL = 0.95
EQUIVALENCE_SEEDS = 10  # below this no verdict says "equivalent": the test has no power to
POWER = 0.8


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval; `over` says what it generalises over, in words."""

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
        """Half the width of the interval, in the unit of the mean."""
        return (self.high - self.low) / 2


def mean_squares(scores) -> tuple[float, float, float]:
    """MS of seeds, of prompts and of their interaction, for scores [S, P] with S, P >= 2."""
    y = np.asarray(scores, float)
    seeds, prompts = y.shape
    by_seed, by_prompt = y.mean(1, keepdims=True), y.mean(0, keepdims=True)
    rest = y - by_seed - by_prompt + y.mean()
    ms_s = prompts * np.var(by_seed, ddof=1)
    ms_p = seeds * np.var(by_prompt, ddof=1)
    return float(ms_s), float(ms_p), float((rest**2).sum() / ((seeds - 1) * (prompts - 1)))


def standard_error(squares, seeds: int, prompts: int) -> tuple[float, float]:
    """Standard error of the mean and its degrees of freedom, from the mean squares (s, p, e)."""
    ms_few, ms_many, ms_e = squares
    few, many = seeds, prompts
    if seeds > prompts:
        few, many, ms_few, ms_many = many, few, ms_many, ms_few
    # cut at 0 only where there are many levels: with few, a component below 0 is mostly chance
    total = ms_few + max(ms_many - ms_e, 0.0)
    w = ms_few / total if total > 0 else 1.0
    return float(np.sqrt(total / (few * many))), 1 / (w / (few - 1) + (1 - w) / (many - 1))


def crossed(scores, level: float = LEVEL) -> Interval:
    """Interval of the mean of scores [S, P].

    With one seed (or one prompt) the other source of luck cannot be seen: the interval then covers
    what is left and its `over` says so. Raises ValueError if a score is missing.
    """
    y = np.atleast_2d(np.asarray(scores, float))
    if y.size == 0 or not np.isfinite(y).all():
        raise ValueError("crossed() needs a full table of finite scores, seeds x prompts")
    if min(y.shape) == 1:
        return _one_way(y, level)
    return _interval(y, *standard_error(mean_squares(y), *y.shape), level, "seeds and prompts")


def _one_way(y: np.ndarray, level: float) -> Interval:
    """The t interval when only one of the two factors has more than one level."""
    over = "prompts only (one seed)" if y.shape[0] == 1 else "seeds only (one prompt)"
    if y.size == 1:
        return Interval(float(y.mean()), np.nan, np.nan, np.nan, 0.0, 1, 1, "nothing (one value)")
    se = float(y.std(ddof=1) / np.sqrt(y.size))
    return _interval(y, se, y.size - 1.0, level, over)


def _interval(y: np.ndarray, se: float, df: float, level: float, over: str) -> Interval:
    """What the test does not reject around the mean of y [S, P]."""
    mean, half = float(y.mean()), _quantile((1 + level) / 2, df, y.shape) * se
    return Interval(mean, mean - half, mean + half, se, df, *y.shape, over)


def _weights(df: float, shape) -> list[tuple[float, float]]:
    """(weight, df) of each t that makes up the reference distribution: w is read back from df."""
    few, many = sorted(levels - 1 for levels in shape)
    if few < 1 or not few < df < many:
        return [(1.0, df)]
    w = (1 / df - 1 / many) / (1 / few - 1 / many)
    return [(w, few), (1 - w, many)]


def _quantile(probability: float, df: float, shape) -> float:
    """The t that is passed with 1 - probability, for a table of this shape (S, P)."""
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


def paired_difference(a, b, level: float = LEVEL) -> Interval:
    """Interval of mean(a - b) for scores [S, P] on the same prompts; b may be [1, P] (the SFT)."""
    a, b = np.atleast_2d(np.asarray(a, float)), np.atleast_2d(np.asarray(b, float))
    if a.shape[1] != b.shape[1] or (b.shape[0] != 1 and a.shape[0] != b.shape[0]):
        raise ValueError(f"not paired: scores {a.shape} and {b.shape}")
    return crossed(a - b, level)


def over_seeds(values, level: float = LEVEL) -> Interval:
    """The t interval of a number that exists once a seed (seconds, an lm-eval score)."""
    y = np.asarray(values, float)
    y = y[np.isfinite(y)].reshape(-1, 1)
    if y.size == 0:
        return Interval(*[np.nan] * 4, 0.0, 0, 0, "nothing (no value)")
    if y.size == 1:
        return Interval(float(y[0, 0]), *[np.nan] * 3, 0.0, 1, 0, "nothing (one seed)")
    se = float(y.std(ddof=1) / np.sqrt(y.size))
    return _interval(y, se, y.size - 1.0, level, "seeds")


def p_value(interval: Interval) -> float:
    """Two-sided p of 'the true mean is 0'."""
    if not interval.se > 0:
        return float("nan") if np.isnan(interval.se) else float(interval.mean == 0)
    t, shape = abs(interval.mean) / interval.se, (interval.seeds, interval.prompts)
    return float(sum(2 * w * special.stdtr(d, -t) for w, d in _weights(interval.df, shape)))


def holm(ps) -> np.ndarray:
    """Holm's adjusted p-values (1979), in the order given; NaN stays NaN and takes no place."""
    ps = np.asarray(ps, float)
    out, running = np.full(ps.shape, np.nan), 0.0
    order = [i for i in np.argsort(ps) if np.isfinite(ps[i])]
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * ps[i]))
        out[i] = running
    return out


def _reach(interval: Interval, probability: float, n: int = 2000) -> np.ndarray:
    """Quantile times the estimated standard error, in true ones [n]: each n-th of its luck."""
    df, shape = interval.df, (interval.seeds, interval.prompts)
    luck = np.sqrt(stats.chi2.ppf((np.arange(n) + 0.5) / n, df) / df)
    return _quantile(probability, df, shape) * luck


def _found(shift: float, reach: np.ndarray) -> float:
    """Chance that |t| passes its quantile where the true mean is `shift` standard errors.

    The two tails of the noncentral t; scipy.stats.nct returns NaN far out in them.
    """
    return float((special.ndtr(shift - reach) + special.ndtr(-shift - reach)).mean())


def power(interval: Interval, effect: float, level: float = LEVEL) -> float:
    """Chance that p < 1 - level in a study of this se and df, both taken as true ones."""
    if not (interval.df > 0 and interval.se > 0):
        return float("nan")
    return _found(abs(effect) / interval.se, _reach(interval, (1 + level) / 2))


def detectable(interval: Interval, power: float = POWER, level: float = LEVEL) -> float:
    """The smallest true difference that a study of this se and df finds with this power.

    se and df are taken as true ones. Those that a study of few seeds estimates are themselves
    luck: the effect that it states is found, on average over studies, in
    about 63-75 % of cases at 3 seeds, 69-78 % at 5 and 74-79 % at 10.
    """
    if not interval.df > 0 or np.isnan(interval.se):
        return float("nan")
    reach = _reach(interval, (1 + level) / 2)
    shift = optimize.brentq(lambda x: _found(x, reach) - power, 0, reach.max() + 10)
    return float(shift * interval.se)


def equivalent(interval: Interval, margin: float, level: float = LEVEL) -> bool:
    """Two one-sided tests (Schuirmann 1987): is the true difference inside +-margin?"""
    if not interval.se > 0:
        return False
    reach = _quantile(level, interval.df, (interval.seeds, interval.prompts)) * interval.se
    return abs(interval.mean) + reach < margin


@dataclass(frozen=True)
class Share:
    """How many of n: 2 of 12."""

    count: int
    n: int

    @property
    def span(self) -> tuple[float, float]:
        """The exact 95 % interval of the rate behind it."""
        return rate_interval(self.count, self.n)


def fisher(k1: int, n1: int, k2: int, n2: int) -> float:
    """Two-sided p of Fisher's exact test: k1 of n1 against k2 of n2; NaN where an n is 0."""
    if n1 == 0 or n2 == 0:
        return float("nan")
    return float(stats.fisher_exact([[k1, n1 - k1], [k2, n2 - k2]]).pvalue)


def rate_interval(k: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval (Clopper & Pearson 1934) of the rate behind k of n; (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    found = stats.binomtest(k, n).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def least_significant(n: int) -> int | None:
    """The least k for which 0 of n against k of n has p < .05; None where not even n of n has."""
    return next((k for k in range(1, n + 1) if fisher(0, n, k, n) < 1 - LEVEL), None)


def best_of(values, costs=None, worst: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Expected cost [n] and expected best value [n] of k = 1..n random trials, higher is better.

    Trials are drawn with replacement from the n given: E max = sum_i v_(i) [(i/n)^k - ((i-1)/n)^k]
    (Dodge et al. 2019, 1909.03004, eq. 1). Without `costs` a trial costs 1. A failed trial, NaN,
    counts as `worst`; ValueError if there is one and no `worst`, or if there is no trial.
    """
    values = np.asarray(values, float)
    if values.size == 0 or (np.isnan(values).any() and worst is None):
        raise ValueError("best_of() needs trials, and `worst` where one of them failed")
    values = np.sort(np.where(np.isnan(values), worst, values).astype(float))
    k, n = np.arange(1, values.size + 1), values.size
    below = (np.arange(n + 1) / n) ** k[:, None]  # [k, i]: that all k are among the i lowest
    return k * (1.0 if costs is None else np.mean(costs)), np.diff(below, axis=1) @ values
