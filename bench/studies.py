"""Studies whose arms follow from the tuned settings: `stability`, `tune` and `views`.

Each function gives {arm: what it is made of} in the form of the `arms` of a testbed's file; a value
relative to the tuned one is named by its factor: `dpo-lrx3-betax0.33`. Every method has a learning
rate `lr` and a strength `beta`, so that all get the same grid.
"""

import math
import random
from collections.abc import Iterator

from bench.methods import METHODS

GRID_CURVE = (0.0, 0.5, 1.0)  # the start, and two points: enough for a drawdown
TRIAL_CURVE = (0.0, 1.0)
REACH = 10  # of a search whose space no file declares, either way
COMPANIONS = ("stability", "views")  # shown in the report of `compare` too
UNEVALUATED = ("stability", "tune")  # judged on validation prompts, by the runs' own curves


def generated(cfg) -> dict[str, dict]:
    """Every arm of the three studies."""
    return grid(cfg) | trials(cfg) | views(cfg)


def studies(cfg) -> dict[str, tuple[str, ...]]:
    """{study: its arms}; the methods as tuned lead where they take part."""
    return {
        "stability": (*METHODS, *grid(cfg)),
        "tune": tuple(trials(cfg)),
        "views": (*METHODS, *views(cfg)),
    }


def seeds_of(cfg, study: str, arm: str) -> tuple[int, ...]:
    """The seeds of an arm in a study: one a cell of the grid, more in its centre column."""
    if study == "tune":
        return (cfg.tune.seed,)
    if study != "stability":
        return cfg.seeds
    in_centre = arm in METHODS or "-beta" not in arm
    return cfg.seeds[: cfg.grid.centre_seeds] if in_centre else cfg.seeds[:1]


def grid(cfg) -> dict[str, dict]:
    """Learning rate x strength around each method's tuned setting, the centre left out."""
    found = {}
    for method in METHODS:
        for name, scaled in scales(cfg, method, lr=cfg.grid.lr, beta=cfg.grid.beta):
            found[name] = scaled | {"curve": GRID_CURVE, "tasks": False}
    return found


def views(cfg) -> dict[str, dict]:
    """Each method from fewer labels, at other strengths, and the cheap ones for longer.

    Learning rates are constant, so that a longer run holds the shorter one as its beginning.
    """
    found = {}
    for method in METHODS:
        for share in cfg.views.labels:
            n = round(share * cfg.pairs.n)
            found[f"{method}-n{n}"] = {"method": method, "n": n, "tasks": False}
        others = list(scales(cfg, method, beta=cfg.views.beta))
        if method in cfg.views.longer:
            others += scales(cfg, method, epochs=[cfg.views.longer[method]])
        found |= {name: scaled | {"tasks": False} for name, scaled in others}
    return found


def scales(cfg, method: str, **factors) -> Iterator[tuple[str, dict]]:
    """(name, spec) of every combination of factors on a method's tuned settings but all ones."""
    tuned, combinations = getattr(cfg, method), [{}]
    for key, values in factors.items():
        combinations = [c | {key: value} for c in combinations for value in values]
    for chosen in combinations:
        off = {key: value for key, value in chosen.items() if value != 1}
        if off:
            name = "-".join([method, *(f"{key}x{value:.2g}" for key, value in off.items())])
            yield (
                name,
                {"method": method} | {k: rounded(getattr(tuned, k) * v) for k, v in off.items()},
            )


def trials(cfg) -> dict[str, dict]:
    """Each method's trials: independent draws, log-uniform in its declared space."""
    found = {}
    for method, space in cfg.tune.spaces.items():
        stream = random.Random(f"tune {cfg.tune.seed} {method}")
        for number in range(1, cfg.tune.trials + 1):
            drawn = {key: log_uniform(stream, *bounds) for key, bounds in space.items()}
            spec = {"method": method, "curve": TRIAL_CURVE, "tasks": False}
            found[f"{method}-trial{number:02d}"] = spec | drawn
    return found


def with_spaces(cfg):
    """``cfg.tune`` with a space for each method: where none is declared, from a tenth to ten times
    of the method's learning rate and strength."""
    spaces = dict(cfg.tune.spaces)
    for method in METHODS:
        own = getattr(cfg, method)
        if method not in spaces and own.beta:
            centres = {"lr": own.lr, "beta": own.beta}
            spaces[method] = {key: (c / REACH, c * REACH) for key, c in centres.items()}
    return cfg.tune.model_copy(update={"spaces": spaces})


def log_uniform(stream: random.Random, low: float, high: float) -> float:
    return rounded(math.exp(stream.uniform(math.log(low), math.log(high))))


def rounded(value: float) -> float:
    """Three digits: as many as a setting deserves."""
    return float(f"{value:.3g}")
