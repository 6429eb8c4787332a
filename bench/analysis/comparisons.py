"""Compare arms in gold: which is better, by how much, and how sure that is.

A `Family` holds the comparisons that are corrected together by Holm's method. The words for
verdicts are in `bench.report.words`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import pandas as pd

from bench.analysis import statistics as st
from bench.analysis.results import Results, once
from bench.core.names import SFT
from bench.core.thresholds import MARGIN


class Kind(StrEnum):
    """The verdicts that a comparison can have; the values are those of results.json."""

    BETTER = "better"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Verdict:
    """The outcome of a comparison: its kind, and the winner if there is one."""

    kind: Kind
    winner: str | None = None


@dataclass(frozen=True)
class Comparison:
    """A comparison of two arms on the same prompts.

    interval: of the mean difference in gold, a - b; p: two-sided p-value, uncorrected; p_holm:
    corrected within the family; seeds: how many runs of a and of b have scores; margin: a smaller
    difference in gold does not matter.
    """

    a: str
    b: str
    interval: st.Interval
    p: float
    seeds: tuple[int, int]
    margin: float = 0.0
    p_holm: float = float("nan")

    @property
    def verdict(self) -> Verdict:
        """Return what the comparison decides.

        With one seed it decides nothing: no interval from one seed covers the variation between
        seeds.
        """
        if self.interval.seeds >= 2 and self.p_holm < 1 - st.LEVEL:
            return Verdict(Kind.BETTER, self.a if self.interval.mean > 0 else self.b)
        enough = self.interval.seeds >= st.EQUIVALENCE_SEEDS and self.margin > 0
        if enough and st.equivalent(self.interval, self.margin):
            return Verdict(Kind.EQUIVALENT)
        return Verdict(Kind.INCONCLUSIVE)

    @property
    def winner(self) -> str | None:
        """Return the arm that is better; None if neither is."""
        return self.verdict.winner

    @property
    def loser(self) -> str | None:
        """Return the arm that the winner is better than; None if neither is better."""
        return {self.a: self.b, self.b: self.a}.get(self.winner)

    @property
    def kind(self) -> Kind:
        """Return the kind of the verdict."""
        return self.verdict.kind


class Family(tuple[Comparison, ...]):
    """Comparisons that are corrected together."""

    @classmethod
    def of(cls, rows: Iterable[Comparison]) -> "Family":
        """Return the comparisons with Holm's p-values, corrected over all of them."""
        rows = list(rows)
        corrected = st.holm([row.p for row in rows])
        return cls(replace(row, p_holm=float(p)) for row, p in zip(rows, corrected, strict=True))

    @property
    def arms(self) -> list[str]:
        """Return the arms that are compared."""
        return list(dict.fromkeys([*(row.a for row in self), *(row.b for row in self)]))

    def between(self, a: str, b: str) -> Comparison | None:
        """Return the comparison of two arms, in this order; None if there is none."""
        return next((row for row in self if (row.a, row.b) == (a, b)), None)

    def of_kind(self, kind: Kind) -> list[Comparison]:
        """Return the comparisons with this kind of verdict."""
        return [row for row in self if row.kind is kind]

    def won_by(self, arm: str) -> list[Comparison]:
        """Return the comparisons that an arm won."""
        return [row for row in self if row.winner == arm]

    def champion(self, among: Iterable[str] = ()) -> str | None:
        """Return the arm that is better than every other of `among`, or of all that are compared;
        None if there is none."""
        arms = list(among) or self.arms
        return next((arm for arm in arms if len(self.won_by(arm)) == len(arms) - 1), None)

    def unbeaten(self) -> list[str]:
        """Return the arms that no other arm is better than."""
        beaten = {row.loser for row in self}
        return [arm for arm in self.arms if arm not in beaten]


def paired(a: pd.DataFrame, b: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Cut two tables of scores [seeds x prompts] to the seeds and prompts that both have.

    If b is the one row of an SFT base (seed 0), it is compared with every seed of a.
    """
    columns = a.columns.intersection(b.columns)
    rows = a.index.intersection(b.index) if len(b) > 1 or not (b.index == 0).all() else a.index
    other = b.loc[rows, columns] if len(b) > 1 or rows.isin(b.index).all() else b[columns]
    return a.loc[rows, columns].to_numpy(float), other.to_numpy(float)


def compared(
    scores: Mapping[tuple[str, str], tuple[pd.DataFrame, pd.DataFrame]], margin: float = 0.0
) -> Family:
    """Compare {(a, b): (scores of a, scores of b)}, each seeds x prompts, as one family.

    A pair without a seed or a prompt in common is left out. margin: a smaller difference in gold
    does not matter.
    """
    rows = []
    for (a, b), (mine, other) in scores.items():
        both = paired(mine, other) if mine.size and other.size else (np.empty(0), np.empty(0))
        if both[0].size:
            diff = st.paired_difference(*both)
            seeds = len(mine), len(other)
            rows.append(Comparison(a, b, diff, st.p_value(diff), seeds, margin))
    return Family.of(rows)


@once
def margin(results: Results) -> float:
    """Return the difference in gold below which two arms count as equal.

    It is MARGIN standard deviations of the SFT base's gold over prompts.
    """
    base = results.scores(SFT)
    return MARGIN * float(np.std(base.to_numpy(), ddof=1)) if base.size > 1 else 0.0


def pairs(results: Results) -> list[tuple[str, str]]:
    """Return the declared comparisons: all pairs of methods as tuned.

    Variants of a method (`dpo-beta0.3`) take no part, so that a sweep does not dilute Holm's
    correction and nobody picks the best of many: see `variants`.
    """
    tuned = [arm.name for arm in results.meta.arms if arm.tuned]
    return [(a, b) for i, a in enumerate(tuned) for b in tuned[i + 1 :]]


def variants(results: Results) -> list[tuple[str, str]]:
    """Return (variant, its method as tuned) for each variant, if the study has both."""
    arms = results.meta.arms
    return [(a.name, a.method) for a in arms if not a.tuned and a.method in results.arms]


@once
def between_methods(results: Results) -> Family:
    """Compare the declared pairs of methods."""
    return _of_pairs(results, pairs(results))


@once
def against_tuned(results: Results) -> Family:
    """Compare each variant with its method as tuned."""
    return _of_pairs(results, variants(results))


@once
def against_sft(results: Results) -> Family:
    """Compare each arm with its SFT base, which is called `sft` here."""
    scores = {
        (arm, SFT): (results.scores(arm), results.scores(results.base[arm])) for arm in results.arms
    }
    return compared(scores, margin(results))


def _of_pairs(results: Results, declared: list[tuple[str, str]]) -> Family:
    scores = {pair: tuple(map(results.scores, pair)) for pair in declared}
    return compared(scores, margin(results))
