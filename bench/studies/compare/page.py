"""Build the page of a comparison: the answer, what it rests on, what the models wrote."""

from collections.abc import Iterable
from dataclasses import replace

from bench.report import reference, results, samples
from bench.report.page import conditions
from bench.report.sections import Kind, Section
from bench.studies.compare import (
    answer,
    costs,
    headline,
    lent,
    parts,
    post,
    quotes,
    sentences,
    tables,
)
from bench.studies.compare.figures import FIGURES
from bench.studies.compare.figures.scorecard import write_card


def figures(study) -> list:
    """Return the figures of the page: its own, and those of the studies beside it."""
    return [*own_figures(study), *lent.figures(study)]


def own_figures(study) -> list:
    """Return the comparison's own figures that this study can fill."""
    return [figure for figure in FIGURES if figure.shown(study)]


def sections(study) -> list[Section]:
    """Return the sections of the page, from the answer to the appendix."""
    own = own_sections(study)
    check(section.anchor for section in own)
    added = lent.new_sections({section.anchor for section in own})
    return [lent.joined_to(study, with_figures(study, section)) for section in [*own, *added]]


def check(anchors: Iterable[str]) -> None:
    """Raise ValueError if a figure names a section that is not there."""
    anchors = set(anchors)
    if lost := [f.name for f in FIGURES if f.section not in anchors]:
        raise ValueError(f"figure {lost[0]}: its section is none of {sorted(anchors)}")


def with_figures(study, section: Section) -> Section:
    """Add to a section the comparison's own figures that name it."""
    return replace(section, figures=[f for f in own_figures(study) if f.section == section.anchor])


def own_sections(study) -> list[Section]:
    """Return the sections of a comparison without figures and without what other studies lend: the
    answer, what it costs and breaks, what it depends on; then, folded, all that it rests on."""
    said = cards(study)
    return [
        Section("answer", "The answer", body="answer"),
        Section(
            "quality",
            "Who gains most?",
            said["quality"],
            [tables.comparisons(study)],
        ),
        Section("cost", "What does it cost?", said["cost"]),
        Section("stability", "Does training fail?", sentences.stability(study)),
        Section("tax", "What does it break?", sentences.tax(study), [tables.tasks(study)]),
        Section("writing", "Do the answers change?", tables=[tables.writing(study)]),
        Section(
            "reward",
            "Is the reward over-optimised?",
            [*sentences.optimised(study), *sentences.reward(study)],
        ),
        Section("compute", "Does the winner change with labels, compute or KL?"),
        Section("samples", "What do the models write?", body="samples"),
        Section("sure", "How sure is this?", sentences.certainty(study)),
        Section("conditions", "Under which conditions?", conditions(study)),
        *appendix(study),
    ]


def appendix(study) -> list[Section]:
    """Return the folded sections: measures, what was matched, how training went, what failed."""
    found = [
        Section("scorecard", "Scorecard", tables=[tables.scorecard(study, lent.columns(study))]),
        Section("parts", "Gold in parts", parts.lines(study), [parts.table(study)]),
        Section("matched", "What was matched", tables.unmatched(study), body="matched"),
        Section("training", "Training curves", tables=[tables.training(study)]),
        Section("ledger", "Cost by phase", tables=[costs.ledger(study), tables.ledger(study)]),
        Section("tuning", "How the settings were found"),
        failures(study),
    ]
    return [replace(section, folded=True) for section in found]


def failures(study) -> Section:
    """Return the section that lists every failed run with its reason, of all studies shown."""
    found = [reference.failures(study), *lent.failed_tables(study)]
    return Section("failures", "Failures", [headline.glance_at_failures(study)], found)


def lead(study) -> list[str]:
    """Say quality, cost and stability in one sentence each."""
    words = [
        headline.headline(study),
        headline.glance_at_cost(study),
        headline.glance_at_failures(study),
        *lent.glances(study),
    ]
    return [sentence for sentence in words if sentence]


def cards(study) -> dict[str, list[str]]:
    """Return quality, cost and stability in words, with what other studies say of them."""
    own = {
        "quality": sentences.quality(study),
        "cost": sentences.cost(study),
        "stability": sentences.stability(study),
    }
    return {card: [*said, *lent.cards(study, card)] for card, said in own.items()}


def more(study) -> dict:
    """Return what only the page of a comparison shows."""
    return {
        "glance": answer.table(study),
        "points": answer.points(study),
        "contract": sentences.contract(study),
        "matched": tables.matched(study),
        "samples": samples.chosen(study),
        "sets": samples.sets(study),
    }


def facts(study, shared: dict) -> dict[str, str]:
    """Return what can be quoted beside what every report has."""
    return quotes.of(study, shared, cards(study))


KIND = Kind(
    lead, sections, figures, results.table, more, facts, card=write_card,
    post=post.draft, measures=lent.measures,
)  # fmt: skip
