"""Train every method on models of several sizes: does the winner change?

Learning rates that suit one size do not suit another. Each size multiplies all of them by a factor,
and each method trains at several rates around its own, which are candidates of one arm.
"""

from typing import Any

from pydantic import Field, PositiveFloat

from bench.core.names import NAME
from bench.core.schema import Section, UserError
from bench.settings.checks import ENDS, check_own_seeds
from bench.settings.sections import Factors
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
    lr: Factors = (1 / 3, 1, 3)
    """Factors on each method's learning rate on a model of another size. A run counts at the one
    that gains most on validation prompts with the other seeds."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Seeds of the runs of each method on each model."""


def arms(cfg) -> dict[str, dict]:
    """Return each method on each other model, at each learning rate."""
    found = {}
    for name, size in cfg.sizes.models.items():
        upstream = {
            section: {"lr": rounded(getattr(cfg, section).lr * size.rate)}
            for section in ("base", "sft", "reward")
        }
        for method in cfg.compared:
            for factor in cfg.sizes.lr:
                of = f"{method}-{name}"
                spec = {"method": method, "model": size.model, "curve": ENDS, "tasks": False}
                spec |= upstream | _rates(getattr(cfg, method), size.rate, factor)
                if factor == 1:
                    found[of] = spec
                else:
                    found[f"{of}-lrx{factor:.2g}"] = spec | {"candidate_of": of}
    return found


def _rates(tuned, rate: float, factor: float) -> dict[str, float]:
    """Return a method's learning rates on a model: the factor is on `lr` alone."""
    known = {key: getattr(tuned, key) for key in RATES if getattr(tuned, key, None)}
    return {
        key: rounded(value * rate * (factor if key == "lr" else 1)) for key, value in known.items()
    }


def seeds(cfg, arm: str) -> tuple[int, ...]:
    """Return the seeds of the runs on each model."""
    return cfg.sizes.seeds


def check(cfg) -> None:
    """Refuse names that cannot name a folder, seeds that repeat, and a study of one size."""
    if wrong := [name for name in cfg.sizes.models if not NAME.fullmatch(name)]:
        raise UserError(f"sizes.models.{wrong[0]}: use letters, digits, '.', '_' and '-' in names")
    check_own_seeds("sizes.seeds", cfg.sizes.seeds)
    if cfg.study != "sizes":
        return
    if not cfg.sizes.models:
        raise UserError(
            f"testbed '{cfg.testbed}' has no sizes.models: name some, for example "
            "sizes.models.small.model.hidden=32"
        )
    if 1 not in cfg.sizes.lr:
        raise UserError("sizes.lr lacks 1, each method's own learning rate: add it")
