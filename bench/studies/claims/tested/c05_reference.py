"""DPO must keep the reference, and is still cheaper than PPO's four models."""

import math

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.crossing import crossed

STRENGTHS = (1, 1 / 3, 3)


def arms(cfg, bases):
    """Return DPO with and without its reference, at three strengths and rates, and SimPO."""
    found = {m: {"method": m} for m in ("ppo", "dpo", "simpo")}
    for key in ("beta", "lr"):
        for factor in STRENGTHS:
            spec = {"method": "dpo", "reference_free": True}
            if factor == 1:
                found["dpo-free"] = spec
                continue
            value = float(f"{getattr(cfg.dpo, key) * factor:.3g}")
            name = f"dpo-free-{key}x{factor:.2g}"
            found[name] = spec | {key: value, "candidate_of": "dpo-free"}
    return crossed(cfg, found, bases)


def needed(results):
    """Return DPO's gain minus that of DPO without its reference."""
    from bench.studies.claims import units

    return units.difference(results, "dpo", "dpo-free")


def cheaper(results):
    """Return the log of how many times DPO's FLOPs PPO takes, all that it is charged included."""
    import numpy as np

    from bench.analysis import statistics as st
    from bench.studies.claims import units

    ppo, dpo = (units.flops(results, method) for method in ("ppo", "dpo"))
    return st.over_seeds(np.log(ppo / dpo))


CLAIM = Claim(
    key="C5",
    sentence="DPO must keep its reference model, and is still cheaper than PPO's four models.",
    experiment="DPO with and without the reference's log-probabilities, the latter at other "
    "strengths and rates too; SimPO, which has no reference by design, beside them.",
    published=(
        Published(
            "Liu et al. 2024 (arXiv 2407.13709)", "a stronger reference helps DPO, within limits"
        ),
        Published(
            "Meng et al. 2024 (arXiv 2405.14734)", "SimPO, without a reference, ahead of DPO"
        ),
    ),
    parts=(
        Part(
            "Without its reference DPO gains less.",
            Rule.MORE,
            0.1,
            "gold",
            "DPO's gain minus that of DPO without its reference",
            needed,
        ),
        Part(
            "DPO is cheaper than PPO.",
            Rule.MORE,
            math.log(1.25),
            "times",
            "FLOPs of a run, all that it is charged for included: PPO over DPO",
            cheaper,
            logarithm=True,
        ),
    ),
    arms=arms,
    conditions=("ppo", "dpo", "dpo-free", "simpo"),
    open_if="the interval of the first part reaches from below 0.1 to above it",
    caveat="What a DPO without reference gains depends on the strength, which was tried at three "
    "values; memory tells little at this size.",
)
