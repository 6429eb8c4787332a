"""Run the best trials of `tune` again on fresh seeds, at a constant and at a decaying rate."""

from pydantic import Field

from bench.core.schema import Section, Seeds, UserError
from bench.settings.checks import ENDS, check_method, check_own_seeds
from bench.studies.tune import chosen, nested

EVALUATED = False  # runs are judged on validation prompts, by their own curves
SEARCHES = True  # its arms are no result of an earlier search
CONSTANT, DECAYED = "constant", "decayed"


class Settings(Section):
    """The study `finals`: the best trials of `tune` again, on fresh seeds."""

    candidates: dict[str, list[dict[str, float]]] = Field(default_factory=dict)
    """By method the settings of its best trials, as the study `tune` writes them to tuned.yaml."""
    decay: float = Field(0.5, gt=0, le=1)
    """Last share of the steps, in which the learning rate of a decayed run falls to 0; its reward
    model's too, if that is searched."""
    seeds: Seeds = (101, 102, 103)
    """Seeds of the runs: none that another study uses."""


def arms(cfg) -> dict[str, dict]:
    """Return each candidate with a constant rate and with one that decays."""
    found = {}
    for method, candidates in chosen(cfg, cfg.finals.candidates).items():
        rates = {CONSTANT: 0.0, DECAYED: cfg.finals.decay}
        if not hasattr(getattr(cfg, method), "decay"):
            rates = {CONSTANT: None}
        for number, drawn in enumerate(candidates, 1):
            for rate, decay in rates.items():
                spec = {"method": method, "curve": ENDS, "tasks": False}
                found[f"{method}-final{number}-{rate}"] = spec | scheduled(drawn, decay)
    return found


def scheduled(drawn: dict, decay: float | None) -> dict:
    """Return a candidate's settings with a decay of its rates; None: the method has none."""
    if decay is None:
        return nested(drawn)
    searched = any(key.startswith("reward.") for key in drawn)
    return nested(drawn | {"decay": decay} | ({"reward.decay": decay} if searched else {}))


def members(cfg) -> tuple[str, ...]:
    """Return the names of the candidates, since this study has no other arms."""
    return tuple(arms(cfg))


def seeds(cfg, arm: str) -> tuple[int, ...]:
    """Return the seeds of all candidates, which no report of methods shows."""
    return cfg.finals.seeds


def check(cfg) -> None:
    """Refuse to run without candidates, and seeds that reports or the search use."""
    for method in cfg.finals.candidates:
        check_method(cfg, method, "finals.candidates")
    if cfg.study == "finals" and not cfg.finals.candidates:
        raise UserError(
            f"testbed '{cfg.testbed}' has no finals.candidates: run the study `tune` first, and "
            "copy the tuned.yaml that it writes beside the testbed's file"
        )
    if cfg.study == "finals" and not cfg.provenance:
        raise UserError("finals.candidates come without provenance: copy the whole tuned.yaml")
    if cfg.study == "finals" and cfg.provenance.get("testbed", cfg.testbed) != cfg.testbed:
        raise UserError(
            f"finals.candidates are of testbed '{cfg.provenance['testbed']}': run the study `tune` "
            f"of '{cfg.testbed}' first"
        )
    check_own_seeds("finals.seeds", cfg.finals.seeds)
    if taken := {*cfg.compared_seeds, cfg.tune.seed} & {*cfg.finals.seeds}:
        raise UserError(
            f"finals.seeds holds {min(taken)}, which is tune.seed or a seed of another study: take "
            "others"
        )
