"""The loss is no guide to quality: what choosing a rate by held-out loss costs in gold."""

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.conditions import crossed, times

RATES = {f"dpo-rate{rate:.2g}": rate for rate in (0.1, 1 / 3, 1, 3, 10)}
NAMES = tuple(RATES)
WAYS = {"gold": ("gain", 1), "loss": ("validation_loss", -1), "accuracy": ("accuracy", 1)}


def arms(cfg, bases):
    """Return DPO at its strength and five learning rates, with the same seeds for all."""
    found = {
        name: {"method": "dpo", "lr": times(cfg, "dpo", "lr", rate)} for name, rate in RATES.items()
    }
    return crossed(cfg, found, bases)


def chosen(results, way: str):
    """Return the gains [units x prompts] of the rate that a unit's own runs would choose: by the
    lowest held-out loss, the highest held-out accuracy, or the highest gold on validation
    prompts."""
    import pandas as pd

    from bench.studies.claims import units

    column, sign = WAYS[way]
    seen = sign * units.validation(results).set_index(["arm", "seed"])[column]
    table = pd.DataFrame({name: units.by_unit(results, name, seen) for name in NAMES}, dtype=float)
    best = table.dropna(how="all").idxmax(axis=1)
    gains = {name: units.gains(results, name) for name in NAMES}
    return pd.DataFrame({unit: gains[name].loc[unit] for unit, name in best.items()}).T


def regret(results):
    """Return the gain of the rate that validation gold chose minus that of the loss's choice."""
    from bench.studies.claims.effects import over, paired

    return over(paired(chosen(results, "gold"), chosen(results, "loss")))


def by_choice(results):
    """Return the gain of the rate that each way to choose picks."""
    from bench.studies.claims.effects import over

    return {f"dpo by {way}": over(chosen(results, way)) for way in WAYS}


def by_rate(results):
    """Say what each rate gains, with its held-out loss and accuracy."""
    from bench.report.words import fixed
    from bench.studies.claims import units

    rows, items = units.validation(results).set_index(["arm", "seed"]), []
    for name in NAMES:
        loss, accuracy = (
            units.by_unit(results, name, rows[key]).mean()
            for key in ("validation_loss", "accuracy")
        )
        gain = fixed(units.gain(results, name).mean, "+.2f")
        items.append(f"× {RATES[name]:.2g}: loss {loss:.3f}, accuracy {accuracy:.3f}, {gain}")
    return [f"By rate, with the gain on test prompts: {'; '.join(items)}."]


CLAIM = Claim(
    key="C11",
    sentence="The loss is no guide to quality.",
    experiment="DPO at a tenth to ten times its learning rate. Choose the rate by the loss on "
    "held-out pairs, by the accuracy on them, or by gold on validation prompts, and compare on "
    "test prompts.",
    published=(
        Published(
            "Chen et al. 2024 (arXiv 2405.19534)",
            "held-out accuracy goes with win rate only near the reference",
            "along one training, not between settings",
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
    conditions=NAMES,
    shown=by_choice,
    labels={f"dpo by {way}": f"DPO, rate chosen by {way}" for way in WAYS},
    notes=by_rate,
    seen="tune, which noted what held-out accuracy would have picked",
    caveat="The choice is among five rates at one strength; checkpoints along training are not "
    "compared.",
)
