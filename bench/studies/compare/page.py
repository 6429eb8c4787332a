"""Build the page of a comparison: verdict, evidence, what the models wrote, what failed."""

from collections.abc import Iterable
from dataclasses import replace

from bench.report import reference, results, samples
from bench.report.page import conditions
from bench.report.sections import Kind, Section
from bench.studies.compare import costs, lent, parts, post, quotes, sentences, tables
from bench.studies.compare.figures import FIGURES
from bench.studies.compare.figures.scorecard import write_card


def figures(study) -> list:
    """Return the figures of the page: its own, and those of the studies beside it."""
    return [*FIGURES, *lent.figures(study)]


def sections(study) -> list[Section]:
    """Return the sections of the page, from the verdict to what failed."""
    own = own_sections(study)
    check(section.anchor for section in own)
    added = lent.new_sections({section.anchor for section in own})
    return [lent.joined_to(study, with_figures(section)) for section in [*own, *added]]


def check(anchors: Iterable[str]) -> None:
    """Raise ValueError if a figure names a section that is not there."""
    anchors = set(anchors)
    if lost := [f.name for f in FIGURES if f.section not in anchors]:
        raise ValueError(f"figure {lost[0]}: its section is none of {sorted(anchors)}")


def with_figures(section: Section) -> Section:
    """Add to a section the comparison's own figures that name it."""
    return replace(section, figures=[f for f in FIGURES if f.section == section.anchor])


def own_sections(study) -> list[Section]:
    """Return the sections of a comparison without figures and without what other studies lend."""
    return [
        Section("verdict", "Verdict", body="verdict"),
        Section("scorecard", "Scorecard", tables=[tables.scorecard(study, lent.columns(study))]),
        Section("sure", "How sure", sentences.certainty(study), [tables.comparisons(study)]),
        Section("conditions", "Under which conditions", conditions(study)),
        Section("parts", "Gold in parts", parts.lines(study), [parts.table(study)]),
        Section("matched", "What was matched", tables.unmatched(study), body="matched"),
        Section("kl", "Reward against KL"),
        Section("compute", "Quality against compute, labels and KL"),
        Section("training", "Training curves"),
        Section("stability", "Stability", tables=[tables.training(study)]),
        Section("cost", "Cost and memory", tables=[costs.ledger(study), tables.ledger(study)]),
        Section("tax", "lm-eval, and its change from SFT", tables=[tables.tasks(study)]),
        Section("reward", "Over-optimisation", sentences.reward(study)),
        Section("writing", "Length and diversity", tables=[tables.writing(study)]),
        Section("tuning", "Tuning"),
        Section("samples", "What the models wrote", body="samples"),
        failures(study),
    ]


def failures(study) -> Section:
    """Return the section that lists every failed run with its reason, of all studies shown."""
    found = [reference.failures(study), *lent.failed_tables(study)]
    return Section("failures", "Failures", [sentences.glance_at_failures(study)], found)


def headline(study) -> list[str]:
    """Say quality, cost and stability in one sentence each."""
    words = [
        sentences.headline(study),
        sentences.glance_at_cost(study),
        sentences.glance_at_failures(study),
        *lent.glances(study),
    ]
    return [sentence for sentence in words if sentence]


def cards(study) -> dict[str, list[str]]:
    """Return the verdict in words, as {card: its sentences}."""
    own = {
        "quality": [*sentences.quality(study), *sentences.tax(study)],
        "cost": sentences.cost(study),
        "stability": sentences.stability(study),
    }
    return {card: [*said, *lent.cards(study, card)] for card, said in own.items()}


def more(study) -> dict:
    """Return what only the page of a comparison shows."""
    return {
        "verdict": cards(study),
        "contract": sentences.contract(study),
        "matched": tables.matched(study),
        "samples": samples.chosen(study),
        "sets": samples.sets(study),
    }


KIND = Kind(
    headline, sections, figures, results.table, more, quotes.of, card=write_card,
    post=post.draft, measures=lent.measures,
)  # fmt: skip
