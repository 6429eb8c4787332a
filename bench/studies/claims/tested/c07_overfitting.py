"""IPO overfits less than DPO: five passes over one label a pair, against five fresh labels."""

from bench.studies.claims.claim import Claim, Part, Published, Rule, not_measured
from bench.studies.claims.conditions import Spec, crossed

METHODS, PASSES, MARGIN = ("dpo", "ipo"), 5, 0.1


def arms(cfg, bases):
    """Return DPO and IPO on all pairs once, and on pairs listed five times, with one label or with
    five."""
    found = {}
    for method in METHODS:
        once = {"method": method} | one_pass(cfg, method)
        found[f"{method}-once"] = once
        found[f"{method}-copies"] = once | {"copies": PASSES}
        found[f"{method}-fresh"] = once | {"copies": PASSES, "fresh": True}
    return crossed(cfg, found, bases)


def one_pass(cfg, method: str) -> Spec:
    """Return the best settings of a method that reads each pair once: as tuned, or the first of its
    finals' candidates that does, or as tuned but for the epochs."""
    tuned = getattr(cfg, method)
    found = cfg.finals.candidates.get(method, ()) if tuned.epochs != 1 else ()
    once = next((own for own in found if own.get("epochs") == 1), {})
    return {key: value for key, value in once.items() if "." not in key} | {"epochs": 1.0}


def cost(results, method: str):
    """Return what a method loses by reading one label five times, not five labels [units x
    prompts]."""
    from bench.studies.claims import units
    from bench.studies.claims.effects import paired

    return paired(*(units.gains(results, f"{method}-{how}") for how in ("fresh", "copies")))


def overfitted(results):
    """Return how much more DPO loses than IPO by reading one label five times."""
    from bench.studies.claims.effects import over, paired

    return over(paired(cost(results, "dpo"), cost(results, "ipo")))


def no_overfitting(results) -> str:
    """Say why the methods cannot be told apart: rereading costs neither of them much, or runs
    failed."""
    from bench.studies.claims.effects import over

    if lost := not_measured(*CLAIM.conditions)(results):
        return lost
    most = max(over(cost(results, method)).mean for method in METHODS)
    return "" if most >= MARGIN else f"rereading costs neither more than {most:.2f}"


def costs(results):
    """Say what each loses."""
    from bench.report.words import said
    from bench.studies.claims.effects import over

    items = [f"{m.upper()} {said(over(cost(results, m)))}" for m in METHODS]
    return [f"What fresh labels gain over one label read {PASSES} times: {', '.join(items)}."]


CLAIM = Claim(
    key="C7",
    sentence="IPO overfits less than DPO.",
    experiment=f"DPO and IPO read every pair {PASSES} times: with one label each time, or with a "
    "label drawn anew. What fresh labels gain over the one label is what overfitting costs.",
    published=(
        Published(
            "Azar et al. 2023 (arXiv 2310.12036)",
            "in theory, DPO's strength vanishes on certain labels",
            "labels here are noisy, as raters' are",
        ),
    ),
    parts=(
        Part(
            "Reading one label five times costs DPO more than IPO.",
            Rule.MORE,
            MARGIN,
            "gold",
            "gain with fresh labels minus gain with one: DPO's minus IPO's",
            overfitted,
            gate=no_overfitting,
        ),
    ),
    arms=arms,
    conditions=tuple(f"{m}{end}" for m in METHODS for end in ("-once", "-copies", "-fresh")),
    labels={
        f"{m}-{how}": f"{m.upper()}, {PASSES} passes, {words}"
        for m in METHODS
        for how, words in (("copies", "one label"), ("fresh", "fresh labels"))
    }
    | {f"{m}-once": f"{m.upper()}, 1 pass" for m in METHODS},
    notes=costs,
    seen="early looks, on one base",
    caveat="Settings of one pass: a rate searched for five passes would hide what rereading costs.",
)
