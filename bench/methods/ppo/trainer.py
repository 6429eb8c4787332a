"""Train with PPO-RLHF; read this file from top to bottom.

The loop: sample completions; score each with the reward model; turn the score and a per-token KL
penalty into token rewards (Ziegler et al. 2019, arXiv 1909.08593, eq. 2); estimate advantages with
GAE (Schulman et al. 2016, arXiv 1506.02438, eq. 16); take clipped steps on policy and critic
(Schulman et al. 2017, arXiv 1707.06347, eqs. 7 and 9). Details follow Huang et al. 2024 (arXiv
2403.17031), "N+" below; each is a setting in ``bench/methods/ppo/__init__.py``. The four models are
in ``roles.py``.

Policy and critic each have their own loss, gradient norm and weights. Nothing here reads the gold
reward.

If several processes train together (``bench.core.processes``), each holds the same models and takes
its share of the rows of each rollout and minibatch. Random draws, whitening and means cover the
whole rollout or minibatch, so that, but for rounding, the result does not depend on the number of
processes.

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
from bench.models.draws import uniforms
from bench.models.passes import Samples, pad_left, token_logps
from bench.models.sampling import NoDistribution, sample
from bench.models.tokens import prompt_ids
from bench.training import checkpoints
from bench.training.batches import check_rollouts, total_steps

ADAM_EPS = 1e-5  # N+, section 7: with the usual 1e-8 the first steps are too large


# --- the formulas -------------------------------------------------------------------------------


def masked_mean(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of ``x`` (B, T) over the tokens where ``mask`` (B, T) is 1."""
    return (x * mask).sum() / mask.sum()


def whiten(x: torch.Tensor, mask: torch.Tensor, shift: bool = True) -> torch.Tensor:
    """Scale ``x`` (B, T) to unit variance over the real tokens, and to zero mean if ``shift``.

    The variance is that of the population; padding becomes 0.
    """
    mean = masked_mean(x, mask)
    white = (x - mean) * torch.rsqrt(masked_mean((x - mean) ** 2, mask) + 1e-8)
    return (white if shift else white + mean) * mask


def token_rewards(scores, logps, ref_logps, mask, beta: float) -> torch.Tensor:
    """Return the reward of each token, (B, T): -beta log(pi / pi_ref), plus the score at the last.

    scores (B,); logps, ref_logps, mask (B, T). Ziegler et al. 2019, eq. 2, spread over tokens; the
    KL is estimated by the plain log-ratio ("k1").
    """
    rewards = -beta * (logps - ref_logps) * mask
    last = mask.sum(1, keepdim=True) - 1
    return rewards.scatter_add(1, last, scores[:, None])


def gae(rewards, values, mask, gamma: float, lam: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Estimate (advantages, returns), each (B, T), by GAE: Schulman et al. 2016, eq. 16.

    rewards, values, mask: (B, T). Computed from the last token backwards; the value after the last
    token is 0, since an episode ends with its completion.
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
    """Return (clipped surrogate loss, share of tokens clipped): Schulman et al. 2017, eq. 7.

    logps, old_logps, advantages, mask: (B, T). Sums are divided by ``tokens``: by default those of
    ``mask``; for a micro-batch those of its minibatch, so that losses and gradients add up over the
    micro-batches.
    """
    tokens = mask.sum() if tokens is None else tokens
    losses, clipped = clipped_surrogate(logps - old_logps, advantages, clip)
    return (losses * mask).sum() / tokens, (clipped * mask).sum() / tokens


def clipped_surrogate(log_ratio, advantages, clip: float | None):
    """Return (loss, whether it was clipped) for each ratio exp(log_ratio), as ``policy_loss``."""
    ratio = log_ratio.exp()
    near = ratio if clip is None else ratio.clamp(1 - clip, 1 + clip)
    plain, clipped = -advantages * ratio, -advantages * near
    return torch.maximum(plain, clipped), clipped > plain


def value_loss(values, old_values, returns, mask, clip: float | None, tokens=None):
    """Return half the mean squared error of the values, the larger of clipped and unclipped.

    values, old_values, returns, mask: (B, T); clip: most that a value may move from the old one;
    tokens: as in ``policy_loss``. Schulman et al. 2017, eq. 9, clipped as in N+.
    """
    tokens = mask.sum() if tokens is None else tokens
    step = values - old_values
    near = old_values + (step if clip is None else step.clamp(-clip, clip))
    worst = torch.maximum((values - returns) ** 2, (near - returns) ** 2)
    return 0.5 * (worst * mask).sum() / tokens


def padded(x: torch.Tensor, width: int) -> torch.Tensor:
    """Pad ``x`` (B, T) with zeros to ``width`` columns; return ``x`` (B,) unchanged."""
    return x if x.dim() == 1 else torch.nn.functional.pad(x, (0, width - x.shape[1]))


def adapted(beta: float, kl: float, target: float, gain: float) -> float:
    """Move beta towards the target KL: Ziegler et al. 2019, section 2.2."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + gain * error)


def together(samples: Samples, prompts: torch.Tensor, prompt_mask: torch.Tensor) -> Samples:
    """Join the samples of all processes, in the order of ``prompts`` (B, P)."""
    width = max(processes.gathered(samples.mask.shape[1]))
    drawn = (samples.completions, samples.mask, samples.logps, samples.ended)
    return Samples(prompts, prompt_mask, *(processes.joined(padded(x, width)) for x in drawn))


def attempted(draw) -> Samples:
    """Return ``draw()``; if it raises NoDistribution in one process, raise it in all."""
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
    """Episodes with all that the update needs; tensors are (B, T) unless another shape is given.

    logps, ref_logps: log-probs of the sampled tokens, under the policy that sampled them and under
    the reference; values: the critic's, before each token; scores (B,): the reward model's, centred
    and less any penalty; advantages, returns: estimated by GAE.
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
        """Split into parts of at most ``size`` rows of similar length, without shared padding."""
        return [self[rows].trimmed() for rows in self.samples.batches(size)]

    def trimmed(self) -> "Rollout":
        """Return the rollout without the columns that are padding in every row."""
        samples = self.samples.trimmed()
        width = samples.mask.shape[1]
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        cut = {k: v[:, :width] for k, v in values.items() if k not in ("samples", "scores")}
        return Rollout(samples=samples, scores=self.scores, **cut)


class PPO:
    """Holds the state of the loop (models, optimiser, generators, KL coefficient) and runs it.

    run: a ``bench.training.run.Run``; roles: ``Copies`` or ``Shared`` of
    ``bench.methods.ppo.roles``.
    """

    answers = 1  # to each prompt of a rollout; more where methods learn from groups

    def __init__(self, run, roles):
        self.run, self.settings, self.roles = run, run.settings, roles
        groups = self.trained()
        self.optimizer = torch.optim.AdamW(groups, eps=ADAM_EPS, weight_decay=0.0, fused=True)
        self.full_lr = [group["lr"] for group in groups]
        self.device = roles.policy.device
        self.generator = torch.Generator(self.device).manual_seed(run.seed)
        self.order = stream("ppo", seed=run.seed)
        self.prompts = [prompt_ids(run.tokenizer, prompt) for prompt in run.prompts]
        self.queue: list[int] = []
        self.beta, self.offset = self.settings.beta, None

    def trained(self) -> list[dict]:
        """Return the weights of policy and critic, each with its learning rate."""
        return [
            {"params": self.roles.actor_weights, "lr": self.settings.lr},
            {"params": self.roles.critic_weights, "lr": self.settings.critic_lr},
        ]

    def updates(self) -> int:
        """Count the rollouts in which each prompt is taken at least ``epochs`` times."""
        return total_steps(self.settings, len(self.prompts))

    def update(self, number: int) -> dict[str, float]:
        """Make rollout ``number``, counted from 1, and the steps on it; return mean metrics."""
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
        metrics = self.summary(rollout) | {"beta": self.beta} | steps
        self.follow(metrics["kl"])
        return metrics

    def follow(self, kl: float) -> None:
        """Adapt beta to the KL, and move the reference, if the settings ask for it."""
        s = self.settings
        if s.target_kl:
            self.beta = adapted(self.beta, kl, s.target_kl, s.kl_gain)
        if s.reference_ema:
            self.roles.follow(s.reference_ema)

    def schedule(self, number: int) -> None:
        """Set the learning rates of this rollout, by ``warmup`` and ``decay``."""
        up = number / max(1, self.settings.warmup)
        left = self.updates() - number + 1
        down = left / (self.settings.decay * self.updates()) if self.settings.decay else 1.0
        for group, full in zip(self.optimizer.param_groups, self.full_lr, strict=True):
            group["lr"] = full * min(1.0, up, down)

    def next_prompts(self) -> list[list[int]]:
        """Return the next batch of prompts as token ids, each as often as it is to be answered; all
        are used before any is used again."""
        wanted = self.settings.batch // self.answers
        while len(self.queue) < wanted:
            fresh = list(range(len(self.prompts)))
            self.order.shuffle(fresh)
            self.queue += fresh
        taken, self.queue = self.queue[:wanted], self.queue[wanted:]
        return [self.prompts[i] for i in taken for _ in range(self.answers)]

    def collect(self) -> Samples:
        """Sample completions of the next prompts, with their log-probs, at temperature 1."""
        prompts, length = self.next_prompts(), self.run.decode.max_new_tokens
        policy, tokenizer = self.roles.policy, self.run.tokenizer
        draws = uniforms(length, len(prompts), self.generator)  # the same in all processes
        mine = processes.own_rows(len(prompts))
        todo = (prompts[mine], length, draws[:, mine])
        drawn = attempted(lambda: sample(policy, tokenizer, *todo, graph=self.run.cuda_graph))
        return together(drawn, *pad_left(prompts, tokenizer.pad_token_id, policy.device))

    @torch.no_grad()
    def score(self, samples: Samples) -> Rollout:
        """Compute scores, values, advantages and returns of new samples."""
        s, mask = self.settings, samples.mask
        samples = self.digested(samples)
        scores, ref_logps, values = self.scored(samples)
        if self.offset is None:  # the first rollout is sampled from the SFT base
            self.offset = scores.mean().item() if s.center else 0.0
        # penalise answers without EOS, as TRL does; N+ ("EOS trick") sets their score to -1
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
        """Run the layers that all four models share, if any, and cache their output."""
        hidden = self.roles.digested(samples[processes.own_rows(len(samples.mask))]).hidden
        return samples if hidden is None else replace(samples, hidden=processes.joined(hidden))

    def scored(self, samples: Samples) -> tuple[torch.Tensor, ...]:
        """Return raw scores (B,), the reference's log-probs and critic's values, both (B, T); zeros
        for the values if there is no critic."""
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
        values = of(self.roles.values) if self.roles.criticised else torch.zeros_like(ref_logps)
        return scores, ref_logps, values

    def centred(self, values: torch.Tensor) -> torch.Tensor:
        """Subtract the scores' offset from ``values`` if the critic started as the reward model."""
        return values - (self.offset if self.settings.critic_init == "reward" else 0.0)

    def learn(self, rollout: Rollout) -> dict[str, float]:
        """Take clipped steps in ``inner_epochs`` passes over a rollout; return their mean metrics.

        Stops before a step at which the policy's KL from the one that sampled exceeds ``kl_stop``.
        """
        steps, stop = [], getattr(self.settings, "kl_stop", None) or math.inf
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
        """Yield the row indices of each minibatch: each pass shuffles the ``n`` rows anew."""
        for _ in range(self.settings.inner_epochs):
            order = torch.randperm(n, generator=self.generator, device=self.device)
            yield from order.split(self.settings.minibatch)

    def gradients(self, batch: Rollout) -> dict[str, float]:
        """Compute the gradients of a minibatch, in micro-batches; return its losses."""
        self.optimizer.zero_grad()
        parts = [
            self.part(p, batch) for p in self.parts(batch[processes.own_rows(len(batch.scores))])
        ]
        sums = processes.add_up(torch.stack(parts).sum(0)).tolist()
        for weight in [*self.roles.actor_weights, *self.roles.critic_weights]:
            processes.add_up(weight.grad)
        names = ("policy_loss", "value_loss", "clip_share", "approx_kl")
        metrics = dict(zip(names, sums, strict=True))
        return {"loss": metrics["policy_loss"] + metrics["value_loss"]} | metrics

    def parts(self, batch: Rollout) -> list[Rollout]:
        """Split a process's rows of a minibatch into micro-batches."""
        return batch.parts(self.settings.micro_batch)

    def part(self, part: Rollout, whole: Rollout) -> torch.Tensor:
        """Add the gradients of a micro-batch; return its (4,) losses.

        whole: the minibatch, by whose tokens its sums are divided. The losses are: policy, critic,
        share of tokens clipped, KL from the policy that sampled (estimated by "k2").
        """
        s, samples, mask = self.settings, part.samples, part.samples.mask
        tokens = whole.samples.mask.sum()
        logps = token_logps(self.roles.logits(samples), samples.completions) * mask
        actor, clipped = policy_loss(logps, part.logps, part.advantages, mask, s.clip, tokens)
        actor.backward()
        args = (part.values, part.returns, mask, s.value_clip, tokens)
        critic = value_loss(self.centred(self.roles.values(samples)) * mask, *args)
        self.roles.criticise(critic)
        moved = 0.5 * ((logps - part.logps) ** 2 * mask).sum() / tokens  # KL by "k2"
        return torch.stack([actor, critic, clipped, moved]).detach()

    def apply(self) -> dict[str, float]:
        """Take the optimiser's step, with the gradients of policy and critic clipped apart."""
        clip, most = torch.nn.utils.clip_grad_norm_, self.settings.max_grad_norm
        norms = {"grad_norm": clip(self.roles.actor_weights, most).item()}
        if self.roles.criticised:
            norms["critic_grad_norm"] = clip(self.roles.critic_weights, most).item()
        self.optimizer.step()
        return norms

    def summary(self, rollout: Rollout) -> dict[str, float]:
        """Return what the log says of a rollout."""
        return summary(rollout) | criticised(rollout)

    def state(self) -> dict:
        """Return all that a resumed run needs to continue bit for bit."""
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
        """Continue from what ``state`` returned."""
        self.roles.restore(state["roles"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.order.setstate(ast.literal_eval(state["order"]))
        self.queue, self.beta, self.offset = state["queue"], state["beta"], state["offset"]


def summary(rollout: Rollout) -> dict[str, float]:
    """Return means over a rollout's episodes, before its update; kl: from the current reference."""
    mask = rollout.samples.mask
    return {
        "score": rollout.scores.mean().item(),
        "kl": ((rollout.logps - rollout.ref_logps) * mask).sum(1).mean().item(),
        "length": mask.sum(1).float().mean().item(),
        "ended": rollout.samples.ended.float().mean().item(),
    }


def criticised(rollout: Rollout) -> dict[str, float]:
    """Return how well the critic predicts the returns of a rollout."""
    mask = rollout.samples.mask
    spread = masked_mean((rollout.returns - masked_mean(rollout.returns, mask)) ** 2, mask)
    missed = masked_mean((rollout.returns - rollout.values) ** 2, mask)
    return {
        "value": masked_mean(rollout.values, mask).item(),
        "return": masked_mean(rollout.returns, mask).item(),
        "explained_variance": (1 - missed / spread).item(),
    }


# --- a run --------------------------------------------------------------------------------------


def train_ppo(run, kind: type[PPO] = PPO) -> None:
    """Train ``run.policy`` in place, from the newest complete checkpoint if there is one.

    kind: PPO, or a method that shares its rollouts. Raises Diverged if a loss is no number or the
    KL from the reference is too large, UserError if the processes cannot share the rollouts
    equally.
    """
    check_rollouts(run.settings, processes.count())
    with run.ledger.phase("load"):
        ppo = kind(run, assemble(run))
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
    """Write a checkpoint after update ``number``."""
    folder = ppo.run.root / f"checkpoint-{number}"
    if processes.is_main():
        folder.mkdir(exist_ok=True)
        torch.save(ppo.state(), folder / "state.pt")
    ppo.run.monitor.save(folder)


def resume(ppo: PPO) -> int:
    """Restore the newest complete checkpoint; return the updates made before it, 0 without one."""
    found = processes.from_main(lambda: checkpoints.newest(ppo.run.root))
    if found is None:
        return 0
    # load to the CPU first: the file names the GPU of the main process, which saved it
    ppo.restore(torch.load(found / "state.pt", weights_only=True, map_location="cpu"))
    ppo.run.monitor.load(found)
    say(ppo.run.name, f"resuming from {found}")
    return int(found.name.split("-")[1])
