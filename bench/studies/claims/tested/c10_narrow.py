"""Narrow pairs make a one-trick model: pairs of reviews alone, against all else."""

from bench.studies.claims.claim import Claim, Part, Rule
from bench.studies.claims.conditions import crossed
from bench.studies.scaling import from_few

PAIRS, PRODUCT, MARGIN = 500, "phone", 0.1
NAMES = tuple(f"{m}{kind}" for m in ("dpo", "ppo") for kind in ("", "-review", f"-{PRODUCT}"))
FAMILIES = {"request": "requests", "sum": "sums", "review": "reviews"}


def arms(cfg, bases):
    """Return DPO from all bases, and PPO from every fourth one, on pairs of all kinds, on as many
    of reviews alone, and on few of one product, read more often."""
    n, found = min(PAIRS, cfg.pairs.n), {}
    for method, own in (("dpo", bases), ("ppo", bases[::4])):
        made = {
            method: {"method": method},
            f"{method}-review": {"method": method, "only": "review"},
            f"{method}-{PRODUCT}": from_few(cfg, method, n) | {"only": PRODUCT},
        }
        found |= crossed(cfg, made, own)
    return found


def damage(family: str, condition: str = "dpo-review"):
    """Return a function: how far a family of prompts falls below SFT after training on reviews."""

    def measured(results):
        from bench.studies.claims import units
        from bench.studies.claims.effects import over

        return over(-units.gains(results, condition, family))

    return measured


def no_gain(results) -> str:
    """Say why damage elsewhere means little, if training on reviews does not help reviews."""
    from bench.report.words import said
    from bench.studies.claims import units

    own = units.gain(results, "dpo-review", "review")
    return "" if own.mean >= MARGIN else f"on reviews themselves DPO gains {said(own)}"


def of_requests(results):
    """Return the gain of each condition on requests."""
    from bench.studies.claims import units

    return {name: units.gain(results, name, "request") for name in NAMES}


def by_family(results):
    """Say how each condition moved each family of prompts."""
    from bench.report.words import fixed
    from bench.studies.claims import units

    items = []
    for name in NAMES:
        moved = [
            f"{fixed(units.gain(results, name, family).mean, '+.2f')} {word}"
            for family, word in FAMILIES.items()
        ]
        items.append(f"{CLAIM.labels[name]}: {', '.join(moved)}")
    return [f"Gold above SFT. {'; '.join(items)}."]


CLAIM = Claim(
    key="C10",
    sentence="Training on narrow pairs makes a one-trick model.",
    experiment="DPO and PPO on pairs of all kinds, on as many of reviews alone, and on "
    f"{PAIRS} of reviews of one product, read more often; DPO from each SFT base, PPO on narrow "
    "pairs from every fourth.",
    published=(),
    parts=tuple(
        Part(
            f"DPO on reviews alone {words}.",
            Rule.MORE,
            MARGIN,
            "gold",
            f"gold of the SFT base's answers to {FAMILIES[family]} minus that after training on "
            "reviews",
            damage(family),
            gate=no_gain,
        )
        for family, words in (
            ("request", "answers requests worse than SFT"),
            ("sum", "adds worse than SFT"),
        )
    ),
    arms=arms,
    conditions=NAMES,
    shown=of_requests,
    shown_as="gold of requests above SFT",
    labels={
        f"{m}{kind}": f"{m.upper()} on {what}"
        for m in ("dpo", "ppo")
        for kind, what in (
            ("", "all kinds"),
            ("-review", "reviews"),
            (f"-{PRODUCT}", f"reviews of a {PRODUCT}"),
        )
    },
    notes=by_family,
    caveat="One narrow family of prompts. Settings are those found on pairs of all kinds.",
    worlds=("micro",),
    elsewhere="its prompts are of one kind",
)
