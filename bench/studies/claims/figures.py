"""Draw what each claim's experiment measured, all effects beside their margins, and the map."""

import math
from textwrap import fill

import numpy as np

from bench.report.figure import Figure
from bench.report.style import BAND, NARROW, WIDE
from bench.report.typeface import BOLD
from bench.report.words import fixed
from bench.studies.claims import analysis
from bench.studies.claims import map as cells_map
from bench.studies.claims.analysis import Outcome, Word
from bench.studies.claims.cells import CELLS, FLIPS, ORIGINS, SHARES
from bench.studies.claims.claim import Claim, Rule
from bench.studies.claims.tested import every
from bench.studies.claims.words import covered, labelled, name_of, verdicts

INK = {Word.SUPPORTED: "m2", Word.CONTRADICTED: "bad", Word.UNDECIDED: "muted"}
REACH = 6  # margins that the axis shows either way; what lies beyond is cut


def of_claim(claim: Claim) -> Figure:
    """Return the figure of a claim: what each of its conditions measured, with intervals."""
    return Figure(
        claim.key.lower(), f"{claim.key}. {claim.sentence}",
        lambda study, pen: _dots(study, pen, claim),
        lambda s: f"Points: {claim.shown_as}, with 95 % intervals{_over(s, claim)}. "
        f"{claim.experiment}",
        lambda s: f"{claim.shown_as}: {_listed(s, claim)}.",
        lambda s: f"{verdicts(analysis.by_claim(s.results)[claim.key])} · bars: 95 % intervals",
        category="Claims",
    )  # fmt: skip


def _dots(study, pen, claim: Claim):
    found = analysis.shown(study.results, claim)
    figure = pen.figure(NARROW, 1.5 + (0.45 if pen.tall else 0.3) * len(found))
    ax = figure.subplots()
    ax.axvline(0, color=pen("muted"), lw=1)
    for y, (name, interval) in enumerate(found.items()):
        colour = pen.of(name.partition("-")[0].partition(" ")[0])
        if math.isfinite(interval.half):
            ax.plot([interval.low, interval.high], [y, y], color=colour, lw=2)
        (dot,) = ax.plot([interval.mean], [y], ls="", marker="o", ms=7, color=colour)
        pen.told.add(dot, labelled(claim, name), interval, ".3g")
    names = (labelled(claim, name) for name in found)
    ax.set_yticks(range(len(found)), [fill(name, 22) if pen.tall else name for name in names])
    ax.set_ylim(len(found) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel(claim.shown_as)
    return figure


def _over(study, claim: Claim) -> str:
    """Say what the intervals cover: they differ where a method starts from fewer bases."""
    found = analysis.shown(study.results, claim).values()
    return f" over {', or '.join(dict.fromkeys(map(covered, found)))}"


def _listed(study, claim: Claim) -> str:
    found = analysis.shown(study.results, claim)
    return "; ".join(f"{labelled(claim, n)} {fixed(i.mean, '+.2f')}" for n, i in found.items())


def every_effect(study, pen):
    """Draw the effect of each part with its interval, in units of its margin."""
    rows = drawn(study)
    figure = pen.figure(WIDE, 1.6 + (0.62 if pen.tall else 0.38) * len(rows))
    ax = figure.subplots()
    for x in (-1, 0, 1):
        ax.axvline(x, color=pen("muted"), lw=1, ls="-" if x == 0 else ":")
    for y, row in enumerate(rows):
        unit, colour = row.part.margin, pen(INK[row.word])
        ends = [_cut(v / unit) for v in (row.effect.low, row.effect.high)]
        ax.plot(ends, [y, y], color=colour, lw=2)
        at = _cut(row.effect.mean / unit)
        (dot,) = ax.plot([at], [y], ls="", marker="o", ms=7, color=colour)
        pen.told.add(dot, name_of(row), row.effect, ".3g", margin=unit)
        ax.text(REACH * 1.04, y, row.word, va="center", color=colour, fontsize=9, fontweight=BOLD)
    statements = [statement(row, 26 if pen.tall else 62) for row in rows]
    ax.set_yticks(range(len(rows)), statements, fontsize=8.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(-REACH * 1.02, REACH * (2.1 if pen.tall else 1.45))
    ax.set_xticks(range(-REACH, REACH + 1, 2))
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("effect, in units of its margin: to the right it speaks for the claim")
    return figure


def statement(row: Outcome, width: int) -> str:
    """Return a part's name and sentence, in several lines if it is long; width: letters in one."""
    return fill(f"{name_of(row)}  {row.part.sentence.rstrip('.')}", width)


def drawn(study) -> list[Outcome]:
    """Return the parts that have one effect and a margin."""
    rows = analysis.outcomes(study.results)
    return [row for row in rows if row.part.rule not in (Rule.ALWAYS, Rule.FACT)]


def _cut(value: float) -> float:
    """Keep a value on the axis; NaN stays, and is not drawn."""
    return value if math.isnan(value) else max(-REACH, min(REACH, value))


ALL = Figure(
    "claims", "What the experiments say of each claim", every_effect,
    lambda s: "Each line is the effect of a claim or of one of its parts, with its 95 % interval, "
    "divided by the margin that was declared for it. Dotted lines: one margin. Effects beyond "
    f"{REACH} margins are cut. Claims that say 'always', and facts, are not drawn.",
    lambda s: "; ".join(f"{name_of(r)} {r.word}" for r in analysis.outcomes(s.results)),
    lambda s: "test prompts · bars: 95 % intervals over SFT bases and prompts",
    wide=True, category="Claims",
)  # fmt: skip


def draw_map(study, pen):
    """Draw a panel for each origin: labels across, flips up; who is ahead, and where nobody can
    tell; each cell with the difference that was measured."""
    rows, fit = cells_map.cells(study.results), cells_map.fitted(study.results)
    figure, axes = pen.panels(len(ORIGINS), WIDE, 4.4, sharey=True)
    effective = cells_map.predicted(study.results)
    labels, flips = np.linspace(np.log2(max(SHARES)), 0, 60), np.linspace(0, max(FLIPS), 60)
    across, up = np.meshgrid(labels, flips)
    for ax, origin in zip(axes, ORIGINS, strict=True):
        lead, half = fit.lead(2.0**across, up, origin != "own")
        ahead = np.where(np.abs(lead) <= half, 0, np.sign(lead))
        for sign, method in ((1, "ppo"), (-1, "dpo")):
            ax.contourf(-across, up, ahead == sign, [0.5, 1.5], colors=[pen.of(method)],
                        alpha=BAND)  # fmt: skip
        ax.contour(-across, up, lead, [0], colors=[pen("ink")], linewidths=1.2)
        if effective and origin == "own":
            share, turned = cells_map.informed(effective)
            ax.plot(np.log2(share), turned, color=pen("ink"), lw=1.2, ls="--")
        for (share, flip), gap in rows[rows.origin == origin].groupby(["share", "flip"]).gap:
            colour = pen.of("ppo" if gap.mean() > 0 else "dpo")
            ax.text(-np.log2(share), flip, fixed(gap.mean(), "+.2f"), ha="center", va="center",
                    fontsize=8.5, color=colour, fontweight=BOLD)  # fmt: skip
        pairs = study.meta.pairs
        ax.set_xticks([-np.log2(s) for s in SHARES], [f"{pairs // s:,}" for s in SHARES])
        ax.set_yticks(FLIPS, [f"{flip} %" for flip in FLIPS])
        ax.set_xlim(-np.log2(max(SHARES)) - 0.4, 0.4)
        ax.set_ylim(-5, max(FLIPS) + 5)
        ax.set_xlabel("labels")
        ax.set_title(PANELS[origin])
    pen.ylabel(axes, "labels turned round")
    return figure


PANELS = {"own": "Pairs of the own SFT base", "foreign": "Pairs that another model wrote"}
MAP = Figure(
    "map", "Where PPO wins, where DPO wins, and where nobody can tell", draw_map,
    lambda s: "Numbers: PPO's gain in gold minus DPO's, the mean over a cell's SFT bases, on test "
    "prompts. Shaded: where a linear model of all cells has one method ahead with a 95 % interval, "
    "of each point alone, over SFT bases too; "
    "unshaded, nobody can tell; the line is where it has them equal, the dashed line where the "
    "information in labels would put it. "
    f"n = {len(cells_map.cells(s.results))} pairs of runs.",
    lambda s: f"PPO minus DPO by number of labels, flips and origin. {border(s)}",
    lambda s: f"n = {len(cells_map.cells(s.results))} pairs of runs · shaded: outside the 95 % "
    "interval",
    wide=True, category="Claims",
)  # fmt: skip


def border(study) -> str:
    """Say in how many cells which method is ahead."""
    if cells_map.fitted(study.results) is None:
        return "The cells of the map were not all run."
    ahead = [cells_map.winner(study.results, cell) for cell in CELLS]
    ppo, dpo = (ahead.count(m) for m in ("ppo", "dpo"))
    return (
        f"Of {len(CELLS)} cells of the map, PPO is ahead in {ppo}, DPO in {dpo}, and in "
        f"{len(CELLS) - ppo - dpo} nobody can tell, each taken alone."
    )


def figures(study) -> list[Figure]:
    """Return the figure of all claims, one of each claim that was tested, and the map."""
    tested = analysis.by_claim(study.results)
    found = [of_claim(claim) for key, claim in every().items() if key in tested]
    return [*[ALL] * bool(drawn(study)), *found, *[MAP] * bool(cells_map.fitted(study.results))]
