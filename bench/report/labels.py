"""Place labels beside points and lines, so that they hide neither each other nor the data.

Places are computed in pixels once the layout is known, and kept in points from the labelled point,
so that SVG and PNG agree. A thin line ties a label to its point if it has to stand apart.
"""

from itertools import pairwise

import numpy as np

from bench.report.typeface import BOLD
from bench.report.words import label

FAR = (7, 10, 14, 19, 25, 32, 40, 50, 62)  # pixels between a point and its label, to be tried
VARIANT = 25  # pixels; a variant's label that would stand further off is left out
FORBIDDEN = 1e6
PAD = 8  # pixels between the end of a line and its label
TIE = 20  # pixels beyond which a label is tied to its point


def near(pen, points: dict, words=label, size: float = 9.5) -> None:
    """Label points that lie anywhere; points: {axes: {arm: (x, y) in data}}.

    Each label goes where it is near its point and covers least, but never over another label or out
    of the axes. A variant's label is left out if it would stand far off, a tuned method's never is.
    """
    settle(points)
    for ax, found in points.items():
        marks, taken = _marks(ax), [text.get_window_extent().extents for text in ax.texts]
        for arm in sorted(found, key=lambda a: (_minor(pen, a), found[a][1])):
            point, box = ax.transData.transform(found[arm]), _extent(ax, words(arm), size)
            centre, far, cost = _best_place(ax, point, box / 2, marks, taken)
            if _minor(pen, arm) and (cost >= FORBIDDEN or far > VARIANT):
                continue
            corner = centre - [box[0] / 2, 0]
            _write(ax, pen, arm, found[arm], words(arm), size, corner, box * (far > TIE))
            taken.append([*(point + centre - box / 2), *(point + centre + box / 2)])


def at_ends(pen, ends: dict, size: float = 9) -> None:
    """Write names to the right of lines that end on the same side, pushed apart up and down.

    ends: {axes: {arm: (x, y) in data}}. The axes are widened for the names. If there is no room for
    all, those of variants are left out first.
    """
    settle(ends)
    for ax, found in ends.items():
        boxes = {arm: _extent(ax, label(arm), size) for arm in found}
        gap = max((height for _, height in boxes.values()), default=1.0)
        order = sorted(found, key=lambda a: _minor(pen, a))[: int(ax.bbox.height // gap)]
        rows = _ladder(ax, {arm: ax.transData.transform(found[arm])[1] for arm in order}, gap)
        tied = {arm: abs(height - was) > gap / 2 for arm, (was, height) in rows.items()}
        pad = 3 * PAD if any(tied.values()) else PAD
        _widen(ax, pad + max((boxes[arm][0] for arm in order), default=0))
        right = max((ax.transData.transform(found[arm])[0] for arm in order), default=0) + pad
        for arm, (_, height) in rows.items():
            moved = np.array([right, height]) - ax.transData.transform(found[arm])
            _write(ax, pen, arm, found[arm], label(arm), size, moved, boxes[arm] * tied[arm])


def nothing(ax, pen, words: str) -> None:
    """Write words in the middle of axes that have nothing to show."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=pen("muted"))
    ax.set_xticks([])
    ax.set_yticks([])


def settle(axes) -> None:
    """Fix the layout of the axes' figure, so that positions in pixels hold."""
    for ax in list(axes)[:1]:
        ax.figure.draw_without_rendering()


def spread(wanted, gap: float, low: float, high: float) -> np.ndarray:
    """Return the heights nearest to those wanted (ascending) that lie ``gap`` apart within
    low..high."""
    from scipy.optimize import isotonic_regression

    if not len(wanted):
        return np.array([])
    steps = gap * np.arange(len(wanted))
    found = isotonic_regression(np.asarray(wanted, float) - steps).x
    return np.clip(found, low, high - steps[-1]) + steps


def _minor(pen, arm: str) -> bool:
    """Return whether an arm is a variant of a method."""
    return arm in pen.looks and not pen.looks[arm].filled


def _extent(ax, words: str, size: float) -> np.ndarray:
    """Return width and height of bold words in pixels."""
    text = ax.figure.text(0, 0, words, fontsize=size, fontweight=BOLD)
    box = text.get_window_extent()
    text.remove()
    return np.array([box.width, box.height])


def _write(ax, pen, arm: str, at, words: str, size: float, offset, tied) -> None:
    """Write a label whose left middle is `offset` pixels from its point, without moving the layout.

    tied: width and height of the words if a line ties them to the point, else zeros.
    """
    colour, tie = pen.of(arm), None
    if tied.any():
        nearest = np.clip([-offset[0] / tied[0], 0.5 - offset[1] / tied[1]], 0, 1)
        tie = {"arrowstyle": "-", "lw": 0.7, "color": colour, "shrinkA": 1, "shrinkB": 4,
               "relpos": tuple(nearest)}  # fmt: skip
    text = ax.annotate(words, at, np.asarray(offset) * 72 / ax.figure.dpi, arrowprops=tie,
                       textcoords="offset points", va="center", fontsize=size, color=colour,
                       fontweight=BOLD, zorder=6, annotation_clip=False)  # fmt: skip
    text.set_in_layout(False)


def _marks(ax) -> np.ndarray:
    """Return what the lines and markers of axes cover: [n, 3] of x, y and radius in pixels."""
    found, scale = [np.empty((0, 3))], ax.figure.dpi / 72
    for line in ax.lines:
        path = line.get_transform().transform(line.get_xydata())
        path = path[np.isfinite(path).all(axis=1)]
        if line.get_marker() not in ("None", "", None):
            found.append(_with_radius(path, line.get_markersize() / 2 * scale + 1))
        if line.get_linestyle() not in ("None", ""):
            found += [_with_radius(_along(a, b), 1) for a, b in pairwise(path)]
    return np.concatenate(found)


def _with_radius(path: np.ndarray, radius: float) -> np.ndarray:
    return np.column_stack([path, np.full(len(path), radius)])


def _along(a: np.ndarray, b: np.ndarray, step: float = 4) -> np.ndarray:
    """Return points on a segment, a few pixels apart."""
    return np.linspace(a, b, 2 + int(np.hypot(*(b - a)) / step))


def _best_place(ax, point, half, marks, taken):
    """Find the best place for a box: (centre relative to the point, distance, cost), in pixels."""
    around = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    turns = np.column_stack([np.cos(around), np.sin(around)])
    places = [(turn * (far + half), far) for far in FAR for turn in turns]
    costs = [far + _cost(ax, point + c - half, point + c + half, marks, taken) for c, far in places]
    best = int(np.argmin(costs))
    return *places[best], costs[best]


def _cost(ax, low, high, marks, taken) -> float:
    """Return the cost of what a box covers: lines and markers by size; labels and the edge
    FORBIDDEN."""
    x, y, r = marks.T
    hidden = (x + r > low[0]) & (x - r < high[0]) & (y + r > low[1]) & (y - r < high[1])
    over = any(low[0] < b[2] + 2 and high[0] > b[0] - 2 and low[1] < b[3] and high[1] > b[1]
               for b in taken)  # fmt: skip
    inside = (low >= ax.bbox.min).all() and (high <= ax.bbox.max).all()
    return 6 * float(r[hidden].sum()) + FORBIDDEN * (over + (not inside))


def _widen(ax, pixels: float) -> None:
    """Make room of so many pixels at the right of the axes."""
    scale = ax.xaxis.get_transform()
    low, high = scale.transform(np.array(ax.get_xlim()))
    share = min(pixels / ax.bbox.width, 0.6)
    ax.set_xlim(right=float(scale.inverted().transform(low + (high - low) / (1 - share))))


def _ladder(ax, heights: dict, gap: float) -> dict[str, tuple[float, float]]:
    """Place labels one above the other, each as near its line's end as the others let it.

    Returns {arm: (height of its line's end, height of its label)}.
    """
    order = sorted(heights, key=heights.get)
    wanted = [heights[arm] for arm in order]
    found = spread(wanted, gap, ax.bbox.y0 + gap / 2, ax.bbox.y1 - gap / 2)
    return {arm: both for arm, *both in zip(order, wanted, found, strict=True)}
