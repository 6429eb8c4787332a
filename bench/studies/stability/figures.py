"""Draw the grid: its map, and the rates of failure and success."""

import numpy as np

from bench.core.grouping import grouped
from bench.report.figure import Figure
from bench.report.marks import point
from bench.report.style import NARROW, WIDE, readable, shade
from bench.report.words import count, fixed, joined, label, named
from bench.studies.stability import analysis


def factor(value: float) -> str:
    """Format a factor: '×3', '×⅓'."""
    return "×⅓" if abs(value - 1 / 3) < 0.01 else f"×{value:g}"


def grid(study, pen):
    """Draw a panel per method: learning rate across, strength up, each cell with its mean gain."""
    cells = analysis.grid(study.results)
    methods = [method for method in study.meta.methods if (cells.method == method).any()]
    figure, axes = pen.panels(len(methods), WIDE, 6.0, rows=2)
    lrs, betas, best = sorted(set(cells.lr)), sorted(set(cells.beta)), cells.gain.max()
    for ax, method in zip(axes, methods, strict=False):
        mine = cells[cells.method == method]
        for (lr, beta), runs in mine.groupby(["lr", "beta"]):
            face = _cell(ax, pen, lrs.index(lr), betas.index(beta), runs, best)
            gains = runs.gain[np.isfinite(runs.gain)]
            places = {"rate": factor(lr), "strength": factor(beta)}
            words = "" if len(gains) else "no run ended"
            pen.told.add(face, label(method), gains.mean(), words=words, **places)
        _axes(ax, lrs, betas)
        ax.set_title(label(method))
    return figure


def _axes(ax, lrs: list[float], betas: list[float]) -> None:
    """Set a tick per factor."""
    ax.set_xlim(-0.5, len(lrs) - 0.5)
    ax.set_ylim(-0.5, len(betas) - 0.5)
    ax.set_xticks(range(len(lrs)), [factor(v) for v in lrs])
    ax.set_yticks(range(len(betas)), [factor(v) for v in betas])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.set_xlabel("learning rate")
    ax.set_ylabel("strength β")


def _cell(ax, pen, x: int, y: int, runs, best: float):
    """Draw one cell: shaded by gain, framed if a run failed; return its face."""
    failed = runs[runs.outcome != "ok"]
    gain = runs.gain.mean()
    face = shade(gain / best) if len(failed) < len(runs) and gain > 0 else "paper"
    drawn = ax.fill_between([x - 0.48, x + 0.48], y - 0.47, y + 0.47, color=pen(face), lw=0)
    if len(failed):
        edge = [x - 0.46, x + 0.46, x + 0.46, x - 0.46, x - 0.46]
        ax.plot(edge, [y - 0.45] * 2 + [y + 0.45] * 2 + [y - 0.45], color=pen("bad"), lw=1.8)
    ink = pen(readable(face))
    words = fixed(gain, "+.2f") if np.isfinite(gain) else _ending(failed)
    ax.text(x, y + 0.08, words, ha="center", va="center", color=ink, fontsize=9.5)
    note = f"{len(failed)} of {len(runs)} failed" if len(failed) else f"n = {len(runs)}"
    ax.text(x, y - 0.25, note, ha="center", va="center", color=ink, fontsize=7)
    return drawn


def _ending(failed) -> str:
    """Say how the runs of a cell ended that have no gain."""
    return "no memory" if set(failed.outcome) == {"oom"} else "diverged"


def rates(study, pen):
    """Draw the shares of cells that failed and that beat SFT, with exact 95 % intervals."""
    found = analysis.rates(study.results)
    figure, axes = pen.panels(2, NARROW, 1.9 + 0.42 * len(found), sharey=True)
    panels = (("failed", "Runs that failed (fewer is better)"),
              ("beat", "Runs that beat SFT (more is better)"))  # fmt: skip
    for ax, (key, title) in zip(axes, panels, strict=True):
        ax.set_xlim(0, 1)
        for y, row in enumerate(found):
            share = getattr(row, key)
            low, high = share.span
            words = f"{share.count} of {share.n}"
            span = low, share.count / share.n, high, words
            point(ax, pen, row.method, y, span, form=".0%")
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
        ax.set_ylim(len(found) - 0.5, -0.7)
        ax.grid(axis="y", visible=False)
        ax.set_title(title, fontsize=9.5)
    axes[0].set_yticks(range(len(found)), [label(row.method) for row in found])
    return figure


def decided(study) -> str:
    """Say which failure rates differ, after Holm's correction: 'DPO and IPO fail more often than
    PPO.'"""
    than = grouped(
        (pair.worse, (pair.b if pair.worse == pair.a.method else pair.a).method)
        for pair in analysis.compared(study.results)
        if pair.worse
    )
    groups = grouped((tuple(sorted(others)), worse) for worse, others in than.items())
    if not groups:
        alike = len(analysis.rates(study.results)) > 1
        return "No two of these rates can be told apart." * alike
    words = [
        f"{named(worse)} {'fails' if len(worse) == 1 else 'fail'} more often than {named(others)}"
        for others, worse in groups.items()
    ]
    return f"{joined(words)}."


def _listed(study) -> str:
    return "; ".join(
        f"{label(r.method)} {r.failed.count} of {r.failed.n} failed, median gain "
        f"{fixed(r.median, '+.2f')}"
        for r in analysis.rates(study.results)
    )


def _per_method(study) -> str:
    """Return '12 cells × 5 seeds a method'."""
    most = max(analysis.rates(study.results), key=lambda r: r.failed.n)
    return f"{count(most.cells, 'cell')} × {count(len(most.by_seed), 'seed')} a method"


GRID = Figure(
    "grid", "Gold reward around each method's tuned settings", grid,
    lambda s: "Each cell shows gold above SFT at the end of training, the mean over its runs that "
    "ended; a stronger colour means more. In a framed cell a run failed. Factors multiply each "
    f"method's tuned settings, which are at ×1 ×1. n is the number of a cell's runs: "
    f"{_per_method(s)}. There are no intervals.",
    lambda s: f"Grid of learning rates and strengths for each method: {_listed(s)}.",
    lambda s: f"gold above SFT, validation prompts · {_per_method(s)} · no intervals",
    wide=True, category="Stability", finding=decided,
)  # fmt: skip
RATES = Figure(
    "rates", "How often training fails, and how often it helps", rates,
    lambda s: "Each point is a share of a method's runs on the grid, with a 95 % interval as if "
    "all runs were independent; those of a seed share its pairs. "
    f"n = {_per_method(s)}.",
    lambda s: f"Failure and success rates: {_listed(s)}.",
    lambda s: f"{_per_method(s)} · bars: 95 % intervals as if runs were independent",
    category="Stability", finding=decided,
)  # fmt: skip
