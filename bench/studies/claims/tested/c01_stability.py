"""DPO trains more stably than PPO-RLHF: random settings around the tuned ones, fresh seeds."""

import math
import re
from random import Random

from bench.core.streams import stream
from bench.core.thresholds import MARGIN
from bench.settings.checks import ENDS
from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.scaling import rounded

SETTINGS, HALF, FIRST = 60, 30, 301  # random settings, those of IPO and ORPO, the first seed
REACH = 5  # factor either way of the tuned value
VARIED = ("lr", "beta", "critic_lr")


def arms(cfg, bases):
    """Return each method at random settings: the k-th of every method has the same random numbers,
    and a seed of its own."""
    found = {}
    for number in range(1, SETTINGS + 1):
        for method in ("ppo", "dpo", "ipo", "orpo") if number <= HALF else ("ppo", "dpo"):
            luck = stream("claims", number=number)
            found[f"{method}-random{number:02d}"] = {
                "method": method, "curve": ENDS, "tasks": False, **_drawn(cfg, method, luck)
            }  # fmt: skip
    return found


def _drawn(cfg, method: str, luck: Random) -> dict:
    factors = {key: math.exp(luck.uniform(-1, 1) * math.log(REACH)) for key in (*VARIED, "reward")}
    tuned = getattr(cfg, method)
    own = {k: rounded(getattr(tuned, k) * factors[k]) for k in VARIED if getattr(tuned, k, None)}
    if "reward" in cfg.known_methods[method].NEEDS:
        own["reward"] = {"lr": rounded(cfg.reward.lr * factors["reward"])}
    return own


def seeds(arm: str) -> tuple[int, ...] | None:
    """Return the seed of a random setting: its own."""
    found = re.search(r"-random(\d+)$", arm)
    return (FIRST + int(found[1]),) if found else None


def failed(results, method: str):
    """Return a series of whether the run of each setting failed, or ended below SFT."""
    import pandas as pd

    from bench.studies.stability import analysis as stability

    rows = stability.runs(results)
    rows = rows[rows.arm.str.startswith(f"{method}-random")]
    return pd.Series(
        (rows.outcome != "ok").to_numpy(float), index=rows.arm.str[-2:].astype(int).to_numpy()
    )


def more_failures(results):
    """Return how many more of its settings fail for PPO than for DPO, in points."""
    import pandas as pd

    from bench.analysis import statistics as st

    both = pd.DataFrame({m: failed(results, m) for m in ("ppo", "dpo")}).dropna()
    return st.over_seeds(100 * (both.ppo - both.dpo))


def shares(results):
    """Return the share of settings that failed, in %, of each method."""
    from bench.analysis import statistics as st

    methods = ("ppo", "dpo", "ipo", "orpo")
    return {m: st.over_seeds(100 * failed(results, m)) for m in methods}


CLAIM = Claim(
    key="C1",
    sentence="DPO trains more stably than PPO-RLHF.",
    experiment=f"{SETTINGS} random settings of PPO and of DPO, half as many of IPO and ORPO: every "
    f"rate and strength, PPO's critic and reward model included, within a factor of {REACH} of the "
    "tuned value, by the same random numbers for every method, with a fresh seed each.",
    published=(
        Published(
            "Zheng et al. 2023 (arXiv 2307.04964)", "PPO is unstable unless it is constrained"
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
    conditions=("ppo-random01", "dpo-random01"),
    seeds=seeds,
    shown=shares,
    shown_as="settings that failed, %",
    open_if="fewer than a tenth of the settings fail for both, or the interval reaches from below "
    "0 to above 10 points",
    caveat="Settings around the tuned ones: how often a method fails elsewhere is not measured. A "
    "wider range makes every method fail more.",
)
