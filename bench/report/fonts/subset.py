"""Make this folder's fonts from Inter's own: the letters of reports, digits of one width.

npm pack inter-ui@4.1.1 && tar xzf inter-ui-4.1.1.tgz && pip install fonttools brotli
python bench/report/fonts/subset.py package/web
"""

import sys
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

LETTERS = "".join(map(chr, range(32, 127))) + (
    "§°±·×¹²³½¼¾ßäöüéèçñ«»–—‘’“”•…←↑→↓↔↕−≈≠≤≥√∞αβγδεθκλμπρσψΔΣ⅓⅔"
)
WEIGHTS = "Regular", "SemiBold"


def subset(source: Path, folder: Path) -> None:
    """Write a weight as .ttf, from which figures are drawn, and as .woff2 for browsers."""
    font = TTFont(source, recalcTimestamp=False)
    glyphs = set(font.getGlyphOrder())
    for table in font["cmap"].tables:
        for digit in map(ord, "0123456789"):
            if (tabular := f"{table.cmap.get(digit)}.tf") in glyphs:
                table.cmap[digit] = tabular
    for name in (16, 17):
        font["name"].removeNames(nameID=name)
    options = Options(hinting=False, layout_features=["kern"], glyph_names=False)
    subsetter = Subsetter(options)
    subsetter.populate(text=LETTERS)
    subsetter.subset(font)
    font["name"].setName("Inter", 1, 3, 1, 0x409)  # the family, without its weight
    for flavor, ending in ((None, "ttf"), ("woff2", "woff2")):
        font.flavor = flavor
        font.save(folder / f"{source.stem}.{ending}")


if __name__ == "__main__":
    for weight in WEIGHTS:
        subset(Path(sys.argv[1]) / f"Inter-{weight}.woff2", Path(__file__).parent)
