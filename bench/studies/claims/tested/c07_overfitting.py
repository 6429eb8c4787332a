"""IPO overfits less than DPO: five passes over one label a pair, against five fresh labels."""

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.crossing import crossed

METHODS, PASSES = ("dpo", "ipo"), 5


def arms(cfg, bases):
    """Return DPO and IPO on pairs listed five times, with one label or with five."""
    found = {}
    for method in METHODS:
        found[f"{method}-copies"] = {"method": method, "copies": PASSES}
        found[f"{method}-fresh"] = {"method": method, "copies": PASSES, "fresh": True}
    plain = {m: {"method": m} for m in METHODS}
    return crossed(cfg, plain | found, bases)


def overfitted(results):
    """Return how much more DPO loses than IPO by reading one label five times, not five labels."""
    from bench.studies.claims import units

    own = {
        m: units.paired(*(units.gains(results, f"{m}-{c}") for c in ("fresh", "copies")))
        for m in METHODS
    }
    return units.over(units.paired(own["dpo"], own["ipo"]))


CLAIM = Claim(
    key="C7",
    sentence="IPO overfits less than DPO.",
    experiment=f"DPO and IPO read every pair {PASSES} times: with one label each time, or with a "
    "label drawn anew. What fresh labels gain over the one label is what overfitting costs.",
    published=(
        Published(
            "Azar et al. 2023 (arXiv 2310.12036)",
            "in theory, DPO's strength vanishes on certain labels",
        ),
    ),
    parts=(
        Part(
            "Reading one label five times costs DPO more than IPO.",
            Rule.MORE,
            0.1,
            "gold",
            "gain with fresh labels minus gain with one: DPO's minus IPO's",
            overfitted,
        ),
    ),
    arms=arms,
    conditions=tuple(f"{m}{end}" for m in METHODS for end in ("", "-copies", "-fresh")),
    open_if="neither method loses by rereading, or the interval reaches from below 0 to above 0.1",
    caveat="One-epoch settings: a rate searched for five passes would hide what rereading costs.",
)
