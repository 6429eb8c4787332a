"""Draw what each variant changes: its gold minus that of its method as tuned, sorted."""

import math

from bench.analysis.comparisons import Comparison
from bench.report.figure import Figure, bars, interval_note, n_of
from bench.report.marks import beside
from bench.report.style import NARROW
from bench.report.words import count, difference, fixed, label
from bench.studies.compare.variants import headline, is_tested


def rows_of(study) -> list[Comparison]:
    """Return the variants' comparisons, the highest difference first, those not tested last."""
    return sorted(
        study.versus_tuned, key=lambda row: -row.decisive.mean if is_tested(row) else math.inf
    )


def draw(study, pen):
    """Draw a row per variant; one that was not tested in words, so that it cuts no other short."""
    rows = rows_of(study)
    figure = pen.figure(NARROW, 1.5 + 0.32 * len(rows))
    ax = figure.subplots()
    ax.axvline(0, color=pen("muted"), lw=1.2)
    for y, row in enumerate(rows):
        if is_tested(row):
            _tested(ax, pen, row, y)
    ax.margins(x=0.16)
    left = ax.get_xlim()[0]
    for y, row in enumerate(rows):
        if not is_tested(row):
            beside(ax, _untested(study, row), left, y, fontsize=8.5, color=pen("bad"))
    ax.set_xlim(left=left)
    ax.set_yticks(range(len(rows)), [label(row.a) for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.7)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("gold above that of the method as tuned (higher is better)")
    return figure


def _tested(ax, pen, row: Comparison, y: int) -> None:
    """Draw a difference with its interval, filled if it is decided, and its number."""
    found, decided = row.decisive, row.winner is not None
    if math.isfinite(found.half):
        ax.plot([found.low, found.high], [y, y], color=pen.of(row.a), lw=2)
    look = pen.marker(row.a) | {"marker": "o", "mfc": pen.of(row.a) if decided else pen("paper")}
    (dot,) = ax.plot(found.mean, y, ms=7, zorder=4, **look)
    pen.told.add(dot, label(row.a), found)
    end = found.high if math.isfinite(found.half) else found.mean
    beside(ax, fixed(found.mean, "+.2f"), end, y, 6, fontsize=8.5)


def _untested(study, row: Comparison) -> str:
    """Say how many runs failed, and the mean difference of those that ended."""
    lost = study.failures[study.failures.arm == row.a]
    planned = row.ended[0].n
    if len(lost) == planned:
        return f"every run of {planned} failed"
    mean = f"{fixed(row.interval.mean, '+.2f')}, " * math.isfinite(row.interval.mean)
    return (
        f"{mean}{len(lost)} of {count(planned, 'run')} failed" if len(lost) else f"{mean}not tested"
    )


def _finding(study) -> str:
    """Return the finding as a headline."""
    words = headline(study)
    return words[:1].upper() + words[1:]


def _listed(study) -> str:
    words = (
        f"{label(row.a)} {difference(row)}" if is_tested(row)
        else f"{label(row.a)} {_untested(study, row)}"
        for row in rows_of(study)
    )  # fmt: skip
    return "; ".join(words)


FIGURE = Figure(
    "variants", "What each variant changes", draw,
    lambda s: "Each row is a variant's gold minus that of its method as tuned, on the same test "
    f"prompts; a failed run counts as no gain. {interval_note(s)} Filled marks are decided after "
    "Holm's correction, open ones are not. Variants of which too few runs ended are in words. "
    f"n = {n_of(s)}.",
    lambda s: f"Gold above that of the method as tuned: {_listed(s)}.",
    lambda s: f"{n_of(s)} · {bars(s)} · open: not decided",
    category="Quality", section="answer", finding=_finding,
    shown=lambda s: bool(s.versus_tuned),
)  # fmt: skip
