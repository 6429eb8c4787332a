"""DPO matches or beats RLHF: non-inferiority in gold, on sampled and on foreign pairs."""

from bench.studies.claims import cells
from bench.studies.claims.claim import Claim, Part, Published, Rule
from bench.studies.claims.crossing import crossed

OWN, OTHER = ("ppo", "dpo", "ipo", "orpo"), ("ppo-foreign", "dpo-foreign")


def arms(cfg, bases):
    """Return PPO and DPO on pairs of their own SFT base, as the study `bases` has them, and on
    pairs that a less trained SFT of the same base writes."""
    found = {m: {"method": m} for m in OWN}
    foreign = {}
    for number in bases:
        pairs = {"writer": cells.writer(number)}
        own = {f"{m}-foreign": {"method": m, "pairs": pairs} for m in ("ppo", "dpo")}
        foreign |= crossed(cfg, own, [number])
    return crossed(cfg, found, bases) | foreign | cells.writers(cfg, bases)


def lead(end: str = ""):
    """Return a function: DPO's gain minus PPO's, on one origin of the pairs."""

    def measured(results):
        from bench.studies.claims import units

        return units.difference(results, f"dpo{end}", f"ppo{end}")

    return measured


CLAIM = Claim(
    key="C3",
    sentence="DPO matches or beats PPO-RLHF.",
    experiment="PPO and DPO from each SFT base, on pairs sampled from that base; and on pairs that "
    "another SFT of the same base wrote, trained for a quarter of the steps.",
    published=(
        Published(
            "Rafailov et al. 2023 (arXiv 2305.18290)",
            "DPO ahead of PPO on summaries, not significantly",
        ),
        Published("Xu et al. 2024 (arXiv 2404.10719)", "PPO ahead of DPO on dialogue and code"),
        Published("Ivison et al. 2024 (arXiv 2406.09279)", "PPO ahead of DPO by up to 2.5 points"),
    ),
    parts=(
        Part(
            "On pairs of its own SFT base, DPO matches or beats PPO.",
            Rule.MATCHES,
            0.1,
            "gold",
            "DPO's gain minus PPO's",
            lead(),
        ),
        Part(
            "On pairs that another model wrote, DPO matches or beats PPO.",
            Rule.MATCHES,
            0.1,
            "gold",
            "DPO's gain minus PPO's",
            lead("-foreign"),
        ),
    ),
    arms=arms,
    conditions=(*OWN, *OTHER),
    open_if="the interval reaches from below −0.1 to above it",
    caveat="Gold follows rules that a reward model can learn, which is good for PPO; labels are "
    "drawn as DPO's loss assumes, which is good for DPO.",
)
