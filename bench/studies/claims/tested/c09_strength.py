"""Beta: too high learns nothing, too low drifts into nonsense, each at its best rate."""

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.crossing import crossed

STRENGTHS = (0.01, 0.1, 1, 10, 100)  # factors on the tuned strength
RATES = (1, 1 / 3, 3)


def arms(cfg, bases):
    """Return DPO at five strengths, each at three rates, of which other bases pick one."""
    found = {}
    for strength in STRENGTHS:
        name = "dpo" if strength == 1 else f"dpo-betax{strength:g}"
        beta = float(f"{cfg.dpo.beta * strength:.3g}")
        for rate in RATES:
            spec = {"method": "dpo"} | ({"beta": beta} if strength != 1 else {})
            if rate == 1:
                found[name] = spec
            elif strength != 1:
                lr = float(f"{cfg.dpo.lr * rate:.3g}")
                found[f"{name}-lrx{rate:.2g}"] = spec | {"lr": lr, "candidate_of": name}
    return crossed(cfg, found, bases)


def below_tuned(strength: float):
    """Return a function: how much less than the tuned strength another one gains."""

    def measured(results):
        from bench.studies.claims import units

        return units.difference(results, "dpo", f"dpo-betax{strength:g}")

    return measured


CLAIM = Claim(
    key="C9",
    sentence="DPO's beta has a middle: too high learns nothing, too low drifts into nonsense.",
    experiment="DPO at a hundredth to a hundred times its strength, each at three learning rates, "
    "of which other bases pick one.",
    published=(
        Published(
            "Rafailov et al. 2024 (arXiv 2406.02900)",
            "low strengths over-optimise: quality falls with KL",
        ),
    ),
    parts=(
        Part(
            "At a hundred times the strength DPO gains less, at any rate.",
            Rule.MORE,
            0.1,
            "gold",
            "gain at the tuned strength minus gain at a hundred times it, at its best rate",
            below_tuned(STRENGTHS[-1]),
        ),
        Part(
            "At a hundredth of the strength DPO gains less, at any rate.",
            Rule.MORE,
            0.1,
            "gold",
            "gain at the tuned strength minus gain at a hundredth of it, at its best rate",
            below_tuned(STRENGTHS[0]),
        ),
    ),
    arms=arms,
    conditions=tuple("dpo" if s == 1 else f"dpo-betax{s:g}" for s in STRENGTHS),
    open_if="the gain is flat over strengths, within the interval",
    caveat="DPO alone. The learning rate was tried at three values for each strength; the tuned "
    "strength has the rate that the search found.",
)
