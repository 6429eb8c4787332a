"""PPO-RLHF: Ziegler et al. 2019 (1909.08593), Schulman et al. 2017 (1707.06347).

The trainer is ``bench/ppo.py``; this file declares its settings, each part of the recipe by name.
"N+" is Huang et al. 2024 (2403.17031), "Xu" is Xu et al. 2024 (2404.10719).
"""

from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from bench.core.schema import Section

NEEDS = ("reward",)
HEAD = "rollout"


class Settings(Section):
    lr: PositiveFloat = 3.0e-4
    critic_lr: PositiveFloat = 1.0e-3
    warmup: NonNegativeInt = 2  # rollouts over which the learning rates rise
    decay: float = Field(0.0, ge=0, le=1)  # last share of the rollouts: they fall towards 0
    max_grad_norm: PositiveFloat = 1.0

    batch: PositiveInt = 64  # episodes per rollout; Xu: the larger the better
    minibatch: PositiveInt = 64  # episodes per optimiser step
    micro_batch: PositiveInt | None = None  # episodes per forward pass; null: all of them
    inner_epochs: PositiveInt = 2  # passes over each rollout
    epochs: PositiveInt = 1  # passes over the prompts of the pairs

    beta: NonNegativeFloat = 0.05  # coefficient of the per-token KL penalty (Ziegler, eq. 2)
    target_kl: PositiveFloat | None = None  # nats a sequence: beta adapts to it (Ziegler, 2.2)
    kl_gain: PositiveFloat = 0.1  # K_beta of that controller
    kl_stop: PositiveFloat | None = None  # nats a token from the rollout's policy: end its passes
    # share of the way to the policy that the reference goes after a rollout (Xu); the penalty and
    # the logged KL are then from there; 0: it stays the SFT base
    reference_ema: float = Field(0.0, ge=0, le=1)

    critic_init: Literal["reward", "base"] = "reward"  # N+, section 7; base: with a fresh head
    center: bool = True  # scores less their mean under the SFT base (N+, section 6)
    missing_eos_penalty: NonNegativeFloat = 1.0  # off the score of an unfinished completion
    whiten_rewards: bool = False  # unit variance, mean kept (Ziegler's code; an option in N+)
    whiten_advantages: bool = True  # zero mean, unit variance (N+; Xu: advantage normalisation)

    clip: PositiveFloat | None = 0.2  # of the probability ratio; null: no clipping
    value_clip: PositiveFloat | None = 0.2  # of the critic's step (N+; Zheng et al., 2307.04964)
    gamma: float = Field(1.0, gt=0, le=1)
    lam: float = Field(0.95, ge=0, le=1)  # lambda of GAE

    @model_validator(mode="after")
    def _consistent(self):
        if self.minibatch > self.batch:
            raise ValueError(
                f"minibatch {self.minibatch} is larger than batch {self.batch}: lower it"
            )
        if self.target_kl and not self.beta:
            raise ValueError("target_kl scales beta, and beta is 0: give it a start")
        return self


def train(run) -> None:
    """Maximise the seed's reward model less a per-token KL penalty, on the pairs' prompts."""
    from bench.methods.ppo.trainer import train_ppo

    train_ppo(run)
