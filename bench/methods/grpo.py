"""Group relative policy optimisation: Shao et al. 2024 (arXiv 2402.03300), eqs. 3 and 4."""

from pydantic import PositiveFloat

from bench.methods._group import GroupSettings

NEEDS = ("reward",)
HEAD = "rollout"
PAPER = "shao2024"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "prefbench's own code"  # whose code trains it, as the report says
TINY = 1e-4  # added to a group's standard deviation, as in TRL


class Settings(GroupSettings):
    """Hyper-parameters of GRPO, which no default study compares."""

    clip: PositiveFloat | None = 0.2
    """Clip each token's probability ratio to 1 - clip .. 1 + clip (epsilon in the paper); null: no
    clipping."""
    scale: bool = True
    """Whether to divide advantages by the standard deviation of their group."""


def relative(scores, scale: bool = True):
    """Return each score minus its group's mean, over the group's standard deviation; (G, k)."""
    centred = scores - scores.mean(1, keepdim=True)
    return centred / (scores.std(1, keepdim=True) + TINY) if scale else centred


def token_kl(logps, ref_logps):
    """Estimate the KL from the reference at each token: eq. 4 ("k3"), at least 0."""
    ratio = ref_logps - logps
    return ratio.exp() - ratio - 1


def train(run) -> None:
    """Maximise the group's relative scores, less beta times the KL of each token."""
    from bench.methods.ppo.group import Group
    from bench.methods.ppo.trainer import clipped_surrogate, train_ppo

    class GRPO(Group):
        def advantages(self, scores, kl):
            return relative(scores, self.settings.scale)

        def losses(self, logps, part):
            mask, clip = part.samples.mask, self.settings.clip
            surrogate, clipped = clipped_surrogate(logps - part.logps, part.advantages, clip)
            loss = surrogate + self.beta * token_kl(logps, part.ref_logps)
            tokens = mask.sum(1)
            return (loss * mask).sum(1) / tokens, (clipped * mask).sum(1) / tokens

    train_ppo(run, GRPO)
