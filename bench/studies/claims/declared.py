"""Keep what each claim's experiment was when its first run began, so that a later change shows.

``claims.json`` in the testbed's folder holds for each claim, and for each set of arms that it was
tested with, the time and a hash of its module and of the rules that decide. It is written before
the first job, and no entry changes after that.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from bench.core.code import code_sha256
from bench.core.files import read_json, write_json

HERE = Path(__file__).parent
RULES = ("analysis.py", "cells.py", "claim.py", "crossing.py", "map.py", "units.py")
Plans = dict[str, tuple[Path, dict]]  # {key: (its file, its arms)}


def declare(cfg, plans: Plans) -> None:
    """Write down every experiment that is not yet."""
    known, now = read_json(at(cfg)), datetime.now(UTC).isoformat(timespec="seconds")
    fresh = {key: arms_sha256(cfg, arms) for key, (_, arms) in plans.items()}
    fresh = {key: sha for key, sha in fresh.items() if sha not in known.get(key, {})}
    for key, sha in fresh.items():
        known.setdefault(key, {})[sha] = {"time": now, "rules": rules_sha256(plans[key][0])}
    if fresh:
        write_json(at(cfg), known)


def changes(cfg, plans: Plans) -> dict[str, dict]:
    """Return {key: when it was written down with these arms, and whether endpoint, margin or rules
    have changed since}."""
    known, found = read_json(at(cfg)), {}
    for key, (file, arms) in plans.items():
        if entry := known.get(key, {}).get(arms_sha256(cfg, arms)):
            changed = entry["rules"] != rules_sha256(file)
            found[key] = {"time": entry["time"], "changed": changed}
    return found


def at(cfg) -> Path:
    """Return the file of a testbed's declarations."""
    return cfg.layout.root / "claims.json"


def arms_sha256(cfg, arms: dict) -> str:
    """Hash the settings of an experiment's arms, with their seeds and what they are made from."""
    own = [
        [
            name,
            cfg.arm(name).model_dump(mode="json", exclude={"file"}),
            cfg.of(name).layout.sft.name,
        ]
        for name in arms
    ]
    return _sha256([own, list(cfg.claims.seeds)])


def rules_sha256(file: Path) -> str:
    """Hash a claim's module, without comments and docstrings, and the rules that decide."""
    return _sha256([code_sha256(path) for path in (file, *(HERE / name for name in RULES))])


def _sha256(value) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
