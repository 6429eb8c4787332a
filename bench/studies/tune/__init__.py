"""Search for settings: as many random trials for each method, drawn from its own space."""

import math
from random import Random

from pydantic import Field, NonNegativeInt, PositiveFloat

from bench.core.names import nearest
from bench.core.schema import Factors, Names, Section, Seed, UserError
from bench.core.streams import stream
from bench.settings.checks import check_method
from bench.studies.scaling import rounded

EVALUATED = False  # trials are judged on validation prompts, by the runs' own curves
SEARCHES = True  # its arms are no result of an earlier search
REACH = 10  # factor either way of a space that no file declares


class Settings(Section):
    """The study `tune`: as many trials for each method, drawn from its own space."""

    only: Names = ()
    """Methods to search, and to run finals of; the others keep what an earlier search picked.
    Empty: every method that has a space."""
    trials: int = Field(16, ge=1)
    """Trials of each method."""
    more: dict[str, NonNegativeInt] = Field(default_factory=dict)
    """By method its trials beyond these, so that a cheap method's cost as much as a dear one's."""
    epochs: dict[str, Factors] = Field(default_factory=dict)
    """By method the epochs at which each trial is read: it trains for the most of them, at a
    constant learning rate, so that it begins as a shorter training would. Without them it trains
    for the method's own, and is read at the end."""
    best: int = Field(4, ge=1)
    """Trials of each method that the study `finals` runs again."""
    seed: Seed = 100
    """Seed of the draws, and of the trials' pairs, training and reward model: none that
    another study but `finals` uses."""
    spaces: dict[str, dict[str, tuple[PositiveFloat, PositiveFloat]]] = Field(default_factory=dict)
    """By method and setting the lowest and the highest value, between which trials are drawn
    log-uniformly, and rounded for whole numbers; `reward.lr` is of the reward model. Without them,
    a tenth to ten times the method's learning rate and strength."""


def arms(cfg) -> dict[str, dict]:
    """Return each method's trials: independent draws, log-uniform in its declared space."""
    found = {}
    for method, space in chosen(cfg, cfg.tune.spaces).items():
        luck = stream("tune", seed=cfg.tune.seed, method=method)
        for number in range(1, count(cfg, method) + 1):
            drawn = {key: draw(cfg, luck, method, key, *ends) for key, ends in space.items()}
            found[f"{method}-trial{number:02d}"] = trial(cfg, method, drawn)
    return found


def chosen(cfg, by_method: dict) -> dict:
    """Return the entries of the methods that are searched: of `tune.only`, or all."""
    return {m: own for m, own in by_method.items() if not cfg.tune.only or m in cfg.tune.only}


def count(cfg, method: str) -> int:
    """Return how many trials a method has."""
    return cfg.tune.trials + cfg.tune.more.get(method, 0)


def trial(cfg, method: str, drawn: dict) -> dict:
    """Return the spec of a trial: what was drawn, its epochs, and where its curve is measured."""
    read = cfg.tune.epochs.get(method)
    length = {"epochs": max(read)} if read else {}
    constant = {"decay": 0.0} if hasattr(getattr(cfg, method), "decay") else {}
    spec = {"method": method, "curve": points(read), "tasks": False}
    scored = {"reward.decay": 0.0} if any(key.startswith("reward.") for key in drawn) else {}
    return spec | constant | length | nested(drawn | scored)


def points(read: tuple[float, ...] | None) -> tuple[float, ...]:
    """Return the shares of a trial's steps at which its curve is measured."""
    return (0.0, *sorted(epochs / max(read) for epochs in read)) if read else (0.0, 1.0)


def nested(drawn: dict) -> dict:
    """Return settings with those of the reward model, `reward.lr`, in a section of their own."""
    found: dict = {}
    for key, value in drawn.items():
        section, dot, name = key.rpartition(".")
        place = found.setdefault(section, {}) if dot else found
        place[name] = value
    return found


def draw(cfg, luck: Random, method: str, key: str, low: float, high: float) -> float:
    """Draw a log-uniform value between two ends; a whole number where the setting is one."""
    value = math.exp(luck.uniform(math.log(low), math.log(high)))
    return round(value) if isinstance(known(cfg, method, key), int) else rounded(value)


def known(cfg, method: str, key: str):
    """Return the present value of a setting of a space; raises UserError if there is none."""
    section, _, name = key.rpartition(".")
    where = getattr(cfg, "reward" if section == "reward" else method)
    fields = type(where).model_fields
    if name not in fields or section not in ("", "reward"):
        raise UserError(f"unknown key 'tune.spaces.{method}.{key}'" + nearest(name, fields))
    return getattr(where, name)


def members(cfg) -> tuple[str, ...]:
    """Return the names of the trials, since this study has no other arms."""
    return tuple(arms(cfg))


def seeds(cfg, arm: str) -> tuple[int, ...]:
    """Return the one seed of all trials, which no report shows."""
    return (cfg.tune.seed,)


def completed(cfg) -> Settings:
    """Return the section with a space for each method whose file declares none."""
    spaces = dict(cfg.tune.spaces)
    for method in cfg.compared:
        own = getattr(cfg, method)
        if method not in spaces and own.beta:
            centres = {"lr": own.lr, "beta": own.beta}
            spaces[method] = {key: (c / REACH, c * REACH) for key, c in centres.items()}
    return cfg.tune.model_copy(update={"spaces": spaces})


def check(cfg) -> None:
    """Refuse spaces that nothing can be drawn from, and a seed that reports use."""
    for method, space in cfg.tune.spaces.items():
        check_space(cfg, method, space)
    for key in ("more", "epochs", "only"):
        for method in getattr(cfg.tune, key):
            check_method(cfg, method, f"tune.{key}")
            if method not in cfg.tune.spaces:
                raise UserError(
                    f"tune.{key}.{method}: {method} has no space: add tune.spaces.{method}"
                )
    if cfg.study == "tune" and not set(cfg.compared) <= set(cfg.tune.spaces):
        raise UserError(
            f"testbed '{cfg.testbed}' has no tune.spaces for a method whose beta is 0: add them to "
            "the testbed's file"
        )
    check_shared(cfg.tune.spaces)
    if cfg.tune.seed in cfg.compared_seeds:
        raise UserError(
            f"seed {cfg.tune.seed} is tune.seed, on which the settings were picked: take another"
        )


def check_space(cfg, method: str, space: dict[str, tuple[float, float]]) -> None:
    """Refuse a space that is empty, has an unknown setting, lacks lr or beta, or is read along the
    way at lengths that it draws."""
    check_method(cfg, method, "tune.spaces")
    where = f"tune.spaces.{method}"
    for key, (low, high) in space.items():
        known(cfg, method, key)
        if low >= high:
            raise UserError(f"{where}.{key}=[{low:g}, {high:g}] is empty: the lower end first")
    if not {"lr", "beta"} <= space.keys():
        raise UserError(f"{where} must hold lr and beta: the study `tune` draws both")
    if method in cfg.tune.epochs and "epochs" in space:
        raise UserError(f"{where}.epochs and tune.epochs.{method} both set its epochs: drop one")


def check_shared(spaces: dict) -> None:
    """Refuse two methods that search the same setting of what they share."""
    owners: dict[str, str] = {}
    for method, space in spaces.items():
        for key in (key for key in space if "." in key):
            other = owners.setdefault(key, method)
            if other != method:
                raise UserError(
                    f"{other} and {method} both search {key}, of which a testbed has one: drop it "
                    "from one of their tune.spaces"
                )
