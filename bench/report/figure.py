"""Define a figure of a report: how it is drawn, and the words around it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.analysis import curves
from bench.core.names import DEFAULT_STUDY
from bench.report import style, svg
from bench.report.marks import LOST
from bench.report.words import count, fixed, label


@dataclass(frozen=True)
class Figure:
    """A picture with its words; caption, alt and foot are functions of the study.

    draw: a function of the study and a `style.Pen`; foot: a few words drawn into the figure, after
    its signature (`signed`), so that it can stand alone; wide: whether it has many panels;
    category: its heading in Snakemake's own report; section: the anchor of the section of a
    comparison that shows it; finding: what it shows in this study, in a sentence that becomes its
    headline, or "" if nothing is decided; layered: whether methods lie over each other, so that
    readers may hide some; shown: whether a study has what it draws.
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
    finding: Callable = lambda study: ""
    layered: bool = False
    shown: Callable = lambda study: True

    def words(self, study) -> tuple[str, str]:
        """Return the words above and below the picture."""
        if found := self.finding(study).rstrip("."):
            return found, signed(study, self.title, self.foot(study))
        return self.title, signed(study, self.foot(study))


def draw_all(study, folder: Path, figures: list[Figure]) -> dict[str, str]:
    """Draw every figure as SVG and PNG, and as an SVG for phones; write its values as csv.

    Returns {name: SVG}.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for figure in figures:
        words = figure.words(study)
        for name, is_tall in ((figure.name, False), (tall(figure.name), True)):
            with style.drawing(name):
                pen = style.Pen(study.looks, *words, is_tall)
                picture = figure.draw(study, pen)
                if is_tall:
                    style.wrap_labels(picture)
                else:
                    style.save_png(picture, folder / f"{name}.png")
                    pen.told.save(folder / f"{name}.csv")
                svg.save(picture, folder / f"{name}.svg", pen.told)
            drawn[name] = (folder / f"{name}.svg").read_text(encoding="utf-8")
    return drawn


def tall(name: str) -> str:
    """Return the name of a figure's form for phones."""
    return f"{name}-tall"


def described(study, figures: list[Figure]) -> dict[str, dict[str, str]]:
    """Return {figure: its title, category, caption and alt text}, for use outside the page."""
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
    """Return 'prefbench · micro · 0.18 million parameters · 5 seeds × 384 test prompts', for the
    foot of a figure."""
    meta = study.meta
    name = [f"study {meta.study}"] if meta.study != DEFAULT_STUDY else []
    return " · ".join(filter(None, ["prefbench", meta.testbed, *name, study.model_size, *notes]))


def seeds_of(study) -> str:
    """Return '5 seeds'."""
    return count(study.seeds, "seed")


def n_of(study) -> str:
    """Return '5 seeds × 160 test prompts' and how many runs failed."""
    lost = len(study.failures)
    words = f"{seeds_of(study)} × {study.prompts} test prompts"
    return words + f" · {count(lost, 'run')} failed" * bool(lost)


def counts(study) -> str:
    """Return '5 seeds × 160 test prompts' and which runs failed, for captions."""
    lost = study.failures
    names = [f"{label(r.arm)} seed {r.seed}" for r in lost.itertuples()]
    which = f" ({', '.join(names)})" if 0 < len(lost) <= 3 else ""
    note = f"; {count(len(lost), 'run')} failed{which} and "
    note += "is in no mean" if len(lost) == 1 else "are in no mean"
    return f"{seeds_of(study)} × {study.prompts} test prompts{note if len(lost) else ''}"


def failed_note(study) -> str:
    """Say what the crosses of a figure are, if runs failed."""
    return " A cross marks the last measured point of a failed run." if len(study.failures) else ""


def band_note(study) -> str:
    """Say what the bands are, or why there are none."""
    if study.many:
        return "Lines are means over seeds, without bands, since so many would hide each other."
    if study.seeds >= 3:
        return "Bands are 95 % t intervals over seeds."
    return f"There are no bands: {count(study.seeds, 'seed')} cannot show how far seeds spread."


def validation_note(study) -> str:
    """Say that validation prompts are others, on which the SFT base's answers score otherwise."""
    curve = curves.overall(study.results)
    start = curve[curve.fraction == 0].gold
    if not len(start) or not math.isfinite(study.base_gold):
        return ""
    return (
        "Validation prompts are fewer, and others than those of the tables: the SFT base's answers "
        f"score {fixed(start.mean(), '.2f')} on them and {fixed(study.base_gold, '.2f')} on the "
        "test prompts, so gains differ."
    )


def interval_note(study) -> str:
    """Say what an interval covers."""
    if study.seeds > 1:
        return "Bars are 95 % intervals over seeds and prompts."
    return "Bars are 95 % intervals over prompts only, since there is one seed."


def bars(study) -> str:
    """Say what an interval covers, for the foot of a figure."""
    return f"bars: 95 % intervals over {'seeds and ' * (study.seeds > 1)}prompts"


def bands(study) -> str:
    """Say what the bands of curves are, for the foot of a figure."""
    drawn = study.seeds >= 3 and not study.many
    return "bands: 95 % intervals over seeds" if drawn else "means over seeds, no bands"


def listing(study, measure: str, digits: int = 2) -> str:
    """Return 'PPO 0.90, DPO 0.71' for alt texts."""
    found = study.known(measure)
    words = [f"{label(arm)} {fixed(i.mean, f'.{digits}f')}" for arm, i in found.items()]
    return ", ".join(words) or LOST
