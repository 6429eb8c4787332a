"""Does the winner change with the view? Equal data, equal compute, equal KL; and the matrix."""

import math

import numpy as np
import pandas as pd

from bench.analysis import statistics as st
from bench.analysis import views
from bench.report import quality
from bench.report.costs import unit_scale
from bench.report.plate import Plate, counts, interval_note
from bench.report.sections import Kind, Section
from bench.report.style import label
from bench.report.tables import Cell, Table, failed, scaled
from bench.report.verdict import champion, fixed, in_words, joined, p_words, said, winners


def matrix(study) -> Table:
    """Views x pairs of methods: the difference in gold, and who is better."""
    tables = study.views
    pairs = list(dict.fromkeys((r.a, r.b) for t in tables.values() for r in t.itertuples()))
    header = [("View", ""), *((f"{label(a)} − {label(b)}", "gold") for a, b in pairs)]
    rows = []
    for name, table in tables.items():
        by = {(r.a, r.b): r for r in table.itertuples()}
        rows.append([Cell(name), *(_verdict(by.get(pair)) for pair in pairs)])
    return Table("Does the winner change with the view?", header, rows, matrix_notes(tables))


NOTES = {
    " labels": "Equal data: test prompts, seeds and prompts.",
    "Equal": "Equal compute: validation prompts, seeds alone, at the most that both spent.",
    "(longer runs)": "Longer runs: the cheap methods with more epochs, tuned in all else.",
    "KL": "Equal KL budget: over the range of KL that both reached, the best setting within each "
    "budget, chosen on validation prompts and scored on test prompts; beyond a method's best "
    "strength that is the same setting. A dash: no common range.",
}


def matrix_notes(tables: dict) -> list[str]:
    """How to read the matrix: of the views that it has."""
    shown = [text for part, text in NOTES.items() if any(part in name for name in tables)]
    return [
        "Difference and its 95 % interval; a name says who is better after Holm's correction in "
        f"the row, no name that it is not decided. {' '.join(shown)}",
        "The primary endpoint is all labels at the end of training; the other rows ask whether its "
        "answer depends on the view. Rows share runs: they are no independent tests.",
    ]


def _verdict(row) -> Cell:
    """'+0.41 PPO' with its interval beside it; no name where nothing is decided."""
    if row is None:
        return Cell("–")
    i = row.interval
    span = f"{fixed(i.low, '+.2f')} to {fixed(i.high, '+.2f')}" if math.isfinite(i.half) else ""
    winner = row.verdict.removesuffix(" better")
    words = label(winner) if winner != row.verdict else ""
    return Cell(f"{fixed(i.mean, '+.2f')} {words}".strip(), span)


def matrix_lines(study) -> list[str]:
    """Who is unbeaten in each view, in words."""
    tables, groups = study.views, {}
    for name, table in tables.items():
        groups.setdefault(tuple(winners(table)), []).append(name)
    said_of = [
        f"{joined(names)}: {joined(map(label, unbeaten))} unbeaten."
        for unbeaten, names in groups.items()
    ]
    changes = "The set of unbeaten methods is the same in every view. "
    return [("" if len(groups) > 1 else changes) + " ".join(said_of)]


def headline(study) -> str:
    """One sentence: whether the winner changes."""
    tables, methods = study.views, study.meta["methods"]
    sole = [top for t in tables.values() if (top := champion(t, methods))]
    if sole and len(set(sole)) > 1:
        return f"The winner changes with the view: {joined(map(label, dict.fromkeys(sole)))}."
    if sole and len(sole) == len(tables):
        return f"{label(sole[0])} beats every other method in every view."
    if sole:
        beaten = [t for t in tables.values() if sole[0] not in winners(t)]
        lost = f"; in {len(beaten)} it loses to another" if beaten else ""
        share = f"{len(sole)} of {len(tables)} views"
        return f"{label(sole[0])} beats every other method in {share}{lost}."
    return "In no view does one method beat all others."


def labels(study, pen):
    """Gold above SFT against the number of labels, a line a method, with intervals."""
    figure = pen.figure(7.4, 4.4)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    numbers = views.label_arms(study.meta)
    for i, method in enumerate(study.meta["methods"]):
        arms = {n: found[method] for n, found in numbers.items() if method in found}
        points = [(n, study.interval(arm, "gold_delta")) for n, arm in arms.items()]
        points = [(n * 1.02 ** (i - 1.5), found) for n, found in points if found is not None]
        for x, point in points:
            if math.isfinite(point.half):
                ax.plot([x, x], [point.low, point.high], color=pen.of(method), lw=1.8)
        if points:
            x, y = [x for x, _ in points], [p.mean for _, p in points]
            ax.plot(x, y, ms=7, label=label(method), ls=study.looks[method].line,
                    **pen.marker(method))  # fmt: skip
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(numbers), [f"{n:,}" for n in numbers])
    ax.minorticks_off()
    ax.set_xlabel("preference labels (PPO's reward model learns from the same)")
    ax.set_ylabel("gold reward above SFT")
    legend(ax, "upper left")
    return figure


def compute(study, pen):
    """Gold gained on validation prompts against FLOPs, and against seconds, along training."""
    figure = pen.figure(9.2, 4.0)
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (column, unit) in zip(axes, study.spending.items(), strict=True):
        runs = views.paths(study.tables, study.meta, column, longer=True)
        most = max((p.spent.max() for paths in runs.values() for p in paths.values()), default=1)
        size, prefix = unit_scale(most)
        for method, paths in runs.items():
            _path(ax, study, pen, method, list(paths.values()), size)
        ax.axhline(0, color=pen("muted"), lw=1)
        ax.set_xlabel(f"{prefix}{unit}, what the run needed beforehand included")
        ax.set_title(f"By {unit}")
    axes[0].set_ylabel("gold above SFT, validation prompts")
    legend(axes[0], "lower right")
    return figure


def legend(ax, where: str) -> None:
    """Which line is whose, where there is any."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc=where, fontsize=9, handlelength=3.2)


def _path(ax, study, pen, method: str, paths: list[pd.DataFrame], size: float) -> None:
    """The mean path over seeds, with its 95 % band where there are three."""
    gains = np.array([path.gain for path in paths])
    spent = np.mean([path.spent for path in paths], axis=0) / size
    points = [st.over_seeds(column) for column in gains.T]
    if len(paths) >= 3:
        ax.fill_between(spent, [p.low for p in points], [p.high for p in points],
                        color=pen.of(method), alpha=0.15, lw=0)  # fmt: skip
    ax.plot(spent, [p.mean for p in points], ms=5, ls=study.looks[method].line,
            label=label(method), **pen.marker(method))  # fmt: skip


def frontier(study, pen):
    """The ends of each method's sweep of strengths: gold against KL, test prompts."""
    figure = pen.figure(7.4, 5.0)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    for method in study.meta["methods"]:
        ends = views.sweep(study.tables, study.meta, method)
        points = [
            (study.interval(arm, "kl"), study.interval(arm, "gold_delta")) for arm in ends.arm
        ]
        points = [(kl, gold) for kl, gold in points if kl is not None and gold is not None]
        for kl, gold in points:
            _cross_hair(ax, pen, method, kl, gold)
        line = sorted((kl.mean, gold.mean) for kl, gold in points)
        if line:
            ax.plot(*zip(*line, strict=True), ms=7, ls=study.looks[method].line,
                    label=label(method), **pen.marker(method))  # fmt: skip
    quality.root_axis(ax)
    ax.set_ylabel("gold reward above SFT")
    legend(ax, "best")
    return figure


def _cross_hair(ax, pen, method: str, kl: st.Interval, gold: st.Interval) -> None:
    """Both intervals of an end."""
    if math.isfinite(gold.half):
        ax.plot([kl.mean] * 2, [gold.low, gold.high], color=pen.of(method), lw=1.4)
    if math.isfinite(kl.half):
        ax.plot([max(kl.low, 0), kl.high], [gold.mean] * 2, color=pen.of(method), lw=1.4)


def ends_table(study) -> Table:
    """Every end of every sweep: KL and gold with their intervals."""
    header = [("", ""), ("Strength", "β"), ("KL", "nats, test"), ("Gold above SFT", "test ↑"),
              ("Failed", "runs ↓")]  # fmt: skip
    rows = []
    for arms in study.sweeps:
        for arm in sorted(arms, key=lambda a: study.setting(a, "beta")):
            kl, gold = study.interval(arm, "kl"), study.interval(arm, "gold_delta")
            rows.append([
                Cell(label(arm), mark=study.looks[arm].colour),
                Cell(f"{study.setting(arm, 'beta'):g}"),
                Cell(said(kl).replace("+", "") if kl else "–"),
                Cell(said(gold) if gold else "–"),
                failed(study, arm),
            ])  # fmt: skip
    return Table("Ends of the sweeps", header, rows, [f"n = {counts(study)}."])


def kl_lines(study) -> list[str]:
    """The range of each pair, and the verdict along it."""
    table = study.views.get("Equal KL budget")
    if table is None:
        return []
    return [
        f"{label(r.a)} against {label(r.b)}, from {r.low:.2f} to {r.high:.2f} nats: "
        f"{said(r.interval)}, Holm p {p_words(r.p_holm)}."
        for r in table.itertuples()
    ]


def compute_lines(study) -> list[str]:
    """At which budgets the methods are compared."""
    out = []
    for name, table in study.views.items():
        if "at" in table:
            items = [f"{label(r.a)} and {label(r.b)} {scaled(r.at)}" for r in table.itertuples()]
            out.append(f"{name}, at the most that both of a pair spent: {', '.join(items)}.")
    return out


def spent_lines(study) -> list[str]:
    """The pairs whose verdict at equal compute is not that of the end of training."""
    table = study.views.get(f"Equal {next(iter(study.spending.values()))}")
    if table is None:
        return []
    verdicts = {(r.a, r.b): r.verdict for r in study.versus.itertuples()}
    turned = [
        f"{in_words(r)} than {label(r.b if r.verdict.startswith(r.a) else r.a)}"
        for r in table.itertuples()
        if r.verdict.endswith(" better") and r.verdict != verdicts.get((r.a, r.b))
    ]
    if not turned:
        return []
    return [
        f"At equal FLOPs, the most that both of a pair spent, the verdict is another: "
        f"{joined(turned)}."
    ]


def sections(study) -> list[Section]:
    """The page."""
    return [
        Section("matrix", "Does the winner change?", matrix_lines(study), [matrix(study)]),
        Section("data", "Equal data", plates=[PLATES[0]]),
        Section("compute", "Equal compute", compute_lines(study), plates=[PLATES[1]]),
        Section("kl", "Equal KL budget", kl_lines(study), [ends_table(study)], [PLATES[2]]),
    ]


def results(study) -> pd.DataFrame:
    """results.csv: a row a view and pair."""
    rows = []
    for name, table in study.views.items():
        for r in table.itertuples():
            i = r.interval
            row = {"view": name, "a": r.a, "b": r.b, "difference": i.mean, "low": i.low}
            row |= {"high": i.high, "se": i.se, "df": i.df, "seeds": i.seeds, "prompts": i.prompts}
            rows.append(row | {"p": r.p, "p_holm": r.p_holm, "verdict": r.verdict})
    return pd.DataFrame(rows).round(6)


def _listed(study, arms) -> str:
    found = [(arm, study.interval(arm, "gold_delta")) for arm in arms]
    return ", ".join(f"{label(a)} {i.mean:+.2f}" for a, i in found if i is not None)


COMPUTE = Plate(
    "compute", "Gold against what it cost", compute,
    lambda s: "The mean path of training over seeds, on validation prompts (of the longest runs "
    "that are tuned in all else, where there are longer ones); each method starts "
    "where its reward model or its reference log-probabilities are paid for. Failed runs are left "
    f"out. {'Bands: 95 % t intervals across seeds. ' * (s.seeds >= 3)}"
    f"n = {s.seeds} seed{'s' * (s.seeds != 1)}.",
    lambda s: "Gold above SFT against FLOPs and seconds; ends of training: "
    f"{_listed(s, s.meta['methods'])}.",
    wide=True,
)  # fmt: skip

PLATES = (
    Plate(
        "labels", "Gold against the number of labels", labels,
        lambda s: f"Ends of training. {interval_note(s)} n = {counts(s)}. Points are moved apart "
        "sideways by 2 % so that intervals can be seen.",
        lambda s: "Gold above SFT by number of labels: "
        + "; ".join(f"{n:,}: {_listed(s, a.values())}" for n, a in views.label_arms(s.meta).items())
        + ".",
    ),
    COMPUTE,
    Plate(
        "sweep", "Gold against KL, at several strengths", frontier,
        lambda s: "Each point the end of training at one strength, joined in order of KL. Up and "
        f"left is better. {interval_note(s)} n = {counts(s)}.",
        lambda s: f"Gold above SFT against KL: {_listed(s, [a for g in s.sweeps for a in g])}.",
    ),
)  # fmt: skip

KIND = Kind(headline, sections, results, PLATES)
