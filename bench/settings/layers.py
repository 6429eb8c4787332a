"""The one loader of settings, for the Snakefile and for every step.

    cfg = load("micro", ["dpo.lr=2e-5", "seeds=[7]"])

Layers: base.yaml <- the testbed's file (and what it `extends`) <- overrides. The result is frozen;
an unknown key, testbed, arm or method is one clear line that names the nearest.
A step sees its own slice only (READS), so that the hash in the Snakefile covers all it can read.

Which studies there are is not known here: ``bench.studies.load`` passes their plans to ``load``.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import yaml
from pydantic import Field, PrivateAttr, ValidationError, create_model

from bench import methods
from bench.core.hub import content
from bench.core.layout import RECIPES, UPSTREAM, Layout, Member
from bench.core.names import NAME, SFT, nearest
from bench.core.schema import Section, UserError
from bench.settings import checks, renamed
from bench.settings.sections import Arm, Core, Files
from bench.worlds import WORLDS, world

TESTBEDS = Path(__file__).parent / "testbeds"
TUNED = ".tuned"
KIND = "World of the testbed: a package of bench/worlds."

# What each step reads, and nothing else: its hash covers exactly this. "arm": the arm that it runs.
READS = {step: recipe.reads for step, recipe in RECIPES.items()}
READS |= {"prefetch": ("data", "model", "eval")}
READS |= {step: ("*",) for step in ("contract", "collect", "tune", "report", "blog")}
# Change no result: read by all, hashed by none.
UNHASHED = ("testbed", "threads", "jobs", "launch")
FREE = (*UNHASHED, "layout", "overrides", "known_methods")
# What a study's results depend on, beside its arms and seeds.
DECISIVE = ("data", "model", "base", "sft", "pairs", "reward", "decode", "curve", "eval", "price")


class Config(Core):
    """All settings of a testbed: those of Core, of the world, of each method and of each study."""

    _source: str = PrivateAttr("")
    _plain: Any = PrivateAttr(None)  # the testbed's file without overrides; None: not complete
    _plans: Mapping[str, ModuleType] = PrivateAttr(default_factory=dict)
    _overrides: tuple[str, ...] = PrivateAttr(())
    _variants: dict[str, "Config"] = PrivateAttr(default_factory=dict)
    _arms: dict[str, Arm] = PrivateAttr(default_factory=dict)

    @property
    def source(self) -> str:
        """What `--testbed` calls it: the name of a built-in testbed, or the path of a file."""
        return self._source

    @property
    def overrides(self) -> tuple[str, ...]:
        """What differs from the testbed's file, as 'a.b=value'."""
        return self._overrides

    @cached_property
    def layout(self) -> Layout:
        """Where the artefacts lie."""
        return Layout(self, self._plain)

    @cached_property
    def known_methods(self) -> dict[str, ModuleType]:
        """{name: module} of the built-in methods and of `methods`."""
        return methods.known(self.methods)

    @property
    def study_arms(self) -> tuple[str, ...]:
        """The names of the chosen study's arms."""
        return self.known_studies[self.study]

    @property
    def study_runs(self) -> tuple[tuple[str, int], ...]:
        """(arm, seed) of each run of the chosen study."""
        return self.runs_of(self.study)

    def runs_of(self, study: str) -> tuple[tuple[str, int], ...]:
        """(arm, seed) of each run of a study."""
        plan = self._plans.get(study)
        seeds = plan.seeds if plan else lambda cfg, arm: cfg.seeds
        return tuple((arm, seed) for arm in self.known_studies[study] for seed in seeds(self, arm))

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """The runs of the chosen study, with the layout of each."""
        return tuple(self.member(arm, seed) for arm, seed in self.study_runs)

    def member(self, arm: str, seed: int) -> Member:
        """A run by the name of its arm."""
        return Member(self.arm(arm), seed, self.of(arm).layout)

    @cached_property
    def bases(self) -> dict[str, Layout]:
        """{name in tables: layout} of the SFT bases that the study's runs start from: `sft` is that
        of most settings, or the first, any other has a name of its own."""
        found = {self._base_name(member.layout): member.layout for member in self.members}
        first = min(found, key=self._base_name(self.layout).__ne__, default="")
        return {SFT: found.pop(first, self.layout)} | found

    def base_of(self, arm: str) -> str:
        """The name in tables of the SFT base that an arm's runs start from."""
        name = self._base_name(self.of(arm).layout)
        return name if name in self.bases else SFT

    def _base_name(self, layout: Layout) -> str:
        """The key of a base as evaluated, or the testbed where it is the testbed's own."""
        name = layout.evaluation_name(None)
        return f"{SFT}@{self.testbed}" if name == SFT else name

    @property
    def evaluated(self) -> bool:
        """Whether the chosen study's runs answer the test prompts."""
        return getattr(self._plans.get(self.study), "EVALUATED", True)

    @property
    def companions(self) -> list[Path]:
        """The results of other studies that the report of `compare` shows too, where they exist."""
        if self.study != "compare":
            return []
        names = [name for name, plan in self._plans.items() if plan.COMPANION]
        folders = [self.with_study(name).layout.results for name in names]
        return [folder for folder in folders if (folder / "meta.json").exists()]

    def with_study(self, study: str) -> "Config":
        """The same settings with another study chosen."""
        return self._replaced(study=study)

    @cached_property
    def known_studies(self) -> dict[str, tuple[str, ...]]:
        """The declared studies and the computed ones; `compare` has every method from outside."""
        computed = {name: plan.members(self) for name, plan in self._plans.items()}
        outside = [name for name in self.known_methods if name not in methods.METHODS]
        compare = dict.fromkeys((*self.studies.get("compare", ()), *outside))
        return computed | self.studies | {"compare": tuple(compare)}

    @property
    def computed_studies(self) -> tuple[str, ...]:
        """The names of the studies that are folders of the package."""
        return tuple(self._plans)

    @cached_property
    def computed_arms(self) -> dict[str, dict[str, Any]]:
        """{name: spec} of the arms that studies compute from the tuned settings."""
        found = {}
        for plan in self._plans.values():
            found |= plan.arms(self)
        return found

    @cached_property
    def known_arms(self) -> dict[str, dict[str, Any]]:
        """{name: spec} of the methods, the computed arms and the declared ones."""
        plain = {method: {"method": method} for method in self.known_methods}
        return plain | self.computed_arms | self.arms

    def has_arm(self, name: str) -> bool:
        """Whether there is such an arm, of a method that there is."""
        spec = {"method": name} | self.known_arms.get(name, {"method": None})
        return spec["method"] in self.known_methods

    def arm(self, name: str) -> Arm:
        """An arm by name; raises UserError with the nearest name, method or key."""
        if name not in self._arms:
            self._arms[name] = self._made_arm(name)
        return self._arms[name]

    def _made_arm(self, name: str) -> Arm:
        """An arm from its method as tuned and what it says of itself."""
        if name not in self.known_arms:
            raise UserError(f"unknown arm '{name}'" + nearest(name, self.known_arms))
        spec, where = {"method": name} | self.known_arms[name], f"arms.{name}"
        own = {key: spec.pop(key) for key in Arm.model_fields if key in spec}
        own["upstream"] = {
            key: spec.pop(key) for key in UPSTREAM if isinstance(spec.get(key), dict)
        }
        if own["method"] not in self.known_methods:
            known = nearest(str(own["method"]), self.known_methods)
            raise UserError(f"unknown method '{own['method']}' of arm '{name}'" + known)
        tuned, module = getattr(self, own["method"]), self.known_methods[own["method"]]
        settings = checked(module.Settings, merge(tuned.model_dump(), spec), where)
        own |= {"name": name, "needs": module.NEEDS, "settings": settings}
        return checked(Arm, own, where)

    def of(self, name: str) -> "Config":
        """The settings under which an arm's runs are made: with its own base, pairs and so on."""
        changed = self.arm(name).upstream
        if not changed:
            return self
        if name in self._variants:
            return self._variants[name]
        sections = {}
        for key, values in changed.items():
            old, where = getattr(self, key), f"arms.{name}.{key}"
            sections[key] = checked(type(old), merge(old.model_dump(), values), where)
        self._variants[name] = self._replaced(**sections)
        return self._variants[name]

    def changes(self, variant: "Config") -> list[str]:
        """The overrides that make a variant of these settings, as 'a.b=value'."""
        if variant is self:
            return []
        old = dict(leaves({name: self.section(name) for name in UPSTREAM}))
        new = leaves({name: variant.section(name) for name in UPSTREAM})
        return [f"{key}={flow(value)}" for key, value in new if old.get(key) != value]

    def section(self, name: str) -> Any:
        """A section as plain values."""
        return self._plain_values[name]

    @cached_property
    def _plain_values(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def decisive(self, study: str) -> dict[str, Any] | None:
        """All that the results of a study depend on; None where it, or an arm of it, is unknown."""
        names = self.known_studies.get(study)
        if names is None or not all(map(self.has_arm, names)):
            return None
        arms = [self.arm(name).model_dump(mode="json") for name in names]
        own = {name: self.section(name) for name in DECISIVE}
        return own | {"arms": arms, "runs": self.runs_of(study)}

    def slice(self, step: str, arm: str | None = None) -> "Slice":
        """The part of the settings that a step may read (see READS)."""
        return Slice(self, step, arm)

    def _replaced(self, **update: Any) -> "Config":
        """A copy with other sections; what was computed from the settings' values goes."""
        copy = self.model_copy(update=update)
        for name in ("layout", "members", "bases", "_plain_values"):
            copy.__dict__.pop(name, None)
        copy._variants, copy._arms = {}, {}
        return copy


class Slice:
    """A view of a Config that gives a step what READS lists for it and refuses the rest."""

    def __init__(self, cfg: Config, step: str, arm: str | None = None):
        self._cfg, self._step, self._arm = cfg, step, arm

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_"):
            raise AttributeError(key)
        if key not in FREE and "*" not in READS[self._step] and key not in READS[self._step]:
            raise AttributeError(
                f"step '{self._step}' does not read '{key}': add it to RECIPES in core/layout.py"
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
        reads, every = READS[self._step], type(self._cfg).model_fields
        names = [name for name in every if name not in UNHASHED] if "*" in reads else reads
        own = {name: self._cfg.section(name) for name in names if name != "arm"}
        if "arm" in reads and self._arm in self._cfg.known_arms:
            own["arm"] = self._cfg.arm(self._arm).model_dump(mode="json")
        tasks = self._cfg.eval.tasks if "eval" in own else ()
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


def load(
    testbed: str, overrides: Iterable[str] = (), plans: Mapping[str, ModuleType] | None = None
) -> Config:
    """Settings of a testbed with overrides 'a.b=value'; raises UserError in one clear line.

    testbed: the name of a built-in one, or the path of a YAML file; plans: of the computed studies.
    """
    plans, file = plans or {}, layers(testbed)
    own = file
    for item in overrides:
        own = merge(own, parse(item, own))
    cfg = validated(testbed, own, plans)
    cfg._plain = complete(testbed, file, plans)
    cfg._overrides = tuple(overrides_of(cfg, file))
    checks.check(cfg)
    for plan in plans.values():
        plan.check(cfg)
    return cfg


def complete(testbed: str, values: dict, plans: Mapping[str, ModuleType]) -> Config | None:
    """The settings as a Config; None where they need the overrides to be complete."""
    try:
        return validated(testbed, values, plans)
    except UserError:
        return None


def validated(testbed: str, values: dict, plans: Mapping[str, ModuleType]) -> Config:
    """The settings as a Config, each study's section completed by its plan."""
    cfg = checked(config_class(values, plans), values | {"testbed": name_of(testbed)}, "")
    cfg._source, cfg._plans = testbed, plans
    for name, plan in plans.items():
        cfg = cfg._replaced(**{name: plan.completed(cfg)})
    return cfg


def overrides_of(cfg: Config, file: dict) -> Iterator[str]:
    """What differs from the testbed's file, and, of a method not named there, from its defaults."""
    usual = cfg._plain
    if usual and usual.methods != cfg.methods:
        yield f"methods={flow(list(cfg.methods))}"
        usual = complete(cfg.source, file | {"methods": cfg.methods}, cfg._plans)
    yield from difference(cfg, usual)


def difference(cfg: Config, plain: Config | None) -> Iterator[str]:
    """Overrides that change a value, one 'a.b=value' a leaf; not `jobs`, on which no result
    depends."""
    old = dict(leaves(plain.model_dump(mode="json", exclude={"jobs"}))) if plain else {}
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


def layers(testbed: str, above: tuple[Path, ...] = ()) -> dict:
    """base.yaml <- what the testbed extends <- the testbed <- its tuned settings.

    above: the files that extend this one.
    """
    path = file_of(testbed).resolve()
    if path in above:
        raise UserError(f"'{testbed}' extends itself: name another testbed, or none")
    (own, parent), above = opened(testbed), (*above, path)
    low = renamed_sources(layers(parent, above), own) if parent else read(TESTBEDS / "base.yaml")
    whole, tuned = merge(low, own), tuned_file(testbed)
    return merge(whole, read(tuned)) if tuned.exists() else whole


def opened(testbed: str) -> tuple[dict, str | None]:
    """What a testbed's own file says, and the testbed that it extends, if any."""
    own = read(file_of(testbed))
    return own, own.pop("extends", None)


def declaring(testbed: str, study: str) -> Path:
    """The file that declares a testbed's study: its own, one that it extends, or base.yaml."""
    own, parent = opened(testbed)
    if study in (own.get("studies") or {}):
        return file_of(testbed)
    return declaring(parent, study) if parent else TESTBEDS / "base.yaml"


def is_path(testbed: str) -> bool:
    """Whether a testbed is named by its file."""
    return str(testbed).endswith((".yaml", ".yml"))


def name_of(testbed: str) -> str:
    """The name of a testbed, under which its runs lie: of a file, that of the file."""
    return Path(testbed).stem if is_path(testbed) else testbed


def file_of(testbed: str) -> Path:
    """The file of a testbed; raises UserError where there is none, or where its name is taken."""
    if not is_path(testbed):
        if testbed not in testbeds():
            path = "; the path of one ends in .yaml" if "/" in str(testbed) else ""
            known = path or nearest(str(testbed), testbeds())
            raise UserError(f"unknown testbed '{testbed}'" + known)
        return TESTBEDS / f"{testbed}.yaml"
    path = Path(testbed)
    if not path.is_file():
        raise UserError(f"there is no testbed file '{testbed}' in {Path.cwd()}")
    if not NAME.fullmatch(path.stem):
        raise UserError(
            f"'{path.stem}' is no name of a testbed: use letters, digits, '.', '_', '-'"
        )
    if path.stem in testbeds() and path.resolve().parent != TESTBEDS.resolve():
        raise UserError(f"'{path.stem}' is the name of a built-in testbed: rename '{testbed}'")
    return path


def tuned_file(testbed: str) -> Path:
    """Where a testbed's tuned settings are kept: beside its own file."""
    return file_of(testbed).with_name(f"{name_of(testbed)}{TUNED}.yaml")


def read(path: Path) -> dict:
    """A YAML file of settings; raises UserError where it is no YAML, or no mapping."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark, reason = getattr(error, "problem_mark", None), getattr(error, "problem", error)
        line = f", line {mark.line + 1}," if mark else ""
        raise UserError(f"{path}{line} is no valid YAML: {' '.join(str(reason).split())}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no settings: write key: value")
    return found


def testbeds() -> list[str]:
    """The names of the built-in testbeds."""
    names = [path.stem for path in TESTBEDS.glob("*.yaml")]
    return sorted(name for name in names if name != "base" and not name.endswith(TUNED))


def merge(low: dict, high: dict) -> dict:
    """Mappings merge deeply, anything else is replaced; neither argument is changed."""
    out = dict(low)
    for key, value in high.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merge(out[key], value) if both else value
    return out


def renamed_sources(low: dict, high: dict) -> dict:
    """``low`` without what it says of a model, data set or gold for which ``high`` names another:
    splits, tokens or a revision of the one would be wrong of the other."""
    out = dict(low)
    for key, value in high.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = {} if {"id", "file"} & value.keys() else renamed_sources(out[key], value)
    return out


def config_class(values: dict, plans: Mapping[str, ModuleType]) -> type[Config]:
    """Config with the sections of the testbed's world, of each method and of each study."""
    data = values.get("data", {})
    kind = data.get("kind", "") if isinstance(data, dict) else ""
    if kind not in WORLDS:
        raise UserError(f"unknown data.kind '{kind}'" + nearest(str(kind), WORLDS))
    files = {key: values[key] for key in Files.model_fields if key in values}
    stamped = methods.stamped(checked(Files, files, "").methods)
    return _config_class(kind, stamped, tuple(plans.items()))


@cache
def _config_class(kind: str, files: tuple, plans: tuple) -> type[Config]:
    settings = world(kind).Settings
    if "kind" not in settings.model_fields:
        field = Literal[kind], Field(kind, description=KIND)
        settings = create_model("Data", __base__=settings, __doc__=settings.__doc__, kind=field)
    found = methods.known(path for path, _ in files)
    for name, module in found.items():
        methods.check(name, module, {*Core.model_fields, *dir(Config), "data", *dict(plans)})
    sections = {
        name: (m.Settings, Field(checked(m.Settings, {}, name), validate_default=True))
        for name, m in [*found.items(), *plans]
    }
    return create_model("Config", __base__=Config, data=(settings, ...), **sections)


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
        if new := renamed.of(key):
            return f"'{key}' is called '{new}' now: rename it"
        prefix = key.rpartition(".")[0]
        return f"unknown key '{key}'" + nearest(path[-1], fields_at(schema, path[:-1]), prefix)
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
