"""Load settings: a testbed's files, with overrides on top.

    cfg = load("micro", ["dpo.lr=2e-5", "seeds=[7]"], PLANS)

The result is frozen. An unknown key, testbed, arm or method raises UserError: one line that names
the nearest known one. Steps call ``bench.studies.load``, which adds the studies' plans.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Literal

from pydantic import Field, create_model

from bench import methods
from bench.core.names import nearest
from bench.core.schema import UserError
from bench.settings import checks
from bench.settings.config import RESOURCES, Config
from bench.settings.layers import layers, name_of, renamed_sources
from bench.settings.overrides import flow, leaves, merge, parse
from bench.settings.sections import Core, Files
from bench.settings.validation import checked
from bench.worlds import WORLDS, world

SIZES = ("batch", "minibatch", "micro_batch", "warmup")  # that further methods inherit
KIND = "World of the testbed: a package of bench/worlds."


def load(
    testbed: str, overrides: Iterable[str] = (), plans: Mapping[str, ModuleType] | None = None
) -> Config:
    """Return the settings of a testbed with overrides such as 'dpo.lr=2e-5', checked.

    testbed: the name of a built-in testbed, or the path of a YAML file; plans: {name: module} of
    the computed studies. Raises UserError, in one line, for any setting that cannot work.
    """
    plans, file = plans or {}, layers(testbed)
    above: dict = {}
    for item in overrides:
        above = merge(above, parse(item, merge(file, above)))
    own = merge(renamed_sources(file, above, files=True), above)
    cfg = validated(testbed, own, plans)
    cfg._plain = complete(testbed, file, plans)
    cfg._overrides = tuple(overrides_of(cfg, file))
    for plan in plans.values():
        if hasattr(plan, "check"):
            plan.check(cfg)
    checks.check(cfg)
    return cfg


def complete(testbed: str, values: dict, plans: Mapping[str, ModuleType]) -> Config | None:
    """Return the settings as a Config; None if they are incomplete without the overrides."""
    try:
        return validated(testbed, values, plans)
    except UserError:
        return None


def validated(testbed: str, values: dict, plans: Mapping[str, ModuleType]) -> Config:
    """Return the settings as a Config; each study's plan fills in its own section."""
    schema = config_class(values, plans)
    if "testbed" in values:
        raise UserError("testbed is no setting of a file: choose it with --testbed (testbed=...)")
    values = inherited(values, methods.known(files_of(values)))
    cfg = checked(schema, values | {"testbed": name_of(testbed)}, "")
    cfg._source, cfg._plans = testbed, plans
    shown = {"testbed", *RESOURCES}  # round_trip: without computed fields, which nobody can set
    cfg._declared = cfg.model_dump(mode="json", exclude=shown, round_trip=True)
    for name, plan in plans.items():
        if hasattr(plan, "completed"):
            cfg = cfg._replaced(**{name: plan.completed(cfg)})
    return cfg


def inherited(values: dict, known: Mapping[str, ModuleType]) -> dict:
    """Give further methods the testbed's sizes, where nobody set theirs.

    They are those of PPO if a method samples answers, else those of DPO; if it cannot have them, it
    keeps its own.
    """
    out = dict(values)
    for name, module in known.items():
        own, of = values.get(name) or {}, "ppo" if methods.head_of(module) == "rollout" else "dpo"
        theirs = values.get(of)
        if name in methods.FIRST or not (isinstance(own, dict) and isinstance(theirs, dict)):
            continue
        fields = module.Settings.model_fields
        sizes = {key: theirs[key] for key in SIZES if key in theirs and key in fields}
        group = own.get("answers", fields["answers"].default) if "answers" in fields else 1
        for key, size in sizes.items():
            if key != "warmup" and isinstance(size, int) and isinstance(group, int) and group > 0:
                sizes[key] = size - size % group  # whole groups of answers
        try:
            checked(module.Settings, sizes | own, name)
        except UserError:
            continue
        out[name] = sizes | own
    return out


def overrides_of(cfg: Config, file: dict) -> Iterator[str]:
    """Yield what differs from the testbed's file; for an added method, from its defaults."""
    usual = cfg._plain
    if usual and usual.methods != cfg.methods:
        yield f"methods={flow(list(cfg.methods))}"
        usual = complete(cfg.source, file | {"methods": cfg.methods}, cfg._plans)
    yield from difference(cfg, usual)


def difference(cfg: Config, plain: Config | None) -> Iterator[str]:
    """Yield the overrides that change a value, one 'a.b=value' for each.

    Leaves out RESOURCES, on which no result depends, and what a study fills in by itself.
    """
    old = dict(leaves(plain._declared)) if plain else {}
    for key, value in leaves(cfg._declared):
        if key not in old or old[key] != value:
            yield f"{key}={flow(value)}"


def config_class(values: dict, plans: Mapping[str, ModuleType]) -> type[Config]:
    """Return a Config class with sections for the testbed's world, each method and each study."""
    data = values.get("data", {})
    kind = data.get("kind", "") if isinstance(data, dict) else ""
    if not kind:
        raise UserError(
            "the testbed sets no data.kind: write `extends: smol-hub` for data of your own, or "
            "`extends: micro` for the generated world"
        )
    if kind not in WORLDS:
        raise UserError(f"unknown data.kind '{kind}'" + nearest(str(kind), WORLDS))
    return _config_class(kind, methods.stamped(files_of(values)), tuple(plans.items()))


def files_of(values: dict) -> tuple[str, ...]:
    """Return the paths of methods from outside the package."""
    return checked(Files, {k: values[k] for k in Files.model_fields if k in values}, "").methods


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
