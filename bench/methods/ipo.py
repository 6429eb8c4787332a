"""Identity preference optimisation: Azar et al. 2023 (arXiv 2310.12036), eq. 17.

The printed equation sums log-ratios over tokens. TRL averages them, as IPO's authors confirmed that
their own code did, and so does this unless told otherwise.
"""

from functools import partial
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from bench.core.schema import Section

NEEDS = ("reference",)
PAPER = "azar2023"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "prefbench's own code"  # whose code trains it, as the report says


class Settings(Section):
    """Hyper-parameters of IPO."""

    lr: PositiveFloat = 3.0e-4
    """Learning rate."""
    beta: PositiveFloat = 0.1
    """Strength of the pull towards the SFT base (tau in the paper): the loss is least where the
    log-ratios of chosen and rejected differ by 1 / (2 beta) nats; per token if `log_ratios` is
    mean."""
    log_ratios: Literal["mean", "sum"] = "mean"
    """mean: average each answer's log-ratio over its tokens, as TRL does; sum: as in the paper."""
    batch: PositiveInt = 32
    """Pairs per optimiser step."""
    epochs: PositiveFloat = 1.0
    """Passes over the pairs."""
    warmup: NonNegativeInt = 5
    """Optimiser steps in which the learning rate rises linearly to `lr`."""
    decay: float = Field(0.0, ge=0, le=1)
    """Last share of the steps, in which the learning rate falls linearly towards 0."""


def loss(chosen, rejected, beta: float, log_ratios: str):
    """Compute the loss of each pair, (B,): eq. 17.

    chosen, rejected: ``bench.training.pair_engine.Answers``; log_ratios: as in ``Settings``.
    """
    own, other = (
        answer.log_ratio / (answer.tokens if log_ratios == "mean" else 1)
        for answer in (chosen, rejected)
    )
    return (own - other - 1 / (2 * beta)) ** 2


def train(run) -> None:
    """Minimise (log-ratio of chosen - log-ratio of rejected - 1 / (2 beta))^2 over the pairs."""
    from bench.training.pair_engine import train_own_loss

    s = run.settings
    train_own_loss(run, partial(loss, beta=s.beta, log_ratios=s.log_ratios))
