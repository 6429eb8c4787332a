"""The sections of the settings that depend on no world, method or study.

The docstring under a field is its description: `python -m bench help pairs.n` prints it.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat

from bench.core.names import DEFAULT_STUDY, POOL, pool_of
from bench.core.schema import Section
from bench.models.hub_model import HubModel


def listed(value: Any) -> Any:
    """A lone value stands for a list of one: seeds=7."""
    return [value] if isinstance(value, int | float | str) else value


Share = Annotated[float, Field(gt=0, lt=1)]
Shares = Annotated[tuple[Share, ...], BeforeValidator(listed)]
Factors = Annotated[tuple[PositiveFloat, ...], BeforeValidator(listed)]
Names = Annotated[tuple[str, ...], BeforeValidator(listed)]
Fractions = Annotated[tuple[float, ...], BeforeValidator(listed)]


class Threads(Section):
    """Threads of a job that runs a model."""

    base: int = Field(2, ge=1)
    """Threads that pretrain the base."""
    sft: int = Field(2, ge=1)
    """Threads that train the SFT base."""
    default: int = Field(1, ge=1)
    """Threads of every other job."""


class Minutes(Section):
    """Minutes after which a cluster ends a job; a second attempt gets twice as many."""

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
    """Minutes of a job for which this section names no other limit."""


class Jobs(Section):
    """What a job that runs a model asks for, of this machine or of a cluster."""

    gpu: int | None = Field(None, ge=0)
    """GPUs a process; null: one where this machine has one, and none of a cluster."""
    mem_mb: int = Field(1200, ge=1)
    """Memory of the host in MB; a second attempt gets twice as much, a third three times."""
    minutes: Minutes = Minutes()
    """Time limits by job."""


class Launch(Section):
    """How many processes train one run. The global batch is the same on any number."""

    processes: int = Field(1, ge=1)
    """Processes of a training, each on a GPU of its own, or all on the cores."""
    config: Literal["ddp", "fsdp", "zero2", "zero3"] = "ddp"
    """How the processes share the model: a file of bench/profiles/accelerate."""


class Lora(Section):
    """Low-rank adapters: Hu et al. 2021 (2106.09685)."""

    r: int = Field(16, ge=1)
    """Rank of the adapters."""
    alpha: float = 32.0
    """Scale of the adapters: their product is multiplied by alpha / r."""
    layers: int | None = Field(None, ge=1)
    """Upper layers that have adapters; null: all."""


class Model(Section):
    """The model that is pretrained here, or published by others."""

    kind: Literal["llama", "gguf", "hub"] = "llama"
    """llama: trained here from scratch; gguf: SmolLM2-135M out of a package; hub: `model.hub`."""
    hub: HubModel | None = None
    """Which model of the hub, or which local folder, for kind hub."""
    hidden: int = 96
    """Width of the hidden states, for kind llama."""
    layers: int = 3
    """Number of layers, for kind llama."""
    heads: int = 4
    """Attention heads a layer, for kind llama."""
    intermediate: int = 256
    """Width of the MLP, for kind llama."""
    context: int = 96
    """Tokens of the longest text; with kind llama the width of a pretraining row."""
    lora: Lora | None = None
    """Adapters that are trained instead of all weights; null: all weights are trained."""
    micro_batch: int | None = Field(None, ge=1)
    """Rows that a training pass holds at once; null: the whole batch. Saves memory."""
    checkpointing: bool = False
    """Whether layers are computed again in the backward pass, which saves memory."""
    quantise: Literal["nf4"] | None = None
    """nf4: the frozen weights under LoRA are held in 4 bits (QLoRA); null: in `dtype`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type in which passes compute; trained weights stay float32."""
    device: str = "auto"
    """auto: a CUDA device where there is one; cpu; or a torch device such as cuda:0."""


class Base(Section):
    """Pretraining of the base on the world's raw text."""

    steps: int = Field(0, ge=0)
    """Optimiser steps; 0: nothing is pretrained, the model comes as it is."""
    batch: int = Field(128, ge=1)
    """Rows an optimiser step."""
    lr: float = Field(3e-3, gt=0)
    """Learning rate."""
    warmup: int = Field(20, ge=0)
    """Optimiser steps over which the learning rate rises."""
    decay: float = Field(0.0, ge=0, le=1)
    """Last share of the steps, over which the learning rate falls to 0."""
    seed: int = 0
    """Seed of the initial weights and of the order of the rows."""


class Sft(Base):
    """Supervised fine-tuning: the SFT base, from which every method starts."""

    steps: int = Field(300, ge=1)
    """Optimiser steps."""
    lr: float = Field(1e-3, gt=0)
    """Learning rate."""
    seed: int = 0
    """Seed of the order of the demonstrations and of new adapters: another makes another base."""


class Pairs(Section):
    """Preference pairs: a pool that all seeds share, and each seed's draw from it."""

    n: int = Field(1500, ge=1)
    """Pairs that each seed draws from the pool and learns from."""
    pool: int | None = Field(None, ge=1)
    """Pairs in the pool; null: twice `pairs.n`."""
    test: int = Field(128, ge=1)
    """Pairs on test prompts, the documents of the lm-eval task `preference`."""
    validation: int = Field(256, ge=0)
    """Pairs of the pool that a seed does not train on, for the loss on them."""
    demonstrations: int | None = Field(None, ge=2)
    """Most pairs of a demonstration and the base's own answer; null: one a demonstration."""
    temperature: float = Field(1.0, gt=0)
    """Temperature at which the SFT base's answers are sampled."""
    batch: int = Field(256, ge=1)
    """Prompts that are answered at once."""
    seed: int = 0
    """Seed of the pool, and of the draws from it."""


class Reward(Section):
    """The reward model that PPO trains against, one a seed and label set."""

    lr: float = Field(1e-3, gt=0)
    """Learning rate."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the pairs."""
    batch: int = Field(64, ge=1)
    """Pairs an optimiser step."""
    warmup: int = Field(5, ge=0)
    """Optimiser steps over which the learning rate rises."""
    center: float = 0.01
    """Weight of the penalty that keeps rewards around zero (Eisenstein et al. 2023, 2312.09244)."""


class Decode(Section):
    """How a policy answers, in training and in evaluation."""

    max_new_tokens: int = Field(32, ge=1)
    """Tokens that an answer may have."""
    temperature: float = Field(1.0, gt=0)
    """Temperature of sampling."""


class Curve(Section):
    """The training curve of a run, on validation prompts; no method is charged for it."""

    fractions: Fractions = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Points of the curve as shares of a run's optimiser steps; must hold 0 and 1."""
    prompts: int = Field(96, ge=1)
    """Validation prompts of a point."""
    batch: int = Field(128, ge=1)
    """Prompts that are answered at once."""


class Eval(Section):
    """The evaluation of a finished run on test prompts and by lm-eval."""

    prompts: int = Field(256, ge=1)
    """Test prompts."""
    batch: int = Field(128, ge=1)
    """Prompts, or documents of lm-eval, that are read at once."""
    tasks: Names = ()
    """More tasks of lm-eval, by name or as YAML files, beside those of the world."""
    limit: int | None = Field(None, ge=1)
    """Documents of each of `eval.tasks`; null: all."""


class Price(Section):
    """Money beside FLOPs and seconds."""

    hour: float | None = Field(None, ge=0)
    """Price of an hour of a GPU, or of a core where there is none; null: no money is shown."""
    currency: str = "USD"
    """Currency of `price.hour`."""


class Arm(Section):
    """A method with named overrides; `settings` is an instance of the method's Settings."""

    name: str
    """Name of the arm: a folder of runs, a row of the report."""
    method: str
    """Method that the arm trains with."""
    file: str | None = None
    """File of a method from outside."""
    needs: tuple[str, ...] = ()
    """Artefacts that the method trains from: `reward`, `reference`."""
    preference: str = "gold"
    """Whose preference the pairs hold: gold, another kind of label of the world (biased),
    `demonstrations`, or `on-policy`."""
    n: int | None = Field(None, ge=1)
    """Pairs of a seed; null: `pairs.n`."""
    start: Literal["sft", "base"] = "sft"
    """Weights that a run starts from: the SFT base, or the base before it."""
    curve: tuple[float, ...] | None = None
    """Points of the training curve; null: `curve.fractions`."""
    tasks: bool = True
    """Whether lm-eval runs on the arm's runs."""
    upstream: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Overrides of base, sft, pairs and reward: what the arm's runs start from."""
    settings: Any
    """The method's settings."""

    @property
    def label_set(self) -> str:
        """The name of its pairs, and of the reward model that learns from them: gold-n750."""
        return f"{self.preference}-n{self.n}" if self.n else self.preference

    @property
    def proxy(self) -> str:
        """Label set of the reward model that scores its samples: its own if it needs one."""
        own = "reward" in self.needs or pool_of(self.label_set) == POOL
        return self.label_set if own else "gold"


# What a testbed's file says of an arm, beside its method's settings; the rest follows.
OF_ARM = ("method", "preference", "n", "start", "curve", "tasks")


class Files(Section):
    """What is read before the other settings, since it says which there are."""

    methods: Names = ()
    """Files of methods of your own, by path, beside the built-in ones."""


class Core(Files):
    """The settings that do not depend on the world, the methods or the studies."""

    testbed: str
    """Model, data, gold reward, tasks and budgets: a file of bench/settings/testbeds, or a path."""
    study: str = DEFAULT_STUDY
    """Which runs are made and how they are analysed."""
    seeds: Annotated[tuple[int, ...], BeforeValidator(listed), Field(min_length=1)]
    """Seeds of the runs; every arm is trained once for each."""
    studies: dict[str, Names]
    """Declared studies: name and list of arms."""
    arms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Declared arms: name, method, what differs from the method as tuned, and what differs of
    `base`, `sft`, `pairs`, `reward` for the arm alone: {method: dpo, beta: 0.3, sft: {seed: 2}}."""
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
    """Where the tuned settings come from: written by the study `tune`."""
    price: Price = Price()
    strict: bool = False
    """Whether a breach of the fairness contract is an error, rather than a stamp on the report."""
