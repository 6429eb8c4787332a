"""Say what a comparison of arms shows, section by section; its headline is in `headline`.

Page, README, social card and post take their sentences from both. Each follows from the statistics
alone: nothing is called better unless a comparison decides it.
"""

import math

import numpy as np
import pandas as pd

from bench.analysis import costs
from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison, Kind
from bench.analysis.measures.stability import drawdown, spread
from bench.analysis.tasks import Change, changes
from bench.core.names import SFT
from bench.core.thresholds import MARGIN
from bench.report.facts import change
from bench.report.words import (
    EQUIVALENT,
    INCONCLUSIVE,
    STATUS,
    between,
    count,
    decided,
    difference,
    fixed,
    joined,
    label,
    named,
    open_pairs,
    said,
    same,
    scaled,
    some_ended,
)
from bench.studies.compare import variants
from bench.studies.compare.headline import few_seeds, glance_at_failures, means, short

LISTED = 8  # how many losses a sentence names


def quality(study) -> list[str]:
    """Say who is above SFT, and who is better than whom."""
    if study.few:
        return [*_few(study), *failed_runs(study), few_seeds(study)]
    parts = (against_sft, failed_runs, between_methods, variants.lines)
    return [sentence for part in parts for sentence in part(study)]


def _few(study) -> list[str]:
    """Say what one seed measured, or two."""
    known = [row for row in study.versus_sft if row.interval.seeds]
    gains = ", ".join(map(_gain, known))
    covers = "prompts only" if study.seeds == 1 else "seeds and prompts"
    said_of = f"Gold above the SFT base, with 95 % intervals over {covers}"
    return [f"{said_of}: {gains}."] if gains else []


def failed_runs(study) -> list[str]:
    """Say how many runs of each arm ended, and what it gains if those that failed gain nothing."""
    items = []
    for arm, share in study.ended.items():
        if not share.all:
            found = study.interval(arm, "expected_gain")
            gain = f", expected gain {said(found)}" if found and share.count else ""
            items.append(f"{some_ended(arm, share)}{gain}")
    if not items:
        return []
    text = "; ".join(items)
    counted = "A run that failed leaves its user with the SFT base: it counts as no gain."
    return [f"{text[0].upper()}{text[1:]}. {counted}"]


def against_sft(study) -> list[str]:
    """Say where the arms ended against the SFT base."""
    family, enough = study.versus_sft, st.VERDICT_SEEDS
    better = family.of_kind(Kind.BETTER)
    groups = {
        ("ends", "end", "above the SFT base"): [r for r in better if r.winner == r.a],
        ("ends", "end", "below the SFT base"): [r for r in better if r.winner == r.b],
        ("cannot", "cannot", "be told from the SFT base"): [
            row for row in family.of_kind(Kind.INCONCLUSIVE) if row.interval.seeds >= enough
        ],
    }
    found = [_where(study, rows, *words) for words, rows in groups.items() if rows]
    few = [_gain(row) for row in family if 0 < row.interval.seeds < enough]
    short = f"Gold above the SFT base of which too few runs ended for a verdict: {joined(few)}."
    equal = family.of_kind(Kind.EQUIVALENT)
    return found + [short] * bool(few) + [same(r, "the SFT base", " in gold") for r in equal]


def _gain(row: Comparison) -> str:
    """Say 'DPO +0.41 (+0.30 to +0.52)', with '; one seed' in the brackets where that is so."""
    return f"{label(row.a)} {said(row.interval, more='; one seed' * (row.interval.seeds == 1))}"


def _where(study, rows: list[Comparison], one: str, many: str, where: str) -> str:
    """Say where all arms with the same verdict against SFT ended."""
    items = [f"{label(r.a)} {difference(r)}" for r in rows]
    numbers = "" if study.many else f", with 95 % intervals: {', '.join(items)}"
    verb = one if len(items) == 1 else many
    return f"{named(r.a for r in rows)} {verb} {where} in gold{numbers}."


def between_methods(study) -> list[str]:
    """List the declared pairs: those decided, those equivalent, and the rest."""
    family = study.versus
    unsure = open_pairs(family.of_kind(Kind.INCONCLUSIVE))
    return [
        *map(decided, family.of_kind(Kind.BETTER)),
        *map(same, family.of_kind(Kind.EQUIVALENT)),
        *([unsure] if unsure else []),
    ]


def losses(study) -> list[str]:
    """Say shortly on which tasks an arm lost: 'ORPO on sums_hard −0.179, from 0.445'."""
    found = _changed(study)
    worst = _worst_first(found)
    if not worst:
        return tax(study)[:1]
    base = {(r.arm, r.task, r.metric): r.mean for r in changes(study.results)}
    items = [
        f"{label(row.arm)} on {_task(row, found)} {fixed(row.change.mean, '+.3f')}, from "
        f"{base[study.base[row.arm], row.task, row.metric]:.3f}"
        for row in worst[:LISTED]
    ]
    rest = f"; and {len(worst) - LISTED} smaller ones" * (len(worst) > LISTED)
    return [f"Losses on lm-eval tasks: {'; '.join(items)}{rest}."]


def _changed(study) -> list[Change]:
    """Return the changes of arms from their SFT bases on lm-eval tasks."""
    return [row for row in changes(study.results) if row.arm not in study.bases]


def _worst_first(found: list[Change]) -> list[Change]:
    """Return the changes that are losses after the correction."""
    return sorted((row for row in found if row.is_loss), key=lambda row: -row.lost)


def tax(study) -> list[str]:
    """List the tasks on which an arm lost, tested over seeds and documents with Holm's correction.

    Of a task with several metrics, only the first in its table counts.
    """
    found = _changed(study)
    tested = [row for row in found if math.isfinite(row.p)]
    if not tested:
        why = "the scores of documents were not kept"
        if any(row.items for row in found):
            why = f"that takes {st.VERDICT_SEEDS} seeds or more"
        return [f"Losses on lm-eval tasks are not tested: {why}."] * bool(found)
    tasks = {row.task for row in tested}
    family = count(len(tasks) * len(study.arms), "change")
    how = f"tested over seeds and documents, with Holm's correction over {family}"
    worst = _worst_first(tested)
    named_ = [f"{label(row.arm)} on {_task(row, found)} {change(row)}" for row in worst[:LISTED]]
    rest = f", and {len(worst) - LISTED} smaller ones" * (len(worst) > LISTED)
    told = f"Losses on lm-eval tasks ({how}): {', '.join(named_)}{rest}."
    maybe = [row for row in tested if row.lost > 0 and row.change.low * row.change.high > 0]
    open_ = [f"{label(r.arm)} on {_task(r, found)} {change(r)}" for r in maybe if not r.is_loss]
    early = "Losses that the correction leaves open (their intervals are uncorrected)"
    open_ = [f"{early}: {', '.join(open_[:LISTED])}."] * bool(open_)
    if not worst:
        told = f"No loss on an lm-eval task can be told from chance ({how})."
    left = [f"{row.task} of {label(row.arm)}" for row in found if not _is_tested(row, tested)]
    left = list(dict.fromkeys(left))
    return [told, *open_, *([f"Not tested: {joined(left)}."] if left else [])]


def _is_tested(row: Change, tested: list[Change]) -> bool:
    """Return True if an arm's change on a task was tested, by this metric or another."""
    return any((row.task, row.arm) == (other.task, other.arm) for other in tested)


def _task(row: Change, found: list[Change]) -> str:
    """Name a task, with its metric if it has several."""
    several = len({other.metric for other in found if other.task == row.task}) > 1
    return f"{row.task} ({row.metric.replace('_', ' ')})" if several else row.task


# --- cost


def cost(study) -> list[str]:
    """Say the seconds of the arm with the fewest FLOPs, or its FLOPs if seconds do not compare; the
    others' ratios to it, and what was charged."""
    key = "cost" if study.timed else "flops"
    known, flops = means(study, key), means(study, "flops")
    if not known:
        return ["Every run failed: no cost to compare."]
    cheap, *others = sorted(known, key=flops.get)
    unit = costs.seconds_name(study.meta) if study.timed else "FLOPs"
    spent = f"{known[cheap]:,.1f}" if study.timed else scaled(known[cheap]).strip()
    also = f", and {spent} {unit}" if study.timed else f", {spent}"
    out = [f"A run of {label(cheap)} takes the fewest FLOPs{also}."]
    if others and study.many:
        ends = (known[arm] / known[cheap] for arm in others)
        out.append(f"The others take {between(list(ends))} times as many {unit}.")
    elif others:
        ratios = [f"{label(arm)} {_ratio(study, key, arm, cheap)}" for arm in others]
        covers = "geometric means with 95 % intervals over seeds"
        covers = covers if study.seeds > 1 else "one seed, so no interval"
        out.append(f"Times as many {unit} ({covers}): {', '.join(ratios)}.")
    shared = ["Seconds are not compared: runs shared a GPU with others."] * (not study.timed)
    return [*out, *shared, charged(study)]


def _ratio(study, key: str, arm: str, cheap: str) -> str:
    """Format '2.74 (2.72 to 2.76)'; key: of the cost."""
    found = ratio(study.by_seed(arm, key), study.by_seed(cheap, key))
    if found is None:
        return "unknown"
    span = f" ({found[1]:.2f} to {found[2]:.2f})" if math.isfinite(found[1]) else ""
    return f"{found[0]:.2f}{span}"


def ratio(mine: pd.Series, other: pd.Series) -> tuple[float, float, float] | None:
    """Return the geometric mean of one cost over another, by seed, with its 95 % t interval.

    None if no seed has both.
    """
    seeds = mine.index.intersection(other.index)
    if not len(seeds) or min(mine[seeds].min(), other[seeds].min()) <= 0:
        return None
    found = st.over_seeds(np.log(mine[seeds] / other[seeds]))
    return tuple(float(np.exp(v)) for v in (found.mean, found.low, found.high))


# what a run needed beforehand -> its name in a sentence
NEEDED = {"reward model": "its seed's reward model", "reference": "reference log-probabilities"}


def charged(study) -> str:
    """Say who was charged for a reward model or for reference log-probabilities, as recorded."""
    rows = costs.by_phase(study.results, costs.seconds(study.meta))
    items: dict[tuple[str, ...], list[str]] = {}
    elsewhere = [arm.name for arm in study.meta.arms if not arm.trains]
    rows = rows[~rows.arm.isin(elsewhere)]
    for group, what in NEEDED.items():
        if payers := tuple(dict.fromkeys(rows[rows.group == group].method)):
            items.setdefault(payers, []).append(what)
    parts = [
        f"{named(payers)} {'pays' if len(payers) == 1 else 'pay'} for {joined(what)}"
        for payers, what in items.items()
    ]
    start = "; ".join(parts) + ". " if parts else ""
    for name in study.results.reward.external.dropna().unique():
        start += f"The reward model, {name}, was trained by others, which is in no cost. "
    if elsewhere:
        start += f"{joined(map(label, elsewhere))}: nothing is trained here, so no cost is known. "
    others = [arm.name for arm in study.meta.arms if arm.start != SFT]
    verb = "does" if len(others) == 1 else "do"
    without = f"; {named(others)} {verb} without SFT" * bool(others)
    return f"{start}Base, SFT and the pool of pairs are shared, and in no method's cost{without}."


# --- stability


def stability(study) -> list[str]:
    """Say run by run what failed, then how much seeds vary."""
    lost, out = study.failures, [glance_at_failures(study)]
    for (arm, status), rows in lost.groupby(["arm", "status"], sort=False):
        reason = next((f" ({r})" for r in rows.reason.dropna().astype(str) if r), "")
        seeds = f"seed{'s' * (len(rows) > 1)} {joined(map(str, rows.seed))}"
        out.append(f"{label(arm)} {seeds}: {STATUS.get(status, status)}{reason}.")
    found = {arm: value for arm in study.arms if (value := spread(study.results, arm)) >= 0}
    if study.seeds >= 3 and found:
        items = [f"{label(arm)} {found[arm]:.3f}" for arm in sorted(found, key=found.get)]
        most = f"Seeds differ most for {label(max(found, key=found.get))}"
        most = most if len(found) > 1 else "Spread between seeds"
        out.append(f"{most} (SD of their mean gold, untested): {', '.join(items)}.")
    return out


# --- how sure


def certainty(study) -> list[str]:
    """Say seeds, prompts, the smallest effect that would be found, and what is never said."""
    drawn = f"{count(study.draws, 'answer')} of a run to each, {study.base_draws} of the SFT base"
    out = [f"{count(study.seeds, 'seed')} × {study.prompts} test prompts, {drawn}."]
    out += [f"{text[0].upper()}{text[1:]}." for text in (*short(study), *_gaps(study))]
    if study.seeds == 1:
        out.append(
            "Intervals cover the choice of prompts only: another seed may reverse any order."
        )
    if not study.few and any(share.all for share in study.ended.values()):
        most = 100 * st.rate_interval(0, study.seeds)[1]
        out.append(
            f"A method whose {study.seeds} runs all ended may still fail in up to {most:.0f} % of "
            "seeds."
        )
    if any(row.interval.seeds >= st.VERDICT_SEEDS for row in study.versus):
        out.append(detectable(study))
    if study.seeds < st.EQUIVALENCE_SEEDS:
        return [*out, f"With fewer than {st.EQUIVALENCE_SEEDS} seeds, no two methods are called "
                f"{EQUIVALENT}: '{INCONCLUSIVE}' does not mean equal."]  # fmt: skip
    if not study.versus.of_kind(Kind.EQUIVALENT):
        return out
    within = f"within {study.margin:.2g} gold, {MARGIN:g} SDs of the gold of the SFT base's answers"
    how = "by two one-sided tests, each pair on its own"
    return [*out, f"'{EQUIVALENT.capitalize()}' means {within}, {how}."]


def _gaps(study) -> list[str]:
    """Say which arms did not answer all prompts: their means are over other prompts."""
    found = {arm: study.results.scores(arm).shape[1] for arm in study.arms}
    return [
        f"{label(arm)} is measured on {n} of the {study.prompts} prompts"
        for arm, n in found.items()
        if 0 < n < study.prompts
    ]


def detectable(study) -> str:
    """Say the smallest true difference between two methods that such a study finds 4 times in 5."""
    intervals = [r.interval for r in study.versus if r.interval.seeds >= st.VERDICT_SEEDS]
    most = max(i.seeds for i in intervals)
    intervals = [i for i in intervals if i.seeds == most]
    m = len(study.versus)
    alone = between([st.detectable(i) for i in intervals])
    first = between([st.detectable(i, level=1 - (1 - st.LEVEL) / m) for i in intervals])
    holm = (
        f" Where Holm's correction over {m} pairs of methods is strictest, it takes {first}."
    ) * (m > 1)
    fails = ", if no run fails" * bool(len(study.failures))
    size = "of this size" if most == study.seeds else f"of {most} seeds"
    return (
        f"A study {size} finds a true difference of {alone} gold, depending on the pair, 4 times "
        f"in 5{fails}; smaller ones are often missed.{holm}"
    )


# --- reward models and gold


def reward(study) -> list[str]:
    """Say how good the reward models are, and what limit noisy labels set."""
    used = {arm.label_set for arm in study.meta.arms}
    rows = study.results.reward
    rows = rows[rows.seed.isin(study.meta.seeds) & rows.label_set.isin(used)]
    rows = rows.dropna(subset=["gold_order_accuracy"])
    out = [_reward_model(name, group) for name, group in rows.groupby("label_set")]
    for label_set in sorted(used):
        if ceiling := study.meta.pool.get(f"bayes_accuracy_{label_set}"):
            out.append(
                f"Labels are noisy: even a perfect predictor of {label_set} labels would agree "
                f"with only {100 * ceiling:.0f} % of them. Gold's own order has no such ceiling."
            )
    return out + gold(study.meta.gold)


def _reward_model(label_set: str, rows: pd.DataFrame) -> str:
    """Say how good the reward models of a label set are."""
    found = st.over_seeds(100 * rows.gold_order_accuracy)
    span = f", 95 % interval {found.low:.0f} to {found.high:.0f}" * (found.seeds >= 3)
    return (
        f"Reward models trained on {label_set} labels order unseen pairs as gold does in "
        f"{found.mean:.0f} % of cases{span}."
    )


def gold(found: dict) -> list[str]:
    """Say how well a fitted gold agrees with the people whose judgement it stands for, if known."""
    if "with_raters" not in found:
        return []
    near = [
        f"{r['r']:.2f} ({r['ci95'][0]:.2f} to {r['ci95'][1]:.2f}) for {kind} texts"
        for kind, r in found["with_raters"].items()
    ]
    right = [f"{100 * x:.0f} % ({kind})" for kind, x in found["pairs_in_raters_order"].items()]
    return [
        "Gold is not the raters' own judgement: on texts that it was not fitted on, its "
        f"correlation with their mean scores is {joined(near)} (95 % interval over documents), and "
        f"it orders the pool's pairs as most raters do in {joined(right)}."
    ]


def optimised(study) -> list[str]:
    """Say whether the highest mean by the reward models is also the highest in gold."""
    found = {key: study.known(key, study.listed) for key in ("proxy", "gold")}
    if min(map(len, found.values())) < 2:
        return []
    first, best = (label(max(known, key=lambda a: known[a].mean)) for known in found.values())
    untested = "(means, which no test compares)"
    fell = {label(arm): drawdown(study.results, arm) for arm in study.listed}
    fell = [f"{arm} {fixed(by, '.2f')}" for arm, by in fell.items() if math.isfinite(by)]
    path = "Gold at the end lies below its best point of training, on validation prompts, by"
    path = [f"{path} {', '.join(fell)}."] * bool(fell)
    if first == best:
        return [f"{first} ends highest by the reward models {untested} and in gold.", *path]
    return [f"{first} ends highest by the reward models {untested}, and {best} in gold.", *path]


# --- fairness


def contract(study) -> str:
    """Say whether the fairness contract was kept."""
    if broken := [breach["field"] for breach in study.meta.breaches]:
        many = "breach" if len(broken) == 1 else "breaches"
        return f"{len(broken)} {many} of the fairness contract: {joined(broken)}."
    return (
        f"All {len(study.runs)} runs have the same start, parameters, prompts and sampling, and "
        "runs with the same seed the same pairs: a program checked this contract, and found no "
        "breach."
        f"{asked_alone(study)}"
    )


def asked_alone(study) -> str:
    """Say which arms ask prompts that have no pair; '' if none does."""
    counts = study.runs.get("asked_alone", pd.Series(0, study.runs.index)).fillna(0)
    arms = list(dict.fromkeys(study.runs.arm[counts > 0]))
    if not arms:
        return ""
    many = f"up to {int(counts.max()):,} prompts that have no pair, which no other method reads"
    return f" {named(arms)} {'asks' if len(arms) == 1 else 'ask'} {many}."
