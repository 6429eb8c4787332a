"""REINFORCE with a leave-one-out baseline: Ahmadian et al. 2024 (arXiv 2402.14740), section 2."""

from pydantic import PositiveFloat

from bench.methods._group import GroupSettings

NEEDS = ("reward",)
HEAD = "rollout"
PAPER = "ahmadian2024"  # BibTeX key in bench/report/templates/references.bib
TRAINER = "prefbench's own code"  # whose code trains it, as the report says


class Settings(GroupSettings):
    """Hyper-parameters of RLOO, which no default study compares."""

    clip: PositiveFloat | None = 0.2
    """Clip the ratio of an answer's probability to 1 - clip .. 1 + clip, as TRL does where a
    rollout is read more than once; null: no clipping."""


def leave_one_out(rewards):
    """Return each reward minus the mean of the others of its group; both (G, k)."""
    k = rewards.shape[1]
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / (k - 1)


def train(run) -> None:
    """Maximise score - beta KL of whole answers, against the mean of the prompt's other answers."""
    from bench.methods.ppo.group import Group
    from bench.methods.ppo.trainer import clipped_surrogate, train_ppo

    class RLOO(Group):
        def advantages(self, scores, kl):
            return leave_one_out(scores - self.beta * kl)

        def losses(self, logps, part):
            moved = (logps - part.logps).sum(1)  # the whole answer is one action
            return clipped_surrogate(moved, part.advantages[:, 0], self.settings.clip)

    train_ppo(run, RLOO)
