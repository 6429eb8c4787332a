"""Identity preference optimisation: Azar et al. 2023 (2310.12036), equation 17, by TRL.

TRL averages log-ratios over tokens, which the authors of IPO confirmed to be what they ran; the
equation as printed sums them.
"""

from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from bench.core.schema import Section

NEEDS = ("reference",)
PAPER = "azar2023"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "TRL's DPOTrainer"  # whose code trains it, as the report says


class Settings(Section):
    """How IPO trains."""

    lr: PositiveFloat = 3.0e-4
    """Learning rate."""
    beta: PositiveFloat = 0.1
    """Strength of the pull towards the SFT base, tau in the paper: training aims at a margin of
    1 / (2 tau) nats between the log-ratios, per token where `log_ratios` is mean."""
    log_ratios: Literal["mean", "sum"] = "mean"
    """Whether log-ratios are averaged or summed over a completion's tokens."""
    batch: PositiveInt = 32
    """Pairs an optimiser step."""
    epochs: PositiveFloat = 1.0
    """Passes over the pairs."""
    warmup: NonNegativeInt = 5
    """Optimiser steps over which the learning rate rises."""


def train(run) -> None:
    """Minimise (difference of log-ratios - 1 / (2 beta))^2 over the pairs."""
    from bench.training.pair_engine import PreferenceTrainer, SummedTrainer, train_preference

    form = {"mean": PreferenceTrainer, "sum": SummedTrainer}[run.settings.log_ratios]
    train_preference(run, loss_type="ipo", trainer_class=form)
