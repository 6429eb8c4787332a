"""PPO-RLHF: Ziegler et al. 2019 (arXiv 1909.08593), Schulman et al. 2017 (arXiv 1707.06347).

This file declares the settings; ``trainer.py`` beside it trains. In the descriptions "N+" is Huang
et al. 2024 (arXiv 2403.17031), "Xu" is Xu et al. 2024 (arXiv 2404.10719).
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
    """Hyper-parameters of PPO; each part of its recipe is a setting."""

    lr: PositiveFloat = 3.0e-4
    """Learning rate of the policy."""
    critic_lr: PositiveFloat = 1.0e-3
    """Learning rate of the critic."""
    warmup: NonNegativeInt = 2
    """Rollouts in which the learning rates rise linearly to their full values."""
    decay: float = Field(0.0, ge=0, le=1)
    """Last share of the rollouts, in which the learning rates fall linearly towards 0."""
    max_grad_norm: PositiveFloat = 1.0
    """Largest gradient norm: larger gradients are scaled down to it, policy and critic each."""

    batch: PositiveInt = 64
    """Episodes (prompt and sampled answer) per rollout; Xu finds that larger is better."""
    minibatch: PositiveInt = 64
    """Episodes per optimiser step."""
    micro_batch: PositiveInt | None = None
    """Episodes per forward pass; null: all at once. Smaller saves memory."""
    inner_epochs: PositiveInt = 2
    """Passes of optimiser steps over each rollout."""
    epochs: PositiveFloat = 1.0
    """Passes over the prompts of the pairs: how often each prompt is answered."""

    beta: NonNegativeFloat = 0.05
    """Weight of the KL penalty that is subtracted from each token's reward (Ziegler, eq. 2)."""
    target_kl: PositiveFloat | None = None
    """Target KL in nats per answer: beta rises while the KL is above it and falls while below
    (Ziegler, section 2.2); null: beta is constant."""
    kl_gain: PositiveFloat = 0.1
    """How fast beta adapts to `target_kl` (K_beta in Ziegler, section 2.2)."""
    kl_stop: PositiveFloat | None = None
    """End the passes over a rollout early once the policy's KL from the one that sampled it exceeds
    this, in nats per token; null: never."""
    reference_ema: float = Field(0.0, ge=0, le=1)
    """Share by which the reference model moves towards the policy after each rollout (Xu); the KL
    penalty and the logged KL are measured from this reference. 0: it stays the SFT base."""

    critic_init: Literal["reward", "base"] = "reward"
    """Weights that the critic starts from. reward: the reward model's (N+, section 7); base: the
    SFT base's, with a new random head."""
    center: bool = True
    """Whether to subtract the SFT base's mean score from all scores (N+, section 6)."""
    missing_eos_penalty: NonNegativeFloat = 1.0
    """Amount subtracted from the score of an answer that does not end with EOS."""
    whiten_rewards: bool = False
    """Whether to scale rewards to unit variance without shifting their mean (Ziegler's code; an
    option in N+)."""
    whiten_advantages: bool = True
    """Whether to normalise advantages to zero mean and unit variance (N+; Xu)."""

    clip: PositiveFloat | None = 0.2
    """Clip the policy's probability ratio to 1 - clip .. 1 + clip (Schulman, eq. 7; `policy_loss`
    in trainer.py); null: no clipping."""
    value_clip: PositiveFloat | None = 0.2
    """Clip each change of the critic's value since the rollout to at most this (N+; Zheng et al.
    2023, arXiv 2307.04964; `value_loss` in trainer.py); null: no clipping."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount per token of later rewards (Schulman et al. 2016, arXiv 1506.02438, eq. 2)."""
    lam: float = Field(0.95, ge=0, le=1)
    """Lambda of generalised advantage estimation (Schulman et al. 2016, arXiv 1506.02438, eq. 16):
    1 sums all later rewards; 0 uses one reward and the critic's next value."""

    @model_validator(mode="after")
    def _consistent(self):
        if self.minibatch > self.batch:
            raise ValueError(
                f"minibatch {self.minibatch} is larger than batch {self.batch}: lower minibatch"
            )
        if self.target_kl and not self.beta:
            raise ValueError("target_kl scales beta, but beta is 0: set beta above 0")
        return self


def train(run) -> None:
    """Maximise the reward model's score less a per-token KL penalty, on the pairs' prompts."""
    from bench.methods.ppo.trainer import train_ppo

    train_ppo(run)
