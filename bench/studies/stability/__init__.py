"""Train each method on a grid of learning rate x strength around its tuned setting.

Every method has a learning rate `lr` and a strength `beta`, so all get the same grid of cells.
"""

from pydantic import Field

from bench.core.schema import Section, UserError
from bench.core.thresholds import GRID_CURVE
from bench.settings.sections import Factors
from bench.studies.scaling import scaled, without_strength

EVALUATED = False  # cells are judged on validation prompts, by the runs' own curves
COMPANION = True


class Settings(Section):
    """The study `stability`: factors on each method's tuned settings."""

    lr: Factors = (1 / 3, 1, 3, 10)
    """Factors on each method's learning rate."""
    beta: Factors = (1 / 3, 1, 3)
    """Factors on each method's strength."""
    centre_seeds: int = Field(3, ge=1)
    """Seeds of the cells at the tuned strength; the others have one."""


def arms(cfg) -> dict[str, dict]:
    """Return every cell of the grid but its centre, which is the method as tuned."""
    found = {}
    for method in cfg.compared:
        for name, spec in scaled(cfg, method, lr=cfg.stability.lr, beta=cfg.stability.beta):
            found[name] = spec | {"curve": GRID_CURVE, "tasks": False}
    return found


def seeds(cfg, arm: str) -> tuple[int, ...]:
    """Return one seed per cell, and more at the tuned strength."""
    in_centre = arm in cfg.compared or "-beta" not in arm
    return cfg.seeds[: cfg.stability.centre_seeds] if in_centre else cfg.seeds[:1]


def check(cfg) -> None:
    """Refuse a strength of 0, which no factor changes."""
    if cfg.study == "stability" and (method := without_strength(cfg)):
        raise UserError(f"{method}.beta is 0: study 'stability' multiplies it by factors")
