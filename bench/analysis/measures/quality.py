"""Measure quality: how good the answers to the test prompts are, and what they look like."""

import numpy as np
import pandas as pd

from bench.analysis import expected
from bench.analysis import statistics as st
from bench.analysis.measure import NEITHER, SIGNED, UP, measure
from bench.analysis.proxy import scale_of, scaled
from bench.analysis.results import Results
from bench.analysis.statistics import Interval

GOLD = "the testbed's ground truth; methods see at most labels drawn from it"
GOLD_IN = ("worlds/*/gold.py:Gold",)
SAMPLES = "evaluation/samples.py"


@measure("Gold reward", "gold", UP, source=GOLD, shown=("scorecard",), made_by=GOLD_IN)
def gold(results: Results, arm: str) -> pd.DataFrame:
    """Mean gold over the test prompts of the tuned families."""
    return results.scores(arm)


@measure(
    "Gold above SFT", "gold", UP, form=SIGNED, source=GOLD, shown=("scorecard",), made_by=GOLD_IN
)
def gold_delta(results: Results, arm: str) -> pd.DataFrame:
    """Mean over prompts of gold minus the SFT base's gold on the same prompt."""
    mine, base = beside_base(results, arm, "gold")
    return mine - base


@measure(
    "Expected gain", "gold", UP, form=SIGNED, source="MOVER, Zou & Donner 2008",
    shown=("scorecard",), made_by=GOLD_IN,
)  # fmt: skip
def expected_gain(results: Results, arm: str) -> Interval | None:
    """Share of runs that ended times their gold above SFT: a failed run leaves its user with the
    SFT base, and gains nothing. Given if a run of the study failed."""
    if arm in results.bases or len(results.ended()) == len(results.runs):
        return None
    share = results.share_ended(arm)
    if not share.n:
        return None
    if not share.count:
        return expected.NOTHING
    gain = gold_delta(results, arm)
    return expected.gain(share, st.crossed(gain)) if gain.size else None


@measure("Win rate against SFT", "%", UP, source=GOLD, digits=1, shown=("scorecard",))
def win(results: Results, arm: str) -> pd.DataFrame:
    """Share of answers whose gold is above that of the SFT base's to the same prompt: each answer
    is compared with each of the base's. A tie counts half."""
    wins = won(results, arm)
    return wins.groupby(level="seed").mean() if wins.size else wins


def won(results: Results, arm: str) -> pd.DataFrame:
    """Return the share, in %, of the SFT base's answers to a prompt that each answer beats.

    [(seed, draw) x prompts]; empty if the arm is itself a base.
    """
    mine, base = results.answers(arm), results.answers(results.base[arm])
    if arm in results.bases or not mine.size or not base.size:
        return pd.DataFrame()
    both = mine.columns.intersection(base.columns)
    higher = np.sign(mine[both].to_numpy()[:, None] - base[both].to_numpy()[None]).mean(axis=1)
    return pd.DataFrame(50 * (1 + higher), mine.index, both)


@measure(
    "Length-controlled win rate", "%", UP, digits=1, shown=("writing",),
    source="Dubois et al. 2024, 2404.04475, eq. 1-2, length alone",
)  # fmt: skip
def win_lc(results: Results, arm: str) -> pd.Series:
    """Win rate expected for answers as long as the SFT base's are on average, by a logistic
    regression of wins on tanh(difference in length / its SD), fitted for each seed."""
    wins, length = won(results, arm), results.answers(arm, "length")
    base = results.scores(results.base[arm], "length")
    if not (wins.size and length.size and base.size):
        return pd.Series(dtype=float)
    both = wins.columns.intersection(length.columns).intersection(base.columns)
    longer = length[both] - base[both].iloc[0]
    rates = {
        seed: win_at_no_difference(of_seed.to_numpy().ravel(), longer.loc[seed].to_numpy().ravel())
        for seed, of_seed in wins[both].groupby(level="seed")
    }
    return pd.Series(rates, dtype=float)


@measure(
    "KL from SFT", "nats", NEITHER, source="Rao-Blackwellised", shown=("writing",),
    made_by=(f"{SAMPLES}:kl_and_entropy",),
)  # fmt: skip
def kl(results: Results, arm: str) -> pd.DataFrame:
    """Full-vocabulary KL per token at temperature 1, summed along the sample, mean over samples."""
    return results.scores(arm, "kl")


@measure("Length", "tokens", NEITHER, digits=1, shown=("writing",), made_by=(f"{SAMPLES}:Sampler",))
def length(results: Results, arm: str) -> pd.DataFrame:
    """Mean tokens of an answer, EOS included."""
    return results.scores(arm, "length")


@measure(
    "Entropy", "nats/token", NEITHER, shown=("writing",), made_by=(f"{SAMPLES}:kl_and_entropy",)
)
def entropy(results: Results, arm: str) -> pd.DataFrame:
    """Mean entropy of the next token along the sample."""
    return results.scores(arm, "entropy")


@measure("Proxy reward", "SDs", NEITHER, shown=("writing",))
def proxy(results: Results, arm: str) -> pd.DataFrame:
    """Score by the seed's reward model, in SDs above its mean over the pool's unseen answers; only
    methods that need a reward model train against it."""
    scores = results.scores(arm, "proxy")
    return scaled(scores, scale_of(results, arm)).dropna(axis=1) if scores.size else scores


@measure(
    "Distinct bigrams", "share", NEITHER, source="Li et al. 2016, 1510.03055",
    shown=("scorecard",), made_by=(f"{SAMPLES}:distinct_2",),
)  # fmt: skip
def distinct2(results: Results, arm: str) -> pd.Series:
    """Distinct word bigrams as a share of all word bigrams in the answers to the test prompts, one
    to each; mean over draws."""
    rows = results.variety[results.variety.arm == arm]
    return rows.groupby("seed").distinct2.mean().astype(float)


@measure(
    "Preference accuracy", "%", UP, source="lm-eval, task preference", digits=1, shown=("writing",),
    made_by=("evaluation/harness.py:lm_eval_rows",),
)  # fmt: skip
def preference(results: Results, arm: str) -> pd.Series:
    """Share of held-out pairs where the preferred answer has the higher likelihood per byte."""
    tasks = results.tasks
    named = tasks.task.astype(str).str.contains("pref")
    rows = tasks[named & (tasks.arm == arm) & tasks.metric.astype(str).str.startswith("acc")]
    rows = rows[rows.metric == rows.metric.min()] if len(rows) else rows
    return 100 * rows.groupby("seed").value.mean() if len(rows) else pd.Series(dtype=float)


def beside_base(results: Results, arm: str, column: str) -> tuple[pd.DataFrame, pd.Series]:
    """Return an arm's scores, seeds x prompts, and its SFT base's, on the prompts that both
    answered.

    Both are empty if the arm is itself a base.
    """
    mine, base = results.scores(arm, column), results.scores(results.base[arm], column)
    if arm in results.bases or not mine.size or not base.size:
        return pd.DataFrame(), pd.Series(dtype=float)
    both = mine.columns.intersection(base.columns)
    return mine[both], base[both].iloc[0]


def win_at_no_difference(wins, longer) -> float:
    """Return 100 sigmoid(intercept) of a logistic regression of wins (100, 50, 0) on tanh(longer /
    SD).

    Dubois et al. 2024 (2404.04475), eq. 1-2. Returns the plain rate if lengths or wins do not vary.
    """
    from sklearn.linear_model import LogisticRegression

    won, longer = np.asarray(wins, float) / 100, np.asarray(longer, float)
    if np.ptp(won) == 0 or np.ptp(longer) == 0:
        return 100 * float(won.mean())
    x = np.tanh(longer / longer.std())[:, None]
    # a tie is half a win and half a loss; the penalty matters only if length separates the two
    fit = LogisticRegression(C=1e4, tol=1e-8, max_iter=1000).fit(
        np.concatenate([x, x]), np.repeat([1, 0], len(won)), np.concatenate([won, 1 - won])
    )
    return float(100 / (1 + np.exp(-fit.intercept_[0])))
