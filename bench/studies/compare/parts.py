"""Tabulate gold by family of prompts and by its parts: what a method gained it with."""

import math

import pandas as pd

from bench.analysis import statistics as st
from bench.analysis.results import COLUMNS, Results, once
from bench.report.tables import DASH, Cell, Table
from bench.report.words import fixed, label

GOLD = "gold"
SHOWN = 0.005  # smaller means print as 0.00
LEAST = 0.1  # SDs: smaller moves are not named
OTHERS = {*COLUMNS["prompts"], "ended"}  # columns of an answer that are no parts of gold


def named(results: Results) -> list[str]:
    """Return the names of gold's parts in this world."""
    return [name for name in results.prompts if name not in OTHERS]


@once
def found(results: Results, arm: str, family: str, part: str) -> st.Interval | None:
    """Return the mean of a part over an arm's answers to a family's prompts, with its interval.

    None if the family has no such part, or no run of the arm ended.
    """
    rows = results.prompts
    rows = rows[(rows.arm == arm) & (rows.family == family)]
    values = rows.assign(value=pd.to_numeric(rows[part], errors="coerce"))
    scores = values.pivot_table(index="seed", columns="prompt_id", values="value").dropna(axis=1)
    return st.crossed(scores) if scores.size else None


def families(results: Results) -> list[str]:
    """Return the families of test prompts, those that were tuned on first."""
    tuned = results.meta.tuned_families
    every = sorted(results.prompts.family.dropna().unique())
    return [*(f for f in tuned if f in every), *(f for f in every if f not in tuned)]


def table(study) -> Table:
    """Tabulate gold and each of its parts, a row per family and part."""
    results, arms = study.results, [*study.bases, *study.arms]
    rows = []
    for family in families(results):
        for part in (GOLD, *named(results)):
            values = [found(results, arm, family, part) for arm in arms]
            if any(v is not None and abs(v.mean) >= SHOWN for v in values):
                rows.append([Cell(family, part), *map(_cell, values)])
    over = "seeds and prompts (SFT: prompts)" if study.seeds > 1 else "prompts"
    header = [("Family", "part"), *((label(arm), "") for arm in arms)]
    note = (
        "Means over the answers to the test prompts of a family; ± is half of the 95 % "
        f"interval over {over}. Gold weighs the parts as the testbed's world defines it. "
        "Parts that are 0.00 for all are left out."
    )
    return Table("Gold in parts", header, rows, [note])


def _cell(value: st.Interval | None) -> Cell:
    """Format '0.53' with its half-width beside it."""
    if value is None:
        return DASH
    half = f"± {value.half:.2f}" if math.isfinite(value.half) else ""
    return Cell(fixed(value.mean, ".2f"), half, value=value.mean)


def lines(study) -> list[str]:
    """Name the parts of gold that each arm raised and lowered most, in SDs of SFT's answers."""
    out = []
    for arm in study.listed:
        moves = sorted(moved(study.results, arm, study.base[arm]))
        ends = {*moves[-1:], *moves[:1]}
        named_ = [_move(move) for move in sorted(ends, reverse=True) if abs(move[0]) >= LEAST]
        if named_:
            out.append(f"{label(arm)} {', '.join(dict.fromkeys(named_))}")
    if not out:
        return []
    how = "the largest moves in SDs of SFT's answers, untested"
    return [f"What rose and fell most from SFT ({how}): {'; '.join(out)}."]


def _move(move: tuple[float, str, str, float, float]) -> str:
    """Say 'rating of movie by +2.5 SDs, from -0.16 to 2.31'."""
    sds, family, part, before, after = move
    span = f"from {fixed(before, '.2f')} to {fixed(after, '.2f')}"
    return f"{part} of {family} by {fixed(sds, '+.1f')} SDs, {span}"


def by_family(study) -> list[str]:
    """Say what each arm gained on each family of prompts that verdicts use, if they are several."""
    out = []
    for family in study.meta.tuned_families:
        gains = {arm: _gain(study, arm, family) for arm in study.listed}
        known = sorted((arm for arm in gains if math.isfinite(gains[arm])), key=lambda a: -gains[a])
        items = [f"{label(arm)} {fixed(gains[arm], '+.2f')}" for arm in known]
        out += [f"on {family} {', '.join(items)}"] * bool(items)
    return [f"Mean gain, untested: {'; '.join(out)}."] * (len(out) > 1)


def _gain(study, arm: str, family: str) -> float:
    """Return an arm's mean gold on a family's prompts above its SFT base's; NaN if unknown."""
    both = [found(study.results, a, family, GOLD) for a in (arm, study.base[arm])]
    return both[0].mean - both[1].mean if None not in both else math.nan


def moved(results: Results, arm: str, base: str) -> list[tuple[float, str, str, float, float]]:
    """Return (move in SDs of the base's answers, family, part, the base's mean, the arm's)."""
    rows, out = results.prompts[results.prompts.arm == base], []
    for family in results.meta.tuned_families:
        for part in named(results):
            mine, other = (found(results, a, family, part) for a in (arm, base))
            spread = pd.to_numeric(rows[rows.family == family][part], errors="coerce").std()
            if mine is not None and other is not None and spread > 0:
                move = float((mine.mean - other.mean) / spread)
                out.append((move, family, part, other.mean, mine.mean))
    return out
