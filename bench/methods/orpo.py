"""Odds-ratio preference optimisation: Hong et al. 2024 (2403.07691), equations 6 and 7, by TRL."""

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from bench.core.schema import Section

NEEDS = ()
HEAD = "full"


class Settings(Section):
    lr: PositiveFloat = 3.0e-4
    beta: PositiveFloat = 0.5  # lambda: weight of the odds ratio beside the likelihood of chosen
    batch: PositiveInt = 32  # pairs per optimiser step
    epochs: PositiveFloat = 1.0
    warmup: NonNegativeInt = 5  # optimiser steps


def train(run) -> None:
    """Minimise NLL(chosen) - beta log sigmoid(log odds of chosen - log odds of rejected)."""
    from bench.training.pair_engine import train_orpo

    train_orpo(run)
