"""Test what popular articles say of DPO and PPO, each claim as an experiment declared beforehand.

A claim is a module of `tested`; adding one is adding a file. All are tested from several SFT bases,
which are the units, and share the runs that they have in common with each other and with other
studies.
"""

import sys
from pathlib import Path

from pydantic import Field, model_validator

from bench.core.names import nearest
from bench.core.schema import Section, UserError
from bench.settings.checks import check_own_seeds
from bench.settings.sections import Names
from bench.studies.claims import cells, declared
from bench.studies.claims.tested import every


class Settings(Section):
    """The study `claims`: what popular articles say, tested."""

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value):
        """Read claims=[C4,C12], or claims=C4, as claims.only."""
        return {"only": value} if isinstance(value, list | str) else value

    only: Names = ()
    """Claims to test, such as [C4, C12], and `map`: where which method wins; empty: all."""
    bases: int = Field(6, ge=2)
    """SFT bases from which every condition is trained: the testbed's own, and others that differ in
    their seeds alone."""
    seeds: tuple[int, ...] = (1,)
    """Seeds of the runs of each condition from each base."""


def arms(cfg) -> dict[str, dict]:
    """Return the arms of all claims and of the map, whichever the settings ask for: studies share
    them."""
    found = _arms(cfg, [*every(), cells.KEY])
    return {name: spec for name, spec in found.items() if name not in cfg.known_methods}


def members(cfg) -> tuple[str, ...]:
    """Return the names of the arms that the chosen claims and the map train."""
    found = _arms(cfg, asked(cfg))
    return tuple(name for name in found if name.partition("-")[0] != "writer")


def _arms(cfg, keys) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for _, arms in plans(cfg, keys).values():
        found = arms | found
    return found


def plans(cfg, keys) -> dict[str, tuple[Path, dict]]:
    """Return {key: (file, arms)} of some claims, and of the map."""
    bases = range(1, cfg.claims.bases + 1)
    found = {
        key: (Path(sys.modules[claim.arms.__module__].__file__), claim.arms(cfg, bases))
        for key, claim in every().items()
        if key in keys
    }
    if cells.KEY in keys:
        found[cells.KEY] = Path(cells.__file__), cells.arms(cfg, bases)
    return found


def begin(cfg) -> None:
    """Write down what is about to be tested, before the first job."""
    declared.declare(cfg, plans(cfg, asked(cfg)))


def noted(cfg) -> dict[str, dict]:
    """Return when each experiment was written down, and whether it has changed since."""
    return declared.changes(cfg, plans(cfg, asked(cfg)))


def slim(results):
    """Return the results cut down to what claims are measured from."""
    from bench.studies.claims.slimming import slimmed

    return slimmed(results)


def asked(cfg) -> list[str]:
    """Return the keys of what the settings ask for."""
    every_key = [*every(), cells.KEY]
    return [key for key in every_key if key in cfg.claims.only or not cfg.claims.only]


def seeds(cfg, arm: str) -> tuple[int, ...]:
    """Return the seeds of an arm: a claim's own, or those of every condition."""
    own = next((c.seeds(arm) for c in every().values() if c.seeds and c.seeds(arm)), None)
    return own or cfg.claims.seeds


def check(cfg) -> None:
    """Refuse claims that do not exist, and seeds that repeat."""
    for key in cfg.claims.only:
        if key not in (known := [*every(), cells.KEY]):
            raise UserError(f"unknown claim '{key}' in claims.only" + nearest(key, known))
    check_own_seeds("claims.seeds", cfg.claims.seeds)
