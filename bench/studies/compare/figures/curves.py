"""Draw five measures along training, a line per arm, with 95 % bands over seeds."""

from bench.analysis import curves
from bench.analysis.measures import BY_KEY
from bench.report import labels, marks
from bench.report.figure import Figure, band_note, bands, failed_note, seeds_of, validation_note
from bench.report.style import BAND, WIDE
from bench.report.words import fixed, label

PANELS = {"gain": "gold_delta", "kl": "kl", "length": "length", "entropy": "entropy",
          "distinct2": "distinct2"}  # column of the curves -> measure  # fmt: skip
FORMS = {"gain": "+.2f", "length": ".1f"}
MOSAIC = [["gain", "kl", "length"], ["gain", "entropy", "distinct2"]]


def draw(study, pen):
    """Draw a panel per measure; if arms have long names, label lines in the large panel only."""
    plain = set(study.arms) <= set(study.method.values())
    if pen.tall:
        figure, column = pen.panels(len(PANELS), WIDE, 2.8)
        axes = dict(zip(PANELS, column, strict=True))
    else:
        figure = pen.figure(WIDE, 5.6)
        axes = figure.subplot_mosaic(MOSAIC, width_ratios=(1.5 if plain else 2, 1, 1))
    ends = {ax: {} for ax in axes.values()}
    for column, ax in axes.items():
        for arm in study.arms:
            if (end := _curve(ax, study, pen, arm, column)) is not None:
                ends[ax][arm] = end
        measure = BY_KEY[PANELS[column]]
        ax.set_title(f"{measure.label} ({measure.unit})")
        ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        ax.margins(x=0.03)
    axes["gain"].axhline(0, color=pen("muted"), lw=1)
    for ax in (axes["gain"], axes["entropy"], axes["distinct2"]):
        ax.set_xlabel("share of the training budget")
    labels.at_ends(pen, ends if plain else {axes["gain"]: ends[axes["gain"]]}, 9 if plain else 8)
    return figure


def _curve(ax, study, pen, arm: str, column: str) -> tuple[float, float] | None:
    """Draw one arm's line, band and the crosses of its failed runs; return where the line ends."""
    rows, lost = curves.of_ended(study.results, arm), curves.of_arm(study.results, arm)
    lost = lost[~lost.seed.isin(rows.seed)].groupby("seed").last()
    ax.plot(lost.fraction, lost[column], "x", color=pen.of(arm), ms=8, mew=2)
    if not len(rows.dropna(subset=[column])):
        return None
    x, mean, low, high = marks.seed_band(rows, column)
    mark = pen.marker(arm)
    if study.many:
        mark |= {"lw": 1.3, "markevery": [-1]}
    else:
        ax.fill_between(x, low, high, color=pen.of(arm), alpha=BAND, lw=0)
    (line,) = ax.plot(x, mean, ls=study.looks[arm].line, ms=5, **mark)
    points = list(zip(low, mean, high, strict=True))
    pen.told.add(
        line, label(arm), points, FORMS.get(column, ".2f"), **{"share of training": list(x)}
    )
    return x[-1], mean[-1]


def ends(study) -> str:
    """Return 'PPO 0.85, DPO 0.56': mean gain at the end of the curves of the runs that ended."""
    found = {arm: curves.of_ended(study.results, arm) for arm in study.arms}
    gains = {arm: rows.groupby("seed").gain.last() for arm, rows in found.items() if len(rows)}
    words = [f"{label(arm)} {fixed(gain.mean(), '.2f')}" for arm, gain in gains.items()]
    return ", ".join(words) or "no run ended"


FIGURE = Figure(
    "curves", "What changes during training", draw,
    lambda s: "All arms answer the same validation prompts along training, which is charged to no "
    f"method. {validation_note(s)} Distinct bigrams are of fewer answers than in the tables, so "
    f"their share is higher. {band_note(s)}"
    f"{failed_note(s)} n = {seeds_of(s)}.",
    lambda s: "Gold above SFT, KL, length, entropy, distinct bigrams along training, on "
    f"validation prompts; ends in gold above SFT: {ends(s)}.",
    lambda s: f"{seeds_of(s)}, validation prompts · {bands(s)}",
    wide=True, category="Training", section="training", layered=True,
    shown=lambda s: not (s.many and s.versus_tuned),
)  # fmt: skip
