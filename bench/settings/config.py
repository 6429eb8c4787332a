"""Hold all settings of a testbed in one frozen object, with its arms, runs and layout.

A step gets only the slice of them that READS lists for it, so that the hash in the Snakefile covers
everything that the step can read.
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import PrivateAttr

from bench import methods
from bench.core.hub import content
from bench.core.layout import RECIPES, UPSTREAM, Layout, Member
from bench.core.names import DEFAULT_STUDY, SFT, nearest
from bench.core.schema import UserError
from bench.settings.overrides import flow, leaves, merge
from bench.settings.sections import OF_ARM, Arm, Core
from bench.settings.validation import checked

# The sections that each step may read; its hash covers exactly these. "arm": the arm that it runs.
READS = {step: recipe.reads for step, recipe in RECIPES.items()}
READS |= {"prefetch": ("data", "model", "reward", "eval", "members")}
READS["pick"] = (*RECIPES["align"].reads, "pick_seeds")
READS |= {
    step: ("*",)
    for step in ("contract", "collect", "join", "tune", "report", "blog", "verify", "export")
}
# How much of a machine jobs take; no result depends on it.
RESOURCES = ("threads", "jobs", "track")
# Settings that change no result: every step may read them, no hash covers them.
UNHASHED = ("testbed", *RESOURCES, "launch")
TRY, OWN = "try", "own"  # an arm's candidates are arms themselves: dpo-x-try-own, dpo-x-try-slow
FREE = (*UNHASHED, "layout", "overrides", "known_methods", "tries")
# Not part of a study's key. `launch` is part of it: it changes results by rounding.
KEYLESS = {"testbed", *RESOURCES, "study", "strict"}


def members_of(plan: ModuleType, cfg: "Config") -> tuple[str, ...]:
    """Name the arms of a computed study: as it says, else the methods as tuned, then its own."""
    if hasattr(plan, "members"):
        return plan.members(cfg)
    return (*cfg.compared, *plan.arms(cfg))


class Config(Core):
    """Settings of Core and of the testbed's world, of each method and of each study."""

    _source: str = PrivateAttr("")
    _root: Any = PrivateAttr(None)  # the testbed's settings, if these are an arm's own
    _plain: Any = PrivateAttr(None)  # the settings without overrides; None if incomplete
    _declared: dict[str, Any] = PrivateAttr(default_factory=dict)  # before studies fill in theirs
    _plans: Mapping[str, ModuleType] = PrivateAttr(default_factory=dict)
    _overrides: tuple[str, ...] = PrivateAttr(())
    _variants: dict[str, "Config"] = PrivateAttr(default_factory=dict)
    _arms: dict[str, Arm] = PrivateAttr(default_factory=dict)

    @property
    def source(self) -> str:
        """Return the testbed as given to `--testbed`: a built-in name, or the path of a file."""
        return self._source

    @property
    def overrides(self) -> tuple[str, ...]:
        """List what differs from the testbed's file, as 'a.b=value'."""
        return self._overrides

    @cached_property
    def layout(self) -> Layout:
        """Return where each artefact lies."""
        return Layout(self, self._plain)

    @cached_property
    def known_methods(self) -> dict[str, ModuleType]:
        """Return {name: module} of the built-in methods and of the setting `methods`."""
        return methods.known(self.methods)

    @property
    def foreign_code(self) -> list[str]:
        """Return the user's files that run as code: methods, a gold, tasks of lm-eval."""
        gold = getattr(getattr(self.data, "gold", None), "file", None)
        tasks = [name for name in self.eval.tasks if Path(name).is_file()]
        return [*self.methods, *filter(None, [gold]), *tasks]

    @property
    def compared(self) -> tuple[str, ...]:
        """Return the methods that the default study compares; computed studies vary these."""
        named = [self.arms.get(name, {}).get("method", name) for name in self.default_arms]
        known = self.known_methods.items()
        return tuple(name for name, own in known if name in named and methods.trains(own))

    @property
    def default_arms(self) -> tuple[str, ...]:
        """Return the arms of `compare`: those declared, and every method from outside."""
        outside = [name for name in self.known_methods if name not in methods.METHODS]
        return tuple(dict.fromkeys((*self.studies.get(DEFAULT_STUDY, ()), *outside)))

    @property
    def study_arms(self) -> tuple[str, ...]:
        """Return the names of the chosen study's arms."""
        return self.known_studies[self.study]

    @property
    def study_runs(self) -> tuple[tuple[str, int], ...]:
        """Return (arm, seed) of each run of the chosen study."""
        return self.runs_of(self.study)

    def runs_of(self, study: str) -> tuple[tuple[str, int], ...]:
        """Return (arm, seed) of each run of a study."""
        plan, usual = self._plans.get(study), self.seeds[: self.seeds_of.get(study)]
        seeds = getattr(plan, "seeds", lambda cfg, arm: usual)
        every = {arm: seeds(self, arm) for arm in self.known_studies[study]}
        return tuple(
            (arm, seed)
            for arm, own in every.items()
            for seed in (own[:1] if self.arm(arm).is_one_model else own)
        )

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """Return the runs of the chosen study, each with its layout."""
        return tuple(self.member(arm, seed) for arm, seed in self.study_runs)

    def member(self, arm: str, seed: int) -> Member:
        """Return the run of an arm with a seed."""
        return Member(self.arm(arm), seed, self.of(arm).layout)

    @cached_property
    def sft_bases(self) -> dict[str, Layout]:
        """Return {name in tables: layout} of the SFT bases that the study's runs start from.

        `sft` is the testbed's own SFT base if a run starts from it, else the first run's; each
        other base has a name of its own.
        """
        found = {self._base_name(member.layout): member.layout for member in self.members}
        first = min(found, key=self._base_name(self.layout).__ne__, default="")
        return {SFT: found.pop(first, self.layout)} | found

    def base_of(self, arm: str) -> str:
        """Return the name in tables of the SFT base that an arm's runs start from."""
        name = self._base_name(self.of(arm).layout)
        return name if name in self.sft_bases else SFT

    def _base_name(self, layout: Layout) -> str:
        """Name an SFT base by its evaluation, or by the testbed if it is the testbed's own.

        A base has one evaluation for each pool, since lm-eval reads the pool's test pairs too.
        """
        name = layout.evaluation_name(None)
        return f"{SFT}@{self.testbed}" if name == SFT else name

    @property
    def evaluated(self) -> bool:
        """Tell whether the chosen study evaluates its runs on the test prompts."""
        return getattr(self.plan, "EVALUATED", True)

    @property
    def searches(self) -> bool:
        """Tell whether the chosen study searches for settings."""
        return getattr(self.plan, "SEARCHES", False)

    @property
    def searched(self) -> dict[str, Any] | None:
        """Return how the settings of the chosen study's arms were found; None if it searches."""
        return None if self.searches else self.provenance

    @property
    def companions(self) -> list[Path]:
        """List the folders of other studies' results that the report of `compare` also shows."""
        if self.study != DEFAULT_STUDY:
            return []
        names = [name for name, plan in self._plans.items() if getattr(plan, "COMPANION", False)]
        folders = [self.with_study(name).layout.results for name in names]
        return [folder for folder in folders if (folder / "meta.json").exists()]

    @property
    def plan(self) -> ModuleType | None:
        """Return the plan of the chosen study; None if it is declared."""
        return self._plans.get(self.study)

    @property
    def own_seeds(self) -> tuple[str, ...]:
        """Return the names of the studies that have seeds of their own."""
        return tuple(name for name, plan in self._plans.items() if hasattr(plan, "seeds"))

    def arms_of(self, study: str) -> dict[str, dict[str, Any]]:
        """Return the arms that a computed study computes."""
        return self._plans[study].arms(self)

    @property
    def compared_seeds(self) -> set[int]:
        """Return the seeds of every study but those that search, which may not use them."""
        searches = [name for name, plan in self._plans.items() if getattr(plan, "SEARCHES", False)]
        names = [name for name in self.own_seeds if name not in searches]
        return {*self.seeds, *(seed for name in names for seed in getattr(self, name).seeds or ())}

    def with_study(self, study: str) -> "Config":
        """Return these settings with another study chosen."""
        return self._replaced(study=study)

    @cached_property
    def known_studies(self) -> dict[str, tuple[str, ...]]:
        """Return {name: arms} of all studies, declared and computed."""
        computed = {name: members_of(plan, self) for name, plan in self._plans.items()}
        return computed | self.studies | {DEFAULT_STUDY: self.default_arms}

    @property
    def computed_studies(self) -> tuple[str, ...]:
        """Return the names of the computed studies: the folders of bench/studies."""
        return tuple(self._plans)

    @cached_property
    def computed_arms(self) -> dict[str, dict[str, Any]]:
        """Return {name: spec} of the arms that studies compute from the tuned settings.

        Studies share an arm of one name: the spec of the last study by name counts for all.
        """
        found = {}
        for plan in self._plans.values():
            found |= plan.arms(self)
        return found

    @cached_property
    def known_arms(self) -> dict[str, dict[str, Any]]:
        """Return {name: spec} of all arms: one per method, the computed and the declared ones."""
        plain = {method: {"method": method} for method in self.known_methods}
        known = plain | self.computed_arms | self.arms
        tried = {}
        for name in [name for name, spec in known.items() if spec.get("candidates")]:
            own = {"method": name} | known[name]
            candidates = own.pop("candidates")
            if not isinstance(candidates, dict):
                raise UserError(f"arms.{name}.candidates: write {{name: {{key: value}}, ...}}")
            for candidate, more in ({OWN: {}} | candidates).items():
                if not isinstance(more, dict):
                    raise UserError(f"arms.{name}.candidates.{candidate}: write {{key: value}}")
                tried[f"{name}-{TRY}-{candidate}"] = own | more
        return known | tried

    def tries(self, name: str) -> dict[str, str]:
        """Return {candidate: the arm that tries it} of an arm, its own settings first."""
        found = self.arm(name).candidates
        return {c: f"{name}-{TRY}-{c}" for c in (OWN, *found)} if found else {}

    @cached_property
    def tried(self) -> tuple[Member, ...]:
        """Return the runs that try the candidates of the chosen study's arms."""
        leaders = dict.fromkeys(self.arm(name).follows or name for name in self.study_arms)
        arms = [arm for name in leaders for arm in self.tries(name).values()]
        return tuple(self.member(arm, seed) for arm in arms for seed in self.pick_seeds)

    def has_arm(self, name: str) -> bool:
        """Tell whether an arm of this name exists, and its method too."""
        spec = {"method": name} | self.known_arms.get(name, {"method": None})
        return isinstance(spec["method"], str) and spec["method"] in self.known_methods

    def arm(self, name: str) -> Arm:
        """Return an arm by name; raise UserError, with the nearest known name, if it is unknown."""
        if name not in self._arms:
            self._arms[name] = self._made_arm(name)
        return self._arms[name]

    def _made_arm(self, name: str) -> Arm:
        """Make an arm: its method's tuned settings, with the arm's own overrides on top."""
        if name not in self.known_arms:
            raise UserError(f"unknown arm '{name}'" + nearest(name, self.known_arms))
        spec, where = {"method": name} | self.known_arms[name], f"arms.{name}"
        own = {key: spec.pop(key) for key in OF_ARM if key in spec}
        own["upstream"] = {
            key: spec.pop(key) for key in UPSTREAM if isinstance(spec.get(key), dict)
        }
        if not self.has_arm(name):
            if "method" not in self.known_arms[name]:
                raise UserError(f"arms.{name} names no method: add `method: dpo`, or another")
            known = nearest(str(own["method"]), self.known_methods)
            raise UserError(f"unknown method '{own['method']}' of arm '{name}'" + known)
        tuned, module = getattr(self, own["method"]), self.known_methods[own["method"]]
        settings = checked(module.Settings, merge(tuned.model_dump(), spec), where)
        own |= {"name": name, "needs": module.NEEDS, "settings": settings}
        own["trains"] = methods.trains(module)
        own["file"] = methods.named_by(own["method"], self.methods)
        return checked(Arm, own, where)

    def set_by(self, name: str) -> dict[str, Any]:
        """Return {setting: value} that an arm's spec sets, `reward.lr` of its reward model."""
        spec = self.known_arms.get(name, {})
        return dict(leaves({key: value for key, value in spec.items() if key not in OF_ARM}))

    def of(self, name: str) -> "Config":
        """Return the settings that make an arm's runs, with its own base, pairs and so on."""
        changed = self.arm(name).upstream
        if not changed:
            return self
        if name in self._variants:
            return self._variants[name]
        sections = {}
        for key, values in changed.items():
            old, where = getattr(self, key), f"arms.{name}.{key}"
            whole = merge(old.model_dump(round_trip=True), values)  # without computed fields
            sections[key] = checked(type(old), whole, where)
        self._variants[name] = variant = self._replaced(**sections)
        variant._root = self.root
        return variant

    @property
    def root(self) -> "Config":
        """Return the testbed's settings, if these are an arm's own; else these."""
        return self._root or self

    @property
    def writer(self) -> "Config":
        """Return the settings that make the SFT base which writes the answers of the pool."""
        return self.root.of(self.pairs.writer) if self.pairs.writer else self

    def changes(self, variant: "Config") -> list[str]:
        """List the overrides, as 'a.b=value', that turn these settings into ``variant``."""
        if variant is self:
            return []
        old = dict(leaves({name: self.section(name) for name in UPSTREAM}))
        new = leaves({name: variant.section(name) for name in UPSTREAM})
        return [f"{key}={flow(value)}" for key, value in new if old.get(key) != value]

    def section(self, name: str) -> Any:
        """Return a section as plain values (dicts, lists, numbers, text)."""
        return self._plain_values[name]

    @cached_property
    def _plain_values(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def decisive(self, study: str) -> dict[str, Any] | None:
        """Return all that a study's results depend on; None if the study or an arm is unknown."""
        names = self.known_studies.get(study)
        if names is None or not all(map(self.has_arm, names)):
            return None
        arms = [self.arm(name).model_dump(mode="json") for name in names]
        own = {name: value for name, value in self._plain_values.items() if name not in KEYLESS}
        return own | {"own": arms, "runs": self.runs_of(study)}

    def slice(self, step: str, arm: str | None = None) -> "Slice":
        """Return the part of the settings that a step may read (see READS)."""
        return Slice(self, step, arm)

    def _replaced(self, **update: Any) -> "Config":
        """Return a copy with other sections, without what was computed from the old ones."""
        copy = self.model_copy(update=update)
        for name in ("layout", "members", "tried", "sft_bases", "_plain_values"):
            copy.__dict__.pop(name, None)
        copy._variants, copy._arms = {}, {}
        return copy


class Slice:
    """Gives a step the sections that READS lists for it; raises AttributeError for any other."""

    def __init__(self, cfg: Config, step: str, arm: str | None = None):
        self._cfg, self._step, self._arm = cfg, step, arm

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_"):
            raise AttributeError(key)
        if key not in FREE and "*" not in READS[self._step] and key not in READS[self._step]:
            raise AttributeError(
                f"step '{self._step}' may not read '{key}': add it to RECIPES in core/layout.py"
            )
        return self.overridden() if key == "overrides" else getattr(self._cfg, key)

    def arm(self, name: str) -> Arm:
        """Return the arm of this step's run; a step that reads everything may ask for any arm."""
        known = {self._arm, *(self._cfg.tries(self._arm).values() if self._arm else ())}
        if "*" not in READS[self._step] and name not in known:
            raise AttributeError(
                f"step '{self._step}' of arm {self._arm} may not read arm '{name}'"
            )
        return self._cfg.arm(name)

    def values(self) -> dict[str, Any]:
        """Return all that the step can read, as plain values, for its hash.

        Includes the content of task files in `eval.tasks`.
        """
        reads, every = READS[self._step], type(self._cfg).model_fields
        names = [name for name in every if name not in UNHASHED] if "*" in reads else reads
        own = {name: self._cfg.section(name) for name in names if name in every}
        if "arm" in reads and self._arm in self._cfg.known_arms:
            own["arm"] = self._cfg.arm(self._arm).model_dump(mode="json", exclude={"file"})
            if leader := self._cfg.arm(self._arm).follows:
                followed = self._cfg.root.arm(leader)
                own["follows"] = followed.model_dump(mode="json", exclude={"file"})
        if "pairs" in own and self._cfg.pairs.writer:
            of_writer = ("model", "base", "sft")
            own["writer"] = [self._cfg.writer.section(name) for name in of_writer]
        tasks = self._cfg.eval.tasks if "eval" in own else ()
        files = {name: found for name in tasks if (found := content(name))}
        return own | ({"task_files": files} if files else {})

    def overridden(self) -> tuple[str, ...]:
        """List the overrides, as 'a.b=value', that change what this step reads."""
        return tuple(item for item in self._cfg.overrides if self._touches(item))

    def _touches(self, item: str) -> bool:
        head, *rest = item.split("=", 1)[0].split(".")
        reads = READS[self._step]
        if "*" in reads or head in UNHASHED or head in reads:
            return True
        if "arm" not in reads or self._arm not in self._cfg.known_arms:
            return False
        # the name of an arm may hold dots: arms.dpo-beta0.3.beta
        of_arm = head == "arms" and ".".join(rest).startswith(f"{self._arm}.")
        return of_arm or head == self._cfg.arm(self._arm).method
