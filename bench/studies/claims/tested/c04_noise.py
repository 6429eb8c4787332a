"""DPO is highly sensitive to the quality of its pairs: what labels turned round leave of a gain."""

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.crossing import crossed

METHODS, FLIPS = ("ppo", "dpo", "ipo", "orpo"), (20, 40)


def arms(cfg, bases):
    """Return every method on labels of which some are turned round, at its strength and at a third
    of it, since noisy labels shrink rewards."""
    found = {m: {"method": m} for m in METHODS}
    for flip in FLIPS:
        for method in METHODS:
            name, beta = f"{method}-flip{flip}", getattr(cfg, method).beta
            found[name] = {"method": method, "flip": flip}
            weaker = found[name] | {"beta": float(f"{beta / 3:.3g}"), "candidate_of": name}
            found[f"{name}-betax0.33"] = weaker
    return crossed(cfg, found, bases)


def kept(results, method: str, flip: int = 20):
    """Return the tables of which the share of its gain that a method keeps is the ratio."""
    from bench.studies.claims import units

    return [units.gains(results, name) for name in (f"{method}-flip{flip}", method)]


def more_lost(results):
    """Return how much more of its gain DPO loses than PPO."""
    from bench.studies.claims import units

    tables = [*kept(results, "ppo"), *kept(results, "dpo")]
    return units.jackknife(tables, lambda m: m[0] / m[1] - m[2] / m[3])


CLAIM = Claim(
    key="C4",
    sentence="DPO is highly sensitive to the quality of its pairs.",
    experiment="Every method on labels of which 20 % or 40 % are turned round, from each SFT base; "
    "other bases pick its strength or a third of it.",
    published=(
        Published("Gao et al. 2024 (arXiv 2404.09824)", "DPO loses much under noisy pairs"),
        Published(
            "Chowdhury et al. 2024 (arXiv 2403.00409)",
            "DPO needs a corrected loss under flips; no PPO beside it",
        ),
    ),
    parts=(
        Part(
            "With a fifth of the labels turned round, DPO loses a larger share of its gain than "
            "PPO.",
            Rule.MORE,
            0.15,
            "of the gain",
            "share of the gain lost at 20 % flips: DPO's minus PPO's",
            more_lost,
        ),
    ),
    arms=arms,
    conditions=tuple(f"{m}{end}" for m in METHODS for end in ("", "-flip20", "-flip40")),
    open_if="the shares of both differ by less than the interval's half-width",
    caveat="Flips are random. Labels that err in one direction, as raters' do, may harm otherwise.",
)
