"""PPO-RLHF, to be read from top to bottom.

The loop: sample completions; score each with the reward model; spread that score and a per-token
KL penalty over the tokens (Ziegler et al. 2019, 1909.08593, eq. 2); estimate advantages with GAE
(Schulman et al. 2016, 1506.02438, eq. 16); take clipped steps on policy and critic (Schulman et al.
2017, 1707.06347, eqs. 7 and 9). Details follow Huang et al. 2024 (2403.17031), "N+" below; each is
a setting in ``bench/methods/ppo/__init__.py``. The models are in ``roles.py`` beside it.

Policy and critic each have their own loss, gradient norm and weights. Nothing here sees the gold
reward.

Several processes (``bench.core.processes``) hold the same models and share out the rows of each
rollout and of each minibatch; what is drawn, whitened or averaged is so over the whole of it. One
process takes all rows.

Shapes: B episodes, T completion columns. Masks are 1 on real completion tokens, EOS included.
"""

import ast
import math
from dataclasses import dataclass, replace

import torch

from bench.core import processes
from bench.core.progress import say
from bench.core.streams import stream
from bench.methods.ppo.roles import assemble
from bench.models.sampling import Draws, NoDistribution, Samples, pad_left, sample, token_logps
from bench.models.tokens import prompt_ids
from bench.training import checkpoints
from bench.training.batches import check_rollouts

ADAM_EPS = 1e-5  # N+, section 7: with the usual 1e-8 the first steps are too large


# --- the formulas -------------------------------------------------------------------------------


def masked_mean(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of ``x`` over the tokens of the batch where ``mask`` is 1."""
    return (x * mask).sum() / mask.sum()


def whiten(x: torch.Tensor, mask: torch.Tensor, shift: bool = True) -> torch.Tensor:
    """Unit (population) variance over the real tokens, and zero mean if ``shift``; padding is 0."""
    mean = masked_mean(x, mask)
    white = (x - mean) * torch.rsqrt(masked_mean((x - mean) ** 2, mask) + 1e-8)
    return (white if shift else white + mean) * mask


def token_rewards(scores, logps, ref_logps, mask, beta: float) -> torch.Tensor:
    """(B, T) -beta log(pi / pi_ref) at each token, plus the score (B,) at the last one.

    Ziegler et al. 2019, eq. 2, spread over tokens; the KL is the plain log-ratio ("k1").
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


def policy_loss(logps, old_logps, advantages, mask, clip: float | None, tokens=None):
    """(clipped surrogate loss, share of tokens clipped): Schulman et al. 2017, eq. 7.

    Means over ``tokens``: those of ``mask``, or of the minibatch of which this is a part, so that
    the losses of its parts, and their gradients, add up to its own.
    """
    tokens = mask.sum() if tokens is None else tokens
    ratio = (logps - old_logps).exp()
    near = ratio if clip is None else ratio.clamp(1 - clip, 1 + clip)
    plain, clipped = -advantages * ratio, -advantages * near
    share = ((clipped > plain) * mask).sum() / tokens
    return (torch.maximum(plain, clipped) * mask).sum() / tokens, share


def value_loss(values, old_values, returns, mask, clip: float | None, tokens=None):
    """Half the squared error, the step from the old value clipped (N+; Schulman et al., eq. 9)."""
    tokens = mask.sum() if tokens is None else tokens
    step = values - old_values
    near = old_values + (step if clip is None else step.clamp(-clip, clip))
    worst = torch.maximum((values - returns) ** 2, (near - returns) ** 2)
    return 0.5 * (worst * mask).sum() / tokens


def padded(x: torch.Tensor, width: int) -> torch.Tensor:
    """``x`` (B, T) with zeros up to ``width`` columns; (B,) as it is."""
    return x if x.dim() == 1 else torch.nn.functional.pad(x, (0, width - x.shape[1]))


def adapted(beta: float, kl: float, target: float, gain: float) -> float:
    """beta moved towards the target KL: Ziegler et al. 2019, section 2.2."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + gain * error)


def together(samples: Samples, prompts: torch.Tensor, prompt_mask: torch.Tensor) -> Samples:
    """The samples of all processes, in the order of ``prompts`` (B, P), each row's padded."""
    width = max(processes.gathered(samples.mask.shape[1]))
    drawn = (samples.completions, samples.mask, samples.logps, samples.ended)
    return Samples(prompts, prompt_mask, *(processes.joined(padded(x, width)) for x in drawn))


def attempted(draw) -> Samples:
    """``draw()``; raises NoDistribution in all processes where one of them does."""
    try:
        drawn, failure = draw(), None
    except NoDistribution as error:
        drawn, failure = None, str(error)
    for reason in filter(None, processes.gathered(failure)):
        raise NoDistribution(reason)
    return drawn


# --- the trainer --------------------------------------------------------------------------------


@dataclass
class Rollout:
    """Episodes with all that the update needs; each tensor is (B, T) unless said.

    logps, ref_logps: of the drawn tokens under the policy then and the reference; values: the
    critic's, before each token; scores (B,): the reward model's, centred, less any penalty;
    advantages, returns: of GAE.
    """

    samples: Samples
    logps: torch.Tensor
    ref_logps: torch.Tensor
    values: torch.Tensor
    scores: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor

    def __getitem__(self, rows) -> "Rollout":
        return Rollout(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def parts(self, size: int | None) -> list["Rollout"]:
        """At most ``size`` rows each, of like lengths, without the padding that they share."""
        return [self[rows].trimmed() for rows in self.samples.batches(size)]

    def trimmed(self) -> "Rollout":
        samples = self.samples.trimmed()
        width = samples.mask.shape[1]
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        cut = {k: v[:, :width] for k, v in values.items() if k not in ("samples", "scores")}
        return Rollout(samples=samples, scores=self.scores, **cut)


class PPO:
    """The loop's state: models, optimiser, generators, KL coefficient.

    run: see ``bench.steps.align.Run`` (settings, seed, pairs, tokenizer, decode, ledger); roles: of
    ``bench.methods.ppo.roles``.
    """

    def __init__(self, run, roles):
        self.run, self.settings, self.roles = run, run.settings, roles
        groups = [
            {"params": roles.actor_weights, "lr": self.settings.lr},
            {"params": roles.critic_weights, "lr": self.settings.critic_lr},
        ]
        self.optimizer = torch.optim.AdamW(groups, eps=ADAM_EPS, weight_decay=0.0, fused=True)
        self.full_lr = [group["lr"] for group in groups]
        self.device = roles.policy.device
        self.generator = torch.Generator(self.device).manual_seed(run.seed)
        self.order = stream("ppo", seed=run.seed)
        self.prompts = [prompt_ids(run.tokenizer, pair["prompt"]) for pair in run.pairs]
        self.queue: list[int] = []
        self.beta, self.offset = self.settings.beta, None

    def updates(self) -> int:
        """Rollouts in the budget: each prompt is used at least ``epochs`` times."""
        return math.ceil(len(self.prompts) * self.settings.epochs / self.settings.batch)

    def update(self, number: int) -> dict[str, float]:
        """One rollout and the steps on it; returns their means. ``number`` counts from 1."""
        s, ledger = self.settings, self.run.ledger
        self.schedule(number)
        mine = processes.own_rows(s.batch)
        with ledger.phase("rollout"):
            samples = self.collect()
            ledger.add(**self.roles.cost("rollout", samples[mine]))
        with ledger.phase("score"):
            rollout = self.score(samples)
            ledger.add(**self.roles.cost("score", samples[mine]))
        with ledger.phase("update"):
            steps = self.learn(rollout)
        metrics = summary(rollout) | {"beta": self.beta} | steps
        if s.target_kl:
            self.beta = adapted(self.beta, metrics["kl"], s.target_kl, s.kl_gain)
        if s.reference_ema:
            self.roles.follow(s.reference_ema)
        return metrics

    def schedule(self, number: int) -> None:
        """Learning rates: up over the first ``warmup`` rollouts, down over the last ``decay``."""
        up = number / max(1, self.settings.warmup)
        left = self.updates() - number + 1
        down = left / (self.settings.decay * self.updates()) if self.settings.decay else 1.0
        for group, full in zip(self.optimizer.param_groups, self.full_lr, strict=True):
            group["lr"] = full * min(1.0, up, down)

    def next_prompts(self) -> list[list[int]]:
        """The next batch of prompts; all are used before any is used again."""
        while len(self.queue) < self.settings.batch:
            fresh = list(range(len(self.prompts)))
            self.order.shuffle(fresh)
            self.queue += fresh
        taken, self.queue = self.queue[: self.settings.batch], self.queue[self.settings.batch :]
        return [self.prompts[i] for i in taken]

    def collect(self) -> Samples:
        """Completions of the next prompts, with their log-probs, at temperature 1."""
        prompts, length = self.next_prompts(), self.run.decode.max_new_tokens
        policy, tokenizer = self.roles.policy, self.run.tokenizer
        if processes.count() == 1:
            return sample(policy, tokenizer, prompts, length, 1.0, self.generator)
        own, draws = prompts[processes.own_rows(len(prompts))], Draws(self.generator)
        drawn = attempted(lambda: sample(policy, tokenizer, own, length, 1.0, draws))
        return together(drawn, *pad_left(prompts, tokenizer.pad_token_id, policy.device))

    @torch.no_grad()
    def score(self, samples: Samples) -> Rollout:
        """Rewards, values, advantages and returns of freshly drawn samples."""
        s, mask = self.settings, samples.mask
        samples = self.digested(samples)
        scores, ref_logps, values = self.scored(samples)
        if self.offset is None:  # the first rollout is the SFT base's
            self.offset = scores.mean().item() if s.center else 0.0
        # what N+'s "EOS trick" is for, done as in TRL: N+ itself sets such a score to -1
        scores = scores - self.offset - s.missing_eos_penalty * (~samples.ended).float()
        values = self.centred(values) * mask
        rewards = token_rewards(scores, samples.logps, ref_logps, mask, self.beta)
        if s.whiten_rewards:
            rewards = whiten(rewards, mask, shift=False)
        advantages, returns = gae(rewards, values, mask, s.gamma, s.lam)
        if s.whiten_advantages:
            advantages = whiten(advantages, mask)
        return Rollout(samples, samples.logps, ref_logps, values, scores, advantages, returns)

    def digested(self, samples: Samples) -> Samples:
        """With the work done that the four models have in common, where there is any."""
        hidden = self.roles.digested(samples[processes.own_rows(len(samples.mask))]).hidden
        return samples if hidden is None else replace(samples, hidden=processes.joined(hidden))

    def scored(self, samples: Samples) -> tuple[torch.Tensor, ...]:
        """Raw scores (B,), the reference's log-probs and the critic's values, both (B, T)."""
        samples = samples[processes.own_rows(len(samples.mask))]
        rows, width = samples.batches(self.settings.micro_batch), samples.mask.shape[1]
        parts = [samples[r].trimmed() for r in rows]
        back = torch.cat(rows).argsort()

        def of(model) -> torch.Tensor:
            return processes.joined(torch.cat([padded(model(p), width) for p in parts])[back])

        scores = of(self.roles.scores)
        with self.run.ledger.phase("reference") as ledger:
            ref_logps = of(self.roles.reference_logps)
            ledger.add(**self.roles.cost("reference", samples))
        return scores, ref_logps, of(self.roles.values)

    def centred(self, values: torch.Tensor) -> torch.Tensor:
        """The critic's values; one that starts as the reward model is centred as that is."""
        return values - (self.offset if self.settings.critic_init == "reward" else 0.0)

    def learn(self, rollout: Rollout) -> dict[str, float]:
        """``inner_epochs`` passes of clipped steps over a rollout; returns the steps' means.

        Ends early before a step for which the policy has left the rollout's by ``kl_stop``.
        """
        steps, stop = [], self.settings.kl_stop or math.inf
        for rows in self.minibatches(len(rollout.scores)):
            batch = rollout[rows]
            step = self.gradients(batch)
            own = batch.samples[processes.own_rows(len(rows))]
            self.run.ledger.add(**self.roles.cost("update", own))
            if steps and step["approx_kl"] > stop:
                break
            steps.append(step | self.apply())
        means = {key: sum(step[key] for step in steps) / len(steps) for key in steps[0]}
        return means | {"inner_steps": len(steps)}

    def minibatches(self, n: int):
        for _ in range(self.settings.inner_epochs):
            order = torch.randperm(n, generator=self.generator, device=self.device)
            yield from order.split(self.settings.minibatch)

    def gradients(self, batch: Rollout) -> dict[str, float]:
        """Gradients of a minibatch, summed over its micro-batches; returns its losses."""
        self.optimizer.zero_grad()
        tokens, own = batch.samples.mask.sum(), batch[processes.own_rows(len(batch.scores))]
        parts = [self.part(p, tokens) for p in own.parts(self.settings.micro_batch)]
        sums = processes.add_up(torch.stack(parts).sum(0)).tolist()
        for weight in [*self.roles.actor_weights, *self.roles.critic_weights]:
            processes.add_up(weight.grad)
        names = ("policy_loss", "value_loss", "clip_share", "approx_kl")
        metrics = dict(zip(names, sums, strict=True))
        return {"loss": metrics["policy_loss"] + metrics["value_loss"]} | metrics

    def part(self, part: Rollout, tokens: torch.Tensor) -> torch.Tensor:
        """Adds a micro-batch's gradients, as its share of ``tokens``; (4,) its losses."""
        s, samples, mask = self.settings, part.samples, part.samples.mask
        logps = token_logps(self.roles.logits(samples), samples.completions) * mask
        actor, clipped = policy_loss(logps, part.logps, part.advantages, mask, s.clip, tokens)
        actor.backward()
        args = (part.values, part.returns, mask, s.value_clip, tokens)
        critic = value_loss(self.centred(self.roles.values(samples)) * mask, *args)
        self.roles.criticise(critic)
        moved = 0.5 * ((logps - part.logps) ** 2 * mask).sum() / tokens  # "k2" of the step's KL
        return torch.stack([actor, critic, clipped, moved]).detach()

    def apply(self) -> dict[str, float]:
        """The optimiser's step, each model's gradient norm clipped by itself."""
        clip, most = torch.nn.utils.clip_grad_norm_, self.settings.max_grad_norm
        actor = clip(self.roles.actor_weights, most)
        critic = clip(self.roles.critic_weights, most)
        self.optimizer.step()
        return {"grad_norm": actor.item(), "critic_grad_norm": critic.item()}

    def state(self) -> dict:
        """All that a resumed run needs to go on bit for bit."""
        return {
            "roles": self.roles.state(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "order": repr(self.order.getstate()),
            "queue": self.queue,
            "beta": self.beta,
            "offset": self.offset,
        }

    def restore(self, state: dict) -> None:
        self.roles.restore(state["roles"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.order.setstate(ast.literal_eval(state["order"]))
        self.queue, self.beta, self.offset = state["queue"], state["beta"], state["offset"]


def summary(rollout: Rollout) -> dict[str, float]:
    """Means over the episodes of a rollout, before its update; kl: from the reference as it is."""
    mask = rollout.samples.mask
    spread = masked_mean((rollout.returns - masked_mean(rollout.returns, mask)) ** 2, mask)
    missed = masked_mean((rollout.returns - rollout.values) ** 2, mask)
    return {
        "score": rollout.scores.mean().item(),
        "kl": ((rollout.logps - rollout.ref_logps) * mask).sum(1).mean().item(),
        "length": mask.sum(1).float().mean().item(),
        "ended": rollout.samples.ended.float().mean().item(),
        "value": masked_mean(rollout.values, mask).item(),
        "return": masked_mean(rollout.returns, mask).item(),
        "explained_variance": (1 - missed / spread).item(),
    }


# --- a run --------------------------------------------------------------------------------------


def train_ppo(run) -> None:
    """Trains ``run.policy`` in place; resumes from the newest whole checkpoint.

    Raises Diverged where a loss is no number or the policy has run away from the reference.
    """
    check_rollouts(run.settings, processes.count())
    with run.ledger.phase("load"):
        ppo = PPO(run, assemble(run))
    run.resident_models = ppo.roles.resident
    run.episodes = ppo.updates() * run.settings.batch
    try:
        done = resume(ppo)
        run.monitor.begin(ppo.updates(), run.policy)
        for number in range(done + 1, ppo.updates() + 1):
            if run.monitor.step(number, ppo.update(number), run.policy):
                checkpoint(ppo, number)
    finally:
        ppo.roles.release()


def checkpoint(ppo: PPO, number: int) -> None:
    folder = ppo.run.root / f"checkpoint-{number}"
    if processes.is_main():
        folder.mkdir(exist_ok=True)
        torch.save(ppo.state(), folder / "state.pt")
    ppo.run.monitor.save(folder)


def resume(ppo: PPO) -> int:
    """Restores the newest whole checkpoint; returns how many updates it has behind it."""
    found = processes.from_main(lambda: checkpoints.newest(ppo.run.root))
    if found is None:
        return 0
    # by way of the host: it was saved by the main process, from that one's GPU
    ppo.restore(torch.load(found / "state.pt", weights_only=True, map_location="cpu"))
    ppo.run.monitor.load(found)
    say(ppo.run.name, f"resuming from {found}")
    return int(found.name.split("-")[1])
