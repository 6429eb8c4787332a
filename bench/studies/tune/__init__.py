"""Search for settings: as many random trials for each method, drawn from its own space."""

import math
from random import Random

from pydantic import Field, PositiveFloat

from bench.core.names import nearest
from bench.core.schema import Section, UserError
from bench.core.streams import stream
from bench.settings.checks import ENDS
from bench.studies.scaling import rounded

EVALUATED = False  # trials are judged on validation prompts, by the runs' own curves
REACH = 10  # factor either way of a space that no file declares


class Settings(Section):
    """The study `tune`: as many trials for each method, drawn from its own space."""

    trials: int = Field(16, ge=1)
    """Trials of each method."""
    seed: int = 100
    """Seed of the draws, and of the trials' pairs, training and reward model: none of `seeds`."""
    spaces: dict[str, dict[str, tuple[PositiveFloat, PositiveFloat]]] = Field(default_factory=dict)
    """By method and setting the lowest and the highest value, between which trials are drawn
    log-uniformly; without one, a tenth to ten times the method's learning rate and strength."""


def arms(cfg) -> dict[str, dict]:
    """Return each method's trials: independent draws, log-uniform in its declared space."""
    found = {}
    for method, space in cfg.tune.spaces.items():
        luck = stream("tune", seed=cfg.tune.seed, method=method)
        for number in range(1, cfg.tune.trials + 1):
            drawn = {key: log_uniform(luck, *bounds) for key, bounds in space.items()}
            spec = {"method": method, "curve": ENDS, "tasks": False}
            found[f"{method}-trial{number:02d}"] = spec | drawn
    return found


def log_uniform(luck: Random, low: float, high: float) -> float:
    """Draw a log-uniform value between two ends."""
    return rounded(math.exp(luck.uniform(math.log(low), math.log(high))))


def members(cfg) -> tuple[str, ...]:
    """Return the names of the trials, since this study has no other arms."""
    return tuple(arms(cfg))


def seeds(cfg, arm: str) -> tuple[int, ...]:
    """Return the one seed of all trials, which no report shows."""
    return (cfg.tune.seed,)


def completed(cfg) -> Settings:
    """Return the section with a space for each method whose file declares none."""
    spaces = dict(cfg.tune.spaces)
    for method in cfg.known_methods:
        own = getattr(cfg, method)
        if method not in spaces and own.beta:
            centres = {"lr": own.lr, "beta": own.beta}
            spaces[method] = {key: (c / REACH, c * REACH) for key, c in centres.items()}
    return cfg.tune.model_copy(update={"spaces": spaces})


def check(cfg) -> None:
    """Refuse spaces that nothing can be drawn from, and a seed that reports use."""
    for method, space in cfg.tune.spaces.items():
        check_space(cfg, method, space)
    if cfg.study == "tune" and set(cfg.tune.spaces) != set(cfg.known_methods):
        raise UserError(
            f"testbed '{cfg.testbed}' has no tune.spaces for a method whose beta is 0: add them to "
            "the testbed's file"
        )
    if cfg.tune.seed in cfg.seeds:
        raise UserError(
            f"seed {cfg.tune.seed} is tune.seed, on which the settings were picked: take another"
        )


def check_space(cfg, method: str, space: dict[str, tuple[float, float]]) -> None:
    """Refuse a space that is empty, has an unknown setting, or lacks lr or beta."""
    if method not in cfg.known_methods:
        known = nearest(method, cfg.known_methods)
        raise UserError(f"unknown method '{method}' in tune.spaces" + known)
    known, where = cfg.known_methods[method].Settings.model_fields, f"tune.spaces.{method}"
    for key, (low, high) in space.items():
        if key not in known:
            raise UserError(f"unknown key '{where}.{key}'" + nearest(key, known))
        if low >= high:
            raise UserError(f"{where}.{key}=[{low:g}, {high:g}] is empty: the lower end first")
    if not {"lr", "beta"} <= space.keys():
        raise UserError(f"{where} must hold lr and beta: the study `tune` draws both")
