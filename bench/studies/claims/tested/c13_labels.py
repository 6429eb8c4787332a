"""DPO needs less data than PPO: how many labels each needs for the same gain."""

import math
from itertools import accumulate

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.crossing import crossed

SHARES = (8, 4, 2)  # all labels, divided by these


def arms(cfg, bases):
    """Return DPO and PPO from fewer labels in as many optimiser steps; PPO also on the prompts of
    all pairs, of which only some have a label."""
    found = {m: {"method": m} for m in ("dpo", "ppo")}
    for share in SHARES:
        n = cfg.pairs.n // share
        for method in ("dpo", "ppo"):
            epochs = round(getattr(cfg, method).epochs * share, 2)
            found[f"{method}-few{share}"] = {"method": method, "n": n, "epochs": epochs}
        found[f"ppo-all-prompts{share}"] = {"method": "ppo", "reward_n": n}
    return crossed(cfg, found, bases)


def curve(results, method: str, few: str = "few"):
    """Return the tables of a method's gains from an eighth, a quarter, half and all of the
    labels."""
    from bench.studies.claims import units

    return [units.gains(results, f"{method}-{few}{s}") for s in SHARES] + [
        units.gains(results, method)
    ]


def log_labels(gains: list[float], target: float) -> float:
    """Return log2 of the share of labels at which a rising curve reaches a target: between points
    on a straight line, beyond them on the line of the nearest two."""
    shares = [-math.log2(share) for share in (*SHARES, 1)]
    rising = list(accumulate(gains, max))
    for i in range(1, len(rising)):
        if rising[i] >= target or i == len(rising) - 1:
            slope = (rising[i] - rising[i - 1]) or 1e-3
            return float(shares[i - 1] + (shares[i] - shares[i - 1]) *
                         (target - rising[i - 1]) / slope)  # fmt: skip
    return float("nan")


def fewer(few: str):
    """Return a function: log of the ratio of labels that PPO and DPO need for DPO's gain from half
    of all labels."""

    def measured(results):
        from bench.studies.claims import units

        ppo, dpo = curve(results, "ppo", few), curve(results, "dpo")

        def ratio(means: list[float]) -> float:
            of_ppo, of_dpo = means[: len(ppo)], means[len(ppo) :]
            target = 0.8 * min(max(of_ppo), max(of_dpo))
            needed = log_labels(of_ppo, target) - log_labels(of_dpo, target)
            return needed * math.log(2)

        return units.jackknife([*ppo, *dpo], ratio)

    return measured


CLAIM = Claim(
    key="C13",
    sentence="DPO needs less data than PPO.",
    experiment="DPO and PPO from an eighth to all of the labels, in as many optimiser steps; PPO "
    "also on the prompts of all pairs, of which only some have a label.",
    published=(
        Published(
            "Shi et al. 2025 (arXiv 2505.19770)", "it depends on how well each class of models fits"
        ),
        Published(
            "Nika et al. 2024 (arXiv 2403.01857)",
            "it depends on the dimensions of reward and policy",
        ),
    ),
    parts=(
        Part(
            "For the same gain DPO needs fewer labels than PPO on the prompts of these labels.",
            Rule.MORE,
            math.log(1.25),
            "times",
            "labels needed for 80 % of the gain that both reach: PPO over DPO",
            fewer("few"),
            logarithm=True,
        ),
        Part(
            "For the same gain DPO needs fewer labels than PPO on all prompts.",
            Rule.MORE,
            math.log(1.25),
            "times",
            "labels needed for 80 % of the gain that both reach: PPO over DPO",
            fewer("all-prompts"),
            logarithm=True,
        ),
    ),
    arms=arms,
    conditions=(
        "dpo",
        "ppo",
        *(f"{name}{s}" for name in ("dpo-few", "ppo-few", "ppo-all-prompts") for s in SHARES),
    ),
    labels={
        f"{m}-{few}{s}": f"{m.upper()}, 1/{s} of the labels{', all prompts' * (few != 'few')}"
        for m, few in (("dpo", "few"), ("ppo", "few"), ("ppo", "all-prompts"))
        for s in SHARES
    },
    open_if="the curves cross within their intervals",
    caveat="Settings are those found on all labels. The interval covers SFT bases, not prompts.",
)
