"""The figures of a report: name, title, caption and alt text beside the function that draws it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.report import quality, style, training


@dataclass(frozen=True)
class Plate:
    """A figure of the report; caption and alt are functions of the study; wide: has many panels."""

    name: str
    title: str
    draw: Callable
    caption: Callable
    alt: Callable
    wide: bool = False


def counts(study) -> str:
    """'5 seeds x 160 test prompts', for captions."""
    seeds = f"{study.seeds} seed{'s' * (study.seeds != 1)}"
    lost = len(study.failures)
    note = f"; {lost} run{'s' * (lost != 1)} failed and {'is' if lost == 1 else 'are'} in no mean"
    return f"{seeds} × {study.prompts} test prompts{note * bool(lost)}"


def band_note(study) -> str:
    """What the bands are, or why there are none."""
    if study.many:
        return "Means over seeds; no bands, since so many would hide each other."
    if study.seeds >= 3:
        return "Bands: 95 % t intervals across seeds."
    number = {1: "one seed", 2: "two seeds"}[study.seeds]
    return f"No bands: {number} cannot show how far seeds spread."


def interval_note(study) -> str:
    """What an interval covers."""
    if study.seeds > 1:
        return "Bars: 95 % intervals over seeds and prompts."
    return "Bars: 95 % intervals over prompts only, since there is one seed."


def listing(study, measure: str, digits: int = 2) -> str:
    """'PPO 0.90, DPO 0.71' for alt texts."""
    found = [(arm, study.interval(arm, measure)) for arm in study.arms]
    words = [f"{style.label(a)} {i.mean:.{digits}f}" for a, i in found if i is not None]
    return ", ".join(words) or "every run failed"


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
