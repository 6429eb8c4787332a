"""Hold the four models of PPO-RLHF: policy, reference, critic and reward model.

Methods that learn from groups of answers do without the critic (`bench.methods._group`).

``Copies`` holds four separate models. ``Shared`` holds one base with LoRA adapters for policy,
critic and reward model (the last two with a scalar head each); the reference is the base with all
adapters off. In both, the critic has weights of its own: no gradient of the value loss reaches the
policy.

Shapes as in ``bench.models.passes``: B samples, T completion columns.
"""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from bench.models.flops import Shape, forward, sampling, train
from bench.models.loading import adapt, load_policy, load_scorer, mixed, unwrap
from bench.models.passes import (
    Samples,
    completion_logits,
    completion_logps,
    head_scores,
    last_hidden,
    sequence_scores,
    token_scores,
)


class Roles:
    """Base class of ``Copies`` and ``Shared``: counts what their passes cost.

    shape: sizes of the policy, and so of all four; judge: sizes of the reward model if others have
    trained it; below: number of frozen lower layers, which ``digested`` runs once for all four;
    moving: whether the reference is an adapter that follows the policy; criticised: whether there
    is a critic.
    """

    shape: Shape
    judge: Shape | None = None
    below = 0
    moving = False
    criticised = True

    def cost(self, phase: str, samples: Samples) -> dict[str, float]:
        """Return the {tokens, generated, flops} of ``samples`` in a phase, for ``Ledger.add``.

        phase: "rollout", "score", "reference" or "update".
        """
        made, lengths = samples.mask.sum(1).tolist(), samples.attention.sum(1).tolist()
        if phase == "rollout":
            return sampling(self.shape, samples.prompt_mask.sum(1).tolist(), made)
        upper, tokens = self.shape.above(self.below), sum(lengths)
        logits, values = self.shape.vocabulary * sum(made), sum(made) + len(made)
        if phase == "reference":
            worn = upper if self.moving else upper.bare()
            return {"tokens": tokens, "flops": forward(worn, lengths, logits)}
        if phase == "update":
            critic = train(upper, lengths, values) if self.criticised else 0
            work = train(upper, lengths, logits) + critic
        else:  # the reward model and the critic
            own = forward(upper, lengths, values)
            judged = forward(self.judge, lengths, len(lengths)) if self.judge else own
            shared = forward(self.shape.lowest(self.below), lengths)
            work = shared + judged + self.criticised * own
        return {"tokens": (1 + self.criticised) * tokens, "flops": work}


@contextmanager
def recomputing(model):
    """Let gradient checkpointing work although the model stays in eval mode.

    A checkpointed layer looks only at its own ``training`` flag, so setting that flag switches on
    no dropout inside it.
    """
    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    try:
        for layer in layers:
            layer.training = torch.is_grad_enabled()
        yield
    finally:
        for layer in layers:
            layer.training = False


class Copies(Roles):
    """Holds four separate models.

    policy, reference: causal language models; critic, reward: models with a scalar head, of which
    the critic may be None.
    """

    def __init__(self, policy, reference, critic, reward):
        self.policy, self.critic = policy.eval(), critic and critic.eval()  # no dropout: N+, sec. 7
        self.shape, self.criticised = Shape.of(policy), critic is not None
        self.resident = 3 + self.criticised
        self.reference = reference.eval().requires_grad_(False)
        self.reward, self.judge = reward.eval().requires_grad_(False), judge_of(reward)
        self.actor_weights = list(policy.parameters())
        self.critic_weights = list(critic.parameters()) if self.criticised else []

    def digested(self, samples: Samples) -> Samples:
        """Return ``samples`` unchanged: separate models share no layers."""
        return samples

    def logits(self, samples: Samples) -> torch.Tensor:
        """Return the policy's logits on the completions, (B, T, V), with gradient."""
        with recomputing(self.policy):
            return completion_logits(self.policy, samples)

    def values(self, samples: Samples) -> torch.Tensor:
        """Return the critic's value before each completion token, (B, T), with gradient."""
        with recomputing(self.critic):
            return token_scores(self.critic, samples)[:, :-1]

    def criticise(self, loss: torch.Tensor) -> None:
        """Run the backward pass of a loss on ``values``."""
        loss.backward()

    @torch.no_grad()
    def reference_logps(self, samples: Samples) -> torch.Tensor:
        """Return the reference's log-probs of the sampled tokens, (B, T)."""
        return completion_logps(self.reference, samples)

    def scores(self, samples: Samples) -> torch.Tensor:
        """Return the reward model's score of each completion, (B,), read at its last token."""
        return sequence_scores(self.reward, samples)

    def follow(self, rate: float) -> None:
        """Move the reference towards the policy by the share ``rate`` (Xu et al. 2024)."""
        with torch.no_grad():
            pairs = zip(self.reference.parameters(), self.policy.parameters(), strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast.to(slow.dtype), rate)

    def state(self) -> dict:
        """Return the weights that training changes, for a checkpoint."""
        models = {"policy": self.policy, "critic": self.critic, "reference": self.reference}
        return {name: model.state_dict() for name, model in models.items() if model}

    def restore(self, state: dict) -> None:
        for name, weights in state.items():
            getattr(self, name).load_state_dict(weights)

    def release(self) -> None:
        """Nothing to do: ``policy`` holds the policy alone."""


class Shared(Roles):
    """Holds one base with an adapter for each model; the policy's is PEFT's ``default``.

    policy: a PEFT model; reward: folder of the reward model's adapter, or a model that reads texts;
    critic_init: "reward" or "base", None for no critic; moving: whether the reference will
    ``follow`` the policy, which takes one more adapter. Raises ValueError if the reward model's
    adapter does not fit the policy's.
    """

    def __init__(self, policy, reward, critic_init: str | None = "reward", moving: bool = False):
        self.policy, self.external = policy.eval(), None if isinstance(reward, Path) else reward
        self.trunk, self.judge = policy.get_base_model().model, judge_of(self.external)
        self.resident = 1 if self.external is None else 2
        own = ["reward"] if self.external is None else []
        self.criticised = critic_init is not None
        self.adapters = [*own, *["critic"] * self.criticised, *["reference"] * moving]
        for name in self.adapters:
            policy.add_adapter(name, policy.peft_config["default"])
        self.heads = {} if self.external else {"reward": self._load_reward(reward)}
        if self.criticised:
            self.heads["critic"] = self._new_critic(critic_init)
        if moving:
            self._fill("reference", self._adapter("default"))
        self.actor_weights = self._weights("default")
        self.critic_weights = self._weights("critic") if self.criticised else []
        self.critic_weights += self.heads["critic"].parameters() if self.criticised else []
        self._trainable()
        self.below = frozen_layers(self.trunk)
        self.shape, self.moving = Shape.of(policy), moving

    def _weights(self, adapter: str) -> list[torch.nn.Parameter]:
        return [p for name, p in self.policy.named_parameters() if f".{adapter}." in name]

    def _adapter(self, name: str) -> dict[str, torch.Tensor]:
        from peft import get_peft_model_state_dict

        return get_peft_model_state_dict(self.policy, adapter_name=name)

    def _fill(self, name: str, weights: dict[str, torch.Tensor]) -> None:
        from peft import set_peft_model_state_dict

        missed = set_peft_model_state_dict(self.policy, weights, adapter_name=name)
        if missed.unexpected_keys:
            raise ValueError(f"adapter '{name}' has weights of another shape: {missed}")

    def _load_reward(self, folder: Path) -> torch.nn.Linear:
        """Load the reward model's adapter from its folder; return its head, frozen.

        Raises ValueError if it was trained at another rank or scale than the policy's adapter.
        """
        from peft import PeftConfig
        from safetensors.torch import load_file

        own, worn = PeftConfig.from_pretrained(folder), self.policy.peft_config["default"]
        if (own.r, own.lora_alpha) != (worn.r, worn.lora_alpha):
            sizes = (
                f"r={own.r}, alpha={own.lora_alpha}, not the policy's {worn.r}, {worn.lora_alpha}"
            )
            raise ValueError(f"the adapter in {folder} has {sizes}")
        weights = load_file(Path(folder, "adapter_model.safetensors"))
        head = weights.pop("base_model.model.score.weight")
        self._fill("reward", weights)
        return self._head(head).requires_grad_(False)

    def _new_critic(self, start: str) -> torch.nn.Linear:
        """Return the critic's head; start "reward": copy head and adapter of the reward model."""
        if start == "base":
            width = self.policy.config.hidden_size
            drawn = torch.randn(1, width, device=self.policy.device)
            return self._head(drawn * (width + 1) ** -0.5)
        self._fill("critic", self._adapter("reward"))
        return self._head(self.heads["reward"].weight.detach().clone())

    def _head(self, weight: torch.Tensor) -> torch.nn.Linear:
        head = torch.nn.Linear(weight.shape[1], 1, bias=False, device=self.policy.device)
        head.weight.data.copy_(weight)
        return head

    def _trainable(self) -> None:
        """Unfreeze policy and critic: PEFT freezes every adapter but the active one."""
        for weight in [*self.actor_weights, *self.critic_weights]:
            weight.requires_grad_(True)

    @contextmanager
    def _wearing(self, adapter: str):
        """Switch to another adapter, then back to the policy's."""
        self.policy.set_adapter(adapter)
        self._trainable()
        try:
            yield
        finally:
            self.policy.set_adapter("default")
            self._trainable()

    def _headed(self, role: str, samples: Samples) -> torch.Tensor:
        """Return a role's head at the last prompt token and each completion token, (B, T + 1)."""
        head = self.heads[role]
        with self._wearing(role), self._above(samples), recomputing(self.trunk):
            hidden = last_hidden(self.trunk, samples).to(head.weight.dtype)
        return head_scores(head, hidden, samples)

    @torch.no_grad()
    def digested(self, samples: Samples) -> Samples:
        """Run the frozen layers below the first adapter once for all four; cache their output."""
        if not self.below:
            return samples
        with self._only(slice(self.below), torch.nn.Identity()):
            return replace(samples, hidden=last_hidden(self.trunk, samples))

    @contextmanager
    def _only(self, layers: slice, norm: torch.nn.Module):
        """Cut the base down to some of its layers and ``norm``; restore it afterwards."""
        whole = self.trunk.layers, self.trunk.norm
        self.trunk.layers, self.trunk.norm = self.trunk.layers[layers], norm
        try:
            yield
        finally:
            self.trunk.layers, self.trunk.norm = whole

    def _above(self, samples: Samples):
        """Cut the base down to the layers that ``digested`` has not run yet."""
        below = 0 if samples.hidden is None else self.below
        return self._only(slice(below, None), self.trunk.norm)

    def logits(self, samples: Samples) -> torch.Tensor:
        with self._above(samples), recomputing(self.trunk):
            return completion_logits(self.policy, samples)

    def values(self, samples: Samples) -> torch.Tensor:
        return self._headed("critic", samples)[:, :-1]

    def criticise(self, loss: torch.Tensor) -> None:
        with self._wearing("critic"):  # checkpointed layers run again, with this adapter
            loss.backward()

    @torch.no_grad()
    def reference_logps(self, samples: Samples) -> torch.Tensor:
        moving = "reference" in self.adapters
        worn = self._wearing("reference") if moving else self._bare()
        with worn, self._above(samples):
            return completion_logps(self.policy, samples)

    @contextmanager
    def _bare(self):
        try:
            with self.policy.disable_adapter():
                yield
        finally:
            self._trainable()

    @torch.no_grad()
    def scores(self, samples: Samples) -> torch.Tensor:
        if self.external:
            return sequence_scores(self.external, samples)
        last = samples.mask.sum(1, keepdim=True)
        return self._headed("reward", samples).gather(1, last)[:, 0]

    def follow(self, rate: float) -> None:
        """As ``Copies.follow``, on each LoRA factor: the same to first order in ``rate``."""
        with torch.no_grad():
            pairs = zip(self._weights("reference"), self.actor_weights, strict=True)
            for slow, fast in pairs:
                slow.lerp_(fast, rate)

    def state(self) -> dict:
        names = ["default", *self.adapters]
        adapters = {name: self._adapter(name) for name in names}
        head = {"head": self.heads["critic"].state_dict()} if self.criticised else {}
        return adapters | head

    def restore(self, state: dict) -> None:
        if self.criticised:
            self.heads["critic"].load_state_dict(state["head"])
        for name in ["default", *self.adapters]:
            self._fill(name, state[name])

    def release(self) -> None:
        for name in self.adapters:
            self.policy.delete_adapter(name)


def frozen_layers(trunk) -> int:
    """Count the layers below the first that has an adapter.

    Returns 0 for architectures other than Llama's: some scale the input of the first layer or
    choose a layer's mask by its index, and so cannot be run in two parts.
    """
    if trunk.config.model_type != "llama":
        return 0
    trained = (any("lora_" in name for name, _ in x.named_parameters()) for x in trunk.layers)
    return next(i for i, adapted in enumerate(trained) if adapted)


def judge_of(reward) -> Shape | None:
    """Return the sizes of a reward model that reads texts; None for one of the policy's kind."""
    return Shape.of(reward.model) if hasattr(reward, "of_samples") else None


def assemble(run) -> Copies | Shared:
    """Return the four models of a run: ``Shared`` if the policy has LoRA, else ``Copies``.

    run: a ``bench.training.run.Run``.
    """
    start, moving = getattr(run.settings, "critic_init", None), moves(run.settings)
    if unwrap(run.policy) is not run.policy:
        reward = run.scorer if hasattr(run.scorer, "of_samples") else run.reward
        return Shared(run.policy, reward, start, moving)
    reference = load_policy(run.sft, run.model)
    if moving:  # float32: bfloat16 would round its small steps away
        reference = mixed(reference, run.model)
    return Copies(run.policy, reference, new_critic(run, start), run.scorer)


def moves(settings) -> bool:
    """Return whether the reference follows the policy."""
    return getattr(settings, "reference_ema", 0.0) > 0


def new_critic(run, start: str | None):
    """Return a critic with weights of its own, from the reward model's or the SFT base's; None if
    the method has none."""
    if start is None:
        return None
    critic = adapt(load_scorer(run.reward if start == "reward" else run.sft, run.model), run.model)
    if start == "base":
        width = critic.score.weight.shape[1]
        torch.nn.init.normal_(critic.score.weight, std=(width + 1) ** -0.5)
    return critic
