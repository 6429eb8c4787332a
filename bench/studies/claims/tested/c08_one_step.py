"""ORPO folds SFT and alignment into one step: from the pretrained base, on the same triples."""

from bench.studies.claims.claim import Claim, Part, Published, Rule, not_measured
from bench.studies.claims.conditions import Spec, candidates, crossed, elsewhere
from bench.studies.scaling import rounded

ONE, TWO = "orpo-twins", "dpo-twins"


def arms(cfg, bases):
    """Return ORPO from the pretrained base on twin demonstrations, and DPO on the same twins after
    SFT on their chosen answers, each at the best of five settings."""
    lr, batch = cfg.sft.lr, cfg.sft.batch
    one: Spec = {"method": "orpo", "start": "base", "preference": "twins", "lr": lr, "beta": 0.1}
    one |= {"batch": batch, "warmup": cfg.sft.warmup, "decay": cfg.sft.decay, "epochs": epochs(cfg)}
    one["candidates"] = {
        "slow": {"lr": lr / 2},
        "fast": {"lr": 2 * lr},
        "strong": {"beta": 1.0},
        "small": {"batch": max(1, batch // 2)},
    }
    two: Spec = {"method": "dpo", "preference": "twins", "sft": {"chosen_of": "twins"}}
    two |= elsewhere(cfg, "dpo")
    two["candidates"] |= candidates(cfg, "dpo", {"fast": {"lr": 3}})
    return crossed(cfg, {ONE: one, TWO: two}, bases)


def epochs(cfg) -> float:
    """Return ORPO's passes over the twins, so that it reads as many texts as SFT and DPO do."""
    pairs = max(1, getattr(cfg.data, "demonstrations", 2) // 2 - cfg.pairs.validation)
    return rounded(cfg.sft.steps * cfg.sft.batch / (2 * pairs) + cfg.dpo.epochs)


def lead(results):
    """Return the gold of ORPO alone minus that of SFT and then DPO."""
    from bench.studies.claims import units
    from bench.studies.claims.effects import over, paired

    return over(paired(units.golds(results, ONE), units.golds(results, TWO)))


def golds(results):
    """Return the gold of both."""
    from bench.studies.claims import units
    from bench.studies.claims.effects import over

    return {name: over(units.golds(results, name)) for name in (ONE, TWO)}


CLAIM = Claim(
    key="C8",
    sentence="ORPO folds SFT and alignment into one step.",
    experiment="Two demonstrations of each prompt, of which gold prefers one with noise: SFT on "
    "the chosen ones and then DPO on all pairs, against ORPO from the pretrained base on all "
    "pairs, for as many texts read. The first base picks each one's setting among five, on other "
    "seeds.",
    published=(
        Published(
            "Hong et al. 2024 (arXiv 2403.07691)",
            "ORPO alone ahead of SFT and DPO",
            "both from published settings, not searched",
        ),
        Published(
            "Gorbatovski et al. 2025 (arXiv 2502.01237)",
            "ORPO in one step behind methods after SFT, and level with them after SFT",
        ),
    ),
    parts=(
        Part(
            "ORPO from the pretrained base matches SFT and then DPO.",
            Rule.MATCHES,
            0.1,
            "gold",
            "gold of ORPO's answers minus that of DPO's after SFT",
            lead,
            gate=not_measured(ONE, TWO),
        ),
    ),
    arms=arms,
    conditions=(ONE, TWO),
    shown=golds,
    shown_as="gold",
    labels={ONE: "ORPO from the pretrained base", TWO: "SFT, then DPO"},
    caveat="Pairs of demonstrations, not sampled from an SFT base, since that would presuppose "
    "SFT. All bases share the pairs and their labels, whose luck the interval does not cover. ORPO "
    "takes fewer and larger steps than SFT and DPO, unless the small batch was picked.",
    failed="it is left out",
    worlds=("micro",),
    elsewhere="no two demonstrations of one prompt",
)
