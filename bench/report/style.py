"""One style for every figure: colours by method in light and dark, markers, lines, saving.

A figure is drawn twice, in light and in dark colours. Its SVG holds no colour that is not in
PALETTE, so the page can inline the light one and swap colours by CSS variables. The colours follow
Okabe & Ito (2008), darkened or lightened until text in them is legible; markers and line styles
tell methods apart in grey.
"""

import io
import math
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LIGHT, DARK = 0, 1
THEMES = {"light": LIGHT, "dark": DARK}
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
    "p0": ("#1f3a5f", "#eaf2fb"),
    "p1": ("#3d6491", "#c4daf2"),
    "p2": ("#7397bd", "#8fb4dc"),
    "p3": ("#a9c1d9", "#5d84b0"),
    "p4": ("#d6e1ec", "#3a587a"),
    "p5": ("#b9bcc0", "#565c64"),
}
METHOD_COLOURS = [name for name in PALETTE if re.fullmatch(r"m\d", name)]
PHASE_COLOURS = [name for name in PALETTE if re.fullmatch(r"p\d", name)]
SHADES = ("p4", "p3", "p2", "p1")  # from little to much
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LINES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), (0, (1, 1)), (0, (8, 2, 1, 2, 1, 2)))
SFT = "sft"


@dataclass(frozen=True)
class Look:
    """How an arm is drawn: the name of its colour, its marker, its line, open or filled."""

    colour: str
    marker: str
    line: object
    filled: bool


def looks(arms: list[dict], methods: list[str]) -> dict[str, Look]:
    """{arm: Look}: the colour is its method's; further arms of a method get other markers."""
    order = list(dict.fromkeys([*methods, *(arm["method"] for arm in arms)]))
    seen, found = {}, {}
    for arm in arms:
        place = order.index(arm["method"])
        turn = seen[arm["method"]] = seen.get(arm["method"], -1) + 1
        colour = METHOD_COLOURS[place % len(METHOD_COLOURS)]
        marker = MARKERS[(place + 4 * turn) % len(MARKERS)]
        line = LINES[(place + turn) % len(LINES)]
        found[arm["name"]] = Look(colour, marker, line, turn == 0)
    return found


WORDS = (
    (r"\bbetax", "β ×"), (r"\blrx", "lr ×"), (r"\bepochsx", "epochs ×"), (r"\bbeta(?=[\d.])", "β="),
    (r"\bn(?=\d)", "n="), (r"\btrial(?=\d)", "trial "), (r"×0\.33\b", "×⅓"),
)  # fmt: skip


def label(arm: str) -> str:
    """The name in words of readers: dpo-beta0.3 -> DPO β=0.3, orpo-from-base -> ORPO from base."""
    head, dash, rest = arm.partition("-")
    for pattern, words in WORDS:
        rest = re.sub(pattern, words, rest)
    return f"{head.upper()} {rest.replace('-', ' ')}" if dash else head.upper()


def shade(share: float) -> str:
    """The colour of a positive value by its share of the largest."""
    return SHADES[min(int(max(share, 0.0) * len(SHADES)), len(SHADES) - 1)]


def readable(face: str, theme: int) -> str:
    """Which of ink and paper is the easier to read on a colour (WCAG's contrast)."""
    light = luminance(PALETTE[face][theme])
    contrast = {
        name: abs(math.log((light + 0.05) / (luminance(PALETTE[name][theme]) + 0.05)))
        for name in ("ink", "paper")
    }
    return max(contrast, key=contrast.get)


def luminance(colour: str) -> float:
    """Relative luminance of '#rrggbb' (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def settings(theme: int) -> dict:
    """matplotlib's rcParams."""
    ink, muted, grid, paper = (PALETTE[k][theme] for k in ("ink", "muted", "grid", "paper"))
    inked = ("axes.labelcolor", "axes.titlecolor", "text.color", "xtick.labelcolor")
    plain = ("axes.facecolor", "figure.facecolor", "savefig.facecolor")
    quiet = ("axes.edgecolor", "xtick.color", "ytick.color")
    colours = dict.fromkeys((*inked, "ytick.labelcolor"), ink)
    colours |= dict.fromkeys(plain, paper) | dict.fromkeys(quiet, muted) | {"grid.color": grid}
    return colours | {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
        "font.size": 10,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "hatch.linewidth": 0.6,
        "lines.linewidth": 1.8,
        "svg.fonttype": "none",
    }


class Pen:
    """The theme a figure is drawn in: pen("ink") is a colour, pen.figure() a new figure."""

    def __init__(self, theme: int, arm_looks: dict[str, Look]):
        self.theme, self.looks = theme, arm_looks

    def __call__(self, name: str) -> str:
        return PALETTE[name][self.theme]

    def of(self, arm: str) -> str:
        """The colour of an arm; SFT is grey."""
        return self(self.looks[arm].colour if arm in self.looks else "muted")

    def marker(self, arm: str) -> dict:
        """Keywords of a marker for `plot`: shape, face, edge."""
        look, colour = self.looks[arm], self.of(arm)
        face = colour if look.filled else self("paper")
        return {"marker": look.marker, "mfc": face, "mec": colour, "color": colour}

    def figure(self, width: float, height: float):
        """An empty figure in inches, not bound to any window."""
        from matplotlib.figure import Figure

        return Figure((width, height), layout="constrained")


@contextmanager
def drawing(theme: int, name: str):
    """matplotlib's defaults and ours while a figure is made and saved; ids depend on `name`."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings(theme) | {"svg.hashsalt": f"prefbench {name}"})
        yield


def save(figure, folder: Path, stem: str) -> list[Path]:
    """`stem`.svg and .png in a folder; the same bytes for the same data. Returns the paths."""
    from PIL import Image

    svg, png = folder / f"{stem}.svg", folder / f"{stem}.png"
    raw = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(raw, format="svg", metadata=nothing)
    svg.write_text(lean(raw.getvalue()), encoding="utf-8")
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=120, metadata={"Software": None})
    picture = Image.open(raw).convert("RGB").quantize(96, dither=Image.Dither.NONE)
    picture.save(png, optimize=True)
    return [svg, png]


def lean(svg: str) -> str:
    """The SVG without metadata, comments and needless decimals."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r"(\d\.\d\d)\d+", r"\1", svg)
    return re.sub(r">\s+<", ">\n<", svg)


def inline(svg: str, name: str, alt: str) -> str:
    """A light SVG for the page: colours become CSS variables, ids are made unique, alt is added."""
    from html import escape

    body = svg[svg.index("<svg") :]
    for key, (light, _) in PALETTE.items():
        body = body.replace(light, f"var(--{key})")
    # var() is CSS: it works in a style, not in an attribute
    body = re.sub(r'\b(fill|stroke)="(var\([^"]*\))"', r'style="\1: \2"', body)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    return body.replace("<svg", f'<svg role="img" aria-label="{escape(alt, quote=True)}"', 1)


def variables(theme: int) -> str:
    """The palette as CSS declarations."""
    return "".join(f"--{key}:{pair[theme]};" for key, pair in PALETTE.items())
