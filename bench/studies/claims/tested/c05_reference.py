"""DPO must keep the reference, and is still cheaper than PPO's four models."""

import math

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.conditions import candidates, crossed

FREE = "dpo-free"
TRIED = {  # factors on the tuned settings
    "low-beta": {"beta": 1 / 3},
    "low-lr": {"lr": 1 / 3},
    "high-beta": {"beta": 3},
    "high-lr": {"lr": 3},
    "lowest-beta": {"beta": 0.1},
    "highest-beta": {"beta": 10},
    "low-both": {"beta": 1 / 3, "lr": 1 / 3},
}


def arms(cfg, bases):
    """Return DPO with and without its reference, the latter at the best of eight settings, and
    SimPO."""
    found = {m: {"method": m} for m in ("ppo", "dpo", "simpo")}
    tried = candidates(cfg, "dpo", TRIED)
    found[FREE] = {"method": "dpo", "reference_free": True, "candidates": tried}
    return crossed(cfg, found, bases)


def needed(results):
    """Return DPO's gain minus that of DPO without its reference."""
    from bench.studies.claims import units

    return units.difference(results, "dpo", FREE)


def beside_simpo(results):
    """Return DPO's gain minus SimPO's, which has no reference by design."""
    from bench.studies.claims import units

    return units.difference(results, "dpo", "simpo")


def cheaper(results):
    """Return the log of how many times DPO's FLOPs PPO takes, all that it is charged included."""
    from bench.studies.claims import units
    from bench.studies.claims.effects import log_ratio

    return log_ratio(*(units.flops(results, method) for method in ("ppo", "dpo")))


def drift(results):
    """Say how far each moves from SFT, and how much it garbles."""
    from bench.studies.claims import units
    from bench.studies.claims.words import labelled

    items = []
    for name in CLAIM.conditions:
        kl = units.changes(results, name, "kl").to_numpy().mean()
        items.append(f"{labelled(CLAIM, name)} {kl:.1f} nats")
        if "garble" in results.prompts:
            garble = units.changes(results, name, "garble").to_numpy().mean()
            items[-1] += f", {garble:+.2f} garbled clauses"
    return [f"How far each moves from SFT (KL), and garble beyond SFT's: {'; '.join(items)}."]


CLAIM = Claim(
    key="C5",
    sentence="DPO must keep its reference model, and is still cheaper than PPO's four models.",
    experiment="DPO with and without the reference's log-probabilities, the latter as tuned, at a "
    "third or three times of strength or rate, at a third of both, at a tenth or ten times the "
    "strength, whichever gains most from the first base on other seeds; SimPO, which has no "
    "reference by design, at settings that were searched as DPO's were.",
    published=(
        Published(
            "Liu et al. 2024 (arXiv 2407.13709)",
            "DPO ahead of losses without a reference; a stronger one helps if it is like the model",
        ),
        Published(
            "Meng et al. 2024 (arXiv 2405.14734)",
            "SimPO, without a reference, ahead of DPO",
            "SimPO also divides by length and asks for a margin",
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
            "SimPO, which has no reference, gains less than DPO.",
            Rule.MORE,
            0.1,
            "gold",
            "DPO's gain minus SimPO's",
            beside_simpo,
        ),
        Part(
            "DPO is cheaper than PPO.",
            Rule.FACT,
            math.log(1.25),
            "times",
            "FLOPs of a run, all that it is charged for included: PPO over DPO",
            cheaper,
            logarithm=True,
        ),
    ),
    arms=arms,
    conditions=("ppo", "dpo", FREE, "simpo"),
    labels={FREE: "DPO without its reference"},
    notes=drift,
    caveat="A run without reference was tried at eight settings, DPO and SimPO were searched at "
    "44; a less trained reference is not tested. Memory tells little at this size.",
)
