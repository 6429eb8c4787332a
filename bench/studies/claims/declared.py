"""Keep what each experiment was when its first run began, so that a later change shows.

``claims.json`` in the study's folder holds for each claim a list of declarations: the time, how
many of its runs existed then, a hash of its arms with all that they are made from, and one of its
module and of the code that decides. The first is written before the first job. One is added
whenever a hash differs from the last; none is ever changed. Other settings have a file of their
own.
"""

import hashlib
import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from bench.core.code import code_sha256
from bench.core.files import read_json, write_json

HERE = Path(__file__).parent
BENCH = HERE.parents[1]
RULES = (
    *sorted(path for path in HERE.glob("*.py") if path.stem not in ("figures", "page")),
    *(BENCH / f"analysis/{name}.py" for name in ("costs", "curves", "results", "statistics")),
    BENCH / "studies/stability/analysis.py",
    BENCH / "core/thresholds.py",
    *(BENCH / f"evaluation/{name}.py" for name in ("samples", "variety")),
    BENCH / "steps/pick.py",
)
MADE_FROM = ("data", "model", "base", "sft", "pairs", "reward", "decode", "curve", "eval")
Plans = dict[str, tuple[Path, dict]]  # {key: (its file, its arms)}


def declare(cfg, plans: Plans) -> None:
    """Write down every experiment that is new, or has changed."""
    known, changed = read_json(at(cfg)), False
    for key, plan in plans.items():
        own, mine = known.setdefault(key, []), hashes(cfg, plan)
        if not own or _changed(own[-1], mine):
            time = datetime.now(UTC).isoformat(timespec="seconds")
            own.append({"time": time, "runs": existing(cfg, plan), **mine})
            changed = True
    if changed:
        write_json(at(cfg), known)


def existing(cfg, plan: tuple[Path, dict]) -> int:
    """Return how many runs of an experiment have ended, as other studies share them."""
    runs = [cfg.member(arm, seed) for arm, seed in cfg.study_runs if arm in plan[1]]
    return sum(run.files.record.exists() for run in runs)


def changes(cfg, plans: Plans) -> dict[str, dict]:
    """Return {key: when it was first written down, how many of its runs existed then, and what
    changed after that}."""
    known, found = read_json(at(cfg)), {}
    for key, plan in plans.items():
        entries = known.get(key, [])
        if not entries:
            found[key] = {"time": None, "later": []}
            continue
        later = [f"{_changed(a, b)} on {b['time']}" for a, b in pairwise(entries)]
        if _changed(entries[-1], hashes(cfg, plan)):
            later.append("after the last run")
        found[key] = {"time": entries[0]["time"], "runs": entries[0]["runs"], "later": later}
    return found


def _changed(before: dict, after: dict) -> str:
    """Say what differs between two declarations: 'arms and rules', '' if nothing does."""
    return " and ".join(name for name in ("arms", "rules") if before[name] != after[name])


def at(cfg) -> Path:
    """Return the file of a study's declarations."""
    return cfg.layout.study / "claims.json"


def hashes(cfg, plan: tuple[Path, dict]) -> dict[str, str]:
    """Hash an experiment: its arms with all that they are made from, and its rules."""
    file, arms = plan
    own = [
        [
            name,
            cfg.arm(name).model_dump(mode="json", exclude={"file"}),
            [cfg.of(name).section(section) for section in MADE_FROM],
        ]
        for name in arms
    ]
    rules = [code_sha256(path) for path in (file, *RULES)]
    seeds = [list(cfg.claims.seeds), list(cfg.pick_seeds)]
    return {"arms": _sha256([own, seeds]), "rules": _sha256(rules)}


def _sha256(value) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
