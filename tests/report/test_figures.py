"""Every figure of every kind of study as it is drawn: words over no words, none cut off."""

import io
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree

import fake_runs
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from bench.analysis.results import Pick
from bench.analysis.statistics import Share
from bench.report import labels, page, style, svg, typeface
from bench.report.figure import signed
from bench.report.sections import of_companion
from bench.report.study import Study
from bench.report.words import label
from bench.studies import kind_of
from bench.studies.compare import lent
from bench.studies.compare.figures import scorecard
from bench.studies.stability.figures import GRID

METHODS = tuple(fake_runs.ARMS)
SILENT = {"map"}  # its numbers are written
BETAS = ("0.01", "0.03", "0.3", "1", "3")


def compared(folder):
    """Five seeds of four methods, three of which end close together; one failed once."""
    close = {"dpo": 0.7, "ipo": 0.69, "orpo": 0.62}
    with patch.dict(fake_runs.GAIN, close), patch.dict(fake_runs.REACH, {"dpo": 5.2, "orpo": 4.8}):
        return fake_runs.study(folder, prompts=24, fail={("ipo", 2): "diverged"})


def one_seed(folder):
    return fake_runs.study(folder, prompts=24, seeds=(1,))


def all_failed(folder):
    fail = {(arm, seed): "oom" for arm in METHODS for seed in (1, 2)}
    return fake_runs.study(folder, prompts=24, seeds=(1, 2), fail=fail)


def crowded(folder):
    """Fourteen arms with long names, close to each other; one never ended."""
    arms = dict(fake_runs.ARMS)
    arms |= {f"{m}-no-whitening-beta{b}": m for m in ("dpo", "ipo") for b in BETAS}
    fail = {(f"dpo-no-whitening-beta{BETAS[0]}", s): "diverged" for s in (1, 2, 3)}
    return fake_runs.study(folder, arms=arms, seeds=(1, 2, 3), prompts=24, fail=fail)


def renamed(results, study: str, changed=lambda arm: {}, **more) -> Study:
    """The results as those of another study; changed: what else its arms are."""
    arms = [replace(arm, **changed(arm)) for arm in results.meta.arms]
    return Study(replace(results, meta=replace(results.meta, study=study, arms=arms, **more)))


def viewed(folder):
    """Each method with fewer labels, in its epochs and read more often, and other strengths."""
    ends = ("", "-n750", "-n750-reread", "-betax3", "-betax0.33")
    arms = {f"{m}{end}": m for m in METHODS for end in ends}
    few = {"n": 750, "label_set": "gold-n750", "varies": ()}
    longer = few | {"varies": ("epochs",), "factors": {"epochs": 2.0}}
    return renamed(
        fake_runs.collected(folder, arms, (1, 2, 3), prompts=24),
        "views",
        lambda arm: longer if "-reread" in arm.name else few if "-n750" in arm.name else {},
    )


def seeded(folder):
    """Each method from three bases; the two further ones have the gold of the first."""
    arms = {f"{m}{end}": m for end in ("", "-sft2", "-sft3") for m in METHODS}
    found = fake_runs.collected(folder, arms, (1, 2), prompts=12)
    base = found.prompts[found.prompts.arm == "sft"]
    more = [base.assign(arm=f"sft@{n}") for n in (2, 3)]
    return renamed(
        replace(found, prompts=pd.concat([found.prompts, *more])),
        "bases",
        lambda arm: {"base": f"sft@{arm.name[-1]}"} if "-sft" in arm.name else {},
        planned={arm: [1, 2] for arm in arms},
    )


def sized(folder):
    """Each method on three models, on two of them at a rate of three; all with the gold of one."""
    ends = {"": 1.0, "-w32": 2.0, "-w272": 0.24}
    arms = {f"{m}{end}": m for m in METHODS for end in ends}
    found = fake_runs.collected(folder, arms, (1, 2, 3), prompts=12)
    size = found.runs.arm.map(lambda arm: 48_224 if "-w32" in arm else 2_953_456)
    own = ~found.runs.arm.str.contains("-w")
    base = found.prompts[found.prompts.arm == "sft"]
    more = [base.assign(arm=f"sft{end}") for end in ("-w32", "-w272")]

    def tried(rate):
        settings = {
            name: {"lr": 0.01 * rate * f} for name, f in (("own", 1), ("a", 0.33), ("b", 3))
        }
        return {
            name: {"settings": s, "gains": [0.5, 0.6 + s["lr"]]} for name, s in settings.items()
        }

    def described(arm):
        end = arm.name.removeprefix(arm.method)
        return {"base": f"sft{end}", "factors": {"lr": ends[end]}} if end else {}

    return renamed(
        replace(
            found,
            prompts=pd.concat([found.prompts, *more]),
            runs=found.runs.assign(parameters=size.mask(own, 176_320)),
        ),
        "sizes",
        described,
        picks={
            f"{m}{end}": Pick("own", [111, 112], tried(rate))
            for m in METHODS
            for end, rate in ends.items()
            if end
        },
    )


def gridded(folder):
    """A grid around each method, one cell of each failed."""
    factors = {(lr, beta) for lr in (1 / 3, 1, 3, 10) for beta in (1 / 3, 1, 3)}
    cells = {f"{m}-lrx{lr:.2g}-betax{b:.2g}": (m, lr, b) for m in METHODS for lr, b in factors}
    arms = {name: method for name, (method, *_) in sorted(cells.items())}
    fail = {(f"{m}-lrx10-betax0.33", 1): "diverged" for m in METHODS}
    return renamed(
        fake_runs.collected(folder, arms, (1,), prompts=12, fail=fail),
        "stability",
        lambda arm: {"factors": dict(zip(("lr", "beta"), cells[arm.name][1:], strict=True))},
    )


def searched(folder):
    """Random trials of each method, one failed."""
    arms = {f"{m}-trial{i:02d}": m for m in METHODS for i in range(1, 9)}
    found = fake_runs.collected(
        folder, arms, (1,), prompts=12, fail={("dpo-trial01", 1): "diverged"}
    )
    rng = np.random.default_rng(0)
    drawn = 10 ** rng.uniform(-4, -2, (len(found.runs), 2))
    sets = {arm: {"lr": a, "beta": 100 * b} for arm, (a, b) in zip(arms, drawn, strict=True)}
    spaces = {m: {"lr": [1e-4, 1e-2], "beta": [0.01, 1]} for m in METHODS}
    tune = {"spaces": spaces, "epochs": {}}
    return renamed(found, "tune", lambda arm: {"sets": sets[arm.name]}, tune=tune)


COMPARISONS = (compared, one_seed, all_failed, crowded)
KINDS = (viewed, gridded, searched, seeded, sized)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function: the study of its name, made once."""
    return cache(lambda make: make(tmp_path_factory.mktemp(make.__name__)))


def each(studies):
    """A test for each of these studies, which it gets as `make`."""
    return pytest.mark.parametrize("make", studies, ids=lambda make: make.__name__)


@pytest.fixture
def shown(monkeypatch):
    """A function: the words that a figure really draws, no ticks beyond its axes, with boxes."""
    seen, draw = [], Text.draw

    def noted(text, renderer):
        if text.get_visible() and text.get_text().strip():
            seen.append(text)
        return draw(text, renderer)

    def of(figure):
        seen.clear()
        figure.draw_without_rendering()
        return [(text.get_text(), Text.get_window_extent(text).extents) for text in seen]

    monkeypatch.setattr(Text, "draw", noted)
    return of


def faults(figure, texts) -> list[str]:
    """Words over others, over markers, or beyond the figure; by more than a pixel."""
    right, top = figure.bbox.max
    out = [
        f"{words!r} is cut off"
        for words, (x0, y0, x1, y1) in texts
        if x0 < -1 or y0 < -1 or x1 > right + 1 or y1 > top + 1
    ]
    for (a, first), (b, other) in combinations(texts, 2):
        low, high = np.maximum(first[:2], other[:2]), np.minimum(first[2:], other[2:])
        if (high - low > 1).all():
            out.append(f"{a!r} lies over {b!r}")
    return out


def hidden(ax) -> list[str]:
    """Words in axes that lie over the middle of a marker."""
    lines = [line for line in ax.lines if line.get_marker() not in ("None", "", None)]
    marks = [line.get_transform().transform(line.get_xydata()) for line in lines]
    half = [line.get_markersize() / 4 * ax.figure.dpi / 72 for line in lines]
    out = []
    for text in ax.texts:
        x0, y0, x1, y1 = Text.get_window_extent(text).extents
        for points, r in zip(marks, half, strict=True):
            x, y = points.T
            over = (x > x0 - r) & (x < x1 + r) & (y > y0 - r) & (y < y1 + r)
            out += [f"{text.get_text()!r} hides a mark"] * int(over.sum())
    return out


def figure_of(study, name: str):
    """The study's figure of this name."""
    return next(f for f in kind_of(study.meta.study).figures(study) if f.name == name)


def pen_of(drawn, study) -> style.Pen:
    """The pen that a figure is drawn with, its title and foot included."""
    return style.Pen(study.looks, drawn.title, signed(study, drawn.foot(study)))


def outside(ax) -> list[str]:
    """Marks of values that lie beyond the ends of an axis, where nobody sees them."""
    found = []
    for line in ax.lines:
        if line.get_marker() in ("None", "", None) or line.get_transform() != ax.transData:
            continue
        points = np.column_stack(line.get_data(orig=False)).astype(float)
        points = points[np.isfinite(points).all(axis=1)]
        for (low, high), values in zip((ax.get_xlim(), ax.get_ylim()), points.T, strict=True):
            low, high = min(low, high), max(low, high)
            slack = 1e-6 * (high - low)
            if len(values) and (values.min() < low - slack or values.max() > high + slack):
                found.append(
                    f"{values.min():.3g} to {values.max():.3g} not in {low:.3g} to {high:.3g}"
                )
    return found


@each(COMPARISONS + KINDS)
def test_no_words_lie_over_others_or_are_cut_off_and_marks_tell_values(make, made, shown, tmp_path):
    study, found = made(make), {}
    for drawn in kind_of(study.meta.study).figures(study):
        with style.drawing(drawn.name):
            pen = pen_of(drawn, study)
            figure = drawn.draw(study, pen)
            texts = shown(figure)
        assert figure.get_suptitle() == drawn.title != ""
        assert figure.get_supxlabel().startswith("prefbench · micro · ")
        marks = [] if study.many else [fault for ax in figure.axes for fault in hidden(ax)]
        marks += [fault for ax in figure.axes for fault in outside(ax)]
        if wrong := faults(figure, texts) + marks:
            found[drawn.name] = wrong
        with style.drawing(drawn.name):
            picture = svg.save(figure, tmp_path / "it.svg", pen.told).read_text()
        values = [value for _, values in pen.told.marks for value in values]
        assert values or make is all_failed or drawn.name in SILENT
        assert picture.count("<title>") == len(values)
    assert not found


def test_a_seed_far_from_the_others_is_on_the_axis(tmp_path):
    study = fake_runs.study(tmp_path, seeds=(1, 2, 3, 4, 5, 6))
    rows = study.results.prompts
    far = (rows.arm == "ppo") & (rows.seed == 3)
    raised = rows.assign(gold=rows.gold.where(~far, rows.gold + 3))
    other = Study(replace(study.results, prompts=raised))
    with style.drawing("scorecard"):
        figure = scorecard.draw(other, pen_of(scorecard.FIGURE, other))
    assert not [fault for ax in figure.axes for fault in outside(ax)]


@each(COMPARISONS)
def test_the_card_is_as_clean_and_of_its_size(make, made, shown, tmp_path):
    study, headline = made(make), "A sentence of a length that is usual. " * 4
    with style.drawing("card"):
        figure = scorecard.card(study, page.title(study), headline)
        assert not faults(figure, shown(figure))
    path = scorecard.write_card(study, tmp_path, page.title(study), headline)
    assert Image.open(path).size == (1200, 630)


def test_the_card_says_whole_sentences():
    said = ["PPO is best.", "It costs 5.3 times more.", "Nothing else is sure."]
    assert scorecard.that_fit(said, 40) == "PPO is best. It costs 5.3 times more."
    assert scorecard.that_fit(said, 5) == "PPO is best."


def test_stability_is_of_the_grid_where_the_report_has_one(made, shown):
    """Arms that the grid does not hold say so."""
    study, beside = made(crowded), made(gridded)
    both = Study(study.results, {"stability": beside})
    found, counted = lent.failures(both)
    assert counted == "runs of the grid" and found["dpo"] == Share(1, 12)
    with style.drawing("scorecard"):
        figure = scorecard.draw(both, pen_of(scorecard.FIGURE, both))
        words = [text for text, _ in shown(figure)]
    foot = of_companion("stability", GRID).foot(both)
    assert foot.startswith("study stability") and foot.endswith(GRID.foot(beside))
    assert words.count("not in the grid") == len(both.arms) - len(METHODS)


def test_labels_stay_off_the_data_where_there_is_room(made, shown):
    """Marks all around the points but for one side, and lines between them."""
    study = made(compared)
    pen = style.Pen(study.looks)
    figure = pen.figure(6, 4)
    ax = figure.subplots()
    points = dict(zip(METHODS, [(0, 0), (1, 0), (0.5, 0.5), (0.52, 0.45)], strict=True))
    for arm, (x, y) in points.items():
        ax.plot([x, x + 0.15, x], [y, y, y + 0.1], ls="-", **pen.marker(arm))
    ax.set(xlim=(-0.5, 1.5), ylim=(-0.3, 0.8))
    labels.near(pen, {ax: points})
    texts = shown(figure)
    assert {label(arm) for arm in METHODS} <= {words for words, _ in texts}
    assert not faults(figure, texts) and not hidden(ax)


def test_names_at_line_ends_keep_their_order_and_their_distance():
    wanted = [0.0, 1.0, 1.5, 9.0, 30.0]
    found = labels.spread(wanted, gap=3, low=-2, high=20)
    assert (np.diff(found) >= 3 - 1e-9).all() and found.min() >= -2 and found.max() <= 20
    np.testing.assert_allclose(found[:3], [-2.0, 1.0, 4.0], atol=0.2)
    assert found[3] == pytest.approx(9)


def test_each_method_keeps_its_colour_in_the_png(made, tmp_path):
    study = made(compared)
    drawn = figure_of(study, "frontier")
    with style.drawing(drawn.name):
        figure = drawn.draw(study, pen_of(drawn, study))
        path = style.save_png(figure, tmp_path / "frontier.png")
    picture = Image.open(path).convert("RGB")
    colours = {colour for _, colour in picture.getcolors(picture.width * picture.height)}
    wanted = [study.looks[arm].colour for arm in METHODS] + ["paper", "ink", "muted"]
    assert {style.rgb(style.PALETTE[key][style.LIGHT]) for key in wanted} <= colours
    assert picture.width == style.PIXELS


def test_a_lean_svg_says_the_same_in_half_the_bytes(made):
    study = made(compared)
    drawn = figure_of(study, "curves")
    with style.drawing("curves"):
        figure, raw = drawn.draw(study, pen_of(drawn, study)), io.StringIO()
        figure.savefig(raw, format="svg")
    whole, lean = (ElementTree.fromstring(s) for s in (raw.getvalue(), svg.lean(raw.getvalue())))
    for tag in ("text", "path", "use", "clipPath"):
        found = [[e.text for e in each.iter(f"{{{svg.SVG}}}{tag}")] for each in (whole, lean)]
        assert len(found[0]) == len(found[1])
        assert tag != "text" or found[0] == found[1]
    drawing = svg.lean(raw.getvalue()).replace(typeface.faces(), "")
    assert len(drawing) < 0.4 * len(raw.getvalue())


def test_styles_of_two_inlined_figures_do_not_meet():
    sheet = "*{x:y}.c0{fill:#b84a00}.c1{fill:#1c1e21}"
    sheet += svg.ON_DARK + "{.c0{fill:#ff9a52}.c1{fill:#e6e8eb}}"
    drawn = f'<svg><style>{sheet}</style><g class="c0" id="i0"/></svg>'
    for name in ("one", "two"):
        text = svg.inline(drawn, name, "words")
        assert f".figure-{name} .c0{{fill:var(--m0)}}.figure-{name} .c1{{" in text
        assert f'<svg class="figure-{name}" role="img"' in text and f'id="{name}-i0"' in text
        assert "@media" not in text  # the page's own variables change with the screen


def test_each_colour_of_a_figure_has_its_dark_twin_in_the_style_sheet(made, tmp_path):
    study = made(compared)
    drawn = figure_of(study, "cost")
    with style.drawing(drawn.name):
        path = svg.save(drawn.draw(study, pen_of(drawn, study)), tmp_path / "cost.svg")
    head, _, body = path.read_text().partition("</style>")
    light, _, dark = head.partition(svg.ON_DARK)
    assert not svg.COLOUR.search(body)
    twins = [svg.TWINS[colour] for colour in svg.COLOUR.findall(light)]
    assert twins == svg.COLOUR.findall(dark) and len({*twins}) > 6


def test_the_typeface_has_both_weights_and_the_letters_of_all_figures():
    from fontTools.ttLib import TTFont
    from matplotlib import font_manager

    typeface.install()
    for weight, name in ((400, "Regular"), (typeface.BOLD, "SemiBold")):
        asked = font_manager.FontProperties(family="Inter", weight=weight)
        assert font_manager.findfont(asked).endswith(f"Inter-{name}.ttf")
    known = {*TTFont(typeface.FONTS / "Inter-Regular.ttf").getBestCmap()}
    reports = Path(__file__).parents[2] / "reports"
    for path in reports.glob("micro/**/figures/*.svg"):
        words = "".join(ElementTree.parse(path).getroot().itertext())
        assert {*map(ord, words)} - {10} <= known, path
