"""The page of the study `stability`: the grid, failure rates, what training looked like."""

import math

from bench.analysis.measures import BY_KEY
from bench.analysis.statistics import least_significant
from bench.core.thresholds import ENTROPY_LEFT, MARGIN, MAX_KL_WORDS
from bench.report.sections import Kind, Lent, Section
from bench.report.tables import Cell, Table, head, plain, share
from bench.report.words import INCONCLUSIVE, fixed, joined, label, p_words
from bench.studies.stability import analysis
from bench.studies.stability.analysis import agreement, beat, collapsed, failed_cells
from bench.studies.stability.figures import GRID, RATES, factor, gained

TRAINED = tuple(BY_KEY[key] for key in ("drawdown", "spikes", "displacement"))


def rates(study) -> list[analysis.Rates]:
    """How each method did on its grid."""
    return analysis.rates(study.results)


def headline(study) -> str:
    """Say how often each method failed, and whether that tells any two apart."""
    counts = joined(f"{label(r.method)} in {r.failed.count} of {r.failed.n}" for r in rates(study))
    return f"Training failed in {counts} settings around the tuned ones. {decided(study)}"


def decided(study) -> str:
    """Which failure rates differ, after Holm's correction."""
    words = [
        f"{label(r.worse)} fails more often than "
        f"{label((r.b if r.worse == r.a.method else r.a).method)}"
        for r in analysis.compared(study.results)
        if r.worse
    ]
    return f"{joined(words)}." if words else "No two of these rates can be told apart."


def glance(study, beside) -> str:
    """A sentence for the headline of a comparison: whether any method is the more stable one."""
    if beside is None:
        return ""
    if any(r.worse for r in analysis.compared(beside.results)):
        return f"On a grid around the tuned settings {decided(beside)}"
    return "On a grid around the tuned settings no method is shown to be more stable than another."


def card(study, beside) -> list[str]:
    """How often each method failed on the grid around its tuned settings, and if that tells."""
    if beside is None:
        return []
    counts = ", ".join(f"{label(r.method)} {r.failed.count} of {r.failed.n}" for r in rates(beside))
    return [f"On a grid around the tuned settings, failed cells: {counts}. {decided(beside)}"]


def rate_lines(study) -> list[str]:
    """The rates in words, what n can tell, and what a rate is of."""
    items = [
        f"{label(r.method)} failed in {r.failed.count} of {r.failed.n} cells "
        f"({share(r.failed).quiet})"
        for r in rates(study)
    ]
    n = max(r.failed.n for r in rates(study))
    return [
        f"{'; '.join(items)}; exact 95 % intervals. {decided(study)}",
        f"{n} cells tell two methods apart only if they differ by as much as none against "
        f"{least_significant(n)} failures (Fisher's exact test, alone; by more where several pairs "
        "are tested).",
        "Cells are not a random sample of settings: the rates describe this grid.",
    ]


def declared(study) -> list[str]:
    """The thresholds, as they were declared beforehand."""
    low = analysis.margin(study.results)
    return [
        f"A cell fails if its run diverges (a loss that is no number, or a KL above "
        f"{MAX_KL_WORDS}), runs out of memory, or ends {low:.2g} gold or more below the SFT base: "
        f"{MARGIN:g} SDs of the SFT base's gold over prompts, less than a reader would notice.",
        f"A cell beats SFT if it ends as much above it. Its entropy has collapsed if less than "
        f"{100 * ENTROPY_LEFT:.0f} % of the SFT base's is left.",
        "Every method has the same cells: factors on its own tuned learning rate and strength β "
        "(which pulls towards SFT in PPO, DPO and IPO, and is the weight of the odds ratio in "
        "ORPO). Cells are judged on validation prompts at the end of training.",
    ]


def rate_table(study) -> Table:
    """By method: failures, successes, worst cell, what training looked like."""
    shown = (*TRAINED, collapsed, agreement)
    header = [("", ""), ("Failed", "cells ↓"), head(beat, study.meta),
              ("Worst · median · best", "gold above SFT, first seed ↑"),
              *(head(m, study.meta) for m in shown)]  # fmt: skip
    rows = [
        [
            Cell(label(r.method), mark=study.looks[r.method].colour),
            Cell(f"{r.failed.count} of {r.failed.n}", mark="bad" * bool(r.failed.count)),
            Cell(f"{r.beat.count} of {r.beat.n}"),
            Cell(" · ".join(map(gained, (r.worst, r.median, r.best))), value=max(r.worst, -1e9)),
            *(plain(m, getattr(r, m.key)) for m in TRAINED),
            Cell(f"{r.collapsed.count} of {r.collapsed.n}"),
            plain(agreement, r.agreement),
        ]
        for r in rates(study)
    ]
    notes = [
        "One run a cell, at the first seed; worst, median and best count a run that diverged below "
        "all others; drawdown, spike and displacement are medians over cells. These and the "
        "correlation have no interval. A loss has another scale at another strength, so what one "
        "sees across cells need not rank them.",
    ]
    return Table("The grid by method", header, rows, notes)


def pair_table(study) -> Table:
    """Fisher's test for each pair."""
    header = [("Pair", ""), ("p", "alone"), ("p", "Holm"), ("Verdict", "")]
    rows = [
        [
            Cell(f"{label(r.a.method)} against {label(r.b.method)}"),
            Cell(p_words(r.p)),
            Cell(p_words(r.p_holm)),
            Cell("rates differ" if r.worse else INCONCLUSIVE),
        ]
        for r in analysis.compared(study.results)
    ]
    return Table("Failure rates compared", header, rows, ["Fisher's exact test, two-sided."])


def spread_table(study) -> Table:
    """The centre column: the same setting with several seeds."""
    spread, gain = BY_KEY["spread"], BY_KEY["gold_delta"]
    header = [("", ""), ("Learning rate", "× tuned"), ("Seeds", ""), ("Failed", "runs ↓"),
              head(gain, study.meta), head(spread, study.meta)]  # fmt: skip
    rows = [
        [
            Cell(label(r.method), mark=study.looks[r.method].colour),
            Cell(factor(r.lr), value=r.lr),
            Cell(f"{r.n}"),
            Cell(f"{r.failed}", mark="bad" * bool(r.failed)),
            plain(gain, r.gain),
            plain(spread, r.sd),
        ]
        for r in analysis.spread(analysis.cells(study.results)).itertuples()
    ]
    note = "At the tuned strength. An SD of three numbers is itself uncertain by half of its size."
    return Table("The same setting, other seeds", header, rows, [note])


def failures(study) -> Table:
    """Every run that failed, with its reason."""
    cells = analysis.cells(study.results)
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
        for r in cells[cells.outcome != "ok"].itertuples()
    ]
    return Table("Failures of the stability grid", header, rows)


def sections(study) -> list[Section]:
    """The page."""
    return [
        Section("grid", "The grid", declared(study), figures=[GRID]),
        Section("rates", "How often", rate_lines(study), [rate_table(study), pair_table(study)],
                [RATES]),
        Section("seeds", "Luck of the seed", tables=[spread_table(study)]),
        Section("failures", "Failures", tables=[failures(study)]),
    ]  # fmt: skip


def results(study):
    """results.csv: a row a run."""
    return analysis.cells(study.results).drop(columns=["gold"]).round(6)


LENT = Lent(
    "stability",
    "Stability",
    lines=lambda study, beside: [*rate_lines(beside), *declared(beside)] if beside else [],
    tables=lambda study, beside: [rate_table(beside), pair_table(beside)] if beside else [],
    figures=lambda study, beside: [GRID] if beside else [],
    missing="a grid around each method's settings",
    glance=glance,
    cards={"stability": card},
    failed=lambda beside: {r.method: r.failed for r in rates(beside)},
    counted=(failed_cells, "cells of the grid"),
    failures=lambda beside: [failures(beside)],
)
KIND = Kind(
    headline, sections, lambda study: [GRID, RATES], results,
    measures=lambda: [failed_cells, beat, collapsed, agreement], lent=LENT,
)  # fmt: skip
