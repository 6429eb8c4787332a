"""Describe a claim as an experiment that is declared before it runs. Imports nothing heavy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Rule(StrEnum):
    """How an effect decides: by what the claim's verb says."""

    MORE = "more"
    """Supported if the interval leaves out 0 and the effect reaches the margin; contradicted if the
    upper end is below the margin."""
    MATCHES = "matches or beats"
    """Supported if the lower end is above minus the margin; contradicted if the upper end is below
    it."""
    ALWAYS = "always"
    """Supported if every interval is above 0; contradicted if one is below it."""


@dataclass(frozen=True)
class Published:
    """What others found: their paper, and their finding in words."""

    paper: str
    finding: str


@dataclass(frozen=True)
class Part:
    """A claim, or one of its halves, as what is measured and the rule that decides.

    measure: takes the study's Results and returns the effect as an Interval, or for ALWAYS several;
    positive speaks for the claim. margin, in the effect's unit: a smaller one would not matter.
    logarithm: whether effect and margin are logs of a ratio, which readers see as the ratio.
    """

    sentence: str
    rule: Rule
    margin: float
    unit: str
    endpoint: str
    measure: Callable
    logarithm: bool = False


@dataclass(frozen=True)
class Claim:
    """A sentence of popular articles, and the experiment that tests it.

    arms: {arm: spec} that it needs, from the settings and the numbers of the SFT bases; conditions:
    those that are measured; open_if: what would leave it undecided; caveat: what its verdict does
    not show; shown: {name: interval} that its figure draws, else the gains of its conditions;
    labels: {condition: its name for readers}; shown_as: what the figure measures; seeds: the seeds
    of an arm by its name, None for an arm that has the usual ones.
    """

    key: str
    sentence: str
    experiment: str
    published: tuple[Published, ...]
    parts: tuple[Part, ...]
    arms: Callable
    conditions: tuple[str, ...]
    open_if: str
    caveat: str
    shown: Callable | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    shown_as: str = "gold above SFT"
    seeds: Callable[[str], tuple[int, ...] | None] | None = None
