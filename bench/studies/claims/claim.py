"""Describe a claim as an experiment that is declared before it runs. Imports nothing heavy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Rule(StrEnum):
    """How an effect decides: by what the claim's verb says."""

    MORE = "more"
    """Supported if the interval is above 0 and the effect reaches the margin; contradicted if the
    interval is below the margin."""
    MATCHES = "matches or beats"
    """Supported if the interval is above minus the margin; contradicted if it is below."""
    ALWAYS = "always"
    """Supported if every interval is above 0; contradicted if one is below, at a level divided by
    the number of effects."""
    FACT = "fact"
    """A number that hardly varies, such as a count of models: supported if it reaches the margin,
    else contradicted. It is no test, and takes no part in the correction."""


@dataclass(frozen=True)
class Published:
    """What others found: their paper, their finding in words, and what differs from here."""

    paper: str
    finding: str
    differs: str = ""


@dataclass(frozen=True)
class Part:
    """A claim, or one of its halves, as what is measured and the rule that decides.

    measure: takes the study's Results and returns the effect as an Interval or an Effect
    (``effects``), or for ALWAYS several; positive speaks for the claim. margin, in the effect's
    unit: a smaller one would not matter. logarithm: whether effect and margin are logs of a ratio,
    which readers see as the ratio. gate: takes the Results and says why they cannot decide, such as
    that what should differ does not; '' if they can. share: of the claim's weight in the
    correction, beside the shares of its other parts.
    """

    sentence: str
    rule: Rule
    margin: float
    unit: str
    endpoint: str
    measure: Callable
    logarithm: bool = False
    gate: Callable[..., str] | None = None
    share: float = 1.0


def not_measured(*conditions: str) -> Callable[..., str]:
    """Return a gate: that runs of some conditions failed, whose answers are what is claimed."""

    def gate(results) -> str:
        from bench.studies.claims import units  # here, so that a dry run stays quick

        lost, every = units.failed(results, conditions)
        return f"{lost} of {every} runs failed, and answer nothing" if lost else ""

    return gate


@dataclass(frozen=True)
class Claim:
    """A sentence of popular articles, and the experiment that tests it.

    arms: {arm: spec} that it needs, from the settings and the numbers of the SFT bases; conditions:
    those that are measured; caveat: what its verdict does not show; seen: what this world had shown
    of it before it was declared; failed: what becomes of a failed run, in words; shown: {name:
    interval} that its figure draws, else the gains of its conditions; labels: {condition: its name
    for readers};
    shown_as: what the figure measures; notes: takes Results, returns further sentences with
    numbers; seeds: the seeds of an arm by its name, None for an arm that has the usual ones;
    worlds: those that can test it, empty for all; elsewhere: why others cannot.
    """

    key: str
    sentence: str
    experiment: str
    published: tuple[Published, ...]
    parts: tuple[Part, ...]
    arms: Callable
    conditions: tuple[str, ...]
    caveat: str
    seen: str = ""
    failed: str = "in a gain each counts as none"
    shown: Callable | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    shown_as: str = "gold above SFT"
    notes: Callable | None = None
    seeds: Callable[[str], tuple[int, ...] | None] | None = None
    worlds: tuple[str, ...] = ()
    elsewhere: str = ""
