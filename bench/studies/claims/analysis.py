"""Decide every claim of a study by its rule, corrected over all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bench.analysis import statistics as st
from bench.analysis.results import Results, once
from bench.analysis.statistics import Interval
from bench.core.grouping import grouped
from bench.studies.claims import units
from bench.studies.claims.claim import Claim, Part, Rule
from bench.studies.claims.effects import Effect
from bench.studies.claims.tested import every

ALPHA = 1 - st.LEVEL


class Word(StrEnum):
    """The verdict on a claim, or on a part of one."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Outcome:
    """The verdict on a part of a claim.

    effects: one, or for ALWAYS several; p: of the hypothesis that the verdict rejects, NaN if the
    part is undecided; p_holm: corrected over all parts of all claims; gate: why the results cannot
    decide, '' if they can.
    """

    claim: Claim
    part: Part
    effects: tuple[Effect, ...]
    alone: Word
    p: float
    p_holm: float = math.nan
    gate: str = ""

    @property
    def word(self) -> Word:
        """Return the verdict after the correction."""
        if self.part.rule is Rule.FACT:
            return self.alone
        return self.alone if self.p_holm < ALPHA else Word.UNDECIDED

    @property
    def least(self) -> Effect:
        """Return the effect; of several, the least."""
        return min(self.effects, key=lambda effect: effect.interval.mean)

    @property
    def effect(self) -> Interval:
        """Return the interval of the effect; of several, of the least."""
        return self.least.interval

    @property
    def detectable(self) -> float:
        """Return the distance from the value that decides which an experiment of this size finds 4
        times in 5, at the level of the correction's first step; NaN for an interval without a
        standard error, and for a fact."""
        if self.part.rule is Rule.FACT:
            return math.nan
        return st.detectable(self.effect, level=1 - ALPHA * weight(self) / len(every()))


def weight(row: Outcome) -> float:
    """Return the weight of a part in the correction: each claim has 1, which its tests share."""
    if row.part.rule is Rule.FACT:
        return 0.0
    tests = [part.share for part in row.claim.parts if part.rule is not Rule.FACT]
    return row.part.share / sum(tests)


def outcome(claim: Claim, part: Part, results: Results) -> Outcome:
    """Decide a part of a claim, without correction."""
    found = part.measure(results)
    effects = [Effect.of(e) for e in (found if isinstance(found, list | tuple) else [found])]
    gate = part.gate(results) if part.gate else ""
    word, p = (Word.UNDECIDED, math.nan) if gate else decided(part, effects)
    return Outcome(claim, part, tuple(effects), word, p, gate=gate)


def decided(part: Part, effects: Sequence[Effect]) -> tuple[Word, float]:
    """Return the verdict by the part's rule, and the p of what it rejects."""
    if part.rule is Rule.ALWAYS:
        return _always(effects)
    (effect,) = effects
    found = effect.interval
    if part.rule is Rule.FACT:
        if math.isnan(found.mean):
            return Word.UNDECIDED, math.nan
        return Word.SUPPORTED if found.mean >= part.margin else Word.CONTRADICTED, math.nan
    low = -part.margin if part.rule is Rule.MATCHES else 0.0
    high = -part.margin if part.rule is Rule.MATCHES else part.margin
    if found.low > low and (part.rule is Rule.MATCHES or found.mean >= part.margin):
        return _sure(Word.SUPPORTED, effect.p(low))
    if found.high < high:
        return _sure(Word.CONTRADICTED, effect.p(high))
    return Word.UNDECIDED, math.nan


def _sure(word: Word, p: float) -> tuple[Word, float]:
    """Return a verdict with its p, or none where the p is unknown."""
    return (word, p) if p == p else (Word.UNDECIDED, math.nan)


def _always(effects: Sequence[Effect]) -> tuple[Word, float]:
    """Decide over the effects that have an interval: one is enough to contradict, with p times the
    number of effects; support needs all."""
    known = [effect for effect in effects if math.isfinite(effect.interval.half)]
    against = [effect.p(0.0) for effect in known if effect.interval.mean < 0]
    if against and len(effects) * min(against) < ALPHA:
        return Word.CONTRADICTED, len(effects) * min(against)
    if known and len(known) == len(effects) and all(e.interval.low > 0 for e in effects):
        return Word.SUPPORTED, max(effect.p(0.0) for effect in effects)
    return Word.UNDECIDED, math.nan


def corrected(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Correct the verdicts by Holm's method over all claims, whether or not they were tested: each
    weighs the same, and its parts share its weight."""
    tests = [row for row in outcomes if row.part.rule is not Rule.FACT]
    ps = st.holm([row.p for row in tests], len(every()), [weight(row) for row in tests])
    found = dict(zip(map(id, tests), ps, strict=True))
    return [replace(row, p_holm=float(found.get(id(row), math.nan))) for row in outcomes]


@once
def outcomes(results: Results) -> list[Outcome]:
    """Return the verdict on each part of each claim that the study tested, corrected."""
    tested = [claim for key, claim in every().items() if "time" in results.meta.noted.get(key, {})]
    return corrected([outcome(claim, part, results) for claim in tested for part in claim.parts])


def by_claim(results: Results) -> dict[str, list[Outcome]]:
    """Return {key: the verdicts on its parts} of the claims that were tested."""
    return grouped((row.claim.key, row) for row in outcomes(results))


def shown(results: Results, claim: Claim) -> dict[str, Interval]:
    """Return {name: interval} that a claim's figure draws."""
    if claim.shown:
        return claim.shown(results)
    return {condition: units.gain(results, condition) for condition in claim.conditions}
