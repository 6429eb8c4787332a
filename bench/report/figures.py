"""The figures of a report: name, title, caption and alt text beside the function that draws it."""

from pathlib import Path

from bench.report import quality, scorecard, style, training, writing
from bench.report.plate import (
    Plate,
    band_note,
    bands,
    bars,
    counts,
    interval_note,
    listing,
    n_of,
    pen_of,
    seeds_of,
)
from bench.report.verdict import fixed


def ends(study) -> str:
    """'PPO 0.85, DPO 0.56': mean gain at the end of the curves of the runs that ended."""
    curves = {arm: quality.ended(study, arm) for arm in study.arms}
    gains = {a: rows.groupby("seed").gain.last() for a, rows in curves.items() if len(rows)}
    words = [f"{style.label(arm)} {fixed(gain.mean(), '.2f')}" for arm, gain in gains.items()]
    return ", ".join(words) or "no run ended"


def _failed_note(study) -> str:
    return " A cross marks where a failed run was last seen." if len(study.failures) else ""


def _unnamed(study) -> str:
    return " Variants that lie too close to others are not named." if study.many else ""


def _frontier_caption(study) -> str:
    join = " Solid lines join the ends of one method's strengths." if study.sweeps else ""
    paths = "" if study.many else " Thin lines: the mean path of training, on validation prompts."
    return (
        "Up and left is better: more gold for less change. Small marks: the end of each run; large "
        f"ones: the mean.{join}{paths}{_unnamed(study)} {interval_note(study)}"
        f"{_failed_note(study)} n = {counts(study)}."
    )


PLATES = (
    scorecard.PLATE,
    Plate(
        "frontier", "Gold reward against distance from SFT", quality.frontier, _frontier_caption,
        lambda s: f"Gold above SFT ({listing(s, 'gold_delta')}) against KL in nats "
        f"({listing(s, 'kl', 1)}).",
        lambda s: f"{n_of(s)} · {bars(s)}",
        category="Quality",
    ),
    Plate(
        "curves", "What changes during training", training.curves,
        lambda s: f"On the same validation prompts, not charged to any method. {band_note(s)}"
        f"{_failed_note(s)} n = {seeds_of(s)}.",
        lambda s: "Gold above SFT, KL, length, entropy, distinct bigrams along training, on "
        f"validation prompts; ends in gold above SFT: {ends(s)}.",
        lambda s: f"{seeds_of(s)}, validation prompts · {bands(s)}",
        wide=True,
        category="Training",
    ),
    Plate(
        "overoptimisation", "What the reward model sees, and what is true",
        quality.overoptimisation,
        lambda s: "To the right without going up is over-optimisation: the reward model gains, "
        "the truth does not. Thin line: the mean path of the arm that trains against it. "
        f"{interval_note(s)}{_unnamed(s)} n = {counts(s)}.",
        lambda s: f"Gold above SFT against the reward model's score: {listing(s, 'gold_delta')}.",
        lambda s: f"{n_of(s)} · {bars(s)}",
        category="Quality",
    ),
    writing.PLATE,
    Plate(
        "cost", "What a run costs by phase, and its peak memory", training.cost,
        lambda s: f"Mean {s.second_name} of {seeds_of(s)}. PPO pays for its "
        "seed's reward model, DPO and IPO for the reference log-probabilities of their pairs; "
        "curves and evaluation are not charged. Memory is the peak of the training process, "
        "without the reward model's own training."
        + " Thin bars: 95 % intervals over seeds." * (s.seeds > 1),
        lambda s: f"{s.second_name} of a run: {listing(s, 'cost', 0)}.",
        lambda s: f"means of {seeds_of(s)}, lower is better"
        + (" · thin bars: 95 % intervals over seeds" if s.seeds > 1 else " · no intervals"),
        wide=True,
        category="Cost",
    ),
)  # fmt: skip


def described(study, plates) -> dict[str, dict[str, str]]:
    """{figure: its title, category, caption and alt text}, for whoever takes it elsewhere."""
    return {
        plate.name: {
            "title": plate.title,
            "category": plate.category,
            "caption": plate.caption(study),
            "alt": plate.alt(study),
        }
        for plate in plates
    }


def draw_all(study, folder: Path, plates) -> dict[str, str]:
    """Every plate as SVG and PNG; returns {name: SVG}."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for plate in plates:
        with style.drawing(plate.name):
            style.save(plate.draw(study, pen_of(plate, study)), folder, plate.name)
        drawn[plate.name] = (folder / f"{plate.name}.svg").read_text(encoding="utf-8")
    return drawn
