"""Make the arms of a condition, one from each SFT base. Imports nothing heavy.

A condition is an arm, such as `dpo-flip20`. From the second base on the arm's name ends with the
base's number: `dpo-flip20-sft2`.
"""

import re
from collections.abc import Mapping, Sequence

from bench.settings.checks import ENDS
from bench.settings.overrides import merge
from bench.studies.bases import seeded
from bench.studies.scaling import rounded

Spec = dict[str, object]
NUMBERED = re.compile(r"-sft\d+$")
WRITER = "writer"  # an arm whose SFT base only writes pairs


def condition(arm: str) -> str:
    """Return the name that an arm shares with those that differ in their SFT base alone."""
    return NUMBERED.sub("", arm)


def crossed(cfg, conditions: Mapping[str, Spec], bases: Sequence[int]) -> dict[str, Spec]:
    """Return {arm: spec} of each condition from each SFT base, by the base's number.

    Candidates of a condition are tried from the first base; the others follow that pick. A method
    as tuned is the arm that the study `bases` has.
    """
    found: dict[str, Spec] = {}
    for name, spec in conditions.items():
        own = {"curve": ENDS, "tasks": False} | ({"scored": False} if len(spec) > 1 else {}) | spec
        if 1 in bases or spec.get("candidates"):  # the arm that the others follow
            found[name] = own
        rest = {key: value for key, value in own.items() if key != "candidates"}
        rest |= {"follows": name} if spec.get("candidates") else {}
        others = [number for number in bases if number > 1]
        found |= {f"{name}-sft{n}": merge(rest, seeded(cfg, n)) for n in others}
    return found


def times(cfg, method: str, key: str, factor: float) -> float:
    """Return a method's tuned setting, times a factor."""
    return rounded(getattr(getattr(cfg, method), key) * factor)


def candidates(cfg, method: str, tried: Mapping[str, Mapping[str, float]]) -> dict[str, Spec]:
    """Return {name: settings to try}; tried: {name: {setting: factor on its tuned value}}."""
    return {
        name: {key: times(cfg, method, key, factor) for key, factor in own.items()}
        for name, own in tried.items()
    }


def elsewhere(cfg, method: str) -> Spec:
    """Return candidates where pairs are others than the settings were found on: a third of the
    strength, three times it, or a third of the rate.

    Flips shrink the scores of a reward model, so a fixed strength holds PPO tighter; a direct
    method, which reads the labels themselves, may need to be held tighter or to learn more slowly.
    """
    tried = {"weak": {"beta": 1 / 3}, "strong": {"beta": 3}, "slow": {"lr": 1 / 3}}
    return {"candidates": candidates(cfg, method, tried)}


def few(cfg, share: int) -> int:
    """Return the labels of a share: all, divided by it."""
    return max(1, cfg.pairs.n // share)


def foreign(number: int) -> Spec:
    """Return the pairs that another SFT base of the same pretrained model writes."""
    return {"pairs": {"writer": WRITER if number == 1 else f"{WRITER}-sft{number}"}}


def writers(cfg, bases: Sequence[int]) -> dict[str, Spec]:
    """Return the arms whose SFT bases write pairs for others: SFT of the same pretrained model with
    another seed, for a quarter of the steps. No run of theirs is trained."""
    found = {}
    for number in bases:
        own = {"base": seeded(cfg, number)["base"]} if number > 1 and cfg.base.steps else {}
        sft = {"steps": max(1, cfg.sft.steps // 4), "seed": cfg.sft.seed + 1000}
        found[str(foreign(number)["pairs"]["writer"])] = {"method": "dpo", "sft": sft} | own
    return found
