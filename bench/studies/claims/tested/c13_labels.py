"""DPO needs less data than PPO: how many labels each needs for the same gain."""

import math

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.conditions import Spec, crossed, few
from bench.studies.scaling import from_few, rewarded

SHARES = {"dpo": (10, 4, 2), "ppo": (10, 4)}  # all labels, divided by these
LEVEL = 2  # the share from which DPO's gain is the level to reach


def arms(cfg, bases):
    """Return DPO and PPO from fewer labels, read more often; PPO also on the prompts of all pairs,
    of which only some have a label."""
    found: dict[str, Spec] = {m: {"method": m} for m in ("dpo", "ppo")}
    for method, shares in SHARES.items():
        for share in shares:
            found[f"{method}-few{share}"] = from_few(cfg, method, few(cfg, share))
    for share in SHARES["ppo"]:
        n = few(cfg, share)
        found[f"ppo-asked{share}"] = {"method": "ppo", "reward_n": n} | rewarded(cfg, n)
    return crossed(cfg, found, bases)


def more_labels(kind: str):
    """Return a function: the log of how many times DPO's labels PPO needs for the gain that DPO
    has from half of all."""

    def measured(results):
        from bench.studies.claims import units
        from bench.studies.claims.effects import reached, shifted

        points = [(1 / s, units.gains(results, f"ppo-{kind}{s}")) for s in SHARES["ppo"]]
        points.append((1.0, units.gains(results, "ppo")))
        found = reached(units.gains(results, f"dpo-few{LEVEL}"), points)
        return shifted(found, math.log(1 / LEVEL))

    return measured


CLAIM = Claim(
    key="C13",
    sentence="DPO needs less data than PPO.",
    experiment="DPO from a tenth, a quarter, half and all of the labels, PPO from a tenth, a "
    "quarter and all; DPO and PPO's reward model read fewer of them more often. PPO also on the "
    "prompts of all pairs, of which only some have a label.",
    published=(
        Published(
            "Shi et al. 2025 (arXiv 2505.19770)",
            "in theory it depends on what each model can express; RLHF needs fewer where few "
            "features matter",
        ),
        Published(
            "Nika et al. 2024 (arXiv 2403.01857)",
            "in theory it depends on the dimensions of reward and policy",
        ),
    ),
    parts=tuple(
        Part(
            f"For the same gain PPO on {words} needs more labels than DPO.",
            Rule.MORE,
            math.log(1.25),
            "times",
            "labels that PPO needs for the gain that DPO has from half of all, over DPO's",
            more_labels(kind),
            logarithm=True,
        )
        for kind, words in (("few", "the prompts of its labels"), ("asked", "all prompts"))
    ),
    arms=arms,
    conditions=(
        *(f"dpo-few{s}" for s in SHARES["dpo"]),
        "dpo",
        *(f"ppo-few{s}" for s in SHARES["ppo"]),
        *(f"ppo-asked{s}" for s in SHARES["ppo"]),
        "ppo",
    ),
    labels={
        f"{m}-{kind}{s}": f"{m.upper()}, 1/{s} of the labels" + ", all prompts" * (kind == "asked")
        for m, kind in (("dpo", "few"), ("ppo", "few"), ("ppo", "asked"))
        for s in SHARES[m]
    },
    seen="views, with other lengths: PPO ahead with all labels, level with few",
    caveat="Settings are those found on all labels, but for the lengths.",
)
