"""The figures of a report: name, title, caption and alt text beside the function that draws it."""

from pathlib import Path

from bench.report import quality, style, training
from bench.report.plate import Plate, band_note, counts, interval_note, listing


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
    Plate(
        "gain", "Gold reward above SFT", quality.gain,
        lambda s: f"Small ticks: each seed. {interval_note(s)} n = {counts(s)}.",
        lambda s: f"Gold reward above the SFT base by arm: {listing(s, 'gold_delta')}.",
    ),
    Plate(
        "frontier", "Gold reward against distance from SFT", quality.frontier, _frontier_caption,
        lambda s: f"Gold above SFT ({listing(s, 'gold_delta')}) against KL in nats "
        f"({listing(s, 'kl', 1)}).",
    ),
    Plate(
        "curves", "Training curves", training.curves,
        lambda s: f"On the same validation prompts, not charged to any method. {band_note(s)}"
        f"{_failed_note(s)} n = {s.seeds} seed{'s' * (s.seeds != 1)}.",
        lambda s: "Gold above SFT, KL, length, entropy, distinct bigrams along training; ends in "
        f"gold above SFT: {listing(s, 'gold_delta')}.",
        wide=True,
    ),
    Plate(
        "overoptimisation", "Gold against proxy", quality.overoptimisation,
        lambda s: "To the right without going up is over-optimisation: the reward model gains, "
        "the truth does not. Thin line: the mean path of the arm that trains against it."
        f"{_unnamed(s)} "
        f"n = {counts(s)}.",
        lambda s: f"Gold above SFT against the reward model's score: {listing(s, 'gold_delta')}.",
    ),
    Plate(
        "cost", "What a run costs", training.cost,
        lambda s: f"Mean {s.second_name} of {s.seeds} seed{'s' * (s.seeds != 1)}. PPO pays for its "
        "seed's reward model, DPO and IPO for the reference log-probabilities of their pairs; "
        "curves and evaluation are not charged. Memory is the peak of the training process, "
        "without the reward model's own training.",
        lambda s: f"{s.second_name} of a run: {listing(s, 'cost', 0)}.",
        wide=True,
    ),
)  # fmt: skip


def draw_all(study, folder: Path, plates) -> dict[str, str]:
    """Every plate in light and dark as SVG and PNG; returns {name: light SVG}."""
    folder.mkdir(parents=True, exist_ok=True)
    light = {}
    for plate in plates:
        for name, theme in style.THEMES.items():
            stem = f"{plate.name}-{name}"
            with style.drawing(theme, stem):
                figure = plate.draw(study, style.Pen(theme, study.looks))
                style.save(figure, folder, stem)
        light[plate.name] = (folder / f"{plate.name}-light.svg").read_text(encoding="utf-8")
    return light
