"""What a figure of the report is: how it is drawn, and the words around it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from bench.report import style
from bench.report.verdict import fixed


@dataclass(frozen=True)
class Plate:
    """A figure of the report; caption, alt and foot are functions of the study.

    foot: what it shows in a few words, `signed` and drawn into the figure, so that it can stand
    alone; wide: has many panels; category: where Snakemake's own report lists it.
    """

    name: str
    title: str
    draw: Callable
    caption: Callable
    alt: Callable
    foot: Callable
    wide: bool = False
    category: str = field(kw_only=True)


def pen_of(plate: Plate, study) -> style.Pen:
    """The pen that draws a plate, with its title and foot."""
    return style.Pen(study.looks, plate.title, signed(study, plate.foot(study)))


def signed(study, *notes: str) -> str:
    """'prefbench · micro · 5 seeds × 384 test prompts · bars: 95 % intervals', for the foot."""
    meta = study.meta
    name = [f"study {meta['study']}"] if meta["study"] != "compare" else []
    return " · ".join(["prefbench", meta["testbed"], *name, *notes])


def seeds_of(study) -> str:
    """'5 seeds'."""
    return f"{study.seeds} seed{'s' * (study.seeds != 1)}"


def n_of(study) -> str:
    """'5 seeds × 160 test prompts', and how many runs are missing."""
    lost = len(study.failures)
    words = f"{seeds_of(study)} × {study.prompts} test prompts"
    return words + f" · {lost} run{'s' * (lost != 1)} failed" * bool(lost)


def counts(study) -> str:
    """'5 seeds x 160 test prompts', for captions."""
    lost = study.failures
    which = f" ({', '.join(_named(lost))})" if 0 < len(lost) <= 3 else ""
    note = f"; {len(lost)} run{'s' * (len(lost) != 1)} failed{which} and "
    note += "is in no mean" if len(lost) == 1 else "are in no mean"
    return f"{seeds_of(study)} × {study.prompts} test prompts{note if len(lost) else ''}"


def _named(runs) -> list[str]:
    """'DPO β ×0.1 seed 3' of each run."""
    return [f"{style.label(r.arm)} seed {r.seed}" for r in runs.itertuples()]


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


def bars(study) -> str:
    """The same for the foot of a figure."""
    return f"bars: 95 % intervals over {'seeds and ' * (study.seeds > 1)}prompts"


def bands(study) -> str:
    """The foot's words for the bands of curves."""
    drawn = study.seeds >= 3 and not study.many
    return "bands: 95 % intervals over seeds" if drawn else "means over seeds, no bands"


def listing(study, measure: str, digits: int = 2) -> str:
    """'PPO 0.90, DPO 0.71' for alt texts."""
    found = [(arm, study.interval(arm, measure)) for arm in study.arms]
    words = [f"{style.label(a)} {fixed(i.mean, f'.{digits}f')}" for a, i in found if i is not None]
    return ", ".join(words) or "every run failed"
