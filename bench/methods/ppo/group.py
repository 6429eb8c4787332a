"""Train on rollouts of several answers to each prompt, without a critic: PPO's loop, less of it.

Rows of a rollout lie in groups: the answers to one prompt follow each other. Shapes as in
``trainer.py``; G groups of k answers, B = G k.
"""

import torch

from bench.methods.ppo.trainer import PPO, Rollout, summary
from bench.models.passes import Samples, token_logps


class Group(PPO):
    """PPO's loop without a critic; a subclass has ``advantages`` and ``losses``."""

    def __init__(self, run, roles):
        self.answers = run.settings.answers
        super().__init__(run, roles)

    def trained(self) -> list[dict]:
        return [{"params": self.roles.actor_weights, "lr": self.settings.lr}]

    def follow(self, kl: float) -> None:
        """Leave beta and the reference as they are."""

    @torch.no_grad()
    def score(self, samples: Samples) -> Rollout:
        """Compute scores and advantages of new samples."""
        mask = samples.mask
        samples = self.digested(samples)
        scores, ref_logps, nothing = self.scored(samples)
        # penalise answers without EOS, as PPO does
        scores = scores - self.settings.missing_eos_penalty * (~samples.ended).float()
        kl = ((samples.logps - ref_logps) * mask).sum(1)
        found = self.advantages(scores.view(-1, self.answers), kl.view(-1, self.answers))
        advantages = found.reshape(-1, 1) * mask
        return Rollout(samples, samples.logps, ref_logps, nothing, scores, advantages, nothing)

    def advantages(self, scores: torch.Tensor, kl: torch.Tensor) -> torch.Tensor:
        """Return the advantages of answers, (G, k); kl: each answer's log-ratio to the reference,
        summed."""
        raise NotImplementedError

    def losses(self, logps: torch.Tensor, part: Rollout) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (loss, whether it was clipped), both (B,), of each episode of a micro-batch."""
        raise NotImplementedError

    def part(self, part: Rollout, whole: Rollout) -> torch.Tensor:
        """Add the gradients of a micro-batch; return its (4,) losses, as PPO's: the second is 0."""
        mask = part.samples.mask
        logps = token_logps(self.roles.logits(part.samples), part.samples.completions) * mask
        losses, clipped = self.losses(logps, part)
        loss = losses.sum() / len(whole.scores)
        loss.backward()
        moved = 0.5 * ((logps - part.logps) ** 2 * mask).sum() / whole.samples.mask.sum()
        share = clipped.float().sum() / len(whole.scores)
        return torch.stack([loss, torch.zeros_like(loss), share, moved]).detach()

    def summary(self, rollout: Rollout) -> dict[str, float]:
        """Add how far the scores of one prompt's answers lie apart, on average."""
        spread = rollout.scores.view(-1, self.answers).std(1).mean().item()
        return summary(rollout) | {"group_sd": spread}
