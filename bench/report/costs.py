"""What a run costs, of the whole pipeline by phase: the ledger as a table, and as a waterfall."""

import math

import pandas as pd

from bench.analysis import measures as ms
from bench.analysis.catalogue import BY_KEY
from bench.report.plate import Plate, seeds_of
from bench.report.style import WIDE, label
from bench.report.tables import Cell, Table, libraries, number, runs_of, scaled

# phase of a run, or the step it needed beforehand -> how a reader calls it, from first to last
PHASES = {
    "reward model": "reward model",
    "demonstrations": "answers of the base",
    "on-policy": "answers of SFT",
    "reference": "reference log-probs",
    "rollout": "rollouts",
    "score": "scoring",
    "update": "updates",
    "train": "updates",
    "load": "load and save",
    "save": "load and save",
}
OTHER = "other"
LOST = "every run failed"
SHARED = {"base": "base (shared)", "sft": "SFT (shared)", "pairs": "pool of pairs (shared)"}


def by_phase(study, column: str) -> pd.DataFrame:
    """Means over the runs that ended: a row an arm, a column a phase as readers call it."""
    rows = ms.run_costs(study.tables["cost"], column).merge(ms.ended(study.runs))
    rows = rows.assign(phase=rows.group.map(PHASES).fillna(OTHER))
    each = rows.pivot_table(
        index=["arm", "seed"], columns="phase", values=column, aggfunc="sum", fill_value=0.0
    )
    names = [n for n in dict.fromkeys([*PHASES.values(), OTHER]) if n in each]
    return each.groupby("arm").mean().reindex(study.arms).dropna(how="all")[names]


def shared(study, column: str) -> dict[str, float]:
    """What the steps took that all runs share, paid once."""
    rows = study.tables["cost"]
    rows = rows[(rows.arm == "shared") & rows.charged.astype(bool)]
    return {words: float(rows[rows.step == step][column].sum()) for step, words in SHARED.items()}


def ledger_of_costs(study) -> Table:
    """Phases x arms: FLOPs, with seconds beside; totals, memory, energy, money, tuning."""
    arms = study.arms if not study.many else [a for a in study.arms if a == study.method[a]]
    flops, seconds = (by_phase(study, column) for column in ("flops", study.second))
    header = [("", ""), *((label(arm), f"FLOPs, {study.second_name}") for arm in arms)]
    once = [shared(study, column) for column in ("flops", study.second)]
    own = {arm["name"] for arm in study.meta["arms"] if arm["start"] != "sft"}
    rows = [
        [Cell(words), *(_shared(words, once, step != "base" and arm in own) for arm in arms)]
        for step, words in SHARED.items()
    ]
    rows += [
        [Cell(phase), *(_both(_at(flops, arm, phase), _at(seconds, arm, phase)) for arm in arms)]
        for phase in seconds
    ]
    rows.append([Cell("a run in all"), *(_total(study, arm) for arm in arms)])
    rows.append([Cell("tuning (all trials)"), *(_tuning(study, arm) for arm in arms)])
    rows.append([Cell("not charged: curves, evaluation"), *(_watching(study, arm) for arm in arms)])
    for key in ("generated", "resident", "memory", "reserved", "joules", "money"):
        rows.append([_head(study, key), *(_measured(study, arm, key) for arm in arms)])
    links = ["", *(runs_of(study, arm) for arm in arms)]
    return Table("Cost by phase", header, rows, notes(study), links, sortable=False)


def _shared(words: str, once: list[dict], unused: bool) -> Cell:
    """A shared step; a dash under an arm that starts from the base and so does without it."""
    return Cell("–") if unused else _both(once[0][words], once[1][words])


def _at(table: pd.DataFrame, arm: str, phase: str) -> float:
    return float(table[phase][arm]) if arm in table.index and phase in table else 0.0


def _both(flops: float, seconds: float) -> Cell:
    """'1.2 T' with '3.4 s' beside it; a dash where nothing was spent."""
    if not flops and not seconds:
        return Cell("–")
    return Cell(scaled(flops) if flops else "0", f"{seconds:,.1f} s")


def _total(study, arm: str) -> Cell:
    """The sum with half of its interval over seeds."""
    flops, seconds = (study.interval(arm, key) for key in ("flops", "cost"))
    if flops is None or seconds is None:
        return Cell("–")
    half = f" ± {seconds.half:,.1f}" if math.isfinite(seconds.half) else ""
    return Cell(scaled(flops.mean), f"{seconds.mean:,.1f}{half} s", "total")


def _tuning(study, arm: str) -> Cell:
    """What finding the method's settings took, as the search recorded it."""
    found = (study.meta.get("provenance") or {}).get("methods", {}).get(study.method[arm])
    if not found or arm != study.method[arm]:
        return Cell("–")
    quiet = f"{found[study.second]:,.0f} s, {found['trials']} trials"
    return Cell(scaled(found["flops"]), quiet, link="#tuning")


def _watching(study, arm: str) -> Cell:
    """Mean seconds of a run's curve, validation loss and evaluation."""
    rows = study.tables["cost"]
    own = rows[(rows.arm == arm) & ~rows.charged.astype(bool)]
    own = own[~own.phase.isin(["start", "other"])]
    seeds = own.seed.nunique()
    return Cell(f"{own[study.second].sum() / seeds:,.1f} s") if seeds else Cell("–")


def _head(study, key: str) -> Cell:
    return Cell(BY_KEY[key].label, ms.unit_of(BY_KEY[key], study.meta))


def _measured(study, arm: str, key: str) -> Cell:
    """A measure of the ledger; words where it could not be measured or was not asked for."""
    found = study.interval(arm, key)
    if found is None:
        missing = {"joules": "not measurable here", "money": "set price.hour", "reserved": "no GPU"}
        return Cell(missing.get(key, "–"))
    return number(found, BY_KEY[key].digits)


def notes(study) -> list[str]:
    """What is and what is not in these numbers."""
    return [
        *libraries(study),
        "Means of the runs that ended; the total with half of its 95 % interval over seeds. Shared "
        "steps are paid once and charged to no method. Curves, validation losses and evaluation "
        "are not charged. Padding is in the seconds, not in the FLOPs.",
        f"{study.second_name.capitalize()} depend on how well each method is implemented; FLOPs do "
        "so far less: they count the passes that these implementations make.",
    ]


def waterfall(study, pen):
    """A column a method, FLOPs above and seconds below: each phase starts where the last ended."""
    plain = [arm for arm in study.arms if arm == study.method[arm]]
    arms = (plain or study.arms[:1]) if study.many else study.arms
    figure = pen.figure(WIDE, 6.0)
    axes = figure.subplots(2, len(arms), sharex="row", sharey="row", squeeze=False)
    spending = zip(("flops", "cost"), study.spending.items(), strict=True)
    for row, (key, (column, unit)) in zip(axes, spending, strict=True):
        table = by_phase(study, column)
        longest = float(table.sum(axis=1).max()) if len(table) else 1.0
        size, prefix = unit_scale(longest)
        for ax, arm in zip(row, arms, strict=True):
            _steps(ax, pen, arm, table, study.interval(arm, key), size)
            ax.set_title(label(arm))
            ax.set_xlabel(f"{prefix}{unit}")
            ax.set_xlim(0, 1.4 * longest / size)  # room for the numbers
    return figure


def unit_scale(largest: float) -> tuple[float, str]:
    """(divisor, prefix) that bring the largest value below a thousand."""
    for size, prefix in ((1e18, "exa"), (1e15, "peta"), (1e12, "tera"), (1e9, "giga")):
        if largest >= size:
            return size, prefix
    return 1.0, ""


def _steps(ax, pen, arm: str, table: pd.DataFrame, total, size: float) -> None:
    """One method's bars with their numbers, one below the other, and their sum."""
    phases, start = list(table), 0.0
    for y, phase in enumerate(phases):
        width = _at(table, arm, phase) / size
        ax.barh(y, width, left=start, color=pen("p2"), height=0.62)
        if y and width:
            ax.plot([start, start], [y - 1.31, y + 0.31], color=pen("muted"), lw=0.8)
        start += width
        if width:
            _beside(ax, short(width), start, y, fontsize=8, color=pen("muted"))
    ax.barh(len(phases), start, color=pen.of(arm), height=0.62)
    bar_end(ax, pen, total, len(phases), size)
    ax.set_yticks(range(len(phases) + 1), [*phases, "in all"])
    ax.set_ylim(len(phases) + 0.6, -0.6)
    ax.grid(axis="y", visible=False)


def bar_end(ax, pen, found, y: float, size: float = 1) -> None:
    """The interval over seeds on the end of a bar, and its number; words where no run ended."""
    if found is None:
        _beside(ax, LOST, 0, y, fontsize=8.5)
        return
    low, mean, high = (value / size for value in (found.low, found.mean, found.high))
    if math.isfinite(found.half):
        ax.plot([low, high], [y, y], color=pen("ink"), lw=1.2)
    end = high if math.isfinite(found.half) else mean
    _beside(ax, short(mean), end, y, fontsize=9, fontweight="bold")


def _beside(ax, words: str, x: float, y: float, **look) -> None:
    ax.annotate(words, (x, y), (4, 0), textcoords="offset points", va="center", **look)


def short(value: float) -> str:
    """A positive amount with three digits, but no more than two decimals: '1,234', '29.4'."""
    return f"{value:,.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"


def flops_of(study) -> str:
    """'PPO 901 G, DPO 229 G' for alt texts."""
    found = [(arm, study.interval(arm, "flops")) for arm in study.arms]
    words = [f"{label(a)} {scaled(i.mean)}" for a, i in found if i is not None]
    return ", ".join(words) or LOST


WATERFALL = Plate(
    "waterfall", "Where the cost of a run comes from", waterfall,
    lambda s: "Each phase begins where the one above ended; last their sum. Base, SFT, pool of "
    "pairs (shared by all) and tuning are apart, in the table. Means of "
    f"{seeds_of(s)}{'; thin bars: 95 % intervals over seeds' * (s.seeds > 1)}.",
    lambda s: f"FLOPs of a run: {flops_of(s)}.",
    lambda s: f"means of {seeds_of(s)}, lower is better · what all share and tuning left out"
    + " · thin bars: 95 % intervals" * (s.seeds > 1),
    wide=True,
    category="Cost",
)  # fmt: skip
