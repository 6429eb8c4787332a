"""The typeface of pages and figures: Inter, under the SIL Open Font License (fonts/OFL.txt).

Pages and SVGs carry it, so that they look alike everywhere and need no network.
"""

from base64 import b64encode
from functools import cache
from pathlib import Path

FONTS = Path(__file__).parent / "fonts"
WEIGHTS = {"Regular": 400, "SemiBold": 600}
BOLD = "semibold"  # as matplotlib calls the heavier one
STACK = ("Inter", "DejaVu Sans", "sans-serif")  # DejaVu has the letters that Inter's files lack
FAMILIES = "'Inter', 'DejaVu Sans', sans-serif"  # the same as matplotlib writes them


@cache
def install() -> None:
    """Make the typeface known to matplotlib."""
    from matplotlib.font_manager import fontManager

    for name in WEIGHTS:
        fontManager.addfont(FONTS / f"Inter-{name}.ttf")


@cache
def faces() -> str:
    """Return the typeface as CSS, its files within."""
    return "".join(
        f"@font-face{{font-family:Inter;font-weight:{weight};"
        f"src:url(data:font/woff2;base64,{_encoded(name)})}}"
        for name, weight in WEIGHTS.items()
    )


def _encoded(name: str) -> str:
    return b64encode((FONTS / f"Inter-{name}.woff2").read_bytes()).decode()
