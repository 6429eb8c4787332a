"""Build the page of the study `stability`: the grid, failure rates, what training looked like."""

from bench.analysis.measures import BY_KEY
from bench.analysis.statistics import exchanged
from bench.core.thresholds import ENTROPY_LEFT, MARGIN, MAX_KL_WORDS
from bench.report.sections import Kind, Lent, Section
from bench.report.tables import Cell, Table, head, plain, share
from bench.report.words import INCONCLUSIVE, count, fixed, joined, label, p_words
from bench.studies.stability import analysis
from bench.studies.stability.analysis import agreement, beat, collapsed, failed_runs
from bench.studies.stability.figures import GRID, RATES, decided, factor

NAMES = {"critic_lr": "critic", "reward.lr": "reward model"}
SUMMED = BY_KEY["gold_delta"], BY_KEY["spread"]
TRAINED = tuple(BY_KEY[key] for key in ("drawdown", "spikes", "displacement"))


def rates(study) -> list[analysis.Rates]:
    """Return how each method did on its grid."""
    return analysis.rates(study.results)


def headline(study) -> list[str]:
    """Say how often each method failed, and whether that tells any two apart."""
    counts = joined(f"{label(r.method)} in {r.failed.count} of {r.failed.n}" for r in rates(study))
    said = [f"In runs around the tuned settings, training failed for {counts}.", decided(study)]
    return [sentence for sentence in said if sentence]


def glance(study, beside) -> str:
    """Say, for the headline of a comparison, whether a method is more stable than another."""
    if beside is None:
        return ""
    if any(r.worse for r in analysis.compared(beside.results)):
        return f"On a grid around the tuned settings {decided(beside)} {by_rate(beside)}"
    return "On a grid around the tuned settings no method is shown to be more stable than another."


def card(study, beside) -> list[str]:
    """Say how often each method failed on the grid around its tuned settings, and if that tells."""
    if beside is None:
        return []
    counts = ", ".join(f"{label(r.method)} {r.failed.count} of {r.failed.n}" for r in rates(beside))
    return [f"On a grid around the tuned settings, failed runs: {counts}. {decided(beside)}"]


def rate_lines(study) -> list[str]:
    """Say the rates, what the test can tell, and what a rate is of."""
    items = [
        f"{label(r.method)} failed in {r.failed.count} of {r.failed.n} runs "
        f"({share(r.failed).quiet})"
        for r in rates(study)
    ]
    return [
        f"{'; '.join(items)}; 95 % intervals as if all runs were independent. "
        f"{decided(study)} {by_rate(study)}".strip(),
        resolution(
            max(len(r.by_seed) for r in rates(study)), len(analysis.compared(study.results))
        ),
        "Cells are not a random sample of settings, so the rates describe this grid only.",
    ]


def by_rate(study) -> str:
    """Say how many of the failures lie above the tuned learning rate."""
    runs = analysis.grid(study.results)
    lost = runs[runs.outcome != "ok"]
    above = int((lost.lr > 1).sum())
    if not len(lost):
        return ""
    if above < len(lost):
        return f"{above} of {count(len(lost), 'failure')} lie above the tuned learning rate."
    return "All failures lie above the tuned learning rate."


def resolution(seeds: int, pairs: int) -> str:
    """Say how low p can be with so many seeds."""
    p = exchanged([0] * seeds, [1] * seeds)
    return (
        "Runs of one seed share its pairs and its reward model, so the test exchanges whole seeds "
        f"between two methods. The smallest p that {count(seeds, 'seed')} can give is {p:.2g}, and "
        f"{min(1, pairs * p):.2g} after Holm's correction over {count(pairs, 'pair')}."
    )


def declared(study) -> list[str]:
    """State the thresholds, as they were declared beforehand."""
    low = analysis.margin(study.results)
    return [
        "A run diverges if its loss or gradient is not a number, or its KL exceeds "
        f"{MAX_KL_WORDS}. Training fails if a run diverges, runs out of memory, or ends "
        f"{f'{low:.2g} gold' if low >= 0 else 'so much'} or more below the SFT base; that is "
        f"{MARGIN:g} SDs of the SFT base's gold over prompts, less than a reader would notice.",
        "A run ends above SFT if it does by as much. Its entropy has collapsed if "
        f"less than {100 * ENTROPY_LEFT:.0f} % of the SFT base's is left.",
        "Every method has the same cells: the same factors on its own tuned learning rate and "
        "strength β (which pulls towards SFT in PPO, DPO and IPO, and is the weight of the odds "
        "ratio in ORPO). Runs are judged on validation prompts at the end of training.",
    ]


def rate_table(study) -> Table:
    """Tabulate, by method, failures, successes, worst cell, and what training looked like."""
    shown = (*TRAINED, collapsed, agreement)
    header = [("", ""), ("Failed", "runs ↓"), head(beat, study.meta),
              ("Worst · median · best", "gold above SFT ↑"),
              *(head(m, study.meta) for m in shown)]  # fmt: skip
    rows = [
        [
            Cell(label(r.method), mark=study.looks[r.method].colour),
            Cell(f"{r.failed.count} of {r.failed.n}", mark="bad" * bool(r.failed.count)),
            Cell(f"{r.beat.count} of {r.beat.n}"),
            Cell(
                " · ".join(fixed(gain, "+.2f") for gain in (r.worst, r.median, r.best)),
                value=max(r.worst, -1e9),
            ),
            *(plain(m, getattr(r, m.key)) for m in TRAINED),
            Cell(f"{r.collapsed.count} of {r.collapsed.n}"),
            plain(agreement, r.agreement),
        ]
        for r in rates(study)
    ]
    notes = [
        "A run that did not end (–) ranks below all others; drawdown, spike and "
        "displacement are medians over runs. These "
        "and the correlation have no interval. The scale of a loss depends on the strength, so a "
        "loss need not rank cells of different strengths.",
    ]
    return Table("The grid by method", header, rows, notes)


def pair_table(study) -> Table:
    """Tabulate the test of each pair."""
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
    note = "An exact permutation test, two-sided: whole seeds are exchanged between the two."
    return Table("Failure rates compared", header, rows, [note])


def spread_table(study) -> Table:
    """Tabulate the cells at the tuned strength."""
    header = [("", ""), ("Learning rate", "× tuned"), *_summary_head(study)]
    rows = [
        [
            Cell(label(r.method), mark=study.looks[r.method].colour),
            Cell(factor(r.lr), value=r.lr),
            *_summed(r),
        ]
        for r in analysis.spread(study.results).itertuples()
    ]
    note = "All cells here have the tuned strength. An SD of few numbers is itself uncertain."
    return Table("The same setting, other seeds", header, rows, [note])


def own_table(study) -> Table:
    """Tabulate other rates of the critic and of the reward model."""
    header = [("", ""), ("Rate", ""), ("Factor", "× tuned"), *_summary_head(study)]
    rows = [
        [
            Cell(label(r.method), mark=study.looks[r.method].colour),
            Cell(NAMES[r.rate]),
            Cell(factor(r.factor), value=r.factor),
            *_summed(r),
        ]
        for r in analysis.own_rates(study.results).itertuples()
    ]
    note = (
        "One rate at a time, all else as tuned. These runs are in no rate of failure above, since "
        "the other methods have no such setting."
    )
    return Table("Rates of critic and reward model", header, rows, [note])


def _summary_head(study) -> list[tuple[str, str]]:
    """Return the header of `_summed`."""
    return [("Seeds", ""), ("Failed", "runs ↓"), *(head(m, study.meta) for m in SUMMED)]


def _summed(row) -> list[Cell]:
    """Return the cells of a row of `analysis.summary`: seeds, failed runs, gain and its spread."""
    failed = Cell(f"{row.failed}", mark="bad" * bool(row.failed))
    gain, spread = SUMMED
    return [Cell(f"{row.n}"), failed, plain(gain, row.gain), plain(spread, row.sd)]


def failures(study) -> Table:
    """Tabulate every run that failed, with its reason."""
    runs = analysis.grid(study.results)
    header = [("Run", ""), ("Outcome", ""), ("Gold above SFT", "at its end"), ("Reason", "")]
    rows = [
        [
            Cell(f"{label(r.arm)} seed {r.seed}", mark=study.looks[r.arm].colour),
            Cell(r.outcome, mark="bad"),
            Cell(fixed(r.gain, "+.2f")),
            Cell(r.reason if isinstance(r.reason, str) else ""),
        ]
        for r in runs[runs.outcome != "ok"].itertuples()
    ]
    return Table("Failures of the stability grid", header, rows)


def sections(study) -> list[Section]:
    """Return the sections of the page."""
    return [
        Section("grid", "The grid", declared(study), figures=[GRID]),
        Section("rates", "How often training fails", rate_lines(study),
                [rate_table(study), pair_table(study)], [RATES]),
        Section("seeds", "Variation between seeds", tables=[spread_table(study)]),
        Section("own", "Rates of critic and reward model", tables=[own_table(study)]),
        Section("failures", "Failures", tables=[failures(study)], folded=True),
    ]  # fmt: skip


def results(study):
    """Return results.csv: a row per run."""
    return analysis.runs(study.results).drop(columns=["gold"]).round(6)


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
    counted=(failed_runs, "runs of the grid"),
    failures=lambda beside: [failures(beside)],
)
KIND = Kind(
    headline, sections, lambda study: [GRID, RATES], results,
    measures=lambda: [failed_runs, beat, collapsed, agreement], lent=LENT,
)  # fmt: skip
