"""DPO needs less memory and fewer GPU-hours: the compute to reach one gain, and models held."""

import math

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.conditions import candidates, crossed, few, times
from bench.studies.scaling import rewarded

SHARES = (10, 4, 2)
SHORT = tuple(f"ppo-short{share}" for share in SHARES)
LONGER = "dpo-longer"
LENGTHS = {  # factors on the tuned settings
    "x2": {"epochs": 2},
    "x4": {"epochs": 4},
    "once": {"epochs": 1},
    "slow": {"epochs": 4, "lr": 1 / 3},
}


def arms(cfg, bases):
    """Return DPO and PPO as tuned; PPO from fewer prompts and labels, which is cheaper in all its
    steps; and DPO for up to about as much compute as PPO."""
    found = {m: {"method": m} for m in ("ppo", "dpo")}
    fast = {"candidates": candidates(cfg, "ppo", {"fast": {"lr": 2}})}
    for name, share in zip(SHORT, SHARES, strict=True):
        n = few(cfg, share)
        found[name] = {"method": "ppo", "n": n} | rewarded(cfg, n) | fast
    most = cfg.views.longer.get("dpo", 10)
    found[LONGER] = {"method": "dpo", "epochs": times(cfg, "dpo", "epochs", most)}
    found[LONGER] |= {"candidates": candidates(cfg, "dpo", LENGTHS)}
    return crossed(cfg, found, bases)


def to_reach(results):
    """Return the log of how many times DPO's FLOPs PPO takes to gain what DPO gains."""
    from bench.studies.claims import units
    from bench.studies.claims.effects import reached, shifted

    points = [
        (units.flops(results, name).mean(), units.gains(results, name)) for name in (*SHORT, "ppo")
    ]
    found = reached(units.gains(results, "dpo"), points)
    return shifted(found, math.log(units.flops(results, "dpo").mean()))


def as_good(results):
    """Return DPO's gain from up to PPO's compute minus PPO's gain."""
    from bench.studies.claims import units

    return units.difference(results, LONGER, "ppo")


def held(results):
    """Return the log of how many times as many copies of the model PPO holds in memory as DPO."""
    from bench.studies.claims import units
    from bench.studies.claims.effects import log_ratio

    copies = results.runs.set_index(["arm", "seed"]).resident_models
    return log_ratio(*(units.by_unit(results, method, copies) for method in ("ppo", "dpo")))


def spent(results):
    """Say what each pipeline cost and gained, in FLOPs, seconds and memory."""
    from bench.report.words import fixed
    from bench.studies.claims import units
    from bench.studies.claims.words import labelled

    peak = results.runs.set_index(["arm", "seed"]).peak_mb
    items = [
        f"{labelled(CLAIM, name)} {units.flops(results, name).mean() / 1e9:,.0f} "
        f"GFLOPs, {units.seconds(results, name).mean():,.0f} s, "
        f"{units.by_unit(results, name, peak).mean():,.0f} MB, "
        f"{fixed(units.gain(results, name).mean, '+.2f')}"
        for name in CLAIM.conditions
    ]
    return [
        "Mean cost of a run with all that it is charged for, its peak memory with the libraries' "
        f"own, and its gain: {'; '.join(items)}."
    ]


CLAIM = Claim(
    key="C2",
    sentence="DPO needs less memory and fewer GPU-hours.",
    experiment="DPO as tuned, and for one, two, four or ten times as many epochs, the last about "
    "as dear as PPO, or for four times as many at a third of the rate; PPO as tuned, and from a "
    "tenth, a quarter and half of the labels and prompts, which makes its steps cheaper, at its "
    "rate or twice it, its reward model reading few labels more often. The first base picks the "
    "epochs and the rates, on other seeds. Each is charged with all that it prepares.",
    published=(
        Published(
            "Rafailov et al. 2023 (arXiv 2305.18290)",
            "no reward model and no sampling, hence less compute",
            "no figure is given there",
        ),
    ),
    parts=(
        Part(
            "For the gain that DPO has, PPO takes more compute.",
            Rule.MORE,
            math.log(1.25),
            "times",
            "FLOPs that PPO takes to gain what DPO gains, over DPO's",
            to_reach,
            logarithm=True,
            share=4,
        ),
        Part(
            "With up to as much compute as PPO, DPO gains as much.",
            Rule.MATCHES,
            0.1,
            "gold",
            "DPO's gain from up to PPO's compute, minus PPO's gain",
            as_good,
        ),
        Part(
            "DPO holds fewer models in memory than PPO.",
            Rule.FACT,
            math.log(1.25),
            "times",
            "copies of the model in memory during training: PPO over DPO",
            held,
            logarithm=True,
        ),
    ),
    arms=arms,
    conditions=("dpo", LONGER, *SHORT, "ppo"),
    labels={LONGER: "DPO, up to PPO's compute"}
    | {
        name: f"PPO, 1/{share} of labels and prompts"
        for name, share in zip(SHORT, SHARES, strict=True)
    },
    notes=spent,
    seen="views and compare: PPO takes several times DPO's FLOPs as tuned, and DPO gained nothing "
    "by more epochs",
    caveat="FLOPs count the passes of this suite's engine, in which all methods share one forward. "
    "At this size libraries take more memory than a copy of the model does.",
)
