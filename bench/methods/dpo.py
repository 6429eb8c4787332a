"""Direct preference optimisation: Rafailov et al. 2023 (arXiv 2305.18290), eq. 7."""

from functools import partial

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from bench.core.schema import Section

NEEDS = ("reference",)
PAPER = "rafailov2023"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "prefbench's own code"  # whose code trains it, as the report says


class Settings(Section):
    """Hyper-parameters of DPO."""

    lr: PositiveFloat = 3.0e-4
    """Learning rate."""
    beta: PositiveFloat = 0.1
    """Strength of the pull towards the SFT base (beta in the paper)."""
    reference_free: bool = False
    """Whether the loss leaves the SFT base's log-probs out, so that nothing pulls towards it; a
    run is charged for them all the same."""
    batch: PositiveInt = 32
    """Pairs per optimiser step."""
    epochs: PositiveFloat = 1.0
    """Passes over the pairs."""
    warmup: NonNegativeInt = 5
    """Optimiser steps in which the learning rate rises linearly to `lr`."""
    decay: float = Field(0.0, ge=0, le=1)
    """Last share of the steps, in which the learning rate falls linearly towards 0."""


def loss(chosen, rejected, beta: float, reference_free: bool = False):
    """Compute the loss of each pair, (B,): eq. 7.

    chosen, rejected: ``bench.training.pair_engine.Answers``; reference_free: with log-probs in the
    place of log-ratios.
    """
    from torch.nn.functional import logsigmoid

    own, other = (a.logps if reference_free else a.log_ratio for a in (chosen, rejected))
    return -logsigmoid(beta * (own - other))


def train(run) -> None:
    """Minimise -log sigmoid(beta (log-ratio of chosen - log-ratio of rejected)) over the pairs."""
    from bench.training.pair_engine import train_own_loss

    s = run.settings
    train_own_loss(run, partial(loss, beta=s.beta, reference_free=s.reference_free))
