"""Online DPO: Guo et al. 2024 (arXiv 2402.04792), with the seed's reward model as the annotator.

Of two answers that the policy samples to a prompt, the one with the higher score is chosen.
"""

from typing import Literal

from pydantic import PositiveFloat, model_validator

from bench.methods._group import GroupSettings

NEEDS = ("reward",)
HEAD = "rollout"
TITLE = "Online DPO"
PAPER = "guo2024"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "prefbench's own code"  # whose code trains it, as the report says


class Settings(GroupSettings):
    """Hyper-parameters of online DPO, which no default study compares."""

    beta: PositiveFloat = 0.1
    """Strength of the pull towards the SFT base (beta in DPO)."""
    answers: Literal[2] = 2
    """Answers that are sampled to each prompt of a rollout: a pair."""

    @model_validator(mode="after")
    def _whole_pairs(self):
        for key in ("minibatch", "micro_batch"):
            if (size := getattr(self, key)) and size % 2:
                raise ValueError(f"{key} {size} is odd, but holds pairs: make it even")
        return self


def train(run) -> None:
    """Minimise DPO's loss on pairs that the policy samples and the reward model labels."""
    import torch
    from torch.nn.functional import logsigmoid

    from bench.methods.ppo.group import Group
    from bench.methods.ppo.trainer import train_ppo

    class OnlineDPO(Group):
        def advantages(self, scores, kl):
            """Return 1 for the chosen answer of a pair, -1 for the other."""
            better = scores[:, :1] >= scores[:, 1:]
            return torch.cat([better, ~better], 1).float() * 2 - 1

        def minibatches(self, n):
            """Shuffle pairs, not answers."""
            size = self.settings.minibatch // 2
            for _ in range(self.settings.inner_epochs):
                order = torch.randperm(n // 2, generator=self.generator, device=self.device)
                for pairs in order.split(size):
                    yield (2 * pairs[:, None] + torch.arange(2, device=self.device)).flatten()

        def parts(self, batch):
            """Keep the two answers of a pair in one micro-batch."""
            size = self.settings.micro_batch or len(batch.scores)
            rows = torch.arange(len(batch.scores), device=self.device)
            return [batch[part].trimmed() for part in rows.split(size)]

        def losses(self, logps, part):
            """Return the loss of its pair for each answer."""
            signed = ((logps - part.ref_logps) * part.advantages).sum(1).view(-1, 2)
            loss = -logsigmoid(self.beta * signed.sum(1))
            return loss.repeat_interleave(2), torch.zeros_like(logps[:, 0])

    train_ppo(run, OnlineDPO)
