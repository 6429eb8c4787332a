"""DPO needs less memory and fewer GPU-hours: the compute to reach one gain, and models held."""

import math

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.tested import c13_labels as labels

PIPELINES = {m: [m, *(f"{m}-few{share}" for share in labels.SHARES)] for m in ("ppo", "dpo")}


def to_reach(results):
    """Return the log of how many times DPO's FLOPs PPO takes to reach the gain that both reach.

    A pipeline is a method from some of the labels, its preparation included; between pipelines the
    log of the cost is taken on a straight line.
    """
    from bench.studies.claims import units

    tables = {m: [units.gains(results, c) for c in own] for m, own in PIPELINES.items()}
    spent = {m: [units.flops(results, c).mean() for c in own] for m, own in PIPELINES.items()}

    def ratio(means: list[float]) -> float:
        of = {"ppo": means[: len(means) // 2], "dpo": means[len(means) // 2 :]}
        target = 0.8 * min(max(gains) for gains in of.values())
        log = {m: log_cost(list(zip(spent[m], of[m], strict=True)), target) for m in of}
        return log["ppo"] - log["dpo"]

    return units.jackknife([*tables["ppo"], *tables["dpo"]], ratio)


def log_cost(points: list[tuple[float, float]], target: float) -> float:
    """Return the log of the lowest cost at which a gain is reached; points: (cost, gain)."""
    points = sorted(points)
    reached = next(i for i, (_, gain) in enumerate(points) if gain >= target)
    cost, gain = points[reached]
    if not reached:
        return math.log(cost)
    before, low = points[reached - 1]
    part = (target - low) / (gain - low)
    return math.log(before) + part * (math.log(cost) - math.log(before))


def held(results):
    """Return the log of how many times as many copies of the model PPO holds in memory as DPO."""
    import numpy as np

    from bench.analysis import statistics as st
    from bench.studies.claims import units

    copies = results.runs.set_index(["arm", "seed"]).resident_models
    ppo, dpo = (units.by_unit(results, method, copies) for method in ("ppo", "dpo"))
    return st.over_seeds(np.log(ppo / dpo))


CLAIM = Claim(
    key="C2",
    sentence="DPO needs less memory and fewer GPU-hours.",
    experiment="The pipelines of C13: DPO and PPO from an eighth to all of the labels, each "
    "charged with all that it prepares, PPO with its reward model.",
    published=(
        Published("Rafailov et al. 2023 (arXiv 2305.18290)", "no reward model, no sampling"),
    ),
    parts=(
        Part(
            "To reach the same gain DPO takes less compute than PPO.",
            Rule.MORE,
            math.log(1.25),
            "times",
            "FLOPs to reach 80 % of the gain that both methods reach: PPO over DPO",
            to_reach,
            logarithm=True,
        ),
        Part(
            "DPO holds fewer models in memory than PPO.",
            Rule.MORE,
            math.log(1.25),
            "times",
            "copies of the model in memory during training: PPO over DPO",
            held,
            logarithm=True,
        ),
    ),
    arms=lambda cfg, bases: {
        name: spec
        for name, spec in labels.arms(cfg, bases).items()
        if not name.startswith("ppo-all-prompts")
    },
    conditions=tuple(c for own in PIPELINES.values() for c in own),
    labels=labels.CLAIM.labels,
    open_if="the interval of the ratio holds 1",
    caveat="FLOPs count the passes of this suite's engine, in which all methods share one forward. "
    "A copy of a model of this size takes less memory than the libraries around it.",
)
