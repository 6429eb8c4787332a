"""Answer at a glance: four numbers a method, how sure, whether it is fair, what would change it."""

import math

from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison, Kind
from bench.core.thresholds import MARGIN
from bench.report.page import bases, searched, sized
from bench.report.tables import DASH, Cell, Table, arm_cell, share
from bench.report.words import BETTER, bounds, count, fixed, label, named, open_pairs, size
from bench.studies.compare import headline, lent, parts, sentences, variants
from bench.studies.compare.variants import OPEN, WORSE

Points = list[tuple[str, list[str], str]]  # question, its answer, where to read on


def table(study) -> Table:
    """Tabulate for each arm how many of its answers beat SFT's, its gain, its cost and how often it
    fails."""
    failed, counted = lent.failures(study)
    flops = headline.means(study, "flops")
    header = [("", ""), ("Beats SFT", "of its answers ↑"), ("Gold", "above SFT ↑"),
              ("FLOPs", "times the fewest ↓"), ("Failed", f"{counted} ↓")]  # fmt: skip
    rows = [
        [
            arm_cell(study, arm),
            won(study.interval(arm, "win")),
            gained(study.interval(arm, "gold_delta")),
            times_the_fewest(study, arm, flops),
            share(failed[arm]) if arm in failed else DASH,
        ]
        for arm in listed(study)
    ]
    return Table("At a glance", header, rows, [note(study)], sortable=False, compact=True)


def listed(study) -> list[str]:
    """Return the arms of the table: many variants are left to the figure below it."""
    return study.listed if study.versus_tuned else study.arms


def note(study) -> str:
    """Say what the small numbers are."""
    covers = "seeds and prompts" if study.seeds > 1 else "prompts (one seed)"
    left = len(study.arms) - len(listed(study))
    rest = f" {count(left, 'variant')}: in the figure below and in the scorecard." * bool(left)
    found, counted = lent.failures(study)
    lost = "diverged or ran out of memory"
    if counted != "runs":
        tuned = f"{len(study.failures)} of {len(study.runs)} runs as tuned did"
        lost = f"of {counted}, {lost} or ended below the SFT base; {tuned}"
    most = max(
        (share.span[1] for share in found.values() if not share.count and share.n), default=0
    )
    none = f"; where none did, up to {100 * most:.0f} % still may" * bool(most)
    return (
        f"Small numbers are 95 % intervals: of wins and gold over {covers}, of FLOPs over seeds, "
        f"of failures as if runs were independent. Failed: {lost}{none}. A number is a link to the "
        "runs behind it. Beats SFT: share of answers with more gold than "
        f"the SFT base's to the same prompt; a tie counts half. {sentences.charged(study)}{rest}"
    )


def won(found: st.Interval | None) -> Cell:
    """Format '73 %' with '71 to 75 %' beside it."""
    if found is None or not math.isfinite(found.mean):
        return DASH
    low, high = max(found.low, 0.0), min(found.high, 100.0)
    known = math.isfinite(found.half)
    return Cell(f"{found.mean:.0f} %", f"{low:.0f} to {high:.0f} %" if known else "")


def gained(found: st.Interval | None) -> Cell:
    """Format '+0.71' with '+0.65 to +0.78' beside it."""
    if found is None or not math.isfinite(found.mean):
        return DASH
    return Cell(fixed(found.mean, "+.2f"), bounds(found))


def times_the_fewest(study, arm: str, flops: dict[str, float]) -> Cell:
    """Format '10.0×' with '9.9 to 10.1' beside it: an arm's FLOPs over the fewest of any arm."""
    if arm not in flops:
        return DASH
    cheap = min(flops, key=flops.get)
    if arm == cheap:
        return Cell("1×", "the fewest")
    found = sentences.ratio(study.by_seed(arm, "flops"), study.by_seed(cheap, "flops"))
    mean, low, high = found or (flops[arm] / flops[cheap], math.nan, math.nan)
    if mean < headline.ALIKE:
        return Cell("1×", f"as few as {label(cheap)}")
    return Cell(f"{mean:.1f}×", f"{low:.1f} to {high:.1f}" if math.isfinite(low) else "")


def points(study) -> Points:
    """Answer what a reader asks next."""
    fair = [sentences.contract(study), *searched(study), *by_own_settings(study)]
    change = [*lent.changes(study), f"{sized(study)}.", bases(study), *lent.untested(study)]
    found = [
        ("How sure?", sure(study), "#sure"),
        ("On which prompts?", parts.by_family(study), "#parts"),
        ("What does it break?", sentences.losses(study), "#tax"),
        ("Fair?", fair, "#matched"),
        ("What could change it?", change, "#conditions"),
    ]
    return [point for point in found if point[1]]


def sure(study) -> list[str]:
    """Say how far the best is ahead, which pairs are open, and on what that rests."""
    if study.few:
        return sentences.certainty(study)[:2]
    undecided = open_pairs(study.versus.of_kind(Kind.INCONCLUSIVE))
    rests = (
        f"This rests on {count(study.seeds, 'seed')} × {study.prompts} test prompts; tests are "
        f"corrected for comparing {count(len(study.versus), 'pair')} of methods."
    )
    return [*nearest(study), *([undecided] if undecided else []), *against_tuned(study), rests]


def against_tuned(study) -> list[str]:
    """Say which variants differ from their method as tuned."""
    groups = variants.groups(study).items()
    than = {WORSE: " than as tuned", BETTER: " than as tuned", OPEN: " from it"}
    return [
        f"{word.capitalize()}{than.get(word, '')}: {named([row.a for row in rows])}."
        for word, rows in groups
    ]


def by_own_settings(study) -> list[str]:
    """Name the variants whose rate or strength no search of the study's methods found."""
    own = [arm.name for arm in study.meta.arms if not arm.tuned and {"lr", "beta"} & {*arm.sets}]
    have = "has a rate or strength" if len(own) == 1 else "have rates or strengths"
    return [f"{named(own)} {have} of their own, outside that search."] if own else []


def nearest(study) -> list[str]:
    """Say who comes closest to the best, and how far behind; nothing without a single best."""
    top = study.versus.champion()
    rows = [row for row in study.versus if top and row.winner == top]
    if not rows:
        return []
    row = min(rows, key=lambda row: abs(row.decisive.mean))
    return [f"Closest to {label(top)} is {label(row.loser)}, {behind(study, row)}."]


def behind(study, row: Comparison) -> str:
    """Format '0.13 (0.06 to 0.20) gold behind', by how much the loser of a pair is, with the scale
    of gold."""
    counted = ", failed runs counted as no gain" * (row.expected is not None)
    scale = f"; the SFT base's answers differ by an SD of {study.margin / MARGIN:.2f}"
    return f"{size(row.decisive, row.winner == row.b)} gold behind{counted}{scale}"
