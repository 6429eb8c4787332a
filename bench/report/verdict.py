"""The result in words: quality, cost, stability, and how sure one can be. Never an adjective
that the statistics do not support.
"""

import math

import numpy as np

from bench.analysis import measures as ms
from bench.analysis import statistics as st
from bench.analysis.health import stability as runs_by_arm
from bench.report.style import SFT, label

LISTED = 8  # losses that a sentence names
STATUS = {"diverged": "diverged", "oom": "out of memory"}


def fixed(value: float, spec: str) -> str:
    """format() with a true minus sign, and no sign before a zero."""
    text = format(value, spec)
    nothing = not text.strip("+-0.,")  # a sign before a zero would claim what digits do not show
    return (text.lstrip("+-") if nothing else text).replace("-", "−")


def said(interval: st.Interval, digits: int = 2) -> str:
    """'+0.71 (+0.55 to +0.87)'; the sentence around it says that this is the 95 % interval."""
    mean, low, high = (
        fixed(v, f"+.{digits}f") for v in (interval.mean, interval.low, interval.high)
    )
    return f"{mean} ({low} to {high})" if math.isfinite(interval.half) else f"{mean} (no interval)"


def joined(words) -> str:
    """'a, b and c'."""
    words = list(words)
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def either(words) -> str:
    """'a, b or c'."""
    return " or ".join(joined(words).rsplit(" and ", 1))


def in_words(row) -> str:
    """The verdict of a comparison with arms as readers call them: 'DPO better'."""
    if row.interval.seeds < 2:
        return "one seed: undecided"
    arm, space, rest = row.verdict.partition(" ")
    return f"{label(arm)}{space}{rest}" if rest == "better" else row.verdict


def headline(study) -> str:
    """One sentence: who is best in gold, if that can be said."""
    rows = study.versus
    if study.seeds == 1:
        return "One seed: this shows what the methods do, and cannot say which is better."
    if not len(rows):
        return _headline_without_pairs(study)
    plain = list(dict.fromkeys([*rows.a, *rows.b]))
    if top := champion(rows, plain):
        return f"{label(top)} reaches the highest gold reward, better than every other method."
    unbeaten = [label(arm) for arm in winners(rows)]
    if len(unbeaten) == len(plain):
        tuned = " as tuned" * bool(study.variants)
        return f"No method{tuned} can be told from another in gold reward here."
    verb = "is" if len(unbeaten) == 1 else "are"
    return f"No single best: {joined(unbeaten)} {verb} beaten by no other method in gold reward."


def champion(rows, arms: list[str]) -> str | None:
    """The one of the arms that beats every other in these comparisons."""
    won = [row.verdict.removesuffix(" better") for row in rows.itertuples()]
    return next((arm for arm in arms if won.count(arm) == len(arms) - 1), None)


def winners(rows) -> list[str]:
    """The arms that no other beats in these comparisons."""
    beaten = {
        (row.b if row.verdict == f"{row.a} better" else row.a)
        for row in rows.itertuples()
        if row.verdict.endswith(" better")
    }
    return [arm for arm in dict.fromkeys([*rows.a, *rows.b]) if arm not in beaten]


def _headline_without_pairs(study) -> str:
    """Of a study whose arms are variants: the highest mean, with no claim that it is the best."""
    found = {arm: study.interval(arm, "gold_delta") for arm in study.arms}
    found = {arm: i for arm, i in found.items() if i is not None}
    if not found:
        return "Every run failed: there is nothing to compare."
    best = max(found, key=lambda arm: found[arm].mean)
    if len(study.arms) == 1:
        return f"{label(best)} alone was trained: gold above SFT {said(found[best])}."
    return (
        f"The highest mean gold above SFT is {label(best)}'s, {said(found[best])}; variants are "
        "tested against their method as tuned, not against each other."
    )


def quality(study) -> list[str]:
    """Who is above SFT, and who is better than whom."""
    rows = study.versus_sft
    if study.seeds == 1:
        return _one_seed(study, rows)
    above = rows[rows.verdict == [f"{a} better" for a in rows.a]] if len(rows) else rows
    below = rows[rows.verdict == f"{SFT} better"] if len(rows) else rows
    rest = rows[rows.verdict == "inconclusive"] if len(rows) else rows
    same = rows[rows.verdict.str.startswith("equivalent")] if len(rows) else rows
    parts = [
        _against_sft(study, above, "end above the SFT base", "ends above the SFT base"),
        _against_sft(study, below, "end below the SFT base", "ends below the SFT base"),
        _against_sft(
            study, rest, "cannot be told from the SFT base", "cannot be told from the SFT base"
        ),
    ]
    lost = [label(a) for a in study.arms if a not in set(rows.a)]
    parts += [f"{label(r.a)} and the SFT base are {r.verdict} in gold." for r in same.itertuples()]
    parts.append(f"{joined(lost)}: every run failed." if lost else "")
    return [p for p in [*parts, *_pairs(study), *_variants(study)] if p]


def _variants(study) -> list[str]:
    """What each variant of a method costs or gains against the method as tuned."""
    rows = study.versus_tuned
    if not len(rows):
        return []
    worse = rows[rows.verdict == [f"{tuned} better" for tuned in rows.b]]
    better = rows[rows.verdict == [f"{variant} better" for variant in rows.a]]
    rest = rows[~rows.index.isin([*worse.index, *better.index])]
    groups = (("Worse", worse), ("Better", better), ("Not told apart", rest))
    listed = [
        f"{word}: {', '.join(f'{label(r.a)} {said(r.interval)}' for r in group.itertuples())}."
        for word, group in groups
        if len(group)
    ]
    return ["Against the method as tuned, in gold, with 95 % intervals (Holm).", *listed]


def _one_seed(study, rows) -> list[str]:
    """One seed: what was measured, and that it decides nothing."""
    gains = ", ".join(f"{label(r.a)} {said(r.interval)}" for r in rows.itertuples())
    out = (
        [f"Gold above the SFT base, with 95 % intervals over prompts only: {gains}."]
        if gains
        else []
    )
    lost = [label(a) for a in study.arms if a not in set(rows.a)]
    out += [f"{joined(lost)}: every run failed."] if lost else []
    return [*out, "With one seed no method is called better than another."]


def _against_sft(study, rows, many: str, one: str) -> str:
    """A sentence about all arms with the same verdict against SFT."""
    if not len(rows):
        return ""
    items = [
        f"{label(r.a)} {said(r.interval)}{' (one seed)' * (r.interval.seeds == 1)}"
        for r in rows.itertuples()
    ]
    verb = one if len(items) == 1 else many
    names = joined(label(a) for a in rows.a)
    numbers = "" if study.many else f", with 95 % intervals: {', '.join(items)}"
    return f"{names} {verb} in gold{numbers}."


def _pairs(study) -> list[str]:
    """The declared pairs: those decided, those equivalent, and the rest."""
    rows = study.versus
    if not len(rows):
        return []
    decided = rows[rows.verdict.str.endswith(" better")]
    same = rows[rows.verdict.str.startswith("equivalent")]
    unsure = rows[rows.verdict == "inconclusive"]
    return [
        *map(_decided, decided.itertuples()),
        *(f"{label(r.a)} and {label(r.b)} are {r.verdict}." for r in same.itertuples()),
        *_inconclusive([f"{label(r.a)} against {label(r.b)}" for r in unsure.itertuples()]),
    ]


def _decided(row) -> str:
    """'PPO is better than IPO by 0.48 (0.30 to 0.66; Holm p = 0.014).'"""
    better, other = (row.a, row.b) if row.interval.mean > 0 else (row.b, row.a)
    size, low, high = sorted_size(row.interval)
    gap = f"{size:.2f} ({fixed(low, '.2f')} to {high:.2f}; Holm p {p_words(row.p_holm)})"
    return f"{label(better)} is better than {label(other)} by {gap}."


def _inconclusive(names: list[str]) -> list[str]:
    return [f"Inconclusive: {joined(names)}."] if names else []


def sorted_size(interval: st.Interval) -> tuple[float, float, float]:
    """A difference as (size, low, high) in the direction in which its mean is positive."""
    if interval.mean >= 0:
        return interval.mean, interval.low, interval.high
    return -interval.mean, -interval.high, -interval.low


def p_words(p: float) -> str:
    """'< 0.001' or '= 0.014'."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def ratio(study, a: str, b: str) -> tuple[float, float, float] | None:
    """Cost of a over b: geometric mean over seeds, with its 95 % t interval."""
    mine, other = (ms.cost_of("cost", arm, study.tables, study.meta) for arm in (a, b))
    seeds = mine.index.intersection(other.index)
    if not len(seeds) or min(mine[seeds].min(), other[seeds].min()) <= 0:
        return None
    found = st.over_seeds(np.log(mine[seeds] / other[seeds]))
    return tuple(float(np.exp(v)) for v in (found.mean, found.low, found.high))


def glance_at_cost(study) -> str:
    """One sentence: what the best method costs, or the dearest one, in terms of the cheapest."""
    flops, seconds = (_known(study, key) for key in ("flops", "cost"))
    if len(flops) < 2 or flops.keys() != seconds.keys():
        return ""
    cheap, dear = min(flops, key=flops.get), max(flops, key=flops.get)
    rows = study.versus
    top = champion(rows, list(dict.fromkeys([*rows.a, *rows.b]))) if study.seeds > 1 else None
    if flops[cheap] == flops[dear]:
        return "All take the same FLOPs."
    if top == cheap:
        return "It takes the fewest FLOPs, too."
    who = top if top in flops else dear
    return (
        f"A run of {label(who)} takes {flops[who] / flops[cheap]:.1f} times the FLOPs of "
        f"{label(cheap)}'s, the fewest ({seconds[who] / seconds[cheap]:.1f} times the "
        f"{study.second_name})."
    )


def _known(study, key: str) -> dict[str, float]:
    """{arm: the mean of a cost}, where it was measured."""
    found = {arm: study.interval(arm, key) for arm in study.arms}
    return {arm: i.mean for arm, i in found.items() if i is not None and i.mean > 0}


def glance_at_failures(study) -> str:
    """One sentence: how many runs failed."""
    total, lost = len(study.runs), len(study.failures)
    return f"{lost} of {total} runs failed." if lost else f"None of the {total} runs failed."


def cost(study) -> list[str]:
    """The cheapest arm's seconds, the others' ratios to it, and what was charged."""
    known = _known(study, "cost")
    if not known:
        return ["Every run failed: no cost to compare."]
    cheap, *others = sorted(known, key=known.get)
    unit = study.second_name
    out = [f"{label(cheap)} takes the fewest {unit}: {known[cheap]:,.1f} a run."]
    if others and study.many:
        low, high = (known[arm] / known[cheap] for arm in (others[0], others[-1]))
        out.append(
            f"The others cost {span((low, high))} times as much, {label(others[-1])} the most."
        )
    elif others:
        covers = "geometric means with 95 % intervals over seeds"
        covers = covers if study.seeds > 1 else "one seed, so no interval"
        ratios = [f"{label(arm)} {_ratio_words(study, arm, cheap)}" for arm in others]
        out.append(f"Times as many as {label(cheap)} ({covers}): {', '.join(ratios)}.")
    return [*out, _charged(study)]


def _ratio_words(study, arm: str, cheap: str) -> str:
    """'2.74 (2.72 to 2.76)'."""
    found = ratio(study, arm, cheap)
    if found is None:
        return "unknown"
    span = f" ({found[1]:.2f} to {found[2]:.2f})" if math.isfinite(found[1]) else ""
    return f"{found[0]:.2f}{span}"


def _charged(study) -> str:
    """Who was charged for a reward model or for reference log-probabilities, as recorded."""
    rows = study.costs
    words = {"reward model": "its seed's reward model", "reference": "reference log-probabilities"}
    parts = []
    for group, what in words.items():
        payers = [m for m in dict.fromkeys(rows[rows.group == group].method)]
        if payers:
            verb = "is" if len(payers) == 1 else "are"
            parts.append(f"{joined(map(label, payers))} {verb} charged {what}")
    start = "; ".join(parts) + ". " if parts else ""
    others = [label(arm["name"]) for arm in study.meta["arms"] if arm["start"] != "sft"]
    without = f"; {joined(others)} does without SFT" * bool(others)
    return f"{start}Base, SFT and the pool of pairs are charged to none, as shared{without}."


def tax(study) -> list[str]:
    """The tasks on which an arm lost so much that its interval over seeds leaves out zero; of one
    with several metrics, by the first that its table has."""
    table, losses = ms.tax(study.tables["tasks"], study.meta), []
    known = table[(table.arm != SFT) & np.isfinite(table.half.astype(float))]
    metrics = table.groupby("task").metric.nunique()
    for row in known.drop_duplicates(["task", "arm"]).itertuples():
        loss = -row.change if row.higher_is_better else row.change
        if loss > row.half:
            losses.append((loss, f"{label(row.arm)} on {named(row, metrics)} {change(row)}"))
    if not len(known):
        return []
    worst = [words for _, words in sorted(losses, reverse=True)]
    if not worst:
        return ["On no lm-eval task is there a loss whose interval over seeds leaves out zero."]
    rest = f", and {len(worst) - LISTED} smaller ones" * (len(worst) > LISTED)
    listed = f"{', '.join(worst[:LISTED])}{rest}"
    return [f"Losses on lm-eval tasks (interval over seeds leaves out zero): {listed}."]


def named(row, metrics) -> str:
    """A task, with its metric where ``metrics``, the number of a task's, has several."""
    return f"{row.task} ({row.metric.replace('_', ' ')})" if metrics[row.task] > 1 else row.task


def change(row) -> str:
    """'−0.103 (−0.151 to −0.055)'; without an interval where all seeds have the same."""
    mean, low, high = (fixed(row.change + s * row.half, "+.3f") for s in (0, -1, 1))
    if not math.isfinite(row.half):
        return f"{fixed(row.change, '+.3f')} (no interval)"
    return f"{mean} ({low} to {high})" if row.half else mean


def stability(study) -> list[str]:
    """Failures run by run, then the spread of seeds."""
    lost, out = study.failures, [glance_at_failures(study)]
    for (arm, status), rows in lost.groupby(["arm", "status"], sort=False) if len(lost) else ():
        reason = next((f" ({r})" for r in rows.reason.dropna().astype(str) if r), "")
        seeds = f"seed{'s' * (len(rows) > 1)} {joined(map(str, rows.seed))}"
        out.append(f"{label(arm)} {seeds}: {STATUS.get(status, status)}{reason}.")
    table = runs_by_arm(study.tables, study.meta).dropna(subset=["spread"])
    if study.seeds >= 3 and len(table):
        items = [f"{label(r.arm)} {r.spread:.3f}" for r in table.sort_values("spread").itertuples()]
        out.append(f"Spread between seeds (SD of a seed's mean gold): {', '.join(items)}.")
    return out


def reward(study) -> list[str]:
    """How good the reward models are, and the ceiling that noisy labels set."""
    out, rows = [], study.tables["reward"]
    used = {arm["label_set"] for arm in study.meta["arms"]}
    rows = rows[rows.seed.isin(study.meta["seeds"]) & rows.label_set.isin(used)]
    if "gold_order_accuracy" in rows:
        for label_set, group in rows.groupby("label_set"):
            found = st.over_seeds(100 * group.gold_order_accuracy)
            span_words = f", 95 % interval {found.low:.0f} to {found.high:.0f}"
            out.append(
                f"Reward model ({label_set} labels): orders pairs that it never saw as gold does "
                f"in {found.mean:.0f} % of cases{span_words if found.seeds >= 3 else ''}."
            )
    pool = study.meta.get("pool") or {}
    for label_set in sorted(used):
        if ceiling := pool.get(f"bayes_accuracy_{label_set}"):
            out.append(
                f"The labels carry noise: even a perfect predictor of {label_set} labels would "
                f"agree with {100 * ceiling:.0f} % of them."
            )
    return out + gold(study.meta.get("gold") or {})


def gold(found: dict) -> list[str]:
    """How near a fitted gold is to those whose judgement it stands for, where that is known."""
    if "with_raters" not in found:
        return []
    near = [
        f"{r['r']:.2f} ({r['ci95'][0]:.2f} to {r['ci95'][1]:.2f}) for {kind} texts"
        for kind, r in found["with_raters"].items()
    ]
    right = [f"{100 * x:.0f} % ({kind})" for kind, x in found["pairs_in_raters_order"].items()]
    return [
        "Gold is not the raters: on texts that it was not fitted on, it correlates with their mean "
        f"scores at {joined(near)} (95 % interval over documents), and it orders the pool's pairs "
        f"as most raters do in {joined(right)}."
    ]


def certainty(study) -> list[str]:
    """Seeds, prompts, the smallest effect that would have been found, what is never said."""
    seeds = f"{study.seeds} seed{'s' * (study.seeds != 1)}"
    out = [f"{seeds} × {study.prompts} test prompts."]
    if study.seeds == 1:
        out.append(
            "Intervals cover the luck of prompts only: another seed may turn any order round."
        )
    if study.seeds > 1 and len(study.versus):
        out.append(_detectable(study))
    if study.seeds < st.EQUIVALENCE_SEEDS:
        out.append(f"Below {st.EQUIVALENCE_SEEDS} seeds no two methods are called equivalent: "
                   "'inconclusive' does not mean equal.")  # fmt: skip
    else:
        out.append(
            f"'Equivalent' means within {study.margin:.2g} gold, a tenth of the spread of SFT."
        )
    return out


def _detectable(study) -> str:
    """The smallest true difference between two methods that such a study finds 4 times in 5."""
    intervals, m = list(study.versus.interval), len(study.versus)
    plain = [st.detectable(i) for i in intervals]
    first = [st.detectable(i, level=1 - (1 - st.LEVEL) / m) for i in intervals]
    holm = f" (alone) or {span(first)} (as the first of {m} comparisons, Holm)" * (m > 1)
    return (
        f"A study of this size, with standard errors as found here, finds a true difference "
        f"between two methods 4 times in 5 if it is {span(plain)} gold{holm}. Those standard "
        "errors are uncertain themselves."
    )


def span(values) -> str:
    """'0.10 to 0.15', or one number."""
    low, high = (f"{f(values):.2f}" for f in (min, max))
    return low if low == high else f"{low} to {high}"
