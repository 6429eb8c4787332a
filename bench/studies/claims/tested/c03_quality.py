"""DPO matches or beats RLHF: non-inferiority in gold, on sampled and on foreign pairs."""

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.conditions import Spec, condition, crossed, elsewhere, foreign, writers
from bench.worlds import world

LEAST = 1.0  # nats an answer by which foreign pairs must be less probable than own ones
OWN, OTHER = ("ppo", "dpo", "ipo", "orpo"), ("ppo-foreign", "dpo-foreign")


def arms(cfg, bases):
    """Return the methods on pairs of their own SFT base, from all the bases of the study `bases`,
    and on pairs that a less trained SFT of the same base writes, where a testbed samples its pairs,
    at the best of four settings."""
    every = range(1, max(len(bases), cfg.bases.n) + 1)
    found = crossed(cfg, {m: {"method": m} for m in OWN}, every)
    if world(cfg.data.kind).GIVEN_PAIRS:
        return found
    for number in bases:
        own = {name: other(cfg, name, number) for name in OTHER}
        found |= crossed(cfg, own, [number])
    return found | writers(cfg, bases)


def other(cfg, name: str, number: int) -> Spec:
    """Return a method on foreign pairs from a base; all bases follow the pick of the first."""
    method = name[:3]
    how = elsewhere(cfg, method) if number == 1 else {"follows": name}
    return {"method": method} | how | foreign(number)


def seeds(arm: str) -> tuple[int, ...] | None:
    """Return two seeds for each method as tuned, as the study `bases` has."""
    return (1, 2) if condition(arm) in OWN else None


def lead(end: str = ""):
    """Return a function: DPO's gain minus PPO's, on one origin of the pairs."""

    def measured(results):
        from bench.studies.claims import units

        return units.difference(results, f"dpo{end}", f"ppo{end}")

    return measured


def less_probable(results):
    """Return by how many nats another model's answers are less probable under the SFT base than the
    base's own."""
    from bench.studies.claims import effects, units

    own, other = (units.log_probability(results, name) for name in ("dpo", "dpo-foreign"))
    return effects.over_units((own - other).dropna())


def why_not_foreign(results) -> str:
    """Say why pairs are no other model's: there are none, or the SFT base finds them nearly as
    probable as its own."""
    from bench.studies.claims import units

    if not units.arms_of(results).get("dpo-foreign"):
        return "this testbed comes with its pairs, and no other model writes some"
    off = less_probable(results).low > LEAST
    return "" if off else f"its answers are not shown to be less probable by {LEAST:g} nat"


def origin(results) -> list[str]:
    """Say the effect without the base that settings were searched on, and how much less probable
    the SFT base finds the other model's answers."""
    from bench.report.words import said
    from bench.studies.claims import units

    others = units.difference(results, "dpo", "ppo", [""])
    said_ = f"Without the first base, on which settings were searched: {said(others)}."
    if why_not_foreign(results):
        return [said_]
    found = less_probable(results)
    return [
        said_,
        "Under the SFT base the other model's chosen answers are less probable than its own by "
        f"{said(found, 1, '')} nats an answer, in the first batch of each DPO run. Longer answers "
        "are less probable too.",
    ]


CLAIM = Claim(
    key="C3",
    sentence="DPO matches or beats PPO-RLHF.",
    experiment="PPO, DPO, IPO and ORPO from all SFT bases of the study `bases`, with two seeds, on "
    "pairs sampled from that base; PPO and DPO, with one seed, on pairs that another SFT of the "
    "same base wrote, trained for a quarter of the steps, as tuned, at a third or three times the "
    "strength or a third of the rate, whichever gains most from the first base on other seeds.",
    published=(
        Published(
            "Rafailov et al. 2023 (arXiv 2305.18290)",
            "DPO ahead of PPO on summaries, within the noise of its human judges",
            "one PPO run, little searched",
        ),
        Published("Xu et al. 2024 (arXiv 2404.10719)", "PPO ahead of DPO on dialogue and code"),
        Published("Ivison et al. 2024 (arXiv 2406.09279)", "PPO ahead of DPO by up to 2.5 points"),
    ),
    parts=(
        Part(
            "On pairs of its own SFT base, DPO matches or beats PPO.",
            Rule.MATCHES,
            0.1,
            "gold",
            "DPO's gain minus PPO's",
            lead(),
            share=4,
        ),
        Part(
            "On pairs that another model wrote, DPO matches or beats PPO.",
            Rule.MATCHES,
            0.1,
            "gold",
            "DPO's gain minus PPO's",
            lead("-foreign"),
            gate=why_not_foreign,
        ),
    ),
    arms=arms,
    conditions=(*OWN, *OTHER),
    seeds=seeds,
    notes=origin,
    seen="the study bases, on these bases and seeds: PPO ahead on sampled pairs",
    labels={name: f"{name[:3].upper()}, pairs of another model" for name in OTHER},
    caveat="Gold follows rules that a reward model can learn, which is good for PPO; labels are "
    "drawn as DPO's loss assumes, which is good for DPO. Settings were searched on the first base "
    "alone.",
)
