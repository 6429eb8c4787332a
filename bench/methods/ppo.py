"""PPO-RLHF: Ziegler et al. 2019 (1909.08593), Schulman et al. 2017 (1707.06347).

The trainer is ``bench/ppo.py``; this file declares its settings.
"""

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from bench.schema import Section

NEEDS = ("reward",)


class Settings(Section):
    lr: PositiveFloat = 3.0e-4
    critic_lr: PositiveFloat = 1.0e-3
    beta: NonNegativeFloat = 0.05  # coefficient of the per-token KL penalty
    batch: PositiveInt = 64  # episodes per rollout
    minibatch: PositiveInt = 64  # episodes per optimiser step
    inner_epochs: PositiveInt = 2  # passes over each rollout
    epochs: PositiveInt = 1  # passes over the prompts of the pairs
    clip: PositiveFloat = 0.2  # of the probability ratio
    value_clip: PositiveFloat = 0.2
    gamma: float = Field(1.0, gt=0, le=1)
    lam: float = Field(0.95, ge=0, le=1)  # lambda of GAE
    missing_eos_penalty: NonNegativeFloat = 1.0  # taken off the score of an unfinished completion
    warmup: NonNegativeInt = 2  # rollouts


def train(run) -> None:
    """Maximise the seed's reward model less a per-token KL penalty, on the pairs' prompts."""
    from bench.ppo import train_ppo

    train_ppo(run)
