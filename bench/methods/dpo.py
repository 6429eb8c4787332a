"""Direct preference optimisation: Rafailov et al. 2023 (2305.18290), equation 7, by TRL."""

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from bench.core.schema import Section

NEEDS = ("reference",)
PAPER = "rafailov2023"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "TRL's DPOTrainer"  # whose code trains it, as the report says


class Settings(Section):
    """How DPO trains."""

    lr: PositiveFloat = 3.0e-4
    """Learning rate."""
    beta: PositiveFloat = 0.1
    """Strength of the pull towards the SFT base."""
    batch: PositiveInt = 32
    """Pairs an optimiser step."""
    epochs: PositiveFloat = 1.0
    """Passes over the pairs."""
    warmup: NonNegativeInt = 5
    """Optimiser steps over which the learning rate rises."""


def train(run) -> None:
    """Minimise -log sigmoid(beta (log-ratio of chosen - log-ratio of rejected)) over the pairs."""
    from bench.training.pair_engine import train_preference

    train_preference(run, loss_type="sigmoid")
