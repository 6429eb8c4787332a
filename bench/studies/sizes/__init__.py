"""Train every method on models of several sizes: does the winner change?

Learning rates that suit one size do not suit another. Each size multiplies all of them by a factor,
and each method trains at several rates around its own, which are candidates of one arm.
"""

from typing import Any

from pydantic import Field, PositiveFloat

from bench.core.names import NAME, nearest
from bench.core.schema import Factors, Names, Section, Seeds, UserError
from bench.settings.checks import ENDS, check_own_seeds
from bench.studies.scaling import rounded

RATES = ("lr", "critic_lr")  # the learning rates of a method


class Size(Section):
    """A model of another size than the testbed's."""

    model: dict[str, Any]
    """Settings of `model` that differ from the testbed's."""
    rate: PositiveFloat = 1.0
    """Factor on every learning rate: of pretraining, SFT, reward model, critic and method."""


class Settings(Section):
    """The study `sizes`: every method on models of other sizes, at several learning rates."""

    models: dict[str, Size] = Field(default_factory=dict)
    """Models by name, beside the testbed's own. `model`: what differs in the settings of that name;
    `rate`: a factor on every learning rate (of pretraining, SFT, reward model, critic, method)."""
    only: Names = ()
    """Names of the models to train, as a part of the study; empty: all of them."""
    lr: Factors = (1 / 3, 1, 3)
    """Factors on each method's learning rate that are tried on a model of another size; 1 is always
    tried."""
    seeds: Seeds = (1, 2, 3, 4, 5)
    """Seeds of the runs of each method on each model."""


def members(cfg) -> tuple[str, ...]:
    """Return the methods as tuned, and each on the models that the settings ask for."""
    asked = cfg.sizes.only or cfg.sizes.models
    return (*cfg.compared, *(f"{method}-{name}" for name in asked for method in cfg.compared))


def arms(cfg) -> dict[str, dict]:
    """Return each method on each other model, with learning rates to try."""
    found = {}
    for name, size in cfg.sizes.models.items():
        upstream = {
            section: {"lr": rounded(getattr(cfg, section).lr * size.rate)}
            for section in ("base", "sft", "reward")
        }
        for method in cfg.compared:
            tuned = getattr(cfg, method)
            rates = _rates(tuned, size.rate)
            tried = {
                f"lrx{factor:.2g}": {"lr": rounded(rates["lr"] * factor)}
                for factor in cfg.sizes.lr
                if factor != 1
            }
            spec = {"method": method, "model": size.model, "curve": ENDS, "tasks": False}
            found[f"{method}-{name}"] = spec | upstream | rates | {"candidates": tried}
    return found


def _rates(tuned, rate: float) -> dict[str, float]:
    """Return a method's learning rates on a model."""
    known = {key: getattr(tuned, key) for key in RATES if getattr(tuned, key, None)}
    return {key: rounded(value * rate) for key, value in known.items()}


def seeds(cfg, arm: str) -> tuple[int, ...]:
    """Return the seeds of the runs on each model."""
    return cfg.sizes.seeds


def check(cfg) -> None:
    """Refuse names that cannot name a folder, seeds that repeat, and a study of one size."""
    if wrong := [name for name in cfg.sizes.models if not NAME.fullmatch(name)]:
        raise UserError(f"sizes.models.{wrong[0]}: use letters, digits, '.', '_' and '-' in names")
    for name in cfg.sizes.only:
        if name not in cfg.sizes.models:
            raise UserError(
                f"unknown model '{name}' in sizes.only" + nearest(name, cfg.sizes.models)
            )
    check_own_seeds("sizes.seeds", cfg.sizes.seeds)
    if cfg.study != "sizes":
        return
    others = [study for study in cfg.computed_studies if study != "sizes"]
    for arm in arms(cfg):
        if clash := next((study for study in others if arm in cfg.arms_of(study)), None):
            raise UserError(f"{arm} is an arm of study '{clash}': choose another name of the size")
    made = [cfg.layout.sft]
    for name in cfg.sizes.models:
        own = cfg.of(f"{cfg.compared[0]}-{name}").layout.sft
        if own in made:
            raise UserError(
                f"sizes.models.{name} makes the same SFT base as another size, or as the testbed: "
                "change its model"
            )
        made.append(own)
    if not cfg.sizes.models:
        raise UserError(
            f"testbed '{cfg.testbed}' has no sizes.models: name some, for example "
            "sizes.models.small.model.hidden=32"
        )
