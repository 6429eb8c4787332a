"""Draw the gain of each method from each SFT base."""

import numpy as np

from bench.report import labels
from bench.report.figure import Figure
from bench.report.style import WIDE
from bench.report.words import count, fixed, joined, label
from bench.studies.bases import analysis


def by_base(study, pen):
    """Draw a column for each base, in the order of PPO's or the first method's gain, with a mark
    for each method, the mean over seeds."""
    table = analysis.by_base(study.results)
    table = table.sort_values(table.columns[0], kind="stable")
    figure = pen.figure(WIDE, 4.6)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    across, ends = np.arange(len(table)), {}
    numbers = [list(analysis.by_base(study.results).index).index(base) + 1 for base in table.index]
    for method in table:
        gains = table[method].to_numpy()
        look = pen.marker(method)
        (line,) = ax.plot(across, gains, ms=8, ls=study.looks[method].line, lw=1, **look)
        pen.told.add(line, label(method), list(gains), base=numbers)
        ends[method] = across[-1], gains[-1]
    ax.set_xticks(across, numbers)
    ax.set_xlabel(f"SFT base, in the order of {label(table.columns[0])}'s gain")
    ax.set_ylabel("gold above the own SFT base (higher is better)")
    ax.grid(axis="x", visible=False)
    labels.at_ends(pen, {ax: ends})
    return figure


def leads(study) -> str:
    """Say 'PPO gains most on 9 of 10 SFT bases and ORPO on 1'."""
    top, n = analysis.first(study.results), len(analysis.by_base(study.results))
    most = sorted((m for m in top if top[m]), key=lambda m: -top[m])
    first, *rest = (f"{label(m)} {{}}on {top[m]}{{}}" for m in most)
    items = [
        first.format("gains most ", f" of {count(n, 'SFT base')}"),
        *(r.format("", "") for r in rest),
    ]
    return joined(items)


def _listed(study) -> str:
    table = analysis.by_base(study.results)
    spans = [
        f"{label(m)} {fixed(table[m].min(), '+.2f')} to {fixed(table[m].max(), '+.2f')}"
        for m in table
    ]
    return "; ".join(spans)


BY_BASE = Figure(
    "bases", "The gain of each method from each SFT base", by_base,
    lambda s: "Each column is an SFT base; marks are means over its seeds, on test prompts, and a "
    "failed run counts as no gain. Lines only join a method's marks. Marks have no intervals: the "
    f"table has those over bases. n = {count(len(analysis.by_base(s.results)), 'base')}.",
    lambda s: f"Gold above the own SFT base, lowest to highest base: {_listed(s)}.",
    lambda s: f"{count(len(analysis.by_base(s.results)), 'SFT base')} · no intervals",
    wide=True, category="Quality", finding=leads, layered=True,
)  # fmt: skip
