"""The result in words: quality, cost, stability, and how sure one can be. Never an adjective
that the statistics do not support.
"""

import math

import numpy as np

from bench.analysis import measures as ms
from bench.analysis import statistics as st
from bench.report.style import SFT, label


def said(interval: st.Interval, digits: int = 2, sign: bool = True) -> str:
    """'+0.71 (95 % interval +0.55 to +0.87)'."""
    mark = "+" if sign else ","
    mean = f"{interval.mean:{mark}.{digits}f}"
    if not math.isfinite(interval.half):
        return f"{mean} (no interval)"
    low, high = (f"{v:{mark}.{digits}f}" for v in (interval.low, interval.high))
    return f"{mean} (95 % interval {low} to {high})"


def joined(words) -> str:
    """'a, b and c'."""
    words = list(words)
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def better_words(verdict: str) -> str:
    """A verdict with arms as readers call them: 'dpo better' -> 'DPO better'."""
    arm, space, rest = verdict.partition(" ")
    return f"{label(arm)}{space}{rest}" if rest == "better" else verdict


def headline(study) -> str:
    """One sentence: who is best in gold, if that can be said."""
    rows = study.versus
    if study.seeds == 1:
        return "One seed: this shows what the methods do, and cannot say which is better."
    if not len(rows):
        return _headline_without_pairs(study)
    plain = list(dict.fromkeys([*rows.a, *rows.b]))
    wins = {arm: int((rows.verdict == f"{arm} better").sum()) for arm in plain}
    losses = {arm: _losses(rows, arm) for arm in plain}
    top = [arm for arm in plain if wins[arm] == len(plain) - 1]
    if top:
        return f"{label(top[0])} reaches the highest gold reward, better than every other method."
    unbeaten = [label(arm) for arm in plain if not losses[arm]]
    if len(unbeaten) == len(plain):
        return "No method can be told from another in gold reward here."
    verb = "is" if len(unbeaten) == 1 else "are"
    return f"No single best: {joined(unbeaten)} {verb} beaten by no other method in gold reward."


def _losses(rows, arm: str) -> int:
    """How many declared comparisons an arm lost."""
    against = rows[(rows.a == arm) | (rows.b == arm)]
    lost = against.verdict.str.endswith(" better") & (against.verdict != f"{arm} better")
    return int(lost.sum())


def _headline_without_pairs(study) -> str:
    """Of a study whose arms are variants: the highest mean, with no claim that it is the best."""
    found = {arm: study.interval(arm, "gold_delta") for arm in study.arms}
    found = {arm: i for arm, i in found.items() if i is not None}
    if not found:
        return "No run ended: there is nothing to compare."
    best = max(found, key=lambda arm: found[arm].mean)
    return (
        f"The highest mean gold above SFT is {label(best)}'s, {said(found[best])}; variants are "
        "shown side by side and not tested against each other."
    )


def quality(study) -> list[str]:
    """Who is above SFT, and who is better than whom."""
    rows = study.versus_sft
    above = rows[rows.verdict == [f"{a} better" for a in rows.a]] if len(rows) else rows
    below = rows[rows.verdict == f"{SFT} better"] if len(rows) else rows
    rest = rows[rows.verdict == "inconclusive"] if len(rows) else rows
    parts = [
        _against_sft(above, "end above the SFT base", "ends above the SFT base"),
        _against_sft(below, "end below the SFT base", "ends below the SFT base"),
        _against_sft(rest, "cannot be told from the SFT base", "cannot be told from the SFT base"),
    ]
    lost = [label(a) for a in study.arms if a not in set(rows.a)]
    parts.append(f"{joined(lost)}: no run ended." if lost else "")
    return [p for p in [*parts, *_pairs(study)] if p]


def _against_sft(rows, many: str, one: str) -> str:
    """A sentence about all arms with the same verdict against SFT."""
    if not len(rows):
        return ""
    items = [f"{label(r.a)} by {said(r.interval)}" for r in rows.itertuples()]
    verb = one if len(items) == 1 else many
    return f"{joined(label(a) for a in rows.a)} {verb} in gold: {'; '.join(items)}."


def _pairs(study) -> list[str]:
    """The declared pairs: those decided one by one, the others in one sentence."""
    rows = study.versus
    out = []
    for r in rows[rows.verdict.str.endswith(" better")].itertuples() if len(rows) else ():
        better, other = (r.a, r.b) if r.interval.mean > 0 else (r.b, r.a)
        size, low, high = sorted_size(r.interval)
        out.append(f"{label(better)} is better than {label(other)} by {size:.2f} "
                   f"({low:.2f} to {high:.2f}; Holm p = {p_words(r.p_holm)}).")  # fmt: skip
    same = rows[rows.verdict.str.startswith("equivalent")] if len(rows) else ()
    out += [
        f"{label(r.a)} and {label(r.b)} are {r.verdict}."
        for r in getattr(same, "itertuples", list)()
    ]
    unsure = rows[rows.verdict == "inconclusive"] if len(rows) else rows
    names = [f"{label(r.a)} / {label(r.b)}" for r in unsure.itertuples()]
    return out + ([f"Inconclusive: {joined(names)}."] if names else [])


def sorted_size(interval: st.Interval) -> tuple[float, float, float]:
    """A difference as (size, low, high) in the direction in which its mean is positive."""
    if interval.mean >= 0:
        return interval.mean, interval.low, interval.high
    return -interval.mean, -interval.high, -interval.low


def p_words(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def ratio(study, a: str, b: str) -> tuple[float, float, float] | None:
    """Cost of a over b: geometric mean over seeds, with its 95 % t interval."""
    mine, other = (
        study.costs[study.costs.arm == arm].groupby("seed").seconds.sum() for arm in (a, b)
    )
    ended = [ms.finished(study.tables["runs"], arm) for arm in (a, b)]
    seeds = [s for s in mine.index if s in ended[0] and s in ended[1] and s in other.index]
    if not seeds or min(mine[seeds].min(), other[seeds].min()) <= 0:
        return None
    found = st.over_seeds(np.log(mine[seeds] / other[seeds]))
    return tuple(float(np.exp(v)) for v in (found.mean, found.low, found.high))


def cost(study) -> list[str]:
    """Every arm's seconds, and its ratio to the cheapest."""
    known = {arm: study.interval(arm, "cost") for arm in study.arms}
    known = {arm: i for arm, i in known.items() if i is not None and i.mean > 0}
    if not known:
        return ["No run ended: no cost to compare."]
    cheap = min(known, key=lambda arm: known[arm].mean)
    unit = study.second_name
    out = [f"{label(cheap)} is the cheapest: {known[cheap].mean:,.1f} {unit} a run."]
    for arm in sorted((a for a in known if a != cheap), key=lambda a: known[a].mean):
        if found := ratio(study, arm, cheap):
            span = f" (95 % {found[1]:.2f} to {found[2]:.2f})" if math.isfinite(found[1]) else ""
            out.append(f"{label(arm)} costs {found[0]:.2f} times as much{span}: "
                       f"{known[arm].mean:,.1f} {unit}.")  # fmt: skip
    charge = "PPO is charged its seed's reward model, DPO and IPO the reference log-probabilities."
    return [" ".join(out), charge]


def stability(study) -> list[str]:
    """Failures run by run, then the spread of seeds."""
    total, lost = len(study.tables["runs"]), study.failures
    out = [
        f"All {total} runs ended." if not len(lost) else f"{len(lost)} of {total} runs did not end."
    ]
    for row in lost.itertuples():
        reason = "" if str(row.reason) in ("nan", "") else f" ({row.reason})"
        out.append(f"{label(row.arm)} seed {row.seed}: {row.status}{reason}.")
    table = ms.stability(study.tables, study.meta).dropna(subset=["spread"])
    if study.seeds >= 3 and len(table):
        items = [f"{label(r.arm)} {r.spread:.3f}" for r in table.sort_values("spread").itertuples()]
        out.append(f"Spread between seeds (SD of a seed's mean gold): {', '.join(items)}.")
    return out


def certainty(study) -> list[str]:
    """Seeds, prompts, the smallest effect that would have been found, what is never said."""
    seeds = f"{study.seeds} seed{'s' * (study.seeds != 1)}"
    out = [f"{seeds} × {study.prompts} test prompts."]
    if study.seeds == 1:
        out.append(
            "Intervals cover the luck of prompts only: another seed may turn any order round."
        )
    if study.seeds > 1 and len(study.versus):
        out.append(_detectable(study))
    if study.seeds < st.EQUIVALENCE_SEEDS:
        out.append(f"Below {st.EQUIVALENCE_SEEDS} seeds no two methods are called equivalent: "
                   "'inconclusive' does not mean equal.")  # fmt: skip
    else:
        out.append(
            f"'Equivalent' means within {study.margin:.2g} gold, a tenth of the spread of SFT."
        )
    return out


def _detectable(study) -> str:
    """The smallest true difference between two methods that such a study finds 4 times in 5."""
    intervals, m = list(study.versus.interval), len(study.versus)
    plain = [st.detectable(i) for i in intervals]
    first = [st.detectable(i, level=1 - (1 - st.LEVEL) / m) for i in intervals]
    return (
        f"A study of this size finds a true difference between two methods four times in five if it is "
        f"{span(plain)} gold (alone) or {span(first)} (as the first of {m} comparisons, Holm)."
    )


def span(values) -> str:
    """'0.10 to 0.15', or one number."""
    low, high = (f"{f(values):.2f}" for f in (min, max))
    return low if low == high else f"{low} to {high}"
