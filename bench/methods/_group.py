"""What methods share that sample several answers to each prompt and have no critic."""

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from bench.core.schema import Section


class GroupSettings(Section):
    """Hyper-parameters of a method that learns from groups of answers."""

    lr: PositiveFloat = 3.0e-4
    """Learning rate."""
    beta: NonNegativeFloat = 0.05
    """Strength of the pull towards the SFT base."""
    answers: int = Field(4, ge=2)
    """Answers that are sampled to each prompt of a rollout: the group."""
    warmup: NonNegativeInt = 2
    """Rollouts in which the learning rate rises linearly to `lr`."""
    decay: float = Field(0.0, ge=0, le=1)
    """Last share of the rollouts, in which the learning rate falls linearly towards 0."""
    max_grad_norm: PositiveFloat = 1.0
    """Largest gradient norm: larger gradients are scaled down to it."""
    batch: PositiveInt = 64
    """Episodes (prompt and sampled answer) per rollout."""
    minibatch: PositiveInt = 64
    """Episodes per optimiser step."""
    micro_batch: PositiveInt | None = None
    """Episodes per forward pass; null: all at once. Smaller saves memory."""
    inner_epochs: PositiveInt = 1
    """Passes of optimiser steps over each rollout."""
    epochs: PositiveFloat = 1.0
    """Passes over the prompts of the pairs; in each, a prompt is answered `answers` times."""
    missing_eos_penalty: NonNegativeFloat = 1.0
    """Amount subtracted from the score of an answer that does not end with EOS."""

    @model_validator(mode="after")
    def _consistent(self):
        if self.minibatch > self.batch:
            raise ValueError(
                f"minibatch {self.minibatch} is larger than batch {self.batch}: lower minibatch"
            )
        if self.batch % self.answers:
            raise ValueError(f"batch {self.batch} is no multiple of answers {self.answers}")
        return self
