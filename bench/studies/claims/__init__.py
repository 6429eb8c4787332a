"""Test what popular articles say of DPO and PPO, each claim as an experiment declared beforehand.

A claim is a module of `tested`; adding one is adding a file. All are tested from several SFT bases,
which are the units, and share the runs that they have in common with each other and with the study
`bases`.
"""

import sys
from pathlib import Path

from pydantic import Field, model_validator

from bench.core.names import nearest
from bench.core.schema import Names, Section, Seeds, UserError
from bench.settings.checks import check_own_seeds
from bench.studies.bases import check_several
from bench.studies.claims import cells, declared
from bench.studies.claims.conditions import WRITER
from bench.studies.claims.tested import every
from bench.worlds import world


class Settings(Section):
    """The study `claims`: what popular articles say, tested."""

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, value):
        """Read claims=[C4,C12], or claims=C4, as claims.only."""
        return {"only": value} if isinstance(value, list | str) else value

    only: Names = ()
    """Claims to test, such as [C4, C12], and `map`: where which method wins; empty: all that the
    testbed can test."""
    bases: int = Field(8, ge=2)
    """SFT bases from which every condition is trained: the testbed's own, and others that differ in
    their seeds alone. With fewer than three there is no verdict. C3 has all of `bases.n`, if these
    are more."""
    seeds: Seeds = (1,)
    """Seeds of the runs of each condition from each base."""


def arms(cfg) -> dict[str, dict]:
    """Return the arms of all claims and of the map, whichever the settings ask for: studies share
    them."""
    found = _arms(cfg, keys())
    return {name: spec for name, spec in found.items() if name not in cfg.known_methods}


def members(cfg) -> tuple[str, ...]:
    """Return the names of the arms that the chosen claims and the map train."""
    found = _arms(cfg, asked(cfg))
    return tuple(name for name in found if name.partition("-")[0] != WRITER)


def _arms(cfg, of) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for _, arms in plans(cfg, of).values():
        found = arms | found
    return found


def plans(cfg, of) -> dict[str, tuple[Path, dict]]:
    """Return {key: (file, arms)} of some claims and of the map, as far as the testbed can test
    them; of: their keys."""
    bases = range(1, cfg.claims.bases + 1)
    found = {
        key: (Path(sys.modules[claim.arms.__module__].__file__), claim.arms(cfg, bases))
        for key, claim in every().items()
        if key in of and not hindrance(cfg, key)
    }
    if cells.KEY in of and not hindrance(cfg, cells.KEY):
        found[cells.KEY] = Path(cells.__file__), cells.arms(cfg, bases)
    return found


def hindrance(cfg, key: str) -> str:
    """Say why the testbed cannot test a claim, or draw the map; '' if it can."""
    if key == cells.KEY:
        given = world(cfg.data.kind).GIVEN_PAIRS
        return "its pairs are given: no other model writes some" if given else ""
    claim = every()[key]
    return "" if not claim.worlds or cfg.data.kind in claim.worlds else claim.elsewhere


def begin(cfg) -> None:
    """Write down what is about to be tested, before the first job."""
    declared.declare(cfg, plans(cfg, asked(cfg)))


def noted(cfg) -> dict[str, dict]:
    """Return {key: when each experiment was written down, and what changed after that}, with why
    the testbed cannot test the others."""
    cannot = {key: {"cannot": why} for key in keys() if (why := hindrance(cfg, key))}
    return declared.changes(cfg, plans(cfg, asked(cfg))) | cannot


def slim(results):
    """Return the results cut down to what claims are measured from."""
    from bench.studies.claims.slimming import slimmed

    return slimmed(results)


def keys() -> list[str]:
    """Return the keys of all claims, and of the map."""
    return [*every(), cells.KEY]


def asked(cfg) -> list[str]:
    """Return the keys of what the settings ask for."""
    return [key for key in keys() if key in cfg.claims.only or not cfg.claims.only]


def seeds(cfg, arm: str) -> tuple[int, ...]:
    """Return the seeds of an arm: a claim's own, or those of every condition."""
    own = next((c.seeds(arm) for c in every().values() if c.seeds and c.seeds(arm)), None)
    return own or cfg.claims.seeds


def check(cfg) -> None:
    """Refuse claims that do not exist or that the testbed cannot test, and seeds that repeat."""
    for key in cfg.claims.only:
        if key not in keys():
            raise UserError(f"unknown claim '{key}' in claims.only" + nearest(key, keys()))
        if cfg.study == "claims" and (why := hindrance(cfg, key)):
            raise UserError(f"this testbed cannot test {key}: {why}; leave it out of claims.only")
    if cfg.study == "claims":
        check_several(cfg, "claims.bases")
    check_own_seeds("claims.seeds", cfg.claims.seeds)
