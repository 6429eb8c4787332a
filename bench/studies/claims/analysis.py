"""Decide every claim of a study by its rule, corrected over all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bench.analysis import statistics as st
from bench.analysis.results import Results, once
from bench.analysis.statistics import Interval
from bench.studies.claims import units
from bench.studies.claims.claim import Claim, Part, Rule
from bench.studies.claims.tested import every

LEVEL = 1 - st.LEVEL


class Word(StrEnum):
    """The verdict on a claim, or on a part of one."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Outcome:
    """The verdict on a part of a claim.

    effects: one, or for ALWAYS several; p: of the hypothesis that the verdict rejects, NaN if the
    part is undecided; p_holm: corrected over all parts of all claims.
    """

    claim: Claim
    part: Part
    effects: tuple[Interval, ...]
    alone: Word
    p: float
    p_holm: float = math.nan

    @property
    def word(self) -> Word:
        """Return the verdict after the correction."""
        return self.alone if self.p_holm < LEVEL else Word.UNDECIDED

    @property
    def effect(self) -> Interval:
        """Return the effect; of several, the least."""
        return min(self.effects, key=lambda effect: effect.mean)

    @property
    def detectable(self) -> float:
        """Return the effect, from 0, that an experiment of this size finds 4 times in 5."""
        return st.detectable(self.effect)


def outcome(claim: Claim, part: Part, results: Results) -> Outcome:
    """Decide a part of a claim, without correction."""
    found = part.measure(results)
    effects = (found,) if isinstance(found, Interval) else tuple(found)
    word, p = decided(part, effects)
    return Outcome(claim, part, effects, word, p)


def decided(part: Part, effects: Sequence[Interval]) -> tuple[Word, float]:
    """Return the verdict by the part's rule, and the p of what it rejects."""
    if any(math.isnan(effect.half) for effect in effects) or not effects:
        return Word.UNDECIDED, math.nan
    if part.rule is Rule.ALWAYS:
        return _always(effects)
    (effect,) = effects
    low = -part.margin if part.rule is Rule.MATCHES else 0.0
    high = -part.margin if part.rule is Rule.MATCHES else part.margin
    if effect.low > low and (part.rule is Rule.MATCHES or effect.mean >= part.margin):
        return Word.SUPPORTED, p_against(effect, low)
    if effect.high < high:
        return Word.CONTRADICTED, p_against(effect, high)
    return Word.UNDECIDED, math.nan


def _always(effects: Sequence[Interval]) -> tuple[Word, float]:
    ps = [p_against(effect, 0.0) for effect in effects]
    against = [p for effect, p in zip(effects, ps, strict=True) if effect.mean < 0]
    if against and len(effects) * min(against) < LEVEL:
        return Word.CONTRADICTED, len(effects) * min(against)
    if all(effect.low > 0 for effect in effects):
        return Word.SUPPORTED, max(ps)
    return Word.UNDECIDED, math.nan


def p_against(effect: Interval, value: float) -> float:
    """Return the two-sided p of the hypothesis that an effect is ``value``."""
    return st.p_value(replace(effect, mean=effect.mean - value))


def corrected(outcomes: Sequence[Outcome], declared: int) -> list[Outcome]:
    """Correct the verdicts by Holm's method over all declared parts, undecided ones included."""
    ps = st.holm([outcome.p for outcome in outcomes], declared)
    return [replace(found, p_holm=float(p)) for found, p in zip(outcomes, ps, strict=True)]


@once
def outcomes(results: Results) -> list[Outcome]:
    """Return the verdict on each part of each claim that the study has the runs of, corrected over
    all parts that are declared, whether or not they were tested."""
    known = set(units.arms_of(results))
    tested = [claim for claim in every().values() if set(claim.conditions) <= known]
    found = [outcome(claim, part, results) for claim in tested for part in claim.parts]
    return corrected(found, sum(len(claim.parts) for claim in every().values()))


def by_claim(results: Results) -> dict[str, list[Outcome]]:
    """Return {key: the verdicts on its parts} of the claims that were tested."""
    found: dict[str, list[Outcome]] = {}
    for row in outcomes(results):
        found.setdefault(row.claim.key, []).append(row)
    return found


def shown(results: Results, claim: Claim) -> dict[str, Interval]:
    """Return {name: interval} that a claim's figure draws."""
    if claim.shown:
        return claim.shown(results)
    return {condition: units.gain(results, condition) for condition in claim.conditions}
