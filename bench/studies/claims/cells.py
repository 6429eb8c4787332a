"""Plan the map: PPO and DPO by number of labels, share of flips and origin. Imports nothing heavy.

A cell has runs from few SFT bases. Fewer labels are read in as many optimiser steps as all.
"""

from dataclasses import dataclass
from itertools import product

from bench.studies.claims.crossing import crossed

KEY = "map"  # what `claims.only` calls it
SHARES, FLIPS, ORIGINS = (8, 4, 2, 1), (0, 10, 20, 40), ("own", "foreign")
UNITS = 2  # SFT bases of a cell
METHODS = ("ppo", "dpo")


@dataclass(frozen=True)
class Cell:
    """A point of the map. share: all labels, divided by this; flip: in a hundred; origin: who wrote
    the pairs, the own SFT base or another."""

    share: int
    flip: int
    origin: str

    @property
    def ending(self) -> str:
        """Return what the name of its condition ends with: '-few8-flip20-foreign'."""
        parts = [f"few{self.share}" * (self.share > 1), f"flip{self.flip}" * (self.flip > 0)]
        parts.append(self.origin * (self.origin != "own"))
        return "".join(f"-{part}" for part in parts if part)


CELLS = [Cell(*of) for of in product(SHARES, FLIPS, ORIGINS)]


def arms(cfg, bases) -> dict[str, dict]:
    """Return the arms of every cell."""
    found: dict[str, dict] = {}
    for cell in CELLS:
        for number, method in product(bases_of(cell, list(bases)), METHODS):
            spec = _spec(cfg, method, cell, number)
            found |= crossed(cfg, {f"{method}{cell.ending}": spec}, [number])
    return found | writers(cfg, bases)


def bases_of(cell: Cell, bases: list[int]) -> list[int]:
    """Return the SFT bases of a cell: over the cells of each share, flip and origin all of them, so
    that no base stands for one of these."""
    start = SHARES.index(cell.share) + FLIPS.index(cell.flip) + ORIGINS.index(cell.origin)
    apart = max(1, len(bases) // UNITS)
    return [bases[(start + k * apart) % len(bases)] for k in range(min(UNITS, len(bases)))]


def _spec(cfg, method: str, cell: Cell, number: int) -> dict:
    spec: dict[str, object] = {"method": method}
    if cell.share > 1:
        epochs = round(getattr(cfg, method).epochs * cell.share, 2)
        spec |= {"n": cfg.pairs.n // cell.share, "epochs": epochs}
    if cell.flip:
        spec["flip"] = cell.flip
    if cell.origin != "own":
        spec["pairs"] = {"writer": writer(number)}
    return spec


def writer(number: int) -> str:
    """Return the arm whose SFT base writes the foreign pairs of an SFT base."""
    return "writer" if number == 1 else f"writer-sft{number}"


def writers(cfg, bases) -> dict[str, dict]:
    """Return the arms whose SFT bases write foreign pairs: SFT of the same pretrained model, with
    another seed, for a quarter of the steps. No run of theirs is trained."""
    found = {}
    for number in bases:
        (seeded,) = crossed(cfg, {"x": {}}, [number]).values()
        base = {"base": seeded["base"]} if "base" in seeded else {}
        sft = {"steps": max(1, cfg.sft.steps // 4), "seed": cfg.sft.seed + 1000}
        found[writer(number)] = {"method": "dpo", "sft": sft} | base
    return found
