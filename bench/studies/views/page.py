"""Does the winner change with the view? Equal data, equal compute, equal KL; and the matrix."""

import math

import numpy as np
import pandas as pd

from bench.analysis import statistics as st
from bench.analysis import views
from bench.report import labels, quality
from bench.report.costs import LOST, unit_scale
from bench.report.plate import Plate, bars, counts, interval_note, n_of, seeds_of
from bench.report.sections import Kind, Section
from bench.report.style import BAND, NARROW, WIDE, label
from bench.report.tables import Cell, Table, failed, scaled
from bench.report.verdict import champion, either, fixed, joined, p_words, said, winners


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
        f"the row; without a name it is undecided. {' '.join(shown)}",
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
    if len(groups) == 1:
        return [f"In every view {unbeaten(next(iter(groups)))}."]
    return [f"{joined(names)}: {unbeaten(best)}." for best, names in groups.items()]


def unbeaten(arms) -> str:
    """'PPO is beaten by none', 'PPO and DPO are beaten by none'."""
    arms = list(arms)
    return f"{joined(map(label, arms))} {'is' if len(arms) == 1 else 'are'} beaten by no other"


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


def by_labels(study, pen):
    """Gold above SFT against the number of labels, a line a method, with intervals."""
    figure = pen.figure(NARROW, 4.6)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    numbers, ends = views.label_arms(study.meta), {}
    for i, method in enumerate(study.meta["methods"]):
        arms = {n: found[method] for n, found in numbers.items() if method in found}
        points = [(n, study.interval(arm, "gold_delta")) for n, arm in arms.items()]
        points = [(n * 1.02 ** (i - 1.5), found) for n, found in points if found is not None]
        for x, point in points:
            if math.isfinite(point.half):
                ax.plot([x, x], [point.low, point.high], color=pen.of(method), lw=1.8)
        if points:
            ends[method] = _line(ax, study, pen, method, [(x, p.mean) for x, p in points])
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(numbers), [f"{n:,}" for n in numbers])
    ax.minorticks_off()
    ax.set_xlabel("preference labels (PPO's reward model learns from the same)")
    ax.set_ylabel("gold reward above SFT (higher is better)")
    labels.at_ends(pen, {ax: ends})
    return figure


def _line(ax, study, pen, method: str, points: list) -> tuple[float, float]:
    """A method's line with its markers; returns its last point."""
    ax.plot(*zip(*points, strict=True), ms=7, ls=study.looks[method].line, **pen.marker(method))
    return points[-1]


def compute(study, pen):
    """Gold gained on validation prompts against FLOPs, and against seconds, along training."""
    figure = pen.figure(WIDE, 4.6)
    axes = figure.subplots(1, 2, sharey=True)
    ends = {}
    for ax, (column, unit) in zip(axes, study.spending.items(), strict=True):
        runs = views.paths(study.tables, study.meta, column, longer=True)
        most = max((p.spent.max() for paths in runs.values() for p in paths.values()), default=1)
        size, prefix = unit_scale(most)
        ends[ax] = {
            method: _path(ax, study, pen, method, list(paths.values()), size)
            for method, paths in runs.items()
        }
        ax.axhline(0, color=pen("muted"), lw=1)
        if not runs:
            labels.nothing(ax, pen, LOST)
        ax.set_xlabel(f"{prefix}{unit} spent, what came before included")
        ax.set_title(f"By {unit}")
    axes[0].set_ylabel("gold above SFT, validation prompts")
    labels.near(pen, ends)
    return figure


def _path(ax, study, pen, method: str, paths: list[pd.DataFrame], size: float):
    """The mean path over seeds, with its 95 % band where there are three; returns its end."""
    gains = np.array([path.gain for path in paths])
    spent = np.mean([path.spent for path in paths], axis=0) / size
    points = [st.over_seeds(column) for column in gains.T]
    if len(paths) >= 3:
        ax.fill_between(spent, [p.low for p in points], [p.high for p in points],
                        color=pen.of(method), alpha=BAND, lw=0)  # fmt: skip
    ax.plot(spent, [p.mean for p in points], ms=5, ls=study.looks[method].line,
            **pen.marker(method))  # fmt: skip
    return spent[-1], points[-1].mean


def frontier(study, pen):
    """The ends of each method's sweep of strengths: gold against KL, test prompts."""
    figure = pen.figure(NARROW, 5.0)
    ax = figure.subplots()
    ax.axhline(0, color=pen("muted"), lw=1)
    named = {}
    for method in study.meta["methods"]:
        ends = views.sweep(study.tables, study.meta, method)
        points = [
            (study.interval(arm, "kl"), study.interval(arm, "gold_delta")) for arm in ends.arm
        ]
        points = [(kl, gold) for kl, gold in points if kl is not None and gold is not None]
        for kl, gold in points:
            quality.cross_hair(ax, pen, method, kl, gold)
        if points:
            line = sorted((kl.mean, gold.mean) for kl, gold in points)
            named[method] = _line(ax, study, pen, method, line)
    quality.root_axis(ax)
    ax.set_ylabel("gold reward above SFT (higher is better)")
    labels.near(pen, {ax: named})
    return figure


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
    """What equal FLOPs make of the verdict at the end of training; nothing where that is not
    known. All of it is from one study: the one of the views, where it has been run."""
    beside = study.companions.get("views", study)
    name = f"Equal {study.spending['flops']}"
    table, longer = (beside.views.get(name + more) for more in ("", " (longer runs)"))
    if table is None or beside.seeds == 1:
        return []
    found = [*_waiting(beside, table), *_turned(study, table), *_longer(table, longer)]
    return found or ["At equal FLOPs no verdict between two methods is another."]


def _waiting(study, table) -> list[str]:
    """The methods that a small budget does not even let begin."""
    out = []
    runs = views.paths(study.tables, study.meta, "flops")
    for method, rows in table.dropna(subset=["waiting"]).groupby("waiting", sort=False):
        others = [r.b if r.a == method else r.a for r in rows.itertuples()]
        out.append(
            f"With the FLOPs of a whole {either(map(label, others))} run {label(method)} has not "
            f"begun to train: what it needs beforehand takes {scaled(views.begins(runs[method]))}"
            "FLOPs. There it stands at the SFT base."
        )
    return out


def _turned(study, table) -> list[str]:
    """The other pairs of which equal FLOPs decide otherwise than the end of training."""
    ends = {frozenset((r.a, r.b)): _decision(r) for r in study.versus.itertuples()}
    turned = [
        _decision(r)
        for r in table[table.waiting.isna()].itertuples()
        if _decision(r) != ends.get(frozenset((r.a, r.b)), _decision(r))
    ]
    return [f"At equal FLOPs, the most that both of a pair spent: {joined(turned)}."] * bool(turned)


def _decision(row) -> str:
    """'PPO better than DPO', 'PPO against DPO undecided'; the same however the pair is turned."""
    winner = row.verdict.removesuffix(" better")
    if winner == row.verdict:
        return f"{' against '.join(sorted((label(row.a), label(row.b))))} undecided"
    return f"{label(winner)} better than {label(row.b if winner == row.a else row.a)}"


def _longer(table, longer) -> list[str]:
    """The pairs of a method that had not begun, where the other trains on until it has."""
    if longer is None:
        return []
    late = {(r.a, r.b) for r in table.dropna(subset=["waiting"]).itertuples()}
    items = [
        f"{label(r.a)} − {label(r.b)} {said(r.interval)}{' (undecided)' * (r.verdict == OPEN)}"
        for r in longer[longer.waiting.isna()].itertuples()
        if (r.a, r.b) in late
    ]
    if not items:
        return []
    return [
        "Where the cheap methods train on for more epochs (settings as tuned for the usual "
        "length), the differences in gold, at the most FLOPs that both of a pair spent, are: "
        f"{', '.join(items)}."
    ]


OPEN = "inconclusive"


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
    return ", ".join(f"{label(a)} {fixed(i.mean, '+.2f')}" for a, i in found if i is not None)


def _of_longer(study) -> str:
    """Which methods' runs are longer than the usual ones, and how many times."""
    usual, longest = (views.longest(study.meta, *most) for most in ((1,), ()))
    factors = {arm["name"]: arm["factors"].get("epochs", 1) for arm in study.meta["arms"]}
    items = [f"{label(m)} {factors[arm]:g}" for m, arm in longest.items() if arm != usual.get(m)]
    return f" (of longer runs, tuned in all else: {', '.join(items)} times the epochs)" * bool(
        items
    )


def _ends(study) -> str:
    """Mean gain at the end of each method's path."""
    runs = views.paths(study.tables, study.meta, next(iter(study.spending)), longer=True)
    found = {
        m: np.mean([path.gain.iloc[-1] for path in paths.values()]) for m, paths in runs.items()
    }
    items = [f"{label(m)} {fixed(gain, '+.2f')}" for m, gain in found.items()]
    return ", ".join(items) or "no run ended"


COMPUTE = Plate(
    "compute", "Gold reward against what it cost", compute,
    lambda s: f"The mean path of training over seeds, on validation prompts{_of_longer(s)}; each "
    "method starts where its reward model or its reference log-probabilities are paid for. Failed "
    f"runs are left out. {'Bands: 95 % t intervals across seeds. ' * (s.seeds >= 3)}"
    f"n = {seeds_of(s)}.",
    lambda s: "Gold above SFT on validation prompts against FLOPs and seconds; ends of training: "
    f"{_ends(s)}.",
    lambda s: f"{seeds_of(s)}, paths of training · "
    + ("bands: 95 % intervals over seeds" if s.seeds >= 3 else "no intervals"),
    wide=True,
    category="Cost",
)  # fmt: skip

PLATES = (
    Plate(
        "labels", "Gold reward against the number of labels", by_labels,
        lambda s: f"Ends of training. {interval_note(s)} n = {counts(s)}. Points are moved apart "
        "sideways by 2 % so that intervals can be seen.",
        lambda s: "Gold above SFT by number of labels: "
        + "; ".join(f"{n:,}: {_listed(s, a.values())}" for n, a in views.label_arms(s.meta).items())
        + ".",
        lambda s: f"{n_of(s)} · {bars(s)}",
        category="Quality",
    ),
    COMPUTE,
    Plate(
        "sweep", "Gold reward against KL, at several strengths β", frontier,
        lambda s: "Each point the end of training at one strength, joined in order of KL. Up and "
        f"left is better. {interval_note(s)} n = {counts(s)}.",
        lambda s: f"Gold above SFT against KL: {_listed(s, [a for g in s.sweeps for a in g])}.",
        lambda s: f"{n_of(s)} · {bars(s)}",
        category="Quality",
    ),
)  # fmt: skip

KIND = Kind(headline, sections, results, lambda study: PLATES)
