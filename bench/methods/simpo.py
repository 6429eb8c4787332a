"""Simple preference optimisation: Meng et al. 2024 (arXiv 2405.14734), eq. 6."""

from functools import partial

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from bench.core.schema import Section

NEEDS = ()
TITLE = "SimPO"
PAPER = "meng2024"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "prefbench's own code"  # whose code trains it, as the report says


class Settings(Section):
    """Hyper-parameters of SimPO, which no default study compares."""

    lr: PositiveFloat = 3.0e-4
    """Learning rate."""
    beta: PositiveFloat = 2.0
    """Scale of the implicit reward, which is the mean log-prob of an answer's tokens."""
    gamma: NonNegativeFloat = 1.0
    """Margin by which the chosen answer's reward should be the larger."""
    batch: PositiveInt = 32
    """Pairs per optimiser step."""
    epochs: PositiveFloat = 1.0
    """Passes over the pairs."""
    warmup: NonNegativeInt = 5
    """Optimiser steps in which the learning rate rises linearly to `lr`."""
    decay: float = Field(0.0, ge=0, le=1)
    """Last share of the steps, in which the learning rate falls linearly towards 0."""


def loss(chosen, rejected, beta: float, gamma: float):
    """Compute the loss of each pair, (B,): eq. 6.

    chosen, rejected: ``bench.training.pair_engine.Answers``.
    """
    from torch.nn.functional import logsigmoid

    margin = chosen.logps / chosen.tokens - rejected.logps / rejected.tokens
    return -logsigmoid(beta * margin - gamma)


def train(run) -> None:
    """Minimise -log sigmoid(beta (mean log-prob of chosen - of rejected) - gamma) over pairs."""
    from bench.training.pair_engine import train_own_loss

    train_own_loss(run, partial(loss, beta=run.settings.beta, gamma=run.settings.gamma))
