"""DPO is highly sensitive to the quality of its pairs: what labels turned round leave of a gain."""

from bench.studies.claims.claim import Claim, Part, Published, Rule, not_measured
from bench.studies.claims.conditions import crossed, elsewhere

METHODS, FLIPS = ("ppo", "dpo", "ipo", "orpo"), (20, 40)


def arms(cfg, bases):
    """Return every method on labels of which some are turned round, each at the best of four
    settings."""
    found = {m: {"method": m} for m in METHODS}
    for flip in FLIPS:
        for method in METHODS:
            own = {"method": method, "flip": flip}
            found[f"{method}-flip{flip}"] = own | elsewhere(cfg, method)
    return crossed(cfg, found, bases)


def more_lost(results):
    """Return how much more of its gain DPO loses than PPO at 20 % flips."""
    from bench.studies.claims import units
    from bench.studies.claims.effects import jackknife

    names = ("ppo-flip20", "ppo", "dpo-flip20", "dpo")
    tables = [units.gains(results, name) for name in names]
    return jackknife(tables, lambda m: m[0] / m[1] - m[2] / m[3])


def below_sft(results):
    """Return how far DPO ends below SFT at 40 % flips."""
    from bench.studies.claims import units
    from bench.studies.claims.effects import over

    return over(-units.gains(results, "dpo-flip40"))


def kept(results):
    """Say which share of its gain each method keeps."""
    from bench.studies.claims import units
    from bench.studies.claims.effects import jackknife

    items = []
    for method in METHODS:
        whole = units.gains(results, method)
        shares = [
            jackknife([units.gains(results, f"{method}-flip{flip}"), whole], lambda m: m[0] / m[1])
            for flip in FLIPS
        ]
        said = ", ".join(
            f"{100 * s.mean:.0f} % ({100 * s.low:.0f} to {100 * s.high:.0f}) at {flip} % flips"
            for s, flip in zip(shares, FLIPS, strict=True)
        )
        items.append(f"{method.upper()} {said}")
    return [f"Of its gain each method keeps: {'; '.join(items)}; intervals over SFT bases."]


CLAIM = Claim(
    key="C4",
    sentence="DPO is highly sensitive to the quality of its pairs.",
    experiment="Every method on labels of which 20 % or 40 % are turned round, from each SFT base, "
    "as tuned, at a third or three times its strength or a third of its rate, whichever gains most "
    "from the first base on other seeds.",
    published=(
        Published(
            "Gao et al. 2024 (arXiv 2404.09824)",
            "10 points more flips cost DPO up to 30 points of win rate",
            "no PPO beside it",
        ),
        Published(
            "Chowdhury et al. 2024 (arXiv 2403.00409)",
            "DPO needs a corrected loss under flips",
            "no PPO beside it",
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
        Part(
            "With two fifths of the labels turned round, DPO is worse than no training.",
            Rule.MORE,
            0.1,
            "gold",
            "gold of the SFT base minus DPO's at 40 % flips",
            below_sft,
            gate=not_measured("dpo-flip40"),
        ),
    ),
    arms=arms,
    conditions=tuple(f"{m}{end}" for m in METHODS for end in ("", "-flip20", "-flip40")),
    labels={f"{m}-flip{f}": f"{m.upper()}, {f} % turned round" for m in METHODS for f in FLIPS},
    notes=kept,
    caveat="Flips are random. Labels that err in one direction, as raters' do, may harm otherwise.",
)
