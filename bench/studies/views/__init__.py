"""Ask whether the winner changes with the number of labels, the compute or the KL."""

from pydantic import Field, PositiveFloat

from bench.core.names import nearest
from bench.core.schema import Section, UserError
from bench.settings.sections import Factors, Shares
from bench.studies.scaling import scaled, without_strength

COMPANION = True


class Settings(Section):
    """The study `views`: fewer labels, other strengths, longer runs."""

    shares: Shares = (0.125, 0.25, 0.5)
    """Shares of `pairs.n` that each method learns from."""
    beta: Factors = (0.1, 1 / 3, 3, 10)
    """Factors on each method's strength."""
    longer: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Factor on a method's epochs, by method: runs about as dear as the dearest method's."""


def arms(cfg) -> dict[str, dict]:
    """Return each method from fewer labels, at other strengths, and the cheap ones for longer.

    Learning rates are constant, so that a longer run begins as the shorter one.
    """
    found = {}
    for method in cfg.known_methods:
        for share in cfg.views.shares:
            n = round(share * cfg.pairs.n)
            found[f"{method}-n{n}"] = {"method": method, "n": n, "tasks": False}
        others = list(scaled(cfg, method, beta=cfg.views.beta))
        if method in cfg.views.longer:
            others += scaled(cfg, method, epochs=[cfg.views.longer[method]])
        found |= {name: spec | {"tasks": False} for name, spec in others}
    return found


def check(cfg) -> None:
    """Refuse longer runs of an unknown method, and a strength of 0, which no factor changes."""
    for name in cfg.views.longer:
        if name not in cfg.known_methods:
            known = nearest(name, cfg.known_methods)
            raise UserError(f"unknown method '{name}' in views.longer" + known)
    if cfg.study == "views" and (method := without_strength(cfg)):
        raise UserError(f"{method}.beta is 0: study 'views' multiplies it by factors")
