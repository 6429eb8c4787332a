"""Kahneman-Tversky optimisation: Ethayarajh et al. 2024 (arXiv 2402.01306), eqs. 7 and 8.

It learns from single answers, good or bad. Here these are the two of each pair, so that it has the
same data as the other methods.
"""

from functools import partial

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from bench.core.schema import Section

NEEDS = ("reference",)
PAPER = "ethayarajh2024"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "prefbench's own code"  # whose code trains it, as the report says


class Settings(Section):
    """Hyper-parameters of KTO, which no default study compares."""

    lr: PositiveFloat = 3.0e-4
    """Learning rate."""
    beta: PositiveFloat = 0.1
    """Strength of the pull towards the SFT base (beta in the paper)."""
    desirable: NonNegativeFloat = 1.0
    """Weight of good answers (lambda_D in the paper)."""
    undesirable: NonNegativeFloat = 1.0
    """Weight of bad answers (lambda_U in the paper)."""
    batch: PositiveInt = 32
    """Pairs per optimiser step, each with a good and a bad answer."""
    epochs: PositiveFloat = 1.0
    """Passes over the pairs."""
    warmup: NonNegativeInt = 5
    """Optimiser steps in which the learning rate rises linearly to `lr`."""
    decay: float = Field(0.0, ge=0, le=1)
    """Last share of the steps, in which the learning rate falls linearly towards 0."""


def loss(chosen, rejected, kl, beta: float, desirable: float = 1.0, undesirable: float = 1.0):
    """Compute the loss of each pair, (B,): the mean of eq. 8 over its two answers.

    chosen, rejected: ``bench.training.pair_engine.Answers``; kl: the reference point z_0, the
    estimated KL of the policy from the SFT base.
    """
    good = 1 - (beta * (chosen.log_ratio - kl)).sigmoid()
    bad = 1 - (beta * (kl - rejected.log_ratio)).sigmoid()
    return (desirable * good + undesirable * bad) / 2


def train(run) -> None:
    """Raise good answers above the policy's KL from the SFT base, and lower bad ones below it."""
    from bench.training.mismatched import train_with_kl

    s = run.settings
    weights = {"desirable": s.desirable, "undesirable": s.undesirable}
    train_with_kl(run, partial(loss, beta=s.beta, **weights))
