"""Cross conditions with SFT bases. Imports nothing heavy.

A condition is an arm, such as `dpo-flip20`. From the second base on the arm's name ends with the
base's number: `dpo-flip20-sft2`.
"""

from collections.abc import Mapping, Sequence

from bench.settings.checks import ENDS
from bench.settings.overrides import merge
from bench.studies.bases import seeded

Spec = dict[str, object]


def crossed(cfg, conditions: Mapping[str, Spec], bases: Sequence[int]) -> dict[str, Spec]:
    """Return {arm: spec} of each condition from each SFT base, by the base's number.

    An arm named in `candidate_of` is that of the same base.
    """
    found: dict[str, Spec] = {}
    for name, spec in conditions.items():
        for number in bases:
            end = "" if number == 1 else f"-sft{number}"
            own = {"curve": ENDS, "tasks": False} | spec
            if of := own.get("candidate_of"):
                own["candidate_of"] = f"{of}{end}"
            own["condition"] = name
            found[f"{name}{end}"] = merge(own, seeded(cfg, number)) if number > 1 else own
    return found
