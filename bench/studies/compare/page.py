"""The page of a comparison of arms: verdict, evidence, what the models wrote, what failed."""

from bench.report import costs, figures, results, samples, tables, verdict
from bench.report.sections import Kind, Section, of_companion
from bench.report.style import label
from bench.studies.stability import page as stability_page
from bench.studies.tune import page as tune_page
from bench.studies.views import page as views_page

PLATES = {p.name: p for p in (*figures.PLATES, costs.WATERFALL, views_page.COMPUTE, tune_page.BEST)}
# the figures that other studies of the same SFT base lend to this page, instead of its own
LENT = {"stability": stability_page.PLATES[:1], "views": views_page.PLATES}


def plates(study) -> tuple:
    """The figures of the page: its own, and those of the studies that stand beside it."""
    found = PLATES | {plate.name: plate for name in LENT for plate in lend(study, name)}
    return tuple(p for p in found.values() if p is not tune_page.BEST or len(study.trials))


def lend(study, name: str) -> list:
    """The figures of a companion; none where it has not been run."""
    found = LENT[name] if name in study.companions else ()
    return [of_companion(name, plate) for plate in found]


def sections(study) -> list[Section]:
    """The page, from the verdict to every run."""
    return [
        Section("verdict", "Verdict", body="verdict"),
        Section("scorecard", "Scorecard", tables=[tables.scorecard(study)],
                plates=[PLATES["scorecard"]]),
        Section("sure", "How sure", verdict.certainty(study), [tables.pairs(study)]),
        Section("matched", "What was matched", tables.unmatched(study), body="matched"),
        Section("kl", "Reward against KL", plates=[PLATES["frontier"]]),
        compute(study),
        Section("training", "Training curves", plates=[PLATES["curves"]]),
        stability(study),
        Section("cost", "Cost and memory", tables=[costs.ledger_of_costs(study),
                tables.ledger(study)], plates=[PLATES["cost"], PLATES["waterfall"]]),
        Section("tax", "lm-eval, and its change from SFT", tables=[tables.tasks(study)]),
        Section("reward", "Over-optimisation", verdict.reward(study),
                plates=[PLATES["overoptimisation"]]),
        Section("writing", "Length and diversity", tables=[tables.writing(study)],
                plates=[PLATES["writing"]]),
        Section("tuning", "Tuning", tune_page.provenance(study), tune_page.tables(study),
                [tune_page.BEST] if len(study.trials) else []),
        Section("samples", "What the models wrote", body="samples"),
        failures(study),
    ]  # fmt: skip


def compute(study) -> Section:
    """Quality against compute, and whether the winner changes with the view."""
    beside = study.companions.get("views", study)
    lines = [
        *views_page.matrix_lines(beside),
        *views_page.spent_lines(study),
        *missing(study, "views"),
    ]
    found = sorted(lend(study, "views") or [views_page.COMPUTE], key=lambda p: p.name != "compute")
    return Section("compute", "Quality against compute, labels and KL", lines,
                   [views_page.matrix(beside)], found)  # fmt: skip


def stability(study) -> Section:
    """The map around the tuned settings where it was drawn, and the seeds at the tuned ones."""
    own = [tables.stability(study)]
    beside = study.companions.get("stability")
    if beside is None:
        return Section("stability", "Stability", missing(study, "stability"), own)
    found = [stability_page.rate_table(beside), stability_page.pair_table(beside), *own]
    lines = [*stability_page.rate_lines(beside), *stability_page.declared(beside)]
    return Section("stability", "Stability", lines, found, lend(study, "stability"))


MISSING = {
    "stability": "a grid around each method's settings",
    "views": "fewer labels, other strengths and longer runs",
}


def missing(study, name: str) -> list[str]:
    """How to get what is not shown here; only of methods as they are tuned."""
    if name in study.companions or study.meta["study"] != "compare":
        return []
    command = f"snakemake --cores all --config testbed={study.meta['source']} study={name}"
    return [f"Not run here: {MISSING[name]} ({command})."]


def failures(study) -> Section:
    """Every failed run with its reason, of this study and of those beside it."""
    beside, more = (study.companions.get(name) for name in ("stability", "views"))
    found = [tables.failures(study), *([stability_page.failures(beside)] if beside else [])]
    found += [tables.failures(more, "Failures of the study 'views'")] if more else []
    found = [table for table in found if table.rows]
    return Section("failures", "Failures", [verdict.glance_at_failures(study)], found)


def headline(study) -> str:
    """Quality, cost and stability in a sentence each."""
    beside = study.companions.get("stability")
    of_grid = stability_page.glance(beside) if beside else ""
    words = [verdict.headline(study), verdict.glance_at_cost(study),
             verdict.glance_at_failures(study), of_grid]  # fmt: skip
    return " ".join(w for w in words if w)


def cards(study) -> dict[str, list[str]]:
    """The verdict in words, by what it is about."""
    return {
        "quality": [*verdict.quality(study), *verdict.tax(study)],
        "cost": [*verdict.cost(study), *views_page.spent_lines(study)],
        "stability": [*verdict.stability(study), *grid_words(study)],
    }


def grid_words(study) -> list[str]:
    """How often each method failed on the grid around its tuned settings, and if that tells."""
    beside = study.companions.get("stability")
    if beside is None:
        return []
    counts = ", ".join(f"{label(r.method)} {r.failed} of {r.n}" for r in beside.rates.itertuples())
    told = stability_page.decided(beside)
    return [f"On a grid around the tuned settings, failed cells: {counts}. {told}"]


def more(study) -> dict:
    """What only the page of a comparison shows."""
    return {
        "verdict": cards(study),
        "matched": tables.matched(study),
        "samples": samples.chosen(study),
        "sets": samples.sets(study),
    }


KIND = Kind(headline, sections, results.table, plates, more, card=True)
