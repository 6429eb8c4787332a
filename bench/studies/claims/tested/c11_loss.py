"""The loss is no guide to quality: what choosing a rate by held-out loss costs in gold."""

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.crossing import crossed

RATES = {f"dpo-lrx{rate:.2g}": rate for rate in (1 / 3, 3, 10)}
NAMES = tuple(RATES)


def arms(cfg, bases):
    """Return DPO at its strength and four learning rates."""
    found = {"dpo": {"method": "dpo"}}
    for name, rate in RATES.items():
        found[name] = {"method": "dpo", "lr": float(f"{cfg.dpo.lr * rate:.3g}")}
    return crossed(cfg, found, bases)


def chosen(results, column: str, sign: int):
    """Return the gains [units x prompts] of the rate that a unit's own runs would choose by a
    column: its lowest held-out loss (sign -1), its highest accuracy or validation gold (1)."""
    import pandas as pd

    from bench.studies.claims import units

    seen = sign * units.validation(results).set_index(["arm", "seed"])[column]
    names = ("dpo", *NAMES)
    table = pd.DataFrame({name: units.by_unit(results, name, seen) for name in names}, dtype=float)
    best = table.dropna(how="all").idxmax(axis=1)
    gains = {name: units.gains(results, name) for name in names}
    return pd.DataFrame({unit: gains[name].loc[unit] for unit, name in best.items()}).T


def regret(results):
    """Return the gain of the rate that validation gold chose minus that of the loss's choice."""
    from bench.studies.claims import units

    by_gold, by_loss = chosen(results, "gain", 1), chosen(results, "validation_loss", -1)
    return units.over(units.paired(by_gold, by_loss))


def by_choice(results):
    """Return the gain of the rate that each way to choose picks."""
    from bench.studies.claims import units

    ways = {"gold": ("gain", 1), "loss": ("validation_loss", -1), "accuracy": ("accuracy", 1)}
    return {f"dpo-chosen-by-{k}": units.over(chosen(results, *way)) for k, way in ways.items()}


CLAIM = Claim(
    key="C11",
    sentence="The loss is no guide to quality.",
    experiment="DPO at a third to ten times its learning rate. Choose the rate by the loss on "
    "held-out pairs, by the accuracy on them, or by gold on validation prompts, and compare on "
    "test prompts.",
    published=(
        Published(
            "Chen et al. 2024 (arXiv 2405.19534)",
            "ranking accuracy and win rate drift apart in training",
        ),
    ),
    parts=(
        Part(
            "The rate with the lowest held-out loss gains less than the best.",
            Rule.MORE,
            0.1,
            "gold",
            "gain of the rate chosen by gold minus gain of the rate chosen by held-out loss",
            regret,
        ),
    ),
    arms=arms,
    conditions=("dpo", *NAMES),
    shown=by_choice,
    open_if="the interval reaches from below 0 to above 0.1",
    caveat="The choice is among four rates at one strength; checkpoints along training are not "
    "compared.",
)
