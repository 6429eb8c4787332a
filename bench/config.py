"""The one loader of settings, for the Snakefile and for every step.

    cfg = load("micro", ["dpo.lr=2e-5", "seeds=[7]"])

Layers: base.yaml <- the testbed's file (and what it `extends`) <- overrides. The result is frozen;
an unknown key, testbed, arm or method is one clear line that names the nearest.
A step sees its own slice only (READS), so that the hash in the Snakefile covers all it can read.
"""

from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, PositiveFloat, ValidationError, create_model

from bench import checks, studies
from bench.data import WORLDS, world
from bench.data.hub_model import HubModel
from bench.hub import content
from bench.methods import METHODS
from bench.methods import check as check_method
from bench.names import POOL, nearest, pool_of
from bench.schema import Section, UserError

TESTBEDS = Path(__file__).parent / "testbeds"
TUNED = ".tuned"


def _listed(value: Any) -> Any:
    """A lone value stands for a list of one: seeds=7."""
    return [value] if isinstance(value, int | float | str) else value


Share = Annotated[float, Field(gt=0, lt=1)]
Shares = Annotated[tuple[Share, ...], BeforeValidator(_listed)]
Factors = Annotated[tuple[PositiveFloat, ...], BeforeValidator(_listed)]


class Threads(Section):
    base: int = Field(2, ge=1)
    sft: int = Field(2, ge=1)
    default: int = Field(1, ge=1)


class Minutes(Section):
    base: int | None = Field(None, ge=1)  # null: default
    sft: int | None = Field(None, ge=1)
    pool: int | None = Field(None, ge=1)
    reward: int | None = Field(None, ge=1)
    reference: int | None = Field(None, ge=1)
    align: int | None = Field(None, ge=1)
    evaluate: int | None = Field(None, ge=1)
    default: int = Field(30, ge=1)


class Jobs(Section):
    """What a job that runs a model asks for, of this machine or of a cluster.

    A second attempt gets twice the minutes and the memory, a third three times. gpu null: one,
    where this machine has one, and none of a cluster.
    """

    gpu: int | None = Field(None, ge=0)
    mem_mb: int = Field(1200, ge=1)  # of the host
    minutes: Minutes = Minutes()


class Launch(Section):
    """How many processes train one run, and how they share the model (bench/profiles/accelerate).

    The global batch is the same on any number, so this changes no result beyond float noise.
    """

    processes: int = Field(1, ge=1)  # one a GPU; without GPUs, on the cores
    config: Literal["ddp", "fsdp", "zero2", "zero3"] = "ddp"


class Lora(Section):
    r: int = Field(16, ge=1)
    alpha: float = 32.0
    layers: int | None = Field(None, ge=1)  # the upper n layers; null: all


class Model(Section):
    kind: Literal["llama", "gguf", "hub"] = "llama"
    hub: HubModel | None = None  # which one, for kind hub
    hidden: int = 96
    layers: int = 3
    heads: int = 4
    intermediate: int = 256
    context: int = 96
    lora: Lora | None = None
    micro_batch: int | None = Field(None, ge=1)  # rows a training pass holds; null: the batch
    checkpointing: bool = False  # layers are computed again in backward, which saves memory
    quantise: Literal["nf4"] | None = None  # the frozen weights under LoRA, in 4 bits (QLoRA)
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"


class Base(Section):
    steps: int = Field(0, ge=0)  # 0: nothing to pretrain, the model comes as it is
    batch: int = Field(128, ge=1)
    lr: float = Field(3e-3, gt=0)
    warmup: int = Field(20, ge=0)
    decay: float = Field(0.0, ge=0, le=1)  # last share of the steps, over which lr falls to 0
    seed: int = 0


class Sft(Base):
    steps: int = Field(300, ge=1)
    lr: float = Field(1e-3, gt=0)


class Pairs(Section):
    n: int = Field(1500, ge=1)  # pairs a seed, drawn from the pool
    pool: int | None = Field(None, ge=1)  # null: 2 n
    held_out: int = Field(128, ge=1)  # pairs on test prompts, for the lm-eval task `preference`
    validation: int = Field(256, ge=0)  # pairs a seed that no training sees, for the loss on them
    demonstrations: int | None = Field(None, ge=2)  # with the base's answers, at most; null: all
    temperature: float = Field(1.0, gt=0)
    batch: int = Field(256, ge=1)
    seed: int = 0


class Reward(Section):
    lr: float = Field(1e-3, gt=0)
    epochs: float = Field(1.0, gt=0)
    batch: int = Field(64, ge=1)
    warmup: int = Field(5, ge=0)
    center: float = 0.01  # weight of the penalty that keeps rewards around zero


class Decode(Section):
    max_new_tokens: int = Field(32, ge=1)
    temperature: float = Field(1.0, gt=0)


class Curve(Section):
    fractions: Annotated[tuple[float, ...], BeforeValidator(_listed)] = (0.0, 0.25, 0.5, 0.75, 1.0)
    prompts: int = Field(96, ge=1)
    batch: int = Field(128, ge=1)


class Eval(Section):
    prompts: int = Field(256, ge=1)
    batch: int = Field(128, ge=1)
    tasks: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()  # of lm-eval, by their names
    limit: int | None = Field(None, ge=1)  # documents of each of these; null: all


class Grid(Section):
    """The study `stability`: factors on each method's tuned settings."""

    lr: Factors = (1 / 3, 1, 3, 10)
    beta: Factors = (1 / 3, 1, 3)
    centre_seeds: int = Field(3, ge=1)  # of the cells at the tuned strength; the others have one


class Tune(Section):
    """The study `tune`: as many trials for each method, drawn from its own space."""

    trials: int = Field(16, ge=1)
    seed: int = 100  # of pairs, training and reward model: none that a report shows
    spaces: dict[str, dict[str, tuple[PositiveFloat, PositiveFloat]]] = Field(default_factory=dict)


class Views(Section):
    """The study `views`: fewer labels, other strengths."""

    labels: Shares = (0.125, 0.25, 0.5)  # of pairs.n
    beta: Factors = (0.1, 1 / 3, 3, 10)  # on the tuned strength
    longer: dict[str, PositiveFloat] = Field(default_factory=dict)  # method: factor on its epochs


class Price(Section):
    hour: float | None = Field(None, ge=0)  # of a GPU, or of a core where there is none
    currency: str = "USD"


class Arm(Section):
    """A method with named overrides; `settings` is an instance of the method's Settings.

    labels: whose preferences; n: how many (None: pairs.n); start: the weights it starts from;
    curve: its points (None: curve.fractions); tasks: whether lm-eval runs on it.
    """

    name: str
    method: str
    labels: str = "gold"
    n: int | None = Field(None, ge=1)
    start: Literal["sft", "base"] = "sft"
    curve: tuple[float, ...] | None = None
    tasks: bool = True
    settings: Any

    @property
    def data(self) -> str:
        """The name of its pairs, and of the reward model that learns from them."""
        return f"{self.labels}-n{self.n}" if self.n else self.labels

    @property
    def judge(self) -> str:
        """The name of the reward model that scores its samples: its own if it needs one."""
        own = "reward" in METHODS[self.method].NEEDS or pool_of(self.data) == POOL
        return self.data if own else "gold"


class Core(Section):
    """The sections that do not depend on the world or on the list of methods."""

    testbed: str
    study: str = "compare"
    seeds: Annotated[tuple[int, ...], BeforeValidator(_listed), Field(min_length=1)]
    studies: dict[str, Annotated[tuple[str, ...], BeforeValidator(_listed)]]
    arms: dict[str, dict[str, Any]] = Field(default_factory=dict)
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
    grid: Grid = Grid()
    tune: Tune = Tune()
    views: Views = Views()
    tuning: dict[str, Any] | None = None  # where the settings come from: written by `study=tune`
    price: Price = Price()
    strict: bool = False  # a breach of the fairness contract is an error
    overrides: tuple[str, ...] = Field((), exclude=True)  # what differs from the testbed's file

    @property
    def runs(self) -> Path:
        """Where the artefacts of this testbed lie, relative to the working directory."""
        return Path("runs", self.testbed)

    @property
    def study_dir(self) -> Path:
        """Where results, figures and page of the chosen study lie."""
        return self.runs if self.study == "compare" else self.runs / f"study-{self.study}"

    @property
    def companions(self) -> list[Path]:
        """The results of other studies that the report of `compare` shows too, where they exist."""
        if self.study != "compare":
            return []
        folders = [self.runs / f"study-{name}" / "results" for name in studies.COMPANIONS]
        return [folder for folder in folders if (folder / "meta.json").exists()]

    @property
    def study_arms(self) -> tuple[str, ...]:
        """The names of the chosen study's arms."""
        return self.known_studies[self.study]

    @property
    def study_runs(self) -> tuple[tuple[str, int], ...]:
        """(arm, seed) of each run of the chosen study."""
        return tuple(
            (arm, seed)
            for arm in self.study_arms
            for seed in studies.seeds_of(self, self.study, arm)
        )

    @property
    def evaluated(self) -> bool:
        """Whether the chosen study's runs answer the test prompts."""
        return self.study not in studies.UNEVALUATED

    @cached_property
    def known_studies(self) -> dict[str, tuple[str, ...]]:
        """The declared studies and the computed ones."""
        return studies.studies(self) | self.studies

    @cached_property
    def known_arms(self) -> dict[str, dict[str, Any]]:
        """{name: spec} of the methods, the computed arms and the declared ones."""
        plain = {method: {"method": method} for method in METHODS}
        return plain | studies.generated(self) | self.arms

    def arm(self, name: str) -> Arm:
        """An arm by name; raises UserError with the nearest name, method or key."""
        if name not in self.known_arms:
            raise UserError(f"unknown arm '{name}'" + nearest(name, self.known_arms))
        spec = {"method": name} | self.known_arms[name]
        own = {key: spec.pop(key) for key in Arm.model_fields if key in spec}
        if own["method"] not in METHODS:
            known = nearest(str(own["method"]), METHODS)
            raise UserError(f"unknown method '{own['method']}' of arm '{name}'" + known)
        tuned = getattr(self, own["method"]).model_dump()
        schema = METHODS[own["method"]].Settings
        settings = checked(schema, merge(tuned, spec), f"arms.{name}")
        return checked(Arm, own | {"name": name, "settings": settings}, f"arms.{name}")

    def slice(self, step: str, arm: str | None = None) -> "Slice":
        """The part of the settings that a step may read (see READS)."""
        return Slice(self, step, arm)


# What each step reads, and nothing else: its hash covers exactly this. "arm": the arm that it runs.
READS = {
    "prefetch": ("data", "model", "eval"),
    "data": ("data",),
    "base": ("data", "model", "base"),
    "sft": ("data", "model", "sft"),
    "pairs": ("data", "model", "pairs", "decode"),
    "reward": ("data", "model", "reward"),
    "reference": ("data", "model"),
    "align": ("data", "model", "decode", "curve", "arm"),
    "evaluate": ("data", "model", "decode", "eval", "arm"),
    "contract": ("*",),
    "collect": ("*",),
    "tune": ("*",),
    "report": ("*",),
    "blog": ("*",),
}
# Change no result: read by all, hashed by none.
UNHASHED = ("testbed", "threads", "jobs", "launch")
FREE = (*UNHASHED, "runs", "overrides")


class Slice:
    """A view of a Config that gives a step what READS lists for it and refuses the rest."""

    def __init__(self, cfg: Core, step: str, arm: str | None = None):
        self._cfg, self._step, self._arm = cfg, step, arm

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_"):
            raise AttributeError(key)
        if key not in FREE and "*" not in READS[self._step] and key not in READS[self._step]:
            raise AttributeError(
                f"step '{self._step}' does not read '{key}': add it to READS in bench/config.py"
            )
        return self.overridden() if key == "overrides" else getattr(self._cfg, key)

    def arm(self, name: str) -> Arm:
        """The arm of this step's run; any arm for a step that reads all."""
        if "*" not in READS[self._step] and name != self._arm:
            raise AttributeError(
                f"step '{self._step}' of arm {self._arm} does not read arm '{name}'"
            )
        return self._cfg.arm(name)

    def values(self) -> dict[str, Any]:
        """All that the step can read, as plain values, to be hashed; of own tasks the content."""
        everything = self._cfg.model_dump(mode="json", exclude=set(UNHASHED))
        keys = everything if "*" in READS[self._step] else READS[self._step]
        own = {key: everything[key] for key in keys if key != "arm"}
        if "arm" in keys and self._arm in self._cfg.known_arms:
            own["arm"] = self._cfg.arm(self._arm).model_dump(mode="json")
        tasks = self._cfg.eval.tasks if "eval" in keys else ()
        files = {name: found for name in tasks if (found := content(name))}
        return own | ({"task_files": files} if files else {})

    def overridden(self) -> tuple[str, ...]:
        """The overrides that touch what this step reads, as 'a.b=value'."""
        return tuple(item for item in self._cfg.overrides if self._touches(item))

    def _touches(self, item: str) -> bool:
        head, *rest = item.split("=", 1)[0].split(".")
        reads = READS[self._step]
        if "*" in reads or head in UNHASHED or head in reads:
            return True
        if "arm" not in reads or self._arm not in self._cfg.known_arms:
            return False
        # an arm's own name may hold dots: arms.dpo-beta0.3.beta
        of_arm = head == "arms" and ".".join(rest).startswith(f"{self._arm}.")
        return of_arm or head == self._cfg.arm(self._arm).method


def load(testbed: str, overrides: Iterable[str] = ()) -> Core:
    """Settings of a testbed with overrides 'a.b=value'; raises UserError in one clear line."""
    plain = layers(testbed)
    own = plain
    for item in overrides:
        own = merge(own, parse(item, own))
    schema = config_class(own.get("data", {}))
    cfg = checked(schema, own | {"testbed": testbed}, "")
    changed = tuple(difference(cfg, plain, testbed))
    cfg = cfg.model_copy(update={"tune": studies.with_spaces(cfg), "overrides": changed})
    checks.check(cfg)
    return cfg


def difference(cfg: Core, plain: dict, testbed: str) -> Iterator[str]:
    """What overriding changed, one 'a.b=value' a leaf: an override that changes nothing is none,
    nor is what jobs ask for, which no result depends on."""
    try:
        before = checked(config_class(plain.get("data", {})), plain | {"testbed": testbed}, "")
    except UserError:  # the testbed's file needs the override to be complete
        before = None
    old = dict(leaves(before.model_dump(mode="json", exclude={"jobs"}))) if before else {}
    for key, value in leaves(cfg.model_dump(mode="json", exclude={"jobs"})):
        if key not in old or old[key] != value:
            yield f"{key}={flow(value)}"


def flow(value: Any) -> str:
    """A value as one line of YAML that parse() reads back."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return text.removesuffix("\n").removesuffix("...").strip()


def leaves(tree: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of each leaf; a list, and an empty mapping, is a leaf."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flatten(config: dict) -> list[str]:
    """Snakemake's nested `config` -> overrides 'a.b=value' (its values may be strings)."""
    return [f"{key}={flow(unquoted(value))}" for key, value in leaves(config)]


def unquoted(value: Any) -> Any:
    """Read a string as YAML: '[7]' -> [7], 'null' -> None; what is no YAML stays as it is."""
    if isinstance(value, list):
        return [unquoted(item) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value


def parse(item: str, known: dict | None = None) -> dict:
    """'a.b=value' -> {'a': {'b': value}}; an arm's name may hold dots (arms.dpo-beta0.3.lr=1)."""
    key, equals, text = item.partition("=")
    if not equals or not key.strip():
        raise UserError(f"'{item}' is no override: write key=value, for example dpo.lr=2e-5")
    value = unquoted(text)
    path = split_key(key.strip(), known or {}, isinstance(value, dict))
    for part in reversed(path):
        value = {part: value}
    return value


def split_key(key: str, known: dict, whole: bool = False) -> list[str]:
    """Split at dots, but leave a dot inside the name of an arm or study alone.

    known: what has been declared so far; whole: the value is the mapping of a whole arm.
    """
    head, _, rest = key.partition(".")
    if head in ("arms", "studies") and rest:
        names = [n for n in known.get(head, {}) if rest == n or rest.startswith(f"{n}.")]
        name = max(names, key=len) if names else None
        if name is None:  # a new one; of a new arm the last part is the key
            name = rest if whole or head == "studies" else rest.rpartition(".")[0] or rest
        tail = rest[len(name) + 1 :]
        return [head, name] + (tail.split(".") if tail else [])
    return key.split(".")


def layers(testbed: str) -> dict:
    """base.yaml <- what the testbed extends <- the testbed <- its tuned settings."""
    if testbed not in testbeds():
        raise UserError(f"unknown testbed '{testbed}'" + nearest(str(testbed), testbeds()))
    own = read(testbed)
    parent = own.pop("extends", None)
    whole = merge(renamed(layers(parent), own) if parent else read("base"), own)
    return merge(whole, read(f"{testbed}{TUNED}")) if tuned_file(testbed).exists() else whole


def tuned_file(testbed: str) -> Path:
    """Where a testbed's tuned settings are committed."""
    return TESTBEDS / f"{testbed}{TUNED}.yaml"


def read(testbed: str) -> dict:
    """One YAML file of bench/testbeds; raises UserError where it is no YAML."""
    path = TESTBEDS / f"{testbed}.yaml"
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path.name} is no valid YAML: {reason}") from None


def testbeds() -> list[str]:
    """The names of all testbeds."""
    names = [path.stem for path in TESTBEDS.glob("*.yaml")]
    return sorted(name for name in names if name != "base" and not name.endswith(TUNED))


def merge(low: dict, high: dict) -> dict:
    """Mappings merge deeply, anything else is replaced; neither argument is changed."""
    out = dict(low)
    for key, value in high.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merge(out[key], value) if both else value
    return out


def renamed(low: dict, high: dict) -> dict:
    """``low`` without what it says of a model, data set or gold for which ``high`` names another:
    splits, tokens or a revision of the one would be wrong of the other."""
    out = dict(low)
    for key, value in high.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = {} if {"id", "file"} & value.keys() else renamed(out[key], value)
    return out


def config_class(data: Any) -> type[Core]:
    """Core with the settings of the testbed's world and of each method in METHODS."""
    kind = data.get("kind", "") if isinstance(data, dict) else ""
    if kind not in WORLDS:
        raise UserError(f"unknown data.kind '{kind}'" + nearest(str(kind), WORLDS))
    return _config_class(kind)


@cache
def _config_class(kind: str) -> type[Core]:
    settings = world(kind).Settings
    if "kind" not in settings.model_fields:
        settings = create_model("Data", __base__=settings, kind=(Literal[kind], kind))
    for name, module in METHODS.items():
        check_method(name, module, {*Core.model_fields, "data"})
    methods = {
        name: (m.Settings, Field(m.Settings(), validate_default=True))
        for name, m in METHODS.items()
    }
    return create_model("Config", __base__=Core, data=(settings, ...), **methods)


def checked(schema: type[Section], values: dict, where: str) -> Any:
    """Validate; the first error becomes one line with key, nearest valid key and remedy."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(schema, error.errors()[0], where)) from None


def explain(schema: type[Section], error: dict, where: str) -> str:
    """One line for one pydantic error."""
    path = [str(part) for part in error["loc"]]
    key = ".".join([where, *path] if where else path)
    if error["type"] == "extra_forbidden":
        prefix = key.rpartition(".")[0]
        valid = [name for name in fields_at(schema, path[:-1]) if name != "overrides"]
        return f"unknown key '{key}'" + nearest(path[-1], valid, prefix)
    if error["type"] == "missing":
        return f"missing key '{key}': set it in the testbed's file or with --config"
    if error["type"] == "value_error":  # of settings that do not go together
        return f"{key}: {error['ctx']['error']}"
    return f"{key}={error['input']!r} is not valid: {error['msg'].lower()}"


def fields_at(schema: Any, path: list[str]) -> list[str]:
    """The field names of the section at a path; [] where there is no section."""
    for part in path:
        field = getattr(schema, "model_fields", {}).get(part)
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        schema = next((kind for kind in kinds if hasattr(kind, "model_fields")), schema)
    return list(getattr(schema, "model_fields", {}))
