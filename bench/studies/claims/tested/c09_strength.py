"""Beta: too high learns nothing, too low drifts into nonsense, each at its best rate."""

from bench.studies.claims.claim import Claim, Part, Published, Rule, not_measured
from bench.studies.claims.conditions import candidates, crossed, times

STRENGTHS = (0.01, 0.1, 10, 100)  # factors on the tuned strength
RATES = {"slower": 0.1, "slow": 1 / 3, "fast": 3, "faster": 10}
NAMES = tuple(f"dpo-strength{strength:g}" for strength in STRENGTHS)


def arms(cfg, bases):
    """Return DPO as tuned and at four other strengths, each at the best of five rates."""
    found = {"dpo": {"method": "dpo"}}
    for name, strength in zip(NAMES, STRENGTHS, strict=True):
        tried = candidates(cfg, "dpo", {word: {"lr": rate} for word, rate in RATES.items()})
        beta = times(cfg, "dpo", "beta", strength)
        found[name] = {"method": "dpo", "beta": beta, "candidates": tried}
    return crossed(cfg, found, bases)


def below_tuned(strength: float):
    """Return a function: how much less than the tuned strength another one gains."""

    def measured(results):
        from bench.studies.claims import units

        return units.difference(results, "dpo", f"dpo-strength{strength:g}")

    return measured


def drift(results):
    """Say how far each strength moves from SFT, and how much it garbles where gold tells."""
    from bench.studies.claims import units

    items, told = [], "garble" in results.prompts
    for name in CLAIM.conditions:
        kl = units.changes(results, name, "kl").to_numpy().mean()
        items.append(f"{CLAIM.labels[name]} {kl:.2g} nats")
        if told:
            garble = units.changes(results, name, "garble").to_numpy().mean()
            items[-1] += f", {garble:+.2f} clauses"
    more = ", and garbled clauses an answer beyond SFT's" * told
    return [f"KL from SFT{more}: {'; '.join(items)}."]


CLAIM = Claim(
    key="C9",
    sentence="Beta too high learns nothing, beta too low drifts into nonsense.",
    experiment="DPO at a hundredth, a tenth, ten and a hundred times its strength, each at a "
    "tenth, a third, one, three or ten times its rate, whichever gains most from the first base on "
    "other seeds.",
    published=(
        Published(
            "Rafailov et al. 2024 (arXiv 2406.02900)",
            "a low strength ends worse after passing its best point",
            "one rate for all strengths",
        ),
    ),
    parts=(
        Part(
            "At a hundred times its strength DPO gains less.",
            Rule.MORE,
            0.1,
            "gold",
            "gain at the tuned strength minus that at a hundred times it, at its best rate",
            below_tuned(100),
        ),
        Part(
            "At a hundredth of its strength DPO gains less.",
            Rule.MORE,
            0.1,
            "gold",
            "gain at the tuned strength minus that at a hundredth of it, at its best rate",
            below_tuned(0.01),
            gate=not_measured("dpo", NAMES[0]),
        ),
    ),
    arms=arms,
    conditions=(*NAMES[:2], "dpo", *NAMES[2:]),
    labels={"dpo": "DPO as tuned"}
    | {n: f"DPO, strength × {s:g}" for n, s in zip(NAMES, STRENGTHS, strict=True)},
    notes=drift,
    seen="views, at a tenth to ten times the strength and one rate",
    caveat="Strength and rate trade places in part: a low strength at a low rate is a short walk "
    "in a steep direction.",
)
