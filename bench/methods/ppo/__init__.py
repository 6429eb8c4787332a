"""PPO-RLHF: Ziegler et al. 2019 (1909.08593), Schulman et al. 2017 (1707.06347).

The trainer, clipping included, is ``trainer.py`` beside this file, which declares its settings.
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
PAPER = "schulman2017"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "prefbench's own code"  # whose code trains it, as the report says


class Settings(Section):
    """How PPO trains: each part of the recipe by name."""

    lr: PositiveFloat = 3.0e-4
    """Learning rate of the policy."""
    critic_lr: PositiveFloat = 1.0e-3
    """Learning rate of the critic."""
    warmup: NonNegativeInt = 2
    """Rollouts over which the learning rates rise."""
    decay: float = Field(0.0, ge=0, le=1)
    """Last share of the rollouts, over which the learning rates fall towards 0."""
    max_grad_norm: PositiveFloat = 1.0
    """Norm to which larger gradients are scaled down."""

    batch: PositiveInt = 64
    """Episodes a rollout; Xu: the larger the better."""
    minibatch: PositiveInt = 64
    """Episodes an optimiser step."""
    micro_batch: PositiveInt | None = None
    """Episodes a forward pass; null: all of them. Saves memory."""
    inner_epochs: PositiveInt = 2
    """Passes over each rollout."""
    epochs: PositiveInt = 1
    """Passes over the prompts of the pairs."""

    beta: NonNegativeFloat = 0.05
    """Coefficient of the KL penalty on each token's reward (Ziegler, eq. 2)."""
    target_kl: PositiveFloat | None = None
    """KL in nats a sequence to which beta adapts (Ziegler, section 2.2); null: beta is constant."""
    kl_gain: PositiveFloat = 0.1
    """Gain of the controller that adapts beta to `target_kl`: K_beta of Ziegler."""
    kl_stop: PositiveFloat | None = None
    """KL in nats a token from the rollout's policy at which the passes over the rollout end; null:
    they never end early."""
    reference_ema: float = Field(0.0, ge=0, le=1)
    """Share of the way to the policy that the reference goes after a rollout (Xu); the penalty and
    the logged KL are then measured from there; 0: the reference stays the SFT base."""

    critic_init: Literal["reward", "base"] = "reward"
    """Weights that the critic starts from: the reward model (N+, section 7), or the base with a
    fresh head."""
    center: bool = True
    """Whether the mean score under the SFT base is subtracted from scores (N+, section 6)."""
    missing_eos_penalty: NonNegativeFloat = 1.0
    """Amount subtracted from the score of an unfinished completion."""
    whiten_rewards: bool = False
    """Whether rewards are scaled to unit variance, their mean kept (Ziegler's code; an option in
    N+)."""
    whiten_advantages: bool = True
    """Whether advantages are scaled to zero mean and unit variance (N+; Xu: advantage
    normalisation)."""

    clip: PositiveFloat | None = 0.2
    """Distance from 1 at which the probability ratio is clipped, by `policy_loss` in trainer.py
    (Schulman, eq. 7); null: no clipping."""
    value_clip: PositiveFloat | None = 0.2
    """Distance at which a step of the critic's value is clipped, by `value_loss` in trainer.py (N+;
    Zheng et al. 2023, 2307.04964); null: no clipping."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount of a token's reward (Schulman et al. 2016, 1506.02438, eq. 2)."""
    lam: float = Field(0.95, ge=0, le=1)
    """Lambda of generalised advantage estimation (Schulman et al. 2016, 1506.02438, eq. 16): 1 sums
    all rewards, 0 trusts the critic."""

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
