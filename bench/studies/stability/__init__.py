"""Train each method on a grid of learning rate x strength around its tuned setting.

Every method has a learning rate `lr` and a strength `beta`, so all get the same grid of cells. The
rates that only some methods have, the critic's and the reward model's, are varied beside the grid.
"""

from collections.abc import Iterator

from bench.core.schema import Factors, Section, Seeds, UserError
from bench.core.thresholds import GRID_CURVE
from bench.settings.checks import check_own_seeds
from bench.studies.scaling import rounded, scaled, without_strength

EVALUATED = False  # cells are judged on validation prompts, by the runs' own curves
COMPANION = True


class Settings(Section):
    """The study `stability`: factors on each method's tuned settings."""

    lr: Factors = (1 / 3, 1, 3, 10)
    """Factors on each method's learning rate."""
    beta: Factors = (1 / 3, 1, 3)
    """Factors on each method's strength."""
    own: Factors = (1 / 3, 3, 10)
    """Factors on the critic's and on the reward model's learning rate, one at a time, of the
    methods that have them."""
    seeds: Seeds | None = None
    """Seeds of each cell; null: the first five of `seeds`."""


def arms(cfg) -> dict[str, dict]:
    """Return every cell of the grid but its centre, which is the method as tuned, and each method
    at other rates of its critic and of its reward model."""
    found = {}
    for method in cfg.compared:
        cells = scaled(cfg, method, lr=cfg.stability.lr, beta=cfg.stability.beta)
        for name, spec in (*cells, *_own_rates(cfg, method)):
            found[name] = spec | {"curve": GRID_CURVE, "tasks": False}
    return found


def _own_rates(cfg, method: str) -> Iterator[tuple[str, dict]]:
    """Yield (name, spec) of a method at other rates of its critic and of its reward model."""
    factors = [factor for factor in cfg.stability.own if factor != 1]
    if getattr(getattr(cfg, method), "critic_lr", None):
        yield from scaled(cfg, method, critic_lr=factors)
    if "reward" in cfg.known_methods[method].NEEDS:
        for factor in factors:
            spec = {"method": method, "reward": {"lr": rounded(cfg.reward.lr * factor)}}
            yield f"{method}-reward.lrx{factor:.2g}", spec


def seeds(cfg, arm: str) -> tuple[int, ...]:
    """Return the seeds of each cell."""
    return cfg.seeds[:5] if cfg.stability.seeds is None else cfg.stability.seeds


def check(cfg) -> None:
    """Refuse seeds that repeat, and a strength of 0, which no factor changes."""
    check_own_seeds("stability.seeds", seeds(cfg, ""))
    if cfg.study == "stability" and (method := without_strength(cfg)):
        raise UserError(f"{method}.beta is 0: study 'stability' multiplies it by factors")
