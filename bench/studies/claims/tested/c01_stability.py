"""DPO trains more stably than PPO-RLHF: random settings around the tuned ones, fresh seeds."""

import math
import re
from random import Random

from bench.core.streams import stream
from bench.core.thresholds import MARGIN
from bench.settings.checks import ENDS
from bench.settings.overrides import merge
from bench.studies.bases import seeded
from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.scaling import rounded

SETTINGS, OTHERS, FIRST = 60, 20, 301  # random settings, those of IPO and ORPO, the first seed
REACH = 5  # factor either way of the tuned value
DECAY = 0.5  # of every method: at a constant rate the last step of a run may look fragile
VARIED = ("lr", "beta", "critic_lr")
METHODS = ("ppo", "dpo", "ipo", "orpo")


def arms(cfg, bases):
    """Return each method at random settings: the k-th of every method has the same random numbers,
    SFT base and seed, the bases in turn."""
    found = {}
    for number in range(1, SETTINGS + 1):
        base = bases[(number - 1) % len(bases)]
        start = seeded(cfg, base) if base > 1 else {}
        for method in METHODS if number <= OTHERS else METHODS[:2]:
            luck = stream("claims", number=number)
            own = {"method": method, "curve": ENDS, "tasks": False, "scored": False}
            own |= {"decay": DECAY} | _drawn(cfg, method, luck)
            found[f"{method}-random{number:02d}"] = merge(own, start)
    return found


def _drawn(cfg, method: str, luck: Random) -> dict:
    factors = {key: math.exp(luck.uniform(-1, 1) * math.log(REACH)) for key in (*VARIED, "reward")}
    tuned = getattr(cfg, method)
    own = {k: rounded(getattr(tuned, k) * factors[k]) for k in VARIED if getattr(tuned, k, None)}
    if "reward" in cfg.known_methods[method].NEEDS:
        own["reward"] = {"lr": rounded(cfg.reward.lr * factors["reward"]), "decay": DECAY}
    return own


def seeds(arm: str) -> tuple[int, ...] | None:
    """Return the seed of a random setting: its own."""
    found = re.search(r"-random(\d+)$", arm)
    return (FIRST + int(found[1]),) if found else None


def failures(results, method: str):
    """Return {setting: whether its run failed, or ended below SFT} of those that were run."""
    from bench.studies.stability import analysis as stability

    rows = stability.runs(results)
    rows = rows[rows.arm.str.startswith(f"{method}-random")]
    return {
        int(arm[-2:]): outcome != "ok" for arm, outcome in zip(rows.arm, rows.outcome, strict=True)
    }


def more_failures(results):
    """Return how many more of its settings fail for PPO than for DPO, in points."""
    from bench.studies.claims.effects import share_difference

    ppo, dpo = (failures(results, method) for method in ("ppo", "dpo"))
    both = sorted(ppo.keys() & dpo.keys())
    return share_difference([ppo[k] for k in both], [dpo[k] for k in both])


def shares(results):
    """Return the share of settings that failed, in %, of each method, with exact intervals."""
    from bench.analysis.statistics import Interval, Share

    found = {}
    for method in METHODS:
        failed = failures(results, method)
        share = Share(sum(failed.values()), len(failed))
        low, high = (100 * end for end in share.span)
        own = (100 * share.rate, low, high, math.nan, math.nan, share.n, 0, "random settings")
        found[method] = Interval(*own)
    return found


def reasons(results):
    """Say how the settings failed."""
    from bench.studies.stability import analysis as stability

    rows, found = stability.runs(results), []
    for method in METHODS:
        own = rows[rows.arm.str.startswith(f"{method}-random")]
        counts = own.outcome[own.outcome != "ok"].value_counts()
        said = ", ".join(f"{n} {name}" for name, n in counts.items()) or "none"
        found.append(f"{method.upper()}: {said}")
    return [f"Failed, by how: {'; '.join(found)}."]


CLAIM = Claim(
    key="C1",
    sentence="DPO trains more stably than PPO-RLHF.",
    experiment=f"{SETTINGS} random settings of PPO and of DPO, {OTHERS} of IPO and ORPO: every "
    f"rate and strength, PPO's critic and reward model included, within a factor of {REACH} of the "
    "tuned value, by the same random numbers for every method, with a fresh seed each, from the "
    "SFT bases in turn. All rates fall to 0 over the last half of a run.",
    published=(
        Published(
            "Zheng et al. 2023 (arXiv 2307.04964)",
            "plain PPO collapses; a set of constraints makes it stable",
            "the PPO of this suite has these constraints",
        ),
    ),
    parts=(
        Part(
            "PPO fails in more settings than DPO.",
            Rule.MORE,
            10,
            "points of settings that fail",
            "share of settings whose run diverges, runs out of memory, or ends "
            f"{MARGIN:g} SDs of the SFT base's gold below SFT; PPO minus DPO",
            more_failures,
        ),
    ),
    arms=arms,
    conditions=tuple(
        f"{m}-random{k:02d}"
        for m in METHODS
        for k in range(1, 1 + (SETTINGS if m in METHODS[:2] else OTHERS))
    ),
    seeds=seeds,
    shown=shares,
    shown_as="settings that failed, %",
    notes=reasons,
    seen="the study stability, on a grid around the same settings: DPO fails more often than PPO",
    failed="a failure is what is counted",
    caveat="Settings around the tuned ones: how often a method fails elsewhere is not measured. A "
    "wider range makes every method fail more. PPO's KL is looked at in every rollout, that of the "
    "other methods at the end.",
)
