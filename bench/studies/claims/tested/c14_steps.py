"""Shallow pairs teach the look of reasoning, step-by-step pairs teach it: worked sums."""

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.crossing import crossed

KINDS, METHODS = ("look", "outcome", "steps"), ("dpo", "ppo")


def arms(cfg, bases):
    """Return DPO and PPO on worked sums with mistakes, labelled by look, by outcome, by steps."""
    found = {
        f"{m}-worked-{kind}": {"method": m, "preference": f"worked-{kind}", "n": cfg.pairs.n,
                               "tasks": True}
        for m in METHODS for kind in KINDS
    }  # fmt: skip
    return crossed(cfg, found, bases)


def lead(method: str, task: str):
    """Return a function: how many more points of hard sums are right after labels by steps than
    after labels by look."""

    def measured(results):
        from bench.studies.claims import units

        both = (units.right(results, f"{method}-worked-{kind}", task) for kind in ("steps", "look"))
        return units.over(100 * units.paired(*both))

    return measured


def rights(results):
    """Return the change from SFT in the share of hard sums with right steps, in points."""
    from bench.studies.claims import units

    return {
        name: units.over(100 * units.right(results, name, "worked_steps", change=True))
        for name in CLAIM.conditions
    }


CLAIM = Claim(
    key="C14",
    sentence="Shallow pairs teach the look of reasoning, step-by-step pairs teach reasoning.",
    experiment="Pairs of worked sums with mistakes, which differ in look, in result and in steps. "
    "The look, a polite beginning, is drawn apart from all else: labels by look agree with labels "
    "by outcome in half of the pairs, labels by outcome with labels by steps in four of five.",
    published=(
        Published("Uesato et al. 2022 (arXiv 2211.14275)", "outcome equals process on answers"),
    ),
    parts=tuple(
        Part(
            f"{m.upper()} gets more {what} of hard sums right from labels by steps than from "
            "labels by look.",
            Rule.MORE,
            5,
            "points of sums",
            f"share of held-out hard sums whose {what} are right: labels by steps minus labels by "
            "look",
            lead(m, task),
        )
        for m in METHODS
        for what, task in (("results", "worked_result"), ("steps", "worked_steps"))
    ),
    arms=arms,
    conditions=tuple(f"{m}-worked-{kind}" for m in METHODS for kind in KINDS),
    shown=rights,
    shown_as="points of hard sums with right steps, change from SFT",
    open_if="the interval reaches from below 0 to above 5 points",
    caveat="Sums of two numbers of two digits: two steps. The mistakes are made up, not sampled.",
)
