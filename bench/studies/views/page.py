"""Say whether the winner changes with the view: equal data, equal compute, equal KL."""

import re
from itertools import combinations

import pandas as pd

from bench.analysis.comparisons import Comparison, Family
from bench.analysis.measures.stability import failed
from bench.analysis.statistics import VERDICT_SEEDS
from bench.core.grouping import grouped
from bench.report import reference
from bench.report.figure import counts
from bench.report.results import flat
from bench.report.sections import Kind, Lent, Section
from bench.report.tables import DASH, Cell, Table, share
from bench.report.words import (
    BETTER,
    INCONCLUSIVE,
    bounds,
    count,
    decisions,
    difference,
    fixed,
    joined,
    label,
    leader,
    named,
    not_judged,
    p_words,
    pair,
    said,
    scaled,
    why_open,
)
from bench.studies.views import analysis
from bench.studies.views.analysis import CHEAP, DATA, DEAR, KL, NEAR, REREAD, View
from bench.studies.views.figures import COMPUTE as COMPUTE_FIGURE
from bench.studies.views.figures import LABELS, SWEEP

NOTES = {
    DATA: "Equal data: on test prompts, with intervals over seeds and prompts.",
    REREAD: "Read more often: a method, and PPO's reward model, makes more passes over fewer "
    "labels, times the root of the factor by which they are fewer; PPO takes as many steps as from "
    "all. Trials of DPO and PPO on micro, on other seeds, chose that rule.",
    CHEAP: "Equal compute: pipelines made for the same budget, which is what the cheaper of a pair "
    "spends as tuned. The dearer one learns from fewer labels, and its reward model too. On test "
    f"prompts. A dash means that no pipeline costs the same within a factor of {NEAR:g}.",
    DEAR: "At the budget of the dearer of a pair, the cheaper one trains for more epochs.",
    KL: "Equal KL budget: over the range of KL that both methods reached, the best setting within "
    "each budget, chosen on validation prompts and scored on test prompts; beyond a method's best "
    "setting, that one stays chosen. A seed counts as failed if it did at one of the settings "
    "chosen. A dash means that there is no common range; a strength of which every run failed has "
    "no KL.",
}


OTHERWISE = {
    KL: "equal KL budgets",
    CHEAP: "with the compute of the cheaper of a pair",
    DEAR: "with the compute of the dearer of a pair",
}


def views(study) -> list[View]:
    """Return the views that a study holds."""
    return analysis.every(study.results)


def several(study) -> bool:
    """Return whether a study holds more than one view, so that the winner could change."""
    return len(views(study)) > 1


def view(study, kind: str) -> View | None:
    """Return the first view of a kind; None if the study has none."""
    return next((v for v in views(study) if v.kind == kind), None)


def matrix(study) -> Table:
    """Tabulate views x pairs of methods: the difference in gold, and who is better."""
    found = views(study)
    first = {(row.a, row.b): row for v in found for row in v.family}
    header = [("View", ""), *((pair(row), "gold") for row in first.values())]
    rows = [[Cell(v.name), *(_cell(v.family.between(*both)) for both in first)] for v in found]
    seeds = {v.name: _seeds(v.family) for v in found}
    if len({*seeds.values()}) > 1:
        header.append(("Seeds", "shared"))
        rows = [[*row, Cell(seeds[row[0].text])] for row in rows]
    return Table("Does the winner change with the view?", header, rows, matrix_notes(found))


def matrix_notes(found: list[View]) -> list[str]:
    """Say how to read the matrix, for the views that it has."""
    kinds = {v.kind for v in found}
    shown = " ".join(text for kind, text in NOTES.items() if kind in kinds)
    return [
        f"Each cell is a difference with its 95 % interval. A name means that this method is "
        f"{BETTER} after Holm's correction within the row; no name means {INCONCLUSIVE}, or "
        f"fewer than {VERDICT_SEEDS} shared seeds. 'Failed runs counted': as no gain. {shown}",
        "The primary endpoint is all labels at the end of training; the other rows ask whether its "
        "answer depends on the view. Rows share runs, so they are not independent tests.",
    ]


def _cell(row: Comparison | None) -> Cell:
    """Format '+0.41 PPO' with its interval beside it; without a name if nothing is decided."""
    if row is None:
        return DASH
    name = label(row.winner) if row.winner else ""
    counted = ", failed runs counted" * (row.expected is not None)
    text = f"{fixed(row.decisive.mean, '+.2f')} {name}".strip()
    few = row.interval.seeds < VERDICT_SEEDS
    return Cell(text, f"{bounds(row.decisive)}{counted}{why_open(row) * few}".removeprefix(": "))


def _seeds(family: Family) -> str:
    """Format how many seeds the two of a pair share: '10', '8 to 10'."""
    found = [row.interval.seeds for row in family]
    return f"{min(found)}" if len({*found}) == 1 else f"{min(found)} to {max(found)}"


def matrix_lines(study) -> list[str]:
    """Say who is unbeaten in each view."""
    if study.few:
        return [few_seeds(study)]
    methods = [arm.name for arm in study.meta.arms if arm.tuned]
    groups = grouped((told(v, methods), v) for v in views(study))
    if len(groups) == 1:
        return [f"In every view {next(iter(groups))}."]
    said = (f"{where(found)}, {words}." for words, found in groups.items())
    return [sentence[0].upper() + sentence[1:] for sentence in said]


def where(found: list[View]) -> str:
    """Say 'at 300 and 750 labels and at equal KL budgets'.

    Few labels that are read more often are named apart where another is said of them, and so is
    compute in one unit.
    """
    plain = [v.name.removesuffix(" labels") for v in found if v.kind == DATA]
    often = [v.name for v in found if v.kind == REREAD]
    often = [name for name in often if name.partition(" ")[0] not in plain]
    parts = [f"{joined(plain)} labels"] * bool(plain) + often
    parts += [OTHERWISE[v.kind] for v in found if v.kind == KL]
    both = {kind: [v for v in found if v.kind == kind] for kind in (CHEAP, DEAR)}
    units = [f"{OTHERWISE[k]}{_in_unit(of)}" for k, of in both.items() if of]
    return " and ".join(filter(None, [f"at {joined(parts)}" * bool(parts), joined(units)]))


def _in_unit(found: list[View]) -> str:
    """Return ' in FLOPs' of views of compute if the other unit is not among them."""
    return "" if len(found) > 1 else f" in {_unit(found[0])}"


def told(v: View, methods: list[str], shortly: bool = False) -> str:
    """Say what a view decides: of compute which pairs, else than whom no method is better; shortly:
    how many pairs are not compared, not which."""
    if v.kind not in (CHEAP, DEAR):
        return unbeaten(v, methods)
    known = {frozenset((row.a, row.b)) for row in v.family}
    pairs = [*combinations(methods, 2)]
    left = [both for both in pairs if frozenset(both) not in known]
    which = joined(" with ".join(map(label, both)) for both in left)
    which = f"{len(left)} of {count(len(pairs), 'pair')}" if shortly else which
    return f"{decisions(v.family) or 'nothing is decided'}{f' ({which} not compared)' * bool(left)}"


def few_seeds(study) -> str:
    """Say that so few seeds decide nothing."""
    return f"{count(study.seeds, 'seed')}: no view is decided by fewer than {VERDICT_SEEDS}."


def unbeaten(v: View, methods: list[str]) -> str:
    """Say 'no method is better than PPO; every run of DPO failed'; methods: those of the study."""
    of = ("seed", " at every strength") if v.kind == KL else ()
    rest = joined(not_judged(v.family, *of))
    if len(v.family.judged) < 2:
        return f"too few runs ended for a verdict: {rest}"
    left = [method for method in methods if method not in v.family.arms]
    rest = "; ".join(filter(None, (rest, f"{named(left)} compared with none" * bool(left))))
    among = " of those compared" * bool(left)
    return f"{leader(v.family)}{among}{f'; {rest}' if rest else ''}"


def headline(study) -> list[str]:
    """Say whether the winner changes."""
    return [winner(study)]


def winner(study) -> str:
    """Say who beats every other method, and in which views; they share runs, so none is counted."""
    families, methods = [v.family for v in views(study)], study.methods
    if study.few or not families:
        return few_seeds(study) if families else "No two methods can be compared."
    sole = {
        v.name: top
        for v in views(study)
        if (top := v.family.champion(in_the_race(v.family, methods)))
    }
    short = [
        method for method in methods if any(falls_short(family, method) for family in families)
    ]
    rest = f"; too few runs of {named(short)} ended for a verdict in some view" * bool(short)
    other = "every other method" + " of which enough runs ended" * bool(short)
    if not sole:
        return f"In no view does one method beat all others{rest}."
    if len(sole) == len(families) and len({*sole.values()}) == 1:
        return f"{label(next(iter(sole.values())))} beats {other} in every view{rest}."
    groups = grouped((sole[v.name], v) for v in views(study) if v.name in sole)
    level = grouped((told(v, methods, True), v) for v in views(study) if v.name not in sole)
    start = "The winner changes with the view: " * (len(groups) > 1)
    said = [f"{label(top)} beats {other} {where(found)}" for top, found in groups.items()]
    said += [f"{where(found)}, {words}" for words, found in level.items()]
    return f"{start}{'; '.join(said)}{rest}."


def in_the_race(family: Family, methods: list[str]) -> list[str]:
    """Return the methods but those of which too few runs ended; one without a comparison stays."""
    return [method for method in methods if not falls_short(family, method)]


def falls_short(family: Family, method: str) -> bool:
    """Return True if too few runs of a method ended for a verdict."""
    return method in family.ended and method not in family.judged


def ends_table(study) -> Table:
    """Tabulate every end of every sweep: KL and gold with their intervals."""
    header = [("", ""), ("Strength", "β"), ("KL", "nats, test"), ("Gold above SFT", "test ↑"),
              ("Failed", "runs ↓")]  # fmt: skip
    rows = []
    for arms in study.sweeps:
        for arm in sorted(arms, key=lambda a: study.setting(a, "beta")):
            kl, gold = study.interval(arm, "kl"), study.interval(arm, "gold_delta")
            rows.append([
                Cell(label(arm), mark=study.looks[arm].colour),
                Cell(f"{study.setting(arm, 'beta'):g}"),
                Cell(said(kl, sign="") if kl else "–"),
                Cell(said(gold) if gold else "–"),
                share(failed(study.results, arm)),
            ])  # fmt: skip
    return Table("Ends of the sweeps", header, rows, [f"n = {counts(study)}."])


def kl_lines(study) -> list[str]:
    """Say the range of KL of each pair, and the difference along it."""
    found = view(study, KL)
    return [
        f"{label(r.a)} against {label(r.b)}, from {low:.2f} to {high:.2f} nats: "
        + (
            f"{difference(r)}, Holm p {p_words(r.p_holm, '= ')}."
            if r.interval.seeds
            else "no seed ended on both sides."
        )
        for r in (found.family if found else ())
        for low, high in [found.reached[r.a, r.b]]
    ]


def compute_lines(study) -> list[str]:
    """Say which pipelines are compared at equal compute, and what they spend."""
    out = []
    for v in views(study):
        items = [_made(v, both) for both in v.made]
        if items:
            out.append(f"{v.name}: {'; '.join(items)}.")
    return out


def _made(v: View, both: tuple[str, str]) -> str:
    """Say 'PPO from 750 pairs at 1.1 T FLOPs against DPO at 1 T', or in seconds."""
    (first, more), (second, less) = v.made[both]
    return (
        f"{_with_pairs(first)} at {scaled(more).strip()} {_unit(v)} against {_with_pairs(second)} "
        f"at {scaled(less).strip()}"
    )


def _unit(v: View) -> str:
    """Return the unit of a view of equal compute: 'FLOPs', 'core-seconds'."""
    return v.name.split()[1]


def _with_pairs(arm: str) -> str:
    """Name an arm with its number of pairs in words: 'PPO from 1,500 pairs'."""
    return re.sub(r" n=(\d+)", lambda found: f" from {int(found[1]):,} pairs", label(arm))


def spent_lines(study, beside) -> list[str]:
    """Say which verdicts at the end of training are others at equal FLOPs; nothing if unknown.

    All of it comes from one study: the one of the views, if it has been run.
    """
    beside = beside or study
    found = view(beside, CHEAP)
    if found is None or beside.few or len(found.family.judged) < 2:
        return []
    ends = {frozenset((row.a, row.b)): row.winner for row in beside.versus}
    turned = [
        f"{_decision(row)} ({_made(found, (row.a, row.b))}; {difference(row)})"
        for row in found.family
        if ends.get(frozenset((row.a, row.b)), row.winner) != row.winner
    ]
    if turned:
        head = "Verdicts that change between pipelines of equal FLOPs"
        return [f"{head}: {'; '.join(turned)}."]
    return ["Between pipelines of equal FLOPs, every verdict that can be compared is the same."]


def _decision(row: Comparison) -> str:
    """Say 'PPO better than DPO' or 'DPO against PPO inconclusive'."""
    if row.winner is None:
        return f"{' against '.join(sorted(map(label, (row.a, row.b))))} {INCONCLUSIVE}"
    return f"{label(row.winner)} {BETTER} than {label(row.loser)}"


def sections(study) -> list[Section]:
    """Return the sections of the page."""
    return [
        Section("matrix", "Does the winner change?", matrix_lines(study), [matrix(study)]),
        Section("data", "Equal data", figures=[LABELS]),
        Section("compute", "Equal compute", compute_lines(study), figures=[COMPUTE_FIGURE]),
        Section("kl", "Equal KL budget", kl_lines(study), [ends_table(study)], [SWEEP]),
    ]


def results(study) -> pd.DataFrame:
    """Return results.csv: a row per view and pair."""
    rows = [{"view": v.name} | flat(row) for v in views(study) for row in v.family]
    return pd.DataFrame(rows).rename(columns={"mean": "difference"})


LENT = Lent(
    "compute",
    "Does the winner change with labels, compute or KL?",
    lines=lambda study, beside: matrix_lines(beside or study) if several(beside or study) else [],
    tables=lambda study, beside: [matrix(beside or study)] if several(beside or study) else [],
    figures=lambda study, beside: [COMPUTE_FIGURE, *([LABELS, SWEEP] if beside else [])],
    missing="fewer labels, other strengths and longer runs",
    cards={"cost": spent_lines},
    changes=lambda study, beside: [winner(beside)],
    failures=lambda beside: [reference.failures(beside, "Failures of the study 'views'")],
)
KIND = Kind(
    headline, sections, lambda study: [LABELS, COMPUTE_FIGURE, SWEEP], results, lent=LENT
)  # fmt: skip
