"""Say effects, margins and verdicts in words."""

import math
from dataclasses import replace

from bench.analysis.statistics import Interval
from bench.report.words import fixed, label, said
from bench.studies.claims.analysis import Outcome, Word
from bench.studies.claims.claim import Claim, Part, Rule
from bench.studies.claims.effects import Effect


def name_of(row: Outcome) -> str:
    """Return the key of a claim, with the number of the part if it has several: 'C9.2'."""
    parts = row.claim.parts
    return row.claim.key + (f".{parts.index(row.part) + 1}" if len(parts) > 1 else "")


def labelled(claim: Claim, condition: str) -> str:
    """Return what readers call a condition of a claim."""
    return claim.labels.get(condition, label(condition))


def in_words(part: Part, effect: Effect) -> str:
    """Format an effect with its interval; that of a log as the ratio. Beyond the cheapest and the
    dearest that was run, the end is that bound."""
    return exponential(effect) if part.logarithm else said(effect.interval)


def exponential(effect: Effect, digits: int = 2) -> str:
    """Format e to the power of an effect, with its interval."""
    logs = {key: getattr(effect.interval, key) for key in ("mean", "low", "high")}
    if not any(map(math.isinf, logs.values())):
        ends = {key: math.exp(log) for key, log in logs.items()}
        return said(replace(effect.interval, **ends), digits, sign="")
    mean, low, high = (_exponential(log, effect.span, digits) for log in logs.values())
    if low == mean == high:
        return mean
    return f"{mean} (no interval)" if math.isnan(logs["low"]) else f"{mean} ({low} to {high})"


def _exponential(log: float, span: tuple[float, float], digits: int) -> str:
    """Format e to the power of a number: '0.80', or '< 0.2' for one below all that was run."""
    if not math.isinf(log):
        return fixed(math.exp(log), f".{digits}f")
    return f"> {math.exp(span[1]):.2g}" if log > 0 else f"< {math.exp(span[0]):.2g}"


def margin_of(part: Part) -> str:
    """Format a margin; that of a log as the ratio."""
    return fixed(math.exp(part.margin) if part.logarithm else part.margin, ".3g")


def findable(row: Outcome) -> str:
    """Format the smallest effect that the experiment could have found."""
    value = row.detectable
    if not math.isfinite(value):
        return "–"
    return fixed(math.exp(value) if row.part.logarithm else value, ".3g")


def of_part(row: Outcome) -> str:
    """Say the verdict on a statement, with its numbers."""
    alone = f" ({row.alone} alone, not after the correction)" * (row.alone is not row.word)
    effects = "; ".join(in_words(row.part, effect) for effect in row.effects)
    none = row.part.rule is Rule.ALWAYS
    rule = "" if none else f", margin {margin_of(row.part)}"
    found = f"{row.part.endpoint}: {effects} {row.part.unit}{rule}, over {covered(row.effect)}"
    return f"{row.part.sentence} {row.word.capitalize()}{alone}. Measured: {found}.{_more(row)}"


def covered(interval: Interval) -> str:
    """Say what an interval covers: '10 units and test prompts'."""
    if "prompts" in interval.over:
        return f"{interval.seeds} units and test prompts"
    return f"{interval.seeds} {'settings' if 'settings' in interval.over else 'units'}"


def _more(row: Outcome) -> str:
    """Say what an undecided statement would take, and what a contradicted one does not say."""
    if row.gate:
        return f" No verdict: {row.gate}."
    small = row.part.rule is Rule.MORE and row.word is Word.CONTRADICTED and row.effect.low > 0
    if small:
        return " There is an effect, and it is smaller than the margin."
    if row.word is not Word.UNDECIDED or not math.isfinite(row.detectable) or not row.part.margin:
        return ""
    if row.detectable <= row.part.margin:
        return ""
    needed = math.ceil(row.effect.seeds * (row.detectable / row.part.margin) ** 2)
    return (
        f" This experiment could have found {findable(row)}; for the margin it would take about "
        f"{needed} units."
    )


def open_if(part: Part) -> str:
    """Say which interval leaves a statement undecided."""
    margin = margin_of(part)
    if part.rule is Rule.MORE:
        zero = "1" if part.logarithm else "0"
        return f"the interval holds {zero} and {margin}, or lies above {zero} around less than that"
    if part.rule is Rule.MATCHES:
        return f"the interval holds −{margin}"
    if part.rule is Rule.FACT:
        return ""
    return "no effect is below 0, and not all are above"


def verdicts(rows: list[Outcome]) -> str:
    """Say the verdicts on a claim's parts: 'supported' or 'supported; undecided'."""
    return "; ".join(row.word for row in rows)
