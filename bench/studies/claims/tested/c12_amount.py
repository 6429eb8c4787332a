"""1,000 gold pairs always beat 10,000 noisy ones: literally, and over shares of noise."""

from bench.settings.checks import left_in_pool
from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.conditions import Spec, crossed, elsewhere, few, times
from bench.studies.scaling import from_few

SHARE, FLIPS = 10, {"dpo": (10, 20, 30, 40), "ppo": (20, 40)}
NOISY = (20, 30, 40)  # flips at which strength or rate is picked anew
GOLD, MANY, FLIPPED = 1_000, 10_000, 20  # the claim's own numbers, and the share turned round
LITERAL = (f"dpo-exact{GOLD}", f"dpo-many{MANY}")
NAMES = tuple(f"{m}-{end}" for m in FLIPS for end in ("exact", *(f"flip{f}" for f in FLIPS[m])))


def arms(cfg, bases):
    """Return DPO and PPO on few pairs with exact labels, at the best of three lengths, and on all
    pairs with labels turned round; and, where the pool holds as many, DPO on the claim's numbers of
    pairs."""
    made, n = {}, few(cfg, SHARE)
    for method, flips in FLIPS.items():
        found: dict[str, Spec] = {}
        tried = {"short": {"epochs": getattr(cfg, method).epochs}}
        if method == "dpo":  # PPO takes as many steps anyway
            tried["long"] = {"epochs": times(cfg, method, "epochs", SHARE)}
        exact = from_few(cfg, method, n) | {"preference": "exact", "candidates": tried}
        found[f"{method}-exact"] = exact
        for flip in flips:
            own = {"method": method, "flip": flip}
            found[f"{method}-flip{flip}"] = own | (elsewhere(cfg, method) if flip in NOISY else {})
        made |= crossed(cfg, found, bases if method == "dpo" else bases[::2])
    return made | (crossed(cfg, literal(cfg), bases) if left_in_pool(cfg) >= MANY else {})


def literal(cfg) -> dict[str, Spec]:
    """Return DPO on a thousand exact pairs and on ten thousand of which some are turned round, each
    at the best of three settings; the noisy ones are all read, at a lower strength or twice too."""
    usual, twice = cfg.dpo.epochs, times(cfg, "dpo", "epochs", 2)
    often = times(cfg, "dpo", "epochs", cfg.pairs.n / GOLD)
    exact = {"candidates": {"short": {"epochs": usual}, "long": {"epochs": often}}}
    weak = {"beta": times(cfg, "dpo", "beta", 1 / 3)}
    noisy = {"candidates": {"weak": weak, "twice": {"epochs": twice}}}
    return {
        LITERAL[0]: from_few(cfg, "dpo", GOLD) | {"preference": "exact"} | exact,
        LITERAL[1]: {"method": "dpo", "n": MANY, "flip": FLIPPED} | noisy,
    }


def literally(results):
    """Return the lead of a thousand exact pairs over ten thousand noisy ones."""
    from bench.studies.claims import units

    return units.difference(results, *LITERAL)


def enough(results) -> str:
    """Say that the pool is too small for the claim's numbers."""
    from bench.studies.claims import units

    has = units.arms_of(results).get(LITERAL[1])
    return "" if has else f"the pool does not hold {MANY:,} pairs"


def leads(results, method: str = "dpo"):
    """Return the lead of few exact pairs over all noisy ones, by share of flips."""
    from bench.studies.claims import units

    few_ = f"{method}-exact"
    return [units.difference(results, few_, f"{method}-flip{flip}") for flip in FLIPS[method]]


def level(results, method: str):
    """Return the log of the share of flips, in %, at which all pairs gain what few exact ones do:
    minus the gain rises with flips, as a curve whose level is to be reached must."""
    from bench.studies.claims import units
    from bench.studies.claims.effects import reached

    noisy = [(flip, -units.gains(results, f"{method}-flip{flip}")) for flip in FLIPS[method]]
    return reached(-units.gains(results, f"{method}-exact"), noisy)


def by_flips(results):
    """Say the lead at each share of flips, where it is none, and what information predicts."""
    from bench.report.words import said
    from bench.studies.claims.words import exponential

    items = [
        f"{method.upper()} at {flip} % flips {said(lead)}"
        for method, flips in FLIPS.items()
        for flip, lead in zip(flips, leads(results, method), strict=True)
    ]
    ends = [f"{method.upper()} {exponential(level(results, method), 0)} %" for method in FLIPS]
    return [
        f"Lead of a tenth of the pairs with exact labels over all pairs: {'; '.join(items)}.",
        f"Flips at which both gain the same: {'; '.join(ends)}.",
        "If only the information in the labels counted, N (1 - 2e)² with e of them turned round, "
        "ten times as many labels would be ahead up to 34 % flips, and up to 26 to 31 % if drawn "
        "labels are noisy before they are turned round.",
    ]


CLAIM = Claim(
    key="C12",
    sentence="A thousand gold pairs always beat ten thousand noisy ones.",
    experiment="DPO on a thousand pairs with exact labels and on ten thousand of which a fifth is "
    "turned round. DPO and PPO on a tenth of the pairs with exact labels, in as many epochs as on "
    "all, in as many steps or in between, against all pairs of which 10 to 40 % are turned round; "
    "PPO from every other base. The first base picks lengths, and strength or rate on noisy pairs, "
    "on other seeds.",
    published=(
        Published(
            "Deng et al. 2025 (arXiv 2502.14560)",
            "a selected tenth of the pairs beats all of them by 3 to 8 points",
            "selected by margin, not labelled better",
        ),
    ),
    parts=(
        Part(
            "For DPO, a thousand exact pairs beat ten thousand of which a fifth is turned round.",
            Rule.MORE,
            0.1,
            "gold",
            "gain from 1,000 exact pairs minus gain from 10,000 noisy ones",
            literally,
            gate=enough,
        ),
        Part(
            "For DPO, a tenth of the pairs with exact labels beats all pairs at every share of "
            "flips.",
            Rule.ALWAYS,
            0.0,
            "gold",
            "gain from few exact pairs minus gain from all with 10, 20, 30, 40 % flips; the least "
            "of the four",
            leads,
        ),
    ),
    arms=arms,
    conditions=(*LITERAL, *NAMES),
    labels={
        name: f"{name[:3].upper()}, "
        + ("a tenth, exact" if name.endswith("exact") else f"all, {name[8:]} % turned round")
        for name in NAMES
    }
    | dict(zip(LITERAL, ("DPO, 1,000 exact", "DPO, 10,000, 20 % turned round"), strict=True)),
    notes=by_flips,
    caveat="In the second statement a tenth of this testbed's pairs stands for the claim's "
    "numbers. Exact labels say which answer has more gold, however little more.",
    worlds=("micro",),
    elsewhere="no exact labels",
)
