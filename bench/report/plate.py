"""What a figure of the report is: how it is drawn, and the words around it."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.report import style


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
