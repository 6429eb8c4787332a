"""Compare arms in gold: which is better, by how much, and how sure that is.

A `Family` holds the comparisons that are corrected together by Holm's method. The words for
verdicts are in `bench.report.words`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd

from bench.analysis import expected
from bench.analysis import statistics as st
from bench.analysis.results import Results, once
from bench.analysis.statistics import Interval, Share
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

    interval: of the mean difference in gold, a - b, of the runs that ended; ended: how many runs of
    a and of b did; expected: the difference of expected gains, failed runs counted, if any run of a
    or b failed; p: two-sided p-value, uncorrected, of that difference, else of the first; p_holm:
    corrected within the family; margin: a smaller difference in gold does not matter.
    """

    a: str
    b: str
    interval: Interval
    p: float
    ended: tuple[Share, Share]
    expected: Interval | None = None
    margin: float = 0.0
    p_holm: float = float("nan")

    @property
    def decisive(self) -> Interval:
        """Return the difference that the p-value tests."""
        return self.expected or self.interval

    @property
    def verdict(self) -> Verdict:
        """Return what the comparison decides.

        Nothing under VERDICT_SEEDS shared seeds that ended. No arm is better if the gain of the
        runs that ended, or the share that failed, speaks by itself for the other.
        """
        if self.interval.seeds < st.VERDICT_SEEDS or math.isnan(self.p):
            return Verdict(Kind.INCONCLUSIVE)
        if self.p_holm < 1 - st.LEVEL:
            a_leads = self.decisive.mean > 0
            if self._is_opposed(a_leads):
                return Verdict(Kind.INCONCLUSIVE)
            return Verdict(Kind.BETTER, self.a if a_leads else self.b)
        if self._is_equivalent():
            return Verdict(Kind.EQUIVALENT)
        return Verdict(Kind.INCONCLUSIVE)

    def _is_opposed(self, a_leads: bool) -> bool:
        """Return True if a part of the expected gain alone speaks against the arm that leads."""
        leads, follows = self.ended if a_leads else self.ended[::-1]
        fails_more = leads.rate < follows.rate
        behind = self.interval.high < 0 if a_leads else self.interval.low > 0
        p = st.fisher(leads.count, leads.n, follows.count, follows.n)
        return behind or (fails_more and p < 1 - st.LEVEL)

    def _is_equivalent(self) -> bool:
        """Return True if the arms are equivalent, failed runs counted."""
        if self.interval.seeds < st.EQUIVALENCE_SEEDS or not self.margin > 0:
            return False
        ends = (self.expected.low, self.expected.high) if self.expected else (0.0,)
        near = max(map(abs, ends)) < self.margin
        return near and st.equivalent(self.interval, self.margin)

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
    def of(cls, rows: Iterable[Comparison], size: int = 0) -> "Family":
        """Return the comparisons with Holm's p-values, corrected over all of them, or over the
        declared `size` if that is more: pairs that cannot be compared keep their place."""
        rows = list(rows)
        corrected = st.holm([row.p for row in rows], max(size, len(rows)))
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

    @property
    def ended(self) -> dict[str, Share]:
        """Return {arm: how many of its runs ended}; the fewest, if its comparisons differ."""
        found: dict[str, Share] = {}
        for row in self:
            for arm, share in zip((row.a, row.b), row.ended, strict=True):
                found[arm] = min(found.get(arm, share), share, key=lambda share: share.count)
        return found

    @property
    def judged(self) -> list[str]:
        """Return the arms that are compared with another on enough seeds for a verdict."""
        tested = [row for row in self if row.interval.seeds >= st.VERDICT_SEEDS]
        return [arm for arm in self.arms if any(arm in (row.a, row.b) for row in tested)]

    def champion(self, among: Iterable[str] = ()) -> str | None:
        """Return the arm that is better than every other of `among`, or of those that are judged;
        None if there is none, or only one."""
        arms = list(among) or self.judged
        if len(arms) < 2:
            return None
        won = {arm: {row.loser for row in self.won_by(arm)} for arm in arms}
        return next((arm for arm in arms if won[arm] >= {*arms} - {arm}), None)

    def unbeaten(self) -> list[str]:
        """Return the arms that are judged, and that no other arm is better than."""
        beaten = {row.loser for row in self}
        return [arm for arm in self.judged if arm not in beaten]


def paired(a: pd.DataFrame, b: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Cut two tables of scores [seeds x prompts] to the seeds and prompts that both have."""
    columns, rows = a.columns.intersection(b.columns), a.index.intersection(b.index)
    return a.loc[rows, columns].to_numpy(float), b.loc[rows, columns].to_numpy(float)


def beside_base(a: pd.DataFrame, base: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Cut scores [seeds x prompts] and those of an SFT base [1 x prompts] to the prompts that both
    have; every seed is compared with the base."""
    columns = a.columns.intersection(base.columns)
    return a[columns].to_numpy(float), base[columns].to_numpy(float)


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    scores: gold [seeds x prompts] of its runs that ended; base: of its SFT base [1 x prompts], the
    same table if the side is the base itself; ended: how many runs ended, of how many.
    """

    scores: pd.DataFrame
    base: pd.DataFrame
    ended: Share

    @cached_property
    def gain(self) -> Interval:
        """Return the interval of the gain over the SFT base of the runs that ended."""
        if self.scores.empty or self.base.empty:
            return NOTHING
        mine, base = beside_base(self.scores, self.base)
        return st.crossed(mine - base) if mine.size else NOTHING

    @property
    def is_base(self) -> bool:
        """Return True for an SFT base itself."""
        return self.scores is self.base


NOTHING = Interval(*[float("nan")] * 4, 0.0, 0, 0, "nothing (no seed ended on both sides)")


def compared(
    sides: Mapping[tuple[str, str], tuple[Side, Side]], margin: float = 0.0, size: int = 0
) -> Family:
    """Compare {(a, b): their sides} as one family.

    A pair without a seed or a prompt in common stays in it, without interval and p. margin: a
    smaller difference in gold does not matter; size: how many pairs were declared, if more.
    """
    return Family.of((_compared(a, b, i, j, margin) for (a, b), (i, j) in sides.items()), size)


def _compared(a: str, b: str, mine: Side, other: Side, margin: float) -> Comparison:
    """Compare two arms by their sides."""
    gold, ended = differing(mine, other), (mine.ended, other.ended)

    def counted(level: float) -> Interval:
        if other.is_base:
            return expected.gain(mine.ended, gold, level)
        return expected.difference(ended, (mine.gain, other.gain), gold, level)

    failed = not all(share.all for share in ended)
    if failed and not other.is_base and not mine.base.equals(other.base):
        # a failed run leaves its user with its own base, so that no gain compares the two
        return Comparison(a, b, gold, float("nan"), ended, margin=margin)
    return tested(a, b, gold, ended, counted, margin)


def differing(mine: Side, other: Side) -> Interval:
    """Return the interval of the difference in gold, of the runs that ended."""
    if not (mine.scores.size and other.scores.size):
        return NOTHING
    both = (beside_base if other.is_base else paired)(mine.scores, other.scores)
    return st.paired_difference(*both) if both[0].size else NOTHING


def tested(
    a: str,
    b: str,
    gold: Interval,
    ended: tuple[Share, Share],
    counted: Callable[[float], Interval],
    margin: float = 0.0,
) -> Comparison:
    """Compare two arms, failed runs counted.

    gold: the difference of the runs that ended; counted: that of the expected gains, at a level.
    Without p under VERDICT_SEEDS shared seeds.
    """
    if gold.seeds < st.VERDICT_SEEDS:
        return Comparison(a, b, gold, float("nan"), ended, margin=margin)
    if all(share.all for share in ended):
        return Comparison(a, b, gold, st.p_value(gold), ended, margin=margin)
    return Comparison(a, b, gold, expected.p_value(counted), ended, counted(st.LEVEL), margin)


@once
def margin(results: Results, base: str = SFT) -> float:
    """Return the difference in gold below which two arms count as equal.

    It is MARGIN standard deviations of the gold of an SFT base's answers.
    """
    answers = results.answers(base)
    return MARGIN * float(np.std(answers.to_numpy(), ddof=1)) if answers.size > 1 else 0.0


def pairs(results: Results) -> list[tuple[str, str]]:
    """Return the declared comparisons: all pairs of methods as tuned.

    Variants of a method (`dpo-beta0.3`) take no part, so that a sweep does not dilute Holm's
    correction and nobody picks the best of many: see `variants`.
    """
    return [*combinations([arm.name for arm in results.meta.arms if arm.tuned], 2)]


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
    if not answered(results):
        return Family()
    sides = {arm: side(results, arm) for arm in results.arms}
    against = {(a, SFT): (i, Side(i.base, i.base, Share(1, 1))) for a, i in sides.items()}
    return compared(against, margin(results))


def side(results: Results, arm: str) -> Side:
    """Return an arm's side of a comparison on the test prompts."""
    base = results.scores(results.base[arm])
    return Side(results.scores(arm), base, results.share_ended(arm))


def answered(results: Results) -> bool:
    """Return False if runs ended, but none answered test prompts: the study needs curves alone."""
    ended = results.ended().arm.unique()
    return not len(ended) or any(results.scores(arm).size for arm in ended)


def all_pairs(sides: Mapping[str, Side], margin: float) -> Family:
    """Compare all pairs of sides, {name: side}, as one family."""
    both = {(a, b): (sides[a], sides[b]) for a, b in combinations(sides, 2)}
    return compared(both, margin)


def _of_pairs(results: Results, declared: list[tuple[str, str]]) -> Family:
    if not answered(results):
        return Family()
    sides = {(a, b): (side(results, a), side(results, b)) for a, b in declared}
    return compared(sides, margin(results))
