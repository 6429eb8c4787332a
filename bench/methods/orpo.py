"""Odds-ratio preference optimisation: Hong et al. 2024 (arXiv 2403.07691), eqs. 6 and 7."""

from functools import partial

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from bench.core.schema import Section

NEEDS = ()
HEAD = "likelihood"
PAPER = "hong2024"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "prefbench's own code"  # whose code trains it, as the report says


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
    prompt: bool = True
    """Whether the NLL covers the prompt too, as in TRL and the authors' code; false: the answer's
    tokens alone, as in the paper."""
    warmup: NonNegativeInt = 5
    """Optimiser steps in which the learning rate rises linearly to `lr`."""
    decay: float = Field(0.0, ge=0, le=1)
    """Last share of the steps, in which the learning rate falls linearly towards 0."""


def loss(chosen, rejected, beta: float):
    """Compute the loss of each pair, (B,): eqs. 6 and 7.

    The odds are those of the mean log-prob of a token (eqs. 3 and 4). The NLL is ``chosen.nll``, of
    prompt and answer, a mean over the tokens of the batch; without it the answer's own
    mean (eq. 2). chosen, rejected: ``bench.training.pair_engine.Answers``.
    """
    from torch import expm1
    from torch.nn.functional import logsigmoid

    means = [answer.logps / answer.tokens for answer in (chosen, rejected)]
    odds, other = (logp - (-expm1(logp)).log() for logp in means)
    nll = -means[0] if chosen.nll is None else chosen.nll
    return nll - beta * logsigmoid(odds - other)


def train(run) -> None:
    """Minimise NLL(chosen) - beta log sigmoid(log odds of chosen - log odds of rejected)."""
    from bench.training.pair_engine import train_own_loss

    settings = run.settings
    train_own_loss(run, partial(loss, beta=settings.beta), likelihood=settings.prompt)
