"""List what can be quoted of a comparison beyond what every report has: what it says, its samples.

quality, cost, stability     in words
contract, held, charged, optimised
FAMILY.prompt, FAMILY.ARM.answer, FAMILY.ARM.gold
"""

from collections.abc import Iterator

from bench.report.facts import markdown
from bench.report.marked_text import inert
from bench.report.words import fixed
from bench.studies.compare import sentences, tables

NO_ANSWER = "no answer, since its runs failed"


def of(study, shared: dict, said: dict[str, list[str]]) -> dict[str, str]:
    """Return {key: fact}; shared: what the page shows; said: quality, cost and stability in
    words."""
    cards = {card: " ".join(lines) for card, lines in said.items()}
    more = {
        "tax": " ".join(sentences.tax(study)),
        "contract": sentences.contract(study),
        "held": tables.held(study),
        "charged": sentences.charged(study),
        "optimised": " ".join(sentences.optimised(study)),
    }
    words = {key: inert(text) for key, text in (cards | more).items()}
    return words | {"table.at-a-glance": markdown(shared["glance"])} | dict(answers(study, shared))


def answers(study, shared: dict) -> Iterator[tuple[str, str]]:
    """Yield one prompt of each family, by the page's rule, with every arm's answer and its gold."""
    for family, sample in one_a_family(shared).items():
        yield f"{family}.prompt", inert(sample["prompt"])
        for arm, answer in zip((*study.bases, *study.arms), sample["answers"], strict=True):
            text = answer["text"]
            words = NO_ANSWER if text is None else inert(text) or "(nothing)"
            yield f"{family}.{arm}.answer", words
            yield f"{family}.{arm}.gold", "–" if text is None else fixed(answer["gold"], ".2f")


def one_a_family(shared: dict) -> dict[str, dict]:
    """Return {family: the first of its samples that the page shows}."""
    found: dict[str, dict] = {}
    for sample in shared["samples"]:
        found.setdefault(sample["family"], sample)
    return found
