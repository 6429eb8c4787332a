"""PPO-RLHF, to be read from top to bottom.

The loop: sample completions; score each with the reward model; spread that score and a per-token
KL penalty over the tokens (Ziegler et al. 2019, 1909.08593, eq. 2); estimate advantages with GAE
(Schulman et al. 2016, 1506.02438, eq. 16); take clipped steps on policy and critic (Schulman et al.
2017, 1707.06347, eqs. 7 and 9). Details follow Huang et al. 2024 (2403.17031), "N+" below.

The policy starts from the SFT base, which stays as the reference; the critic is a model of its own
and starts from the reward model (N+, detail 14), so no gradient of the value loss reaches the
policy. Nothing here sees the gold reward.

Shapes: B episodes, T completion columns. Masks are 1 on real completion tokens, EOS included.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import checkpoints
from bench.models import adapt, load_policy, load_scorer
from bench.sampling import (
    Samples,
    completion_logits,
    completion_logps,
    sample,
    sequence_scores,
    token_logps,
    token_scores,
)
from bench.text import prompt_ids

ADAM_EPS = 1e-5  # N+, detail 19: the default 1e-8 lets early steps run wild
MAX_GRAD_NORM = 1.0


@dataclass
class Rollout:
    """Episodes with all that the update needs; each tensor is (B, T) unless said.

    logps, ref_logps: of the drawn tokens under the policy then and the reference; values: critic's,
    before each token; scores (B,): the reward model's; advantages and returns: from ``estimate``.
    """

    samples: Samples
    logps: torch.Tensor
    ref_logps: torch.Tensor
    values: torch.Tensor
    scores: torch.Tensor
    advantages: torch.Tensor | None = None
    returns: torch.Tensor | None = None

    def __getitem__(self, rows) -> "Rollout":
        return Rollout(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def masked_mean(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of ``x`` over the tokens of the batch where ``mask`` is 1."""
    return (x * mask).sum() / mask.sum()


def whiten(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit (population) variance over the real tokens; 0 on padding."""
    mean = masked_mean(x, mask)
    variance = masked_mean((x - mean) ** 2, mask)
    return (x - mean) * torch.rsqrt(variance + 1e-8) * mask


def token_rewards(scores, logps, ref_logps, mask, beta: float) -> torch.Tensor:
    """(B, T) -beta log(pi / pi_ref) at each token, plus the score (B,) at the last one.

    Ziegler et al. 2019, eq. 2, spread over tokens.
    """
    rewards = -beta * (logps - ref_logps) * mask
    last = mask.sum(1, keepdim=True) - 1
    return rewards.scatter_add(1, last, scores[:, None])


def gae(rewards, values, mask, gamma: float, lam: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(advantages, returns), each (B, T): Schulman et al. 2016, eq. 16, from the last token back.

    Values beyond the last token are 0: an episode ends with its completion.
    """
    advantage, following = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    columns = []
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * following - values[:, t]
        advantage = (delta + gamma * lam * advantage) * mask[:, t]
        following = values[:, t] * mask[:, t]
        columns.append(advantage)
    advantages = torch.stack(columns[::-1], 1)
    return advantages, (advantages + values) * mask


def policy_loss(logps, old_logps, advantages, mask, clip: float) -> tuple[torch.Tensor, ...]:
    """(clipped surrogate loss, share of tokens clipped): Schulman et al. 2017, eq. 7."""
    ratio = (logps - old_logps).exp()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    share = masked_mean((clipped > plain).float(), mask)
    return masked_mean(torch.maximum(plain, clipped), mask), share


def value_loss(values, old_values, returns, mask, clip: float) -> torch.Tensor:
    """Half the squared error, with the step from the old value clipped (N+, detail 20)."""
    near = old_values + (values - old_values).clamp(-clip, clip)
    worst = torch.maximum((values - returns) ** 2, (near - returns) ** 2)
    return 0.5 * masked_mean(worst, mask)


class PPO:
    """Policy, reference, critic and reward model of a run, with optimiser and generators."""

    def __init__(self, run):
        self.run, self.settings, self.policy = run, run.settings, run.policy
        self.reference = load_policy(run.sft, run.model).eval().requires_grad_(False)
        self.scorer = run.scorer
        self.critic = adapt(load_scorer(run.reward, run.model), run.model, "SEQ_CLS")
        self.actor_weights = [p for p in self.policy.parameters() if p.requires_grad]
        self.critic_weights = [p for p in self.critic.parameters() if p.requires_grad]
        groups = [
            {"params": self.actor_weights, "lr": self.settings.lr},
            {"params": self.critic_weights, "lr": self.settings.critic_lr},
        ]
        self.optimizer = torch.optim.AdamW(groups, eps=ADAM_EPS, weight_decay=0.0)
        self.full_lr = [group["lr"] for group in groups]
        self.generator = torch.Generator(self.policy.device).manual_seed(run.seed)
        self.order = random.Random(f"ppo {run.seed}")
        self.prompts = [prompt_ids(run.tokenizer, pair["prompt"]) for pair in run.pairs]
        self.queue: list[int] = []

    def updates(self) -> int:
        """Rollouts in the budget: each prompt is used ``epochs`` times."""
        return max(1, len(self.prompts) * self.settings.epochs // self.settings.batch)

    def update(self, number: int) -> dict[str, float]:
        """One rollout and the steps on it; returns their means."""
        ledger = self.run.ledger
        self.warm_up(number)
        with ledger.phase("rollout"):
            samples = self.collect()
            ledger.tokens(samples.mask.sum())
        with ledger.phase("score"):
            rollout = self.score(samples)
            ledger.tokens(3 * samples.attention.sum())
        with ledger.phase("update"):
            steps = self.learn(rollout)
            ledger.tokens(2 * self.settings.inner_epochs * samples.attention.sum())
        return summary(rollout) | steps

    def warm_up(self, number: int) -> None:
        """Learning rates rise linearly over the first ``warmup`` rollouts and stay."""
        share = min(1.0, number / max(1, self.settings.warmup))
        for group, full in zip(self.optimizer.param_groups, self.full_lr, strict=True):
            group["lr"] = full * share

    def next_prompts(self) -> list[list[int]]:
        """The next batch of prompts; all are used before any is used again."""
        while len(self.queue) < self.settings.batch:
            fresh = list(range(len(self.prompts)))
            self.order.shuffle(fresh)
            self.queue += fresh
        taken, self.queue = self.queue[: self.settings.batch], self.queue[self.settings.batch :]
        return [self.prompts[i] for i in taken]

    def collect(self) -> Samples:
        length = self.run.decode.max_new_tokens
        return sample(
            self.policy, self.run.tokenizer, self.next_prompts(), length, 1.0, self.generator
        )

    @torch.no_grad()
    def score(self, samples: Samples) -> Rollout:
        """Rewards, values, advantages and returns of freshly drawn samples."""
        s = self.settings
        scores = sequence_scores(self.scorer, samples)
        # N+, detail 6: an answer that does not end must not be worth writing
        scores = scores - s.missing_eos_penalty * (~samples.ended).float()
        ref_logps = completion_logps(self.reference, samples)
        values = token_scores(self.critic, samples)[:, :-1] * samples.mask
        rollout = Rollout(samples, samples.logps, ref_logps, values, scores)
        rewards = token_rewards(scores, samples.logps, ref_logps, samples.mask, s.beta)
        advantages, rollout.returns = gae(rewards, values, samples.mask, s.gamma, s.lam)
        rollout.advantages = whiten(advantages, samples.mask)
        return rollout

    def learn(self, rollout: Rollout) -> dict[str, float]:
        """``inner_epochs`` passes of clipped steps over a rollout; returns the steps' means."""
        self.policy.train()
        self.critic.train()
        steps, n = [], len(rollout.scores)
        for _ in range(self.settings.inner_epochs):
            order = torch.randperm(n, generator=self.generator, device=self.generator.device)
            for rows in order.split(self.settings.minibatch):
                steps.append(self.step(rollout[rows]))
        return {key: sum(step[key] for step in steps) / len(steps) for key in steps[0]}

    def step(self, batch: Rollout) -> dict[str, float]:
        """One optimiser step on a minibatch, policy and critic each by its own loss."""
        s, mask = self.settings, batch.samples.mask
        logits = completion_logits(self.policy, batch.samples)
        logps = token_logps(logits, batch.samples.completions) * mask
        surrogate, clipped = policy_loss(logps, batch.logps, batch.advantages, mask, s.clip)
        values = token_scores(self.critic, batch.samples)[:, :-1] * mask
        error = value_loss(values, batch.values, batch.returns, mask, s.value_clip)
        self.optimizer.zero_grad()
        (surrogate + error).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.actor_weights, MAX_GRAD_NORM)
        torch.nn.utils.clip_grad_norm_(self.critic_weights, MAX_GRAD_NORM)
        self.optimizer.step()
        return {
            "loss": (surrogate + error).item(),
            "policy_loss": surrogate.item(),
            "value_loss": error.item(),
            "clip_share": clipped.item(),
            "approx_kl": masked_mean(batch.logps - logps.detach(), mask).item(),
            "grad_norm": norm.item(),
        }

    def state(self) -> dict:
        """All that a resumed run needs beside the weights."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "order": repr(self.order.getstate()),
            "queue": self.queue,
            "policy": {k: v for k, v in self.policy.state_dict().items()},
            "critic": {k: v for k, v in self.critic.state_dict().items()},
        }

    def restore(self, state: dict) -> None:
        import ast

        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        self.order.setstate(ast.literal_eval(state["order"]))
        self.queue = state["queue"]
        self.policy.load_state_dict(state["policy"])
        self.critic.load_state_dict(state["critic"])


def summary(rollout: Rollout) -> dict[str, float]:
    """Means over the episodes of a rollout, before its update."""
    mask = rollout.samples.mask
    return {
        "score": rollout.scores.mean().item(),
        "kl": ((rollout.logps - rollout.ref_logps) * mask).sum(1).mean().item(),
        "length": mask.sum(1).float().mean().item(),
        "ended": rollout.samples.ended.float().mean().item(),
        "value": masked_mean(rollout.values, mask).item(),
        "return": masked_mean(rollout.returns, mask).item(),
    }


def train_ppo(run) -> None:
    """Trains ``run.policy`` in place; resumes from the newest whole checkpoint.

    Raises Diverged where a loss is no number or the policy has run away from the reference.
    """
    with run.ledger.phase("load"):
        ppo = PPO(run)
    run.resident_models = 4
    run.episodes = ppo.updates() * run.settings.batch
    done = resume(ppo)
    run.monitor.begin(ppo.updates(), run.policy)
    for number in range(done + 1, ppo.updates() + 1):
        metrics = ppo.update(number)
        if run.monitor.step(number, metrics, run.policy):
            checkpoint(ppo, number)


def checkpoint(ppo: PPO, number: int) -> None:
    folder = ppo.run.root / f"checkpoint-{number}"
    folder.mkdir(exist_ok=True)
    torch.save(ppo.state(), folder / "state.pt")
    ppo.run.monitor.save(folder)


def resume(ppo: PPO) -> int:
    """Restores the newest whole checkpoint; returns how many updates it has behind it."""
    found: Path | None = checkpoints.newest(ppo.run.root)
    if found is None:
        return 0
    ppo.restore(torch.load(found / "state.pt", weights_only=True))
    ppo.run.monitor.load(found)
    print(f"[{ppo.run.name}] resuming from {found}", flush=True)
    return int(found.name.split("-")[1])
