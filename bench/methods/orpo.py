"""Odds-ratio preference optimisation: Hong et al. 2024 (arXiv 2403.07691), eqs. 6 and 7, by TRL."""

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from bench.core.schema import Section

NEEDS = ()
HEAD = "full"
PAPER = "hong2024"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "TRL's ORPOTrainer"  # whose code trains it, as the report says


class Settings(Section):
    """Hyper-parameters of ORPO."""

    lr: PositiveFloat = 3.0e-4
    """Learning rate."""
    beta: PositiveFloat = 0.5
    """Weight of the odds-ratio loss beside the chosen answer's NLL (lambda in the paper)."""
    batch: PositiveInt = 32
    """Pairs per optimiser step."""
    epochs: PositiveFloat = 1.0
    """Passes over the pairs."""
    warmup: NonNegativeInt = 5
    """Optimiser steps in which the learning rate rises linearly to `lr`."""


def train(run) -> None:
    """Minimise NLL(chosen) - beta log sigmoid(log odds of chosen - log odds of rejected)."""
    from bench.training.pair_engine import train_orpo

    train_orpo(run)
