"""Odds-ratio preference optimisation: Hong et al. 2024 (2403.07691), equations 6 and 7, by TRL."""

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from bench.core.schema import Section

NEEDS = ()
HEAD = "full"
PAPER = "hong2024"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "TRL's ORPOTrainer"  # whose code trains it, as the report says


class Settings(Section):
    """How ORPO trains."""

    lr: PositiveFloat = 3.0e-4
    """Learning rate."""
    beta: PositiveFloat = 0.5
    """Weight of the odds ratio beside the likelihood of the chosen answer, lambda in the paper."""
    batch: PositiveInt = 32
    """Pairs an optimiser step."""
    epochs: PositiveFloat = 1.0
    """Passes over the pairs."""
    warmup: NonNegativeInt = 5
    """Optimiser steps over which the learning rate rises."""


def train(run) -> None:
    """Minimise NLL(chosen) - beta log sigmoid(log odds of chosen - log odds of rejected)."""
    from bench.training.pair_engine import train_orpo

    train_orpo(run)
