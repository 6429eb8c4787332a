"""Ask whether the winner changes with the number of labels, the compute or the KL."""

import math

from pydantic import Field, PositiveFloat

from bench.core.schema import Factors, Section, Shares, UserError
from bench.settings.checks import check_method
from bench.studies.scaling import from_few, scaled, without_strength

COMPANION = True


class Settings(Section):
    """The study `views`: fewer labels, other strengths, longer runs."""

    shares: Shares = (0.125, 0.25, 0.5)
    """Shares of `pairs.n` that each method learns from, in as many epochs as on all of them (after
    a warm-up as much shorter), and read more often."""
    beta: Factors = (0.1, 1 / 3, 3, 10)
    """Factors on each method's strength."""
    longer: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Factor on a method's epochs, by method: runs about as dear as the dearest method's."""


def arms(cfg) -> dict[str, dict]:
    """Return each method from fewer labels, at other strengths, and the cheap ones for longer."""
    found = {}
    for method in cfg.compared:
        for share in cfg.views.shares:
            found |= _from_fewer(cfg, method, max(1, round(share * cfg.pairs.n)))
        found |= scaled(cfg, method, beta=cfg.views.beta)
        if method in cfg.views.longer:
            found |= scaled(cfg, method, epochs=[cfg.views.longer[method]])
    return {name: spec | {"tasks": False} for name, spec in found.items()}


def _from_fewer(cfg, method: str, n: int) -> dict[str, dict]:
    """Return a method from ``n`` labels: in its usual epochs, and reading them more often.

    Its warm-up in the usual epochs takes the same share of the steps as from all labels. A method
    from outside that has no epochs is given fewer labels only.
    """
    tuned, usual = getattr(cfg, method), {"method": method, "n": n}
    if warmup := getattr(tuned, "warmup", 0):
        usual["warmup"] = math.ceil(warmup * n / cfg.pairs.n)
    found = {f"{method}-n{n}": usual}
    if hasattr(tuned, "epochs"):
        found[f"{method}-n{n}-reread"] = from_few(cfg, method, n)
    return found


def check(cfg) -> None:
    """Refuse longer runs of an unknown method, and a strength of 0, which no factor changes."""
    for name in cfg.views.longer:
        check_method(cfg, name, "views.longer")
    if cfg.study == "views" and (method := without_strength(cfg)):
        raise UserError(f"{method}.beta is 0: study 'views' multiplies it by factors")
