"""The page of the study `stability`: the grid, failure rates, what training looked like."""

import math

import numpy as np

from bench.analysis import stability
from bench.analysis import statistics as st
from bench.core.thresholds import ENTROPY_LEFT, MARGIN, MAX_KL_WORDS
from bench.report.plate import Plate
from bench.report.scorecard import point
from bench.report.sections import Kind, Section
from bench.report.style import NARROW, WIDE, label, readable, shade
from bench.report.tables import Cell, Table, heads, plain
from bench.report.verdict import fixed, joined, p_words


def axis(values) -> list[float]:
    """The factors of the grid, from small to large."""
    return sorted(set(values))


def factor(value: float) -> str:
    """'×3', '×⅓'."""
    return "×⅓" if abs(value - 1 / 3) < 0.01 else f"×{value:g}"


def heat(study, pen):
    """A panel a method: learning rate across, strength up; each cell its mean gain, or its end."""
    cells = study.cells
    methods = [method for method in study.meta["methods"] if (cells.method == method).any()]
    figure = pen.figure(WIDE, 6.0)
    axes = figure.subplots(2, math.ceil(len(methods) / 2), squeeze=False).ravel()
    lrs, betas, best = axis(cells.lr), axis(cells.beta), cells.gain.max()
    for ax, method in zip(axes, methods, strict=False):
        mine = cells[cells.method == method]
        for (lr, beta), runs in mine.groupby(["lr", "beta"]):
            _cell(ax, pen, lrs.index(lr), betas.index(beta), runs, best)
        ax.set_xlim(-0.5, len(lrs) - 0.5)
        ax.set_ylim(-0.5, len(betas) - 0.5)
        ax.set_xticks(range(len(lrs)), [factor(v) for v in lrs])
        ax.set_yticks(range(len(betas)), [factor(v) for v in betas])
        ax.tick_params(length=0)
        ax.grid(visible=False)
        ax.set_title(label(method))
        ax.set_xlabel("learning rate")
        ax.set_ylabel("strength β")
    for ax in axes[len(methods) :]:
        ax.axis("off")
    return figure


def _cell(ax, pen, x: int, y: int, runs, best: float) -> None:
    """One cell: shaded by gain; words where a run failed."""
    failed = runs[runs.outcome != "ok"]
    gain = runs.gain.mean()
    face = shade(gain / best) if len(failed) < len(runs) and gain > 0 else "paper"
    ax.fill_between([x - 0.48, x + 0.48], y - 0.47, y + 0.47, color=pen(face), lw=0)
    if len(failed):
        edge = [x - 0.46, x + 0.46, x + 0.46, x - 0.46, x - 0.46]
        ax.plot(edge, [y - 0.45] * 2 + [y + 0.45] * 2 + [y - 0.45], color=pen("m0"), lw=1.8)
    ink = pen(readable(face))
    words = fixed(gain, "+.2f") if np.isfinite(gain) else "diverged"
    ax.text(x, y + 0.08, words, ha="center", va="center", color=ink, fontsize=9.5)
    note = f"{len(failed)} of {len(runs)} failed" if len(failed) else f"n = {len(runs)}"
    ax.text(x, y - 0.25, note, ha="center", va="center", color=ink, fontsize=7)


def rates_figure(study, pen):
    """Left: share of cells that failed; right: share that beat SFT. Exact 95 % intervals."""
    rates = study.rates
    figure = pen.figure(NARROW, 1.9 + 0.42 * len(rates))
    axes = figure.subplots(1, 2, sharey=True)
    panels = (("failed", "Cells that failed (fewer is better)"),
              ("beat", "Cells that beat SFT (more is better)"))  # fmt: skip
    for ax, (key, title) in zip(axes, panels, strict=True):
        ax.set_xlim(0, 1)
        for y, row in enumerate(rates.itertuples()):
            k, low, high = (getattr(row, key + part) for part in ("", "_low", "_high"))
            point(ax, pen, row.method, y, (low, k / row.n, high, f"{k} of {row.n}"))
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])
        ax.set_ylim(len(rates) - 0.5, -0.7)
        ax.grid(axis="y", visible=False)
        ax.set_title(title, fontsize=9.5)
    axes[0].set_yticks(range(len(rates)), [label(m) for m in rates.method])
    return figure


def headline(study) -> str:
    """How often each method failed, and whether that tells any two apart."""
    counts = joined(f"{label(r.method)} in {r.failed} of {r.n}" for r in study.rates.itertuples())
    return f"Training failed in {counts} settings around the tuned ones. {decided(study)}"


def glance(study) -> str:
    """One sentence for the page of a comparison: whether any method is the more stable one."""
    if (stability.compared(study.rates).p_holm < 1 - st.LEVEL).any():
        return f"On a grid around the tuned settings {decided(study)}"
    return "On a grid around the tuned settings no method is shown to be more stable than another."


def rate_lines(study) -> list[str]:
    """The rates in words, what n can tell, and what is a failure."""
    rates = study.rates
    n = int(rates.n.max())
    items = [
        f"{label(r.method)} failed in {r.failed} of {r.n} cells "
        f"({100 * r.failed_low:.0f} to {100 * r.failed_high:.0f} %)"
        for r in rates.itertuples()
    ]
    return [
        f"{'; '.join(items)}; exact 95 % intervals. {decided(study)}",
        f"{n} cells tell two methods apart only if they differ by as much as none against "
        f"{st.least_significant(n)} failures (Fisher's exact test, alone; by more where several "
        "pairs are tested).",
        "Cells are not a random sample of settings: the rates describe this grid.",
    ]


def decided(study) -> str:
    """Which failure rates differ, after Holm's correction."""
    told = stability.compared(study.rates)
    told = told[told.p_holm < 1 - st.LEVEL]
    share = dict(zip(study.rates.method, study.rates.failed / study.rates.n, strict=True))
    words = [
        f"{label(max(r.a, r.b, key=share.get))} fails more often than "
        f"{label(min(r.a, r.b, key=share.get))}"
        for r in told.itertuples()
    ]
    return f"{joined(words)}." if words else "No two of these rates can be told apart."


def failures(study) -> Table:
    """Every run that failed, with its reason."""
    lost = study.cells[study.cells.outcome != "ok"]
    header = [("Run", ""), ("Learning rate", "× tuned"), ("Strength", "× tuned"), ("Outcome", ""),
              ("Gold above SFT", "at its end"), ("Reason", "")]  # fmt: skip
    rows = [
        [
            Cell(f"{label(r.method)} seed {r.seed}", mark=study.looks[r.method].colour),
            Cell(factor(r.lr), value=r.lr),
            Cell(factor(r.beta), value=r.beta),
            Cell(r.outcome, mark="bad"),
            Cell(fixed(r.gain, "+.2f") if math.isfinite(r.gain) else "–"),
            Cell(r.reason if isinstance(r.reason, str) else ""),
        ]
        for r in lost.itertuples()
    ]
    return Table("Failures of the stability grid", header, rows)


def gained(value: float) -> str:
    """A gain, or 'diverged' for -inf."""
    return fixed(value, "+.2f") if math.isfinite(value) else "diverged"


def rate_table(study) -> Table:
    """By method: failures, successes, worst cell, what training looked like."""
    header = [("", ""), *heads("failed", "beat", failed="cells ↓"),
              ("Worst · median · best", "gold above SFT, first seed ↑"),
              *heads("drawdown", "spikes", "displacement", "collapsed", "told")]  # fmt: skip
    rows = [
        [
            Cell(label(r.method), mark=study.looks[r.method].colour),
            Cell(f"{r.failed} of {r.n}", mark="bad" if r.failed else ""),
            Cell(f"{r.beat} of {r.n}"),
            Cell(" · ".join(map(gained, (r.worst, r.median, r.best))), value=max(r.worst, -1e9)),
            *(plain(key, getattr(r, key)) for key in ("drawdown", "spikes", "displacement")),
            Cell(f"{r.collapsed} of {r.n}"),
            plain("told", r.told),
        ]
        for r in study.rates.itertuples()
    ]
    notes = [
        "One run a cell, at the first seed; worst, median and best count a run that diverged below "
        "all others; "
        "drawdown, spike and displacement are medians over cells. These and the correlation have "
        "no interval. A loss has another scale at another strength, so what one sees across cells "
        "need not rank them.",
    ]
    return Table("The grid by method", header, rows, notes)


def pair_table(study) -> Table:
    """Fisher's test for each pair."""
    header = [("Pair", ""), ("p", "alone"), ("p", "Holm"), ("Verdict", "")]
    rows = [
        [
            Cell(f"{label(r.a)} against {label(r.b)}"),
            Cell(p_words(r.p).removeprefix("= ")),
            Cell(p_words(r.p_holm).removeprefix("= ")),
            Cell("rates differ" if r.p_holm < 1 - st.LEVEL else "inconclusive"),
        ]
        for r in stability.compared(study.rates).itertuples()
    ]
    return Table("Failure rates compared", header, rows, ["Fisher's exact test, two-sided."])


def spread_table(study) -> Table:
    """The centre column: the same setting with several seeds."""
    header = [("", ""), ("Learning rate", "× tuned"), ("Seeds", ""), ("Failed", "runs ↓"),
              *heads("gold_delta", "spread")]  # fmt: skip
    rows = [
        [
            Cell(label(r.method), mark=study.looks[r.method].colour),
            Cell(factor(r.lr), value=r.lr),
            Cell(f"{r.n}"),
            Cell(f"{r.failed}", mark="bad" if r.failed else ""),
            Cell(fixed(r.gain, "+.2f") if math.isfinite(r.gain) else "–"),
            plain("spread", r.sd),
        ]
        for r in stability.spread(study.cells).itertuples()
    ]
    note = "At the tuned strength. An SD of three numbers is itself uncertain by half of its size."
    return Table("The same setting, other seeds", header, rows, [note])


def declared(study) -> list[str]:
    """The thresholds, as they were declared beforehand."""
    low = stability.margin(study.tables["curve"])
    return [
        f"A cell fails if its run diverges (a loss that is no number, or a KL above "
        f"{MAX_KL_WORDS}), runs out of memory, or ends {low:.2g} gold or more below the SFT base: "
        f"{MARGIN:g} SDs of the SFT base's gold over prompts, less than a reader would notice.",
        f"It beats SFT if it ends as much above it. Entropy has collapsed if less than "
        f"{100 * ENTROPY_LEFT:.0f} % of the SFT base's is left.",
        "Every method has the same cells: factors on its own tuned learning rate and strength β "
        "(which pulls towards SFT in PPO, DPO and IPO, and is the weight of the odds ratio in "
        "ORPO). Judged on validation prompts at the end of training.",
    ]


def sections(study) -> list[Section]:
    """The page."""
    return [
        Section("grid", "The grid", declared(study), plates=[PLATES[0]]),
        Section("rates", "How often", rate_lines(study), [rate_table(study), pair_table(study)],
                [PLATES[1]]),
        Section("seeds", "Luck of the seed", tables=[spread_table(study)]),
        Section("failures", "Failures", tables=[failures(study)]),
    ]  # fmt: skip


def results(study):
    """results.csv: a row a run."""
    return study.cells.drop(columns=["gold"]).round(6)


def _listed(study) -> str:
    return "; ".join(
        f"{label(r.method)} {r.failed} of {r.n} failed, median gain {gained(r.median)}"
        for r in study.rates.itertuples()
    )


PLATES = (
    Plate(
        "grid", "Gold reward around each method's tuned settings", heat,
        lambda s: "Gold above SFT at the end of training, mean over the cell's runs that ended; "
        "the stronger the colour, the more. Framed: a run of the cell failed. Factors are of each "
        f"method's tuned setting, ×1 ×1. n: runs of the cell; {len(s.cells)} in all; no "
        "intervals. Rates count the first seed alone.",
        lambda s: f"Grid of learning rates and strengths for each method: {_listed(s)}.",
        lambda s: f"gold above SFT, validation prompts · {len(s.cells)} runs · no intervals",
        wide=True,
        category="Stability",
    ),
    Plate(
        "rates", "How often training fails, and how often it helps", rates_figure,
        lambda s: f"Bars: exact 95 % intervals. n = {int(s.rates.n.max())} cells a method, one run "
        "each.",
        lambda s: f"Failure and success rates: {_listed(s)}.",
        lambda s: f"{int(s.rates.n.max())} cells a method, one run each · bars: exact 95 % "
        "intervals",
        category="Stability",
    ),
)  # fmt: skip

KIND = Kind(headline, sections, results, lambda study: PLATES)
