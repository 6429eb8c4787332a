"""The best of n answers of the SFT base by a reward model: Stiennon et al. 2020 (arXiv 2009.01325).

Nothing is trained but the reward model. The KL from the SFT base is at most log n - (n - 1) / n
(Beirami et al. 2024, arXiv 2401.01879), which is what reports show.
"""

from pydantic import Field

from bench.core.schema import Section

NEEDS = ("reward",)
HEAD = "none"
PAPER = "stiennon2020"  # BibTeX key in bench/report/templates/references.bib
TITLE = "Best of n"


class Settings(Section):
    """How many answers the best is taken from."""

    answers: int = Field(16, ge=2)
    """Answers of the SFT base of which the reward model takes the best (n)."""


def train(run) -> None:
    """Leave the policy as it is, and measure its best answers."""
    run.monitor.begin(1, run.policy)
    run.monitor.measure.best_of = run.settings.answers
    run.monitor.last(run.policy)
