"""What a figure of a report is: how it is drawn, and the words around it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.core.names import DEFAULT_STUDY
from bench.report import style
from bench.report.words import count, fixed, label


@dataclass(frozen=True)
class Figure:
    """A picture with its words; caption, alt and foot are functions of the study.

    draw: a function of the study and a `style.Pen`; foot: what it shows in a few words, `signed`
    and drawn into the figure, so that it can stand alone; wide: it has many panels; category: where
    Snakemake's own report lists it; section: the anchor of the section of a comparison that shows
    it.
    """

    name: str
    title: str
    draw: Callable
    caption: Callable
    alt: Callable
    foot: Callable
    wide: bool = False
    category: str = field(kw_only=True)
    section: str = ""


def draw_all(study, folder: Path, figures: list[Figure]) -> dict[str, str]:
    """Draw every figure as SVG and PNG; returns {name: SVG}."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for figure in figures:
        pen = style.Pen(study.looks, figure.title, signed(study, figure.foot(study)))
        with style.drawing(figure.name):
            style.save(figure.draw(study, pen), folder, figure.name)
        drawn[figure.name] = (folder / f"{figure.name}.svg").read_text(encoding="utf-8")
    return drawn


def described(study, figures: list[Figure]) -> dict[str, dict[str, str]]:
    """{figure: its title, category, caption and alt text}, for whoever takes it elsewhere."""
    return {
        figure.name: {
            "title": figure.title,
            "category": figure.category,
            "caption": figure.caption(study),
            "alt": figure.alt(study),
        }
        for figure in figures
    }


def signed(study, *notes: str) -> str:
    """'prefbench · micro · 5 seeds × 384 test prompts · bars: 95 % intervals', for the foot."""
    meta = study.meta
    name = [f"study {meta.study}"] if meta.study != DEFAULT_STUDY else []
    return " · ".join(["prefbench", meta.testbed, *name, *notes])


def seeds_of(study) -> str:
    """'5 seeds'."""
    return count(study.seeds, "seed")


def n_of(study) -> str:
    """'5 seeds × 160 test prompts', and how many runs are missing."""
    lost = len(study.failures)
    words = f"{seeds_of(study)} × {study.prompts} test prompts"
    return words + f" · {count(lost, 'run')} failed" * bool(lost)


def counts(study) -> str:
    """'5 seeds x 160 test prompts', for captions."""
    lost = study.failures
    names = [f"{label(r.arm)} seed {r.seed}" for r in lost.itertuples()]
    which = f" ({', '.join(names)})" if 0 < len(lost) <= 3 else ""
    note = f"; {count(len(lost), 'run')} failed{which} and "
    note += "is in no mean" if len(lost) == 1 else "are in no mean"
    return f"{seeds_of(study)} × {study.prompts} test prompts{note if len(lost) else ''}"


def failed_note(study) -> str:
    """What the crosses of a figure are, where runs failed."""
    return " A cross marks where a failed run was last seen." if len(study.failures) else ""


def band_note(study) -> str:
    """What the bands are, or why there are none."""
    if study.many:
        return "Means over seeds; no bands, since so many would hide each other."
    if study.seeds >= 3:
        return "Bands: 95 % t intervals across seeds."
    return f"No bands: {count(study.seeds, 'seed')} cannot show how far seeds spread."


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
    found = study.known(measure)
    words = [f"{label(arm)} {fixed(i.mean, f'.{digits}f')}" for arm, i in found.items()]
    return ", ".join(words) or "every run failed"
