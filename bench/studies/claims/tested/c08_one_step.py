"""ORPO folds SFT and alignment into one step: from the pretrained base, on the same triples."""

from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.crossing import crossed

ONE, TWO = "orpo-twins", "dpo-twins"


def arms(cfg, bases):
    """Return ORPO from the pretrained base on twin demonstrations, at four settings, and DPO on the
    same twins after SFT on their chosen answers."""
    lr, batch = cfg.sft.lr, 2 * cfg.sft.batch
    orpo = {"method": "orpo", "start": "base", "preference": "twins", "warmup": cfg.sft.warmup}
    orpo |= {"lr": lr, "batch": batch, "beta": 0.1, "decay": cfg.sft.decay, "epochs": epochs(cfg)}
    two = {"method": "dpo", "preference": "twins", "n": cfg.pairs.n, "sft": {"chosen_of": "twins"}}
    tried = {"slow": {"lr": lr / 2}, "fast": {"lr": 2 * lr}, "strong": {"beta": 1.0}}
    found = {ONE: orpo, TWO: two}
    found |= {f"{ONE}-{name}": orpo | own | {"candidate_of": ONE} for name, own in tried.items()}
    weaker = float(f"{cfg.dpo.beta / 3:.3g}")
    found[f"{TWO}-weak"] = two | {"beta": weaker, "candidate_of": TWO}
    return crossed(cfg, found, bases)


def epochs(cfg) -> float:
    """Return ORPO's passes over the twins, so that it reads as many texts as SFT and DPO do."""
    pairs = getattr(cfg.data, "demonstrations", 2 * cfg.pairs.n) // 2 - cfg.pairs.validation
    return round((cfg.sft.steps * cfg.sft.batch / 2 + cfg.pairs.n) / max(1, pairs), 2)


def lead(results):
    """Return the gold of ORPO alone minus that of SFT and then DPO."""
    from bench.studies.claims import units

    return units.over(units.paired(units.golds(results, ONE), units.golds(results, TWO)))


def golds(results):
    """Return the gold of both."""
    from bench.studies.claims import units

    return {name: units.over(units.golds(results, name)) for name in (ONE, TWO)}


CLAIM = Claim(
    key="C8",
    sentence="ORPO folds SFT and alignment into one step.",
    experiment="Two demonstrations of each prompt, of which gold prefers one with noise: SFT on "
    "the chosen ones and then DPO on a fifth of the pairs, against ORPO from the pretrained base "
    "on all pairs, for as many texts read. Other bases pick ORPO's rate and weight, and DPO's "
    "strength.",
    published=(
        Published("Hong et al. 2024 (arXiv 2403.07691)", "ORPO alone ahead of SFT and DPO"),
        Published("Gorbatovski et al. 2025 (arXiv 2502.01237)", "SFT first helps every method"),
    ),
    parts=(
        Part(
            "ORPO from the pretrained base matches SFT and then DPO.",
            Rule.MATCHES,
            0.1,
            "gold",
            "gold of ORPO's answers minus that of DPO's after SFT",
            lead,
        ),
    ),
    arms=arms,
    conditions=(ONE, TWO),
    shown=golds,
    shown_as="gold",
    open_if="the interval reaches from below −0.1 to above it",
    caveat="Pairs of demonstrations, not sampled from an SFT base, since that would presuppose "
    "SFT.",
)
