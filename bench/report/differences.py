"""Make the page that sets two results side by side."""

import math
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

import pandas as pd

from bench.analysis import differences as two
from bench.analysis.comparisons import Kind
from bench.analysis.differences import ALONE, IDENTICAL, MOVED, ONE_ONLY, OPEN, OPPOSITE, SAME
from bench.analysis.measure import DOWN, SCALED
from bench.core.grouping import grouped
from bench.report import style
from bench.report.figure import Figure
from bench.report.marks import unit_scale
from bench.report.sections import Section
from bench.report.tables import Cell, Table, short
from bench.report.words import (
    BETTER,
    EQUIVALENT,
    INCONCLUSIVE,
    VERDICTS,
    fixed,
    joined,
    label,
    p_words,
    scaled,
)

SHOWN = ("gold_delta", "flops", "cost")  # in the figure


@dataclass
class Two:
    """Two results.json, and their names: the places that they were read from."""

    a: dict
    b: dict
    names: tuple[str, str]
    model_size = ""  # results.json does not say how large the model is

    @cached_property
    def moved(self) -> pd.DataFrame:
        """Compare every number that both have (`bench.analysis.differences.moved`)."""
        return two.moved(self.a, self.b)

    @property
    def methods(self) -> dict[str, str]:
        """Return {arm: method} of the arms that both have."""
        second = {arm["name"] for arm in self.b["arms"]}
        return {x["name"]: x["method"] for x in self.a["arms"] if x["name"] in second}

    @property
    def meta(self) -> SimpleNamespace:
        """Return the first result's `about`, which signs the figure."""
        return SimpleNamespace(**self.a["about"])

    @property
    def looks(self) -> dict[str, style.Look]:
        """Return how each arm is drawn."""
        return style.looks(list(self.methods.items()), list(dict.fromkeys(self.methods.values())))

    def measure(self, key: str) -> dict:
        """Return label, unit, digits and direction of a measure."""
        return next(m for m in self.a["measures"] if m["key"] == key)


def context(both: Two) -> dict:
    """Return all that the templates show."""
    about = [d["about"] for d in (both.a, both.b)]
    places = " and ".join(f"{x['testbed']} at {x['commit'][:12]}" for x in about)
    return {
        "title": f"{both.names[0]} and {both.names[1]}",
        "kicker": f"prefbench · two results side by side · {places}",
        "lead": headline(both),
        "sections": sections(both),
        "figures": {figure.name: figure for figure in figures(both)},
        "study": both,
    }


def figures(both: Two) -> list[Figure]:
    """Return the figure, if there is anything to draw."""
    return [FIGURE] if len(both.moved) else []


def headline(both: Two) -> list[str]:
    """Say what changed: one sentence on verdicts and one on numbers."""
    rows = two.verdicts(both.a, both.b)
    said = (of_verdicts(rows), of_failures(both), of_numbers(both))
    return [sentence for sentence in said if sentence]


def of_failures(both: Two) -> str:
    """Say of which arms not as many runs failed; the numbers are of the runs that ended."""
    first, second = (two.failed(d) for d in (both.a, both.b))
    items = [
        f"{label(arm)} {k} of {n} and {second[arm][0]} of {second[arm][1]}"
        for arm, (k, n) in first.items()
        if arm in second and (k, n) != second[arm] and (k or second[arm][0])
    ]
    return f"Runs that failed, in the first and the second: {', '.join(items)}." * bool(items)


def of_verdicts(rows: list[dict]) -> str:
    """Say how many verdicts between methods agree."""
    if not rows:
        return "The two have no pair of methods in common."
    groups = grouped((r["agreement"], _pair(r)) for r in rows)
    same = len(groups.pop(SAME, ()))
    if same == len(rows):
        return f"All {len(rows)} verdicts between methods are the same."
    parts = [f"{joined(pairs)} {_agreed(word, len(pairs))}" for word, pairs in groups.items()]
    return f"{same} of {len(rows)} verdicts between methods are the same; {'; '.join(parts)}."


AGREEMENT = {
    OPPOSITE: "turned round",
    ONE_ONLY: "decided in one of the two only",
    OPEN: f"{EQUIVALENT} in one and {INCONCLUSIVE} in the other",
}


def _agreed(word: str, n: int) -> str:
    """Say what became of n verdicts."""
    return f"{'was' if n == 1 else 'were'} {AGREEMENT[word]}"


def _pair(row: dict) -> str:
    return f"{label(row['a'])} against {label(row['b'])}"


def of_numbers(both: Two) -> str:
    """Say how many numbers moved."""
    table = both.moved
    if not two.same_testbed(both.a, both.b):
        return "The two testbeds differ, so only verdicts are compared, not numbers."
    if not len(table):
        return "The two have no number in common."
    counts = {word: int((table.verdict == word).sum()) for word in table.verdict.unique()}
    words = [f"{n} {_words(word)}" for word, n in counts.items()]
    return f"Of {len(table)} numbers (arms x measures), {joined(words)}."


def _words(word: str) -> str:
    words = {MOVED: "moved beyond noise", ALONE: "could not be tested (too few runs)"}
    return words.get(word, f"are {word}")


def sections(both: Two) -> list[Section]:
    """Return the sections of the page."""
    return [
        Section("verdicts", "Verdicts", tables=[verdict_table(both)]),
        Section("moved", "What moved", tables=[moved_table(both)], figures=figures(both)),
        Section("made", "How they were made", tables=[made(both)]),
    ]


def verdict_table(both: Two) -> Table:
    """Tabulate both verdicts on each pair of methods."""
    header = [("Pair", ""), *((name, "difference in gold, 95 % interval") for name in both.names),
              ("Together", "")]  # fmt: skip
    rows = [
        [Cell(f"{label(r['a'])} − {label(r['b'])}"), _verdict(r["first"]), _verdict(r["second"]),
         Cell(r["agreement"], mark="bad" * (r["agreement"] == OPPOSITE))]
        for r in two.verdicts(both.a, both.b)
    ]  # fmt: skip
    note = (
        "Each verdict holds after Holm's correction within its own result. A pair that is decided "
        "in one result only does not prove that the two differ: see what moved."
    )
    return Table("Verdicts on gold", header, rows, [note])


def _verdict(row: dict) -> Cell:
    """Return '+0.31 PPO better' with the interval beside it; of the difference that was tested."""
    word, _ = VERDICTS[Kind(row["verdict"])]
    words = f"{label(row['winner'])} {BETTER}" if row["winner"] else word
    counted = row.get("expected") is not None
    keys = ("expected", "expected_low", "expected_high") if counted else ("mean", "low", "high")
    mean, low, high = (math.nan if row[key] is None else row[key] for key in keys)
    span = f"{fixed(low, '+.2f')} to {fixed(high, '+.2f')}" if math.isfinite(low) else ""
    span += ", failed runs counted" * counted
    return Cell(f"{fixed(mean, '+.2f')} {words}", span, value=row[keys[0]])


def moved_table(both: Two) -> Table:
    """Tabulate the numbers that are not identical, with their difference; those that moved come
    first."""
    header = [("Number", ""), (both.names[0], ""), (both.names[1], ""),
              ("Difference", "second − first, 95 % interval"), ("Relative", "%"),
              ("p", "Holm"), ("", "")]  # fmt: skip
    found = both.moved[both.moved.verdict != IDENTICAL]
    order = found.assign(rank=(found.verdict != MOVED).astype(int))
    rows = [_moved(both, r) for r in order.sort_values("rank", kind="stable").itertuples()]
    return Table("Numbers", header, rows, notes(both))


def notes(both: Two) -> list[str]:
    """Say how the numbers were compared, and which are not listed."""
    if not len(both.moved):
        return []
    same = int((both.moved.verdict == IDENTICAL).sum())
    return [
        *([f"{same} numbers are identical in every run and are not listed."] if same else []),
        "If both have two or more runs with the same seeds, those are paired and the others are "
        "left out; else Welch's t test is used. Intervals are over seeds, on the prompts that were "
        "asked. p is Holm-corrected within each measure. 'Within noise' does not mean equal. "
        "Seconds and memory also depend on the machine and on what else it runs.",
    ]


def _moved(both: Two, row) -> list[Cell]:
    """Return one row of the table."""
    m = both.measure(row.measure)
    span = ""
    if math.isfinite(row.low) and row.low < row.high:
        span = f"{shown(m, row.low, '+')} to {shown(m, row.high, '+')}"
    ratio = 100 * row.difference / row.a if row.a and m["better"] == DOWN else math.nan
    return [
        Cell(f"{label(row.arm)} · {m['label']}", m["unit"], mark=both.looks[row.arm].colour),
        Cell(shown(m, row.a), value=row.a),
        Cell(shown(m, row.b), value=row.b),
        Cell(shown(m, row.difference, "+"), span, value=row.difference),
        Cell(fixed(ratio, "+.1f")),
        Cell(p_words(row.p_holm)),
        Cell(row.verdict, mark="bad" if row.verdict == MOVED else ""),
    ]


def shown(measure: dict, value: float, sign: str = "") -> str:
    """Format a value of a measure with its digits; FLOPs with a prefix."""
    if measure["form"] == SCALED:
        return f"{'+' * (sign == '+' and value > 0)}{scaled(value)}".replace("-", "−")
    return fixed(value, f"{sign},.{measure['digits']}f")


def made(both: Two) -> Table:
    """Tabulate what differs in how the two were made."""
    header = [("", ""), (both.names[0], ""), (both.names[1], "")]
    rows = [
        [Cell(name), Cell(_plain(x)), Cell(_plain(y))]
        for name, x, y in two.differences(both.a, both.b)
    ]
    same = ["Testbed, study, commit, seeds, machine, versions and settings are all the same."]
    return Table("What differs in how they were made", header, rows, [] if rows else same)


def _plain(value) -> str:
    """Format a value for readers."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "–" if value is None else short(value)


def results(both: Two) -> pd.DataFrame:
    """Return results.csv: a row per arm and measure."""
    table = both.moved.copy()
    table.insert(2, "unit", [both.measure(key)["unit"] for key in table.measure])
    table.insert(3, "better", [both.measure(key)["better"] for key in table.measure])
    return table


def draw(both: Two, pen):
    """Draw a panel per measure and a row per arm: the first result hollow, the second filled,
    joined."""
    keys = [key for key in SHOWN if (both.moved.measure == key).any()]
    arms = list(both.methods)
    figure, axes = pen.panels(len(keys), style.WIDE, 1.6 + 0.42 * len(arms), sharey=True)
    for ax, key in zip(axes, keys, strict=True):
        table = both.moved[both.moved.measure == key].set_index("arm")
        size, prefix = unit_scale(max(table.a.max(), table.b.max()))
        for y, arm in enumerate(arms):
            if arm in table.index:
                _dumbbell(ax, pen, arm, y, table.a[arm] / size, table.b[arm] / size)
        m = both.measure(key)
        ax.set_title(m["label"])
        ax.set_xlabel(f"{prefix}{m['unit']} ({m['better']})")
        ax.grid(axis="y", visible=False)
        ax.margins(x=0.15)
    axes[0].set_yticks(range(len(arms)), [label(arm) for arm in arms])
    axes[0].set_ylim(len(arms) - 0.4, -0.6)
    return figure


def _dumbbell(ax, pen, arm: str, y: int, first: float, second: float) -> None:
    """Draw both means of an arm."""
    mark = pen.marker(arm)
    ax.plot([first, second], [y, y], color=pen.of(arm), lw=1.4)
    ax.plot(second, y, ls="", ms=8, **mark)
    ax.plot(first, y, ls="", ms=11, **(mark | {"mfc": "none"}))


FIGURE = Figure(
    "moved", "Two results side by side", draw,
    lambda both: f"Hollow marks are {both.names[0]}, filled ones {both.names[1]}. Marks are means "
    "over seeds; the table has the intervals of the differences.",
    lambda both: "Means of both results: " + "; ".join(
        f"{label(r.arm)} {both.measure(r.measure)['label']} {shown(both.measure(r.measure), r.a)} "
        f"and {shown(both.measure(r.measure), r.b)}"
        for r in both.moved.itertuples() if r.measure in SHOWN
    ) + ".",
    lambda both: f"hollow: {both.names[0]} · filled: {both.names[1]} · means over seeds",
    wide=True, category="Comparison",
)  # fmt: skip
