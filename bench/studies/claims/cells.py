"""Plan the map: PPO and DPO by number of labels, share of flips and origin. Imports nothing heavy.

A cell has runs from few SFT bases. Fewer labels are read more often (``scaling.from_few``).
"""

from dataclasses import dataclass
from itertools import product

from bench.studies.claims.conditions import (
    Spec,
    crossed,
    elsewhere,
    few,
    foreign,
    writers,
)
from bench.studies.scaling import from_few

KEY = "map"  # what `claims.only` calls it
SHARES, FLIPS, ORIGINS = (10, 4, 2, 1), (0, 10, 20, 40), ("own", "foreign")
UNITS = 2  # SFT bases of a cell
METHODS = ("ppo", "dpo")
NOISY = (20, 40)  # flips at which strength or rate is picked anew


@dataclass(frozen=True)
class Cell:
    """A point of the map. share: all labels, divided by this; flip: in a hundred; origin: who wrote
    the pairs, the own SFT base or another."""

    share: int
    flip: int
    origin: str

    @property
    def ending(self) -> str:
        """Return what the name of its condition ends with: '-few4-flip20-foreign'."""
        parts = [f"few{self.share}" * (self.share > 1), f"flip{self.flip}" * (self.flip > 0)]
        parts.append(self.origin * (self.origin != "own"))
        return "".join(f"-{part}" for part in parts if part)


CELLS = [Cell(*of) for of in product(SHARES, FLIPS, ORIGINS)]


def arms(cfg, bases) -> dict[str, dict]:
    """Return the arms of every cell."""
    found: dict[str, dict] = {}
    for cell in CELLS:
        for number, method in product(bases_of(cell, list(bases)), METHODS):
            own = {f"{method}{cell.ending}": spec(cfg, method, cell, number)}
            found |= crossed(cfg, own, [number])
    return found | writers(cfg, bases)


def bases_of(cell: Cell, bases: list[int]) -> list[int]:
    """Return the SFT bases of a cell: over the cells of each share, flip and origin all of them, so
    that no base stands for one of these."""
    start = SHARES.index(cell.share) + FLIPS.index(cell.flip) + ORIGINS.index(cell.origin)
    apart = max(1, len(bases) // UNITS)
    return [bases[(start + k * apart) % len(bases)] for k in range(min(UNITS, len(bases)))]


def spec(cfg, method: str, cell: Cell, number: int = 1) -> Spec:
    """Return the spec of a method in a cell, for one SFT base.

    Where many labels are turned round, or another model wrote the pairs, strength or rate is picked
    anew, from all labels; if both, it is the pick for the flips.
    """
    found: Spec = {"method": method}
    if cell.share > 1:
        found |= from_few(cfg, method, few(cfg, cell.share))
    if cell.flip:
        found["flip"] = cell.flip
    other, flipped = cell.origin != "own", cell.flip in NOISY
    if flipped or other:
        leader = f"{method}-flip{cell.flip}" if flipped else f"{method}-foreign"
        leads = f"{method}{cell.ending}" == leader and (flipped or number == 1)
        found |= elsewhere(cfg, method) if leads else {"follows": leader}
    return found | (foreign(number) if other else {})
