"""Identity preference optimisation: Azar et al. 2023 (2310.12036), equation 17, by TRL.

TRL averages log-ratios over tokens, which the authors of IPO confirmed to be what they ran; the
equation as printed sums them.
"""

from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from bench.core.schema import Section

NEEDS = ("reference",)


class Settings(Section):
    lr: PositiveFloat = 3.0e-4
    beta: PositiveFloat = 0.1  # tau: the margin aimed at is 1 / (2 tau) nats, per token if averaged
    log_ratios: Literal["mean", "sum"] = "mean"  # over a completion's tokens
    batch: PositiveInt = 32  # pairs per optimiser step
    epochs: PositiveFloat = 1.0
    warmup: NonNegativeInt = 5  # optimiser steps


def train(run) -> None:
    """Minimise (difference of log-ratios - 1 / (2 beta))^2 over the pairs."""
    from bench.training.pair_engine import PreferenceTrainer, SummedTrainer, train_preference

    form = {"mean": PreferenceTrainer, "sum": SummedTrainer}[run.settings.log_ratios]
    train_preference(run, loss_type="ipo", trainer_class=form)
