"""Tabulate the ledger: what a run costs, over the whole pipeline and by phase."""

import math

import pandas as pd

from bench.analysis import costs
from bench.analysis import measures as ms
from bench.analysis.measure import Measure
from bench.core.names import SFT
from bench.report.marks import NO_COST
from bench.report.tables import DASH, Cell, Table, runs_of
from bench.report.words import label, scaled
from bench.studies.compare.tables import libraries, measured

# phase of a run, or step that it needed beforehand -> its name for readers, in order of time
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
SHARED = {"base": "base (shared)", "sft": "SFT (shared)", "pairs": "pool of pairs (shared)"}
MISSING = {"joules": "not measurable here", "money": "set price.hour", "reserved": "no GPU"}


def by_phase(study, column: str) -> pd.DataFrame:
    """Return means over ended runs: a row per arm, a column per phase as readers call it."""
    rows = costs.by_phase(study.results, column).merge(study.results.ended())
    rows = rows.assign(phase=rows.group.map(PHASES).fillna(OTHER))
    each = rows.pivot_table(
        index=["arm", "seed"], columns="phase", values=column, aggfunc="sum", fill_value=0.0
    )
    names = [n for n in dict.fromkeys([*PHASES.values(), OTHER]) if n in each]
    return each.groupby("arm").mean().reindex(study.arms).dropna(how="all")[names]


def shared(study, column: str) -> dict[str, float]:
    """Return what the shared steps took, which are paid once."""
    rows = study.results.cost
    rows = rows[(rows.arm == costs.SHARED) & rows.charged.astype(bool)]
    return {words: float(rows[rows.step == step][column].sum()) for step, words in SHARED.items()}


def at(table: pd.DataFrame, arm: str, phase: str) -> float:
    """Return what an arm spent in a phase; 0 if it has none."""
    return float(table[phase][arm]) if arm in table.index and phase in table else 0.0


def ledger(study) -> Table:
    """Tabulate phases x arms: FLOPs with seconds beside; totals, memory, energy, money, tuning."""
    arms, columns = study.listed, ("flops", costs.seconds(study.meta))
    flops, seconds = (by_phase(study, column) for column in columns)
    unit = f"FLOPs, {costs.seconds_name(study.meta)}"
    header = [("", ""), *((label(arm), unit) for arm in arms)]
    rows = _paid_once(study, arms, [shared(study, column) for column in columns])
    rows += [
        [Cell(phase), *(_both(at(flops, arm, phase), at(seconds, arm, phase)) for arm in arms)]
        for phase in seconds
    ]
    rows.append([Cell("a run in all"), *(_total(study, arm) for arm in arms)])
    rows.append([Cell("tuning (all trials)"), *(_tuning(study, arm) for arm in arms)])
    rows.append([Cell("not charged: curves, evaluation"), *(_watching(study, arm) for arm in arms)])
    for m in ms.shown_in("ledger"):
        head = Cell(m.label, m.unit_in(study.meta))
        rows.append([head, *(_measured(study, arm, m) for arm in arms)])
    links = ["", *(runs_of(study, arm) for arm in arms)]
    return Table("Cost by phase", header, rows, notes(study), links, sortable=False)


def _paid_once(study, arms: list[str], once: list[dict]) -> list[list[Cell]]:
    """Return the rows of shared steps; a dash if an arm starts from the base and skips them."""
    own = {arm.name for arm in study.meta.arms if arm.start != SFT}
    dash = DASH
    return [
        [
            Cell(words),
            *(dash if step != "base" and arm in own else _both(*(paid[words] for paid in once))
              for arm in arms),
        ]
        for step, words in SHARED.items()
    ]  # fmt: skip


def _both(flops: float, seconds: float) -> Cell:
    """Format '1.2 T' with '3.4 s' beside it; a dash if nothing was spent."""
    if not flops and not seconds:
        return DASH
    return Cell(scaled(flops) if flops else "0", f"{seconds:,.1f} s")


def _total(study, arm: str) -> Cell:
    """Return the sum, with half of its interval over seeds."""
    flops, seconds = (study.interval(arm, key) for key in ("flops", "cost"))
    if flops is None or seconds is None:
        return DASH
    half = f" ± {seconds.half:,.1f}" if math.isfinite(seconds.half) else ""
    return Cell(scaled(flops.mean), f"{seconds.mean:,.1f}{half} s", "total")


def _tuning(study, arm: str) -> Cell:
    """Return the cost of finding the method's settings, as the search recorded it."""
    found = (study.meta.provenance or {}).get("methods", {}).get(study.method[arm])
    if not found or arm != study.method[arm]:
        return DASH
    spent = costs.of_search(study.meta, study.method[arm])
    quiet = f"{spent[costs.seconds(study.meta)]:,.0f} s, {found['trials']} trials"
    return Cell(scaled(spent["flops"]), quiet, link="#tuning")


def _watching(study, arm: str) -> Cell:
    """Return the mean seconds of a run's curve, validation loss and evaluation."""
    rows = study.results.cost
    own = rows[(rows.arm == arm) & ~rows.charged.astype(bool)]
    own = own[~own.phase.isin(["start", "other"])]
    seeds, column = own.seed.nunique(), costs.seconds(study.meta)
    return Cell(f"{own[column].sum() / seeds:,.1f} s") if seeds else DASH


def _measured(study, arm: str, measure: Measure) -> Cell:
    """Return a measure of the ledger; words if it could not be measured or was not asked for."""
    found = measured(study, arm, measure)
    return Cell(MISSING.get(measure.key, found.text)) if found.value is None else found


def notes(study) -> list[str]:
    """Say what is and what is not in these numbers."""
    return [
        *libraries(study),
        "Numbers are means over the runs that ended; the total has half of its 95 % interval over "
        "seeds beside it. Shared steps are paid once and charged to no method. Curves, validation "
        "losses and evaluation are not charged. Padding counts in seconds, not in FLOPs.",
        f"{costs.seconds_name(study.meta).capitalize()} depend on how well each method is "
        "implemented. FLOPs depend on it far less: they count the passes that these "
        "implementations make.",
        *neighbours(study),
    ]


def neighbours(study) -> list[str]:
    """Say whose seconds other runs on the GPU may have slowed; nothing if nobody's."""
    slots = study.runs.get("gpu_slots", pd.Series(dtype=float)).fillna(1)
    if not (slots > 1).any():
        return []
    return [
        f"{(slots > 1).sum()} of {len(slots)} runs shared their GPU, with up to "
        f"{int(slots.max()) - 1} others at a time: their seconds and joules hold work of "
        "neighbours, and rank no method."
    ]


def flops_of(study) -> str:
    """Return 'PPO 901 G, DPO 229 G' for alt texts."""
    found = [f"{label(arm)} {scaled(i.mean)}" for arm, i in study.known("flops").items()]
    return ", ".join(found) or NO_COST
