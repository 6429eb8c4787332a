"""Narrow pairs make a one-trick model: 500 pairs of reviews alone, against the other family."""

from bench.studies.claims.claim import Claim, Part, Rule
from bench.studies.claims.crossing import crossed

PAIRS, PRODUCT = 500, "phone"
NAMES = tuple(f"{m}-{kind}" for m in ("dpo", "ppo") for kind in ("mixed", "review", PRODUCT))
KINDS = {"mixed": {}, "review": {"only": "review"}, PRODUCT: {"only": PRODUCT}}


def arms(cfg, bases):
    """Return DPO and PPO on 500 pairs: of all kinds, of reviews, of reviews of one product."""
    found = {
        f"{method}-{name}": {"method": method, "n": PAIRS} | kind
        for method in ("dpo", "ppo")
        for name, kind in KINDS.items()
    }
    return crossed(cfg, found, bases)


def damage(method: str):
    """Return a function: how far requests fall below SFT after training on reviews alone."""

    def measured(results):
        from bench.studies.claims import units

        return units.over(-units.gains(results, f"{method}-review", "request"))

    return measured


def of_requests(results):
    """Return the gain of each condition on requests."""
    from bench.studies.claims import units

    return {name: units.gain(results, name, "request") for name in NAMES}


CLAIM = Claim(
    key="C10",
    sentence="Training on narrow pairs makes a one-trick model.",
    experiment=f"DPO and PPO on {PAIRS} pairs of reviews alone, of reviews of one product, and of "
    "all kinds, from each SFT base.",
    published=(),
    parts=tuple(
        Part(
            f"{method.upper()} on reviews alone answers requests worse than SFT.",
            Rule.MORE,
            0.1,
            "gold",
            "gold of the SFT base's answers to requests minus that after training on reviews",
            damage(method),
        )
        for method in ("dpo", "ppo")
    ),
    arms=arms,
    conditions=NAMES,
    shown=of_requests,
    shown_as="gold of requests above SFT",
    open_if="the interval reaches from below 0 to above 0.1",
    caveat=f"{PAIRS} pairs are few; more of them train longer and may do more damage.",
)
