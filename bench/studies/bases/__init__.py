"""Train every method from several SFT bases: on how many of them does the order hold?"""

from pydantic import Field

from bench.core.schema import Section, Seeds, UserError
from bench.settings.checks import ENDS, check_own_seeds


class Settings(Section):
    """The study `bases`: every method from several SFT bases."""

    n: int = Field(10, ge=2)
    """SFT bases: the testbed's own, and others that differ in their seeds alone."""
    seeds: Seeds = (1, 2)
    """Seeds of the runs of each method from each base."""


def arms(cfg) -> dict[str, dict]:
    """Return each method from each base but the testbed's own, from which it starts as tuned."""
    return {
        f"{method}-sft{number}": {"method": method, "curve": ENDS, "tasks": False}
        | seeded(cfg, number)
        for number in range(2, cfg.bases.n + 1)
        for method in cfg.compared
    }


def seeded(cfg, number: int) -> dict[str, dict]:
    """Return what makes a base: other seeds of SFT, and of pretraining where there is any."""
    found = {"sft": {"seed": cfg.sft.seed + number - 1}}
    return found | ({"base": {"seed": cfg.base.seed + number - 1}} if cfg.base.steps else {})


def seeds(cfg, arm: str) -> tuple[int, ...]:
    """Return the seeds of the runs from each base."""
    return cfg.bases.seeds


def check_several(cfg, key: str) -> None:
    """Raise UserError if seeds make no other SFT bases, since none is trained here."""
    if not (cfg.sft.steps or cfg.base.steps):
        raise UserError(f"{key}: with sft: skip there is one SFT base, and nothing to cross")


def check(cfg) -> None:
    """Refuse seeds that repeat, and one base for all."""
    if cfg.study == "bases":
        check_several(cfg, "bases.n")
    check_own_seeds("bases.seeds", cfg.bases.seeds)
