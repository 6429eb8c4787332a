"""Give every figure one style: colours by method in light and dark, markers, lines, PNGs.

A figure is drawn once, in light colours. Each of them is one of PALETTE and stands only in the
SVG's style sheet, so the file can declare its dark twin beside it, and the page swaps both by CSS
variables. The colours follow Okabe & Ito (2008), darkened or lightened until text in them is
legible; markers and line styles tell methods apart in grey.
"""

import io
import math
import re
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.report import typeface
from bench.report.told import Told

LIGHT, DARK = 0, 1
PALETTE = {
    "paper": ("#fffffe", "#15181d"),
    "ink": ("#1c1e21", "#e6e8eb"),
    "muted": ("#5e646b", "#a3abb5"),
    "grid": ("#dfe2e6", "#333941"),
    "m0": ("#b84a00", "#ff9a52"),
    "m1": ("#0063a8", "#5cb8ff"),
    "m2": ("#007a5a", "#3ecfa2"),
    "m3": ("#a3377b", "#f08cc8"),
    "m4": ("#6b5b00", "#e6cf3c"),
    "m5": ("#5b4fb5", "#b1a6ff"),
    "m6": ("#8c3b3b", "#ef8f8f"),
    "m7": ("#3f5f6b", "#9cc3d1"),
    "bad": ("#c4002b", "#ff5470"),  # failure: no method has it
    "p1": ("#4a4f57", "#d0d4da"),
    "p2": ("#858b93", "#9fa6af"),
    "p3": ("#b5bac0", "#7d848d"),
    "p4": ("#dfe2e6", "#3c424a"),
    "on": ("#1d1f22", "#14171c"),  # words on p2 and p3, which are dark in both themes
}
METHOD_COLOURS = [name for name in PALETTE if re.fullmatch(r"m\d", name)]
INKS = ("ink", "paper", "on")
SHADES = ("p4", "p3", "p2", "p1")  # from the smallest values to the largest
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LINES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)), (0, (8, 2, 1, 2, 1, 2)))
NARROW, WIDE = 6.6, 9.2  # inches: a figure of one panel, of several
LONGEST = 38  # letters in a label of an axis on a phone
AROUND = 0.6  # inches of a height that are title and foot
TALL = 4.1  # inches: a figure for a phone, its panels one above the other
BAND = 0.15  # opacity of a band
PIXELS = 1080  # width of a PNG
# a PNG's most frequent colours that are added to the palette: how many, how far from all others
FREQUENT, APART = 12, 24


@dataclass(frozen=True)
class Look:
    """How an arm is drawn: the name of its colour, its marker, its line, open or filled."""

    colour: str
    marker: str
    line: object
    filled: bool


def looks(arms: list[tuple[str, str]], methods: list[str]) -> dict[str, Look]:
    """Return {arm: Look} for (arm, method): a method has one colour, its further arms other
    markers."""
    order = list(dict.fromkeys([*methods, *(method for _, method in arms)]))
    seen, found = {}, {}
    for arm, method in arms:
        place = order.index(method)
        turn = seen[method] = seen.get(method, -1) + 1
        colour = METHOD_COLOURS[place % len(METHOD_COLOURS)]
        marker = MARKERS[(place + 4 * turn) % len(MARKERS)]
        line = LINES[(place + turn) % len(LINES)]
        found[arm] = Look(colour, marker, line, turn == 0)
    return found


def shade(share: float) -> str:
    """Return the colour of a positive value by its share of the largest."""
    return SHADES[min(int(max(share, 0.0) * len(SHADES)), len(SHADES) - 1)]


def readable(face: str) -> str:
    """Return the colour of words on a shade that is easier to read, in the worse of both themes."""
    worse = {name: min(contrast(face, name, t) for t in (LIGHT, DARK)) for name in INKS}
    return max(worse, key=worse.get)


def contrast(a: str, b: str, theme: int) -> float:
    """Return WCAG's contrast of two colours of the palette."""
    low, high = sorted(luminance(PALETTE[name][theme]) for name in (a, b))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of '#rrggbb' (WCAG 2)."""
    parts = [part / 255 for part in rgb(colour)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def settings() -> dict:
    """Return matplotlib's rcParams."""
    ink, muted, grid, paper = (PALETTE[k][LIGHT] for k in ("ink", "muted", "grid", "paper"))
    inked = ("axes.labelcolor", "axes.titlecolor", "text.color", "xtick.labelcolor")
    plain = ("axes.facecolor", "figure.facecolor", "savefig.facecolor")
    quiet = ("axes.edgecolor", "xtick.color", "ytick.color")
    colours = dict.fromkeys((*inked, "ytick.labelcolor"), ink)
    colours |= dict.fromkeys(plain, paper) | dict.fromkeys(quiet, muted) | {"grid.color": grid}
    return colours | {
        "font.family": "sans-serif",
        "font.sans-serif": list(typeface.STACK),
        "font.size": 10,
        "figure.titlesize": 12.5,
        "figure.titleweight": typeface.BOLD,
        "figure.labelsize": 8,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.titleweight": typeface.BOLD,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "xtick.major.pad": 5,
        "xtick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.major.size": 0,
        "ytick.minor.size": 0,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "lines.solid_capstyle": "butt",
        "svg.fonttype": "none",
    }


class Pen:
    """Draws a figure: pen("ink") is a colour, pen.figure() a new figure.

    title and foot: the words above and below the figure; tall: for a phone, whatever the width and
    the number of panels that are asked for. `pen.told.add` lets a mark tell its value.
    """

    def __init__(self, arm_looks: dict[str, Look], title="", foot="", tall=False):
        self.looks, self.title, self.foot, self.tall = arm_looks, title, foot, tall
        self.told = Told()

    def __call__(self, name: str) -> str:
        return PALETTE[name][LIGHT]

    def of(self, arm: str) -> str:
        """Return the colour of an arm; SFT is grey."""
        return self(self.looks[arm].colour if arm in self.looks else "muted")

    def marker(self, arm: str) -> dict:
        """Return the keywords of a marker for `plot`: shape, face, edge."""
        look, colour = self.looks[arm], self.of(arm)
        face = colour if look.filled else self("paper")
        return {"marker": look.marker, "mfc": face, "mec": colour, "color": colour}

    def figure(self, width: float, height: float):
        """Return a figure with its title and foot, sizes in inches, not bound to any window."""
        from matplotlib.figure import Figure

        width = TALL if self.tall else width
        figure, edge = Figure((width, height), layout="constrained"), 0.07 / width
        figure.suptitle(
            textwrap.fill(self.title, round((9.6 if self.tall else 10.2) * width)),
            x=edge,
            ha="left",
        )
        foot = textwrap.fill(self.foot, round(17 * width))
        figure.supxlabel(foot, x=edge, ha="left", color=self("muted"))
        return figure

    def panels(self, n: int, width: float, height: float, rows: int = 1, **how):
        """Return (figure, axes [n]) with panels in rows, or in a column if tall.

        height: of the figure with its panels in rows; how: as for `Figure.subplots`.
        """
        columns = -(-n // rows)
        if self.tall:
            height = AROUND + 0.85 * (height - AROUND) / rows * n
            rows, columns = n, 1
            how.pop("width_ratios", None)
        figure = self.figure(width, height)
        axes = figure.subplots(rows, columns, squeeze=False, **how).ravel()
        for ax in axes[n:]:
            ax.axis("off")
        return figure, axes[:n]

    def ylabel(self, axes, words: str) -> None:
        """Label the y axis that panels share: once, or at each of a column of panels."""
        for ax in axes if self.tall else axes[:1]:
            ax.set_ylabel(words)


@contextmanager
def drawing(name: str):
    """Use matplotlib's defaults and ours while a figure is made and saved; ids depend on `name`."""
    import matplotlib

    typeface.install()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings() | {"svg.hashsalt": f"prefbench {name}"})
        yield


def wrap_labels(figure) -> None:
    """Break the labels of axes that are longer than a figure for phones is wide."""
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        lines = axis.label.get_text().split("\n")
        axis.label.set_text("\n".join(textwrap.fill(line, LONGEST) for line in lines))


def save_png(figure, path: Path, pixels: int = PIXELS) -> Path:
    """Save the figure as a PNG of this width in pixels, in few colours."""
    from PIL import Image

    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=pixels / figure.get_figwidth())
    picture = Image.open(raw).convert("RGB")
    few = Image.new("P", (1, 1))
    few.putpalette([part for colour in few_colours(picture) for part in colour])
    picture.quantize(palette=few, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def few_colours(picture) -> list[tuple[int, int, int]]:
    """Return the palette, plain and faded into paper, and the picture's most frequent other
    colours.

    If frequency alone chose, two methods could become one colour, and paper would not be paper.
    """
    full, chosen = {key: rgb(light) for key, (light, _) in PALETTE.items()}, []
    for share, keys in ((1, full), (2 / 3, full), (1 / 3, full), (BAND, METHOD_COLOURS)):
        for key in keys:
            _add(chosen, _faded(full[key], full["paper"], share), 4)
    wanted = len(chosen) + FREQUENT
    for _, colour in sorted(picture.getcolors(picture.width * picture.height), reverse=True):
        if len(chosen) < wanted:
            _add(chosen, colour, APART)
    return chosen


def _add(chosen: list, colour, apart: float) -> None:
    """Add a colour unless one so near is there."""
    if all(math.dist(colour, other) > apart for other in chosen):
        chosen.append(colour)


def _faded(colour, paper, share: float) -> tuple[int, int, int]:
    return tuple(round(p + (c - p) * share) for p, c in zip(paper, colour, strict=True))


def rgb(colour: str) -> tuple[int, int, int]:
    """Return '#rrggbb' as three numbers."""
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def variables(theme: int) -> str:
    """Return the palette as CSS declarations."""
    return "".join(f"--{key}:{pair[theme]};" for key, pair in PALETTE.items())
