"""Draw how the answers changed (length, entropy, repetition), and if length explains wins."""

import math

from bench.analysis import statistics as st
from bench.analysis.measures import BY_KEY
from bench.analysis.measures.quality import beside_base
from bench.core.names import SFT
from bench.report.figure import Figure, counts, listing, n_of
from bench.report.marks import LOST, beside
from bench.report.style import WIDE
from bench.report.words import label

PANELS = {"length": "tokens above\nSFT's {}", "entropy": "nats/token above\nSFT's {}",
          "distinct2": "share above SFT's\n{}"}  # measure -> axis  # fmt: skip
FORMS = {"length": "+.1f", "entropy": "+.3f", "distinct2": "+.3f"}
BOTH = {"win": -0.18, "win_lc": 0.2}  # measure -> how far below its row it is drawn


def draw(study, pen):
    """Draw the change from SFT in length, entropy and distinct bigrams, and the win rates."""
    arms = study.arms
    height = 2.2 + (0.3 if study.many else 0.42) * len(arms)
    figure, axes = pen.panels(4, WIDE, height, sharey=True, width_ratios=(1, 1, 1, 1.15))
    for ax, (measure, words) in zip(axes, PANELS.items(), strict=False):
        _changes(ax, study, pen, measure)
        ax.set_title(BY_KEY[measure].label)
        ax.set_xlabel(words.format(_of_sft(study, measure)))
    _wins(axes[3], study, pen)
    for ax in axes:
        ax.grid(axis="y", visible=False)
        ax.locator_params(axis="x", nbins=2 if study.many else 3)
    axes[0].set_yticks(range(len(arms)), [label(arm) for arm in arms])
    axes[0].set_ylim(len(arms) - 0.4, -0.9)
    return figure


def change(study, arm: str, measure: str) -> st.Interval | None:
    """Return how far an arm's answers are above SFT's to the same prompts; None if not measured.

    Distinct bigrams are counted over all of a run's answers, so their interval is over seeds only.
    """
    if measure == "distinct2":
        runs, base = study.by_seed(arm, measure), study.by_seed(study.base[arm], measure)
        return st.over_seeds(runs - base.mean()) if len(runs) and len(base) else None
    mine, base = beside_base(study.results, arm, measure)
    return st.crossed(mine - base) if mine.size else None


def _changes(ax, study, pen, measure: str) -> None:
    """Draw a row per arm: its change from SFT."""
    ax.axvline(0, color=pen("muted"), lw=1.2)
    for y, arm in enumerate(study.arms):
        found = change(study, arm, measure)
        if found is None:
            beside(ax, LOST, 0, y, fontsize=8, color=pen("muted"))
        else:
            _interval(ax, pen, arm, y, found, pen.marker(arm), FORMS[measure])
    ax.margins(x=0.15)


def _of_sft(study, measure: str) -> str:
    """Return the SFT base's own value."""
    found = study.interval(SFT, measure)
    return f"{found.mean if found is not None else math.nan:.3g}"


def _interval(ax, pen, arm: str, y: float, found: st.Interval, mark: dict, form: str) -> None:
    if math.isfinite(found.half):
        ax.plot([found.low, found.high], [y, y], color=pen.of(arm), lw=2)
    (dot,) = ax.plot(found.mean, y, ms=6.5, zorder=4, **mark)
    pen.told.add(dot, label(arm), found, form)


def _wins(ax, study, pen) -> None:
    """Draw the win rate above and, open and below it, the length-controlled one, with their
    numbers."""
    ax.axvline(50, color=pen("muted"), lw=1.2)
    for y, arm in enumerate(study.arms):
        for key, down in BOTH.items():
            found = study.interval(arm, key)
            if found is None:
                continue
            mark = pen.marker(arm) | {"mfc": pen("paper") if key == "win_lc" else pen.of(arm)}
            _interval(ax, pen, arm, y + down, found, mark, ".1f")
            _rate(ax, found, y + down)
    ax.margins(x=0.2)
    ax.set_title("Win rate")
    ax.set_xlabel("% against SFT\n(higher is better)")


def _rate(ax, found: st.Interval, y: float) -> None:
    """Write the number of a win rate on the side of its interval that faces away from 50 %."""
    low, high = (found.low, found.high) if math.isfinite(found.half) else (found.mean,) * 2
    end, side, move = (high, "left", 7) if found.mean >= 50 else (low, "right", -7)
    beside(ax, f"{found.mean:.1f}", end, y, move, ha=side, fontsize=8)


def _seeds_alone(study) -> str:
    return ", with intervals over seeds only" if study.seeds > 1 else ", without intervals"


def finding(study) -> str:
    """Say how far a win rate changes if answers are as long as SFT's."""
    rates = [study.known(key) for key in ("win", "win_lc")]
    moved = [abs(rates[0][arm].mean - rates[1][arm].mean) for arm in rates[0] if arm in rates[1]]
    return f"Length explains at most {max(moved):.1f} points of a win rate" if moved else ""


FIGURE = Figure(
    "writing", "How the answers changed, and whether length explains the wins", draw,
    lambda s: "Length and entropy: difference from SFT's answers to the same test prompts, with "
    f"95 % intervals as bars. Distinct bigrams: the same{_seeds_alone(s)}. Win rate (filled "
    "marks): share of answers whose gold is above that of SFT's to the same prompt; a tie counts "
    "half. Length-controlled (open marks): the win rate expected for answers as long as SFT's, by "
    "a logistic regression for each seed (Dubois et al. 2024)"
    f"{_seeds_alone(s)}. n = {counts(s)}.",
    lambda s: f"Win rate against SFT in %: {listing(s, 'win', 0)}; length-controlled: "
    f"{listing(s, 'win_lc', 0)}. Length in tokens: {listing(s, 'length', 1)}.",
    lambda s: f"{n_of(s)} · bars: 95 % intervals"
    + ", of bigrams and open marks over seeds only" * (s.seeds > 1)
    + " · open: length-controlled",
    wide=True, category="Quality", section="writing", finding=finding,
)  # fmt: skip
