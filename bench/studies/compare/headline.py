"""Say the finding of a comparison in a headline: who gains most, at what cost, how many failed."""

from bench.analysis import costs
from bench.analysis import statistics as st
from bench.analysis.comparisons import Family
from bench.report.words import (
    BETTER,
    between,
    joined,
    label,
    leader,
    named,
    not_judged,
    parameters,
    said,
    some_ended,
)
from bench.studies.compare import variants

ALIKE = 1.01  # times the fewest FLOPs that count as as few


def headline(study) -> str:
    """Say who is best in gold, if that can be said."""
    family = study.versus
    if not any(share.count for share in study.ended.values()):
        return "Every run failed: there is nothing to compare."
    if study.results.prompts.gold.nunique() == 1:
        return "Every answer has the same gold, so nothing can be compared: check the gold reward."
    if study.few:
        return few_seeds(study)
    if found := variants.headline(study) if not family else "":
        return f"{_also(f'{scale(study)}{found}', short(study))}."
    if not family:
        return f"{_also(_without_pairs(study), short(study))}."
    rest = not_judged(family)
    if len(family.judged) < 2:
        return f"Too few runs ended for a verdict between methods: {joined(rest)}."
    return f"{_also(f'{scale(study)}{_best(study, family)}', rest)}."


def short(study) -> list[str]:
    """Say of which arms not all runs ended."""
    return [some_ended(arm, share) for arm, share in study.ended.items() if not share.all]


def few_seeds(study) -> str:
    """Say that so few seeds decide nothing."""
    seeds = "One seed shows" if study.seeds == 1 else f"{study.seeds} seeds show"
    start = f"{seeds} what the methods do, but not which of them is {BETTER}: that takes"
    lost = [some_ended(arm, share) for arm, share in study.ended.items() if not share.count]
    return f"{_also(f'{start} {st.VERDICT_SEEDS} seeds or more', lost)}."


def _also(text: str, items: list[str]) -> str:
    """Say a text, and after a semicolon what belongs to it."""
    return f"{text}; {joined(items)}" if items else text


def _best(study, family: Family) -> str:
    """Say which method is better than every other that is judged, or which are not beaten."""
    judged, unbeaten = family.judged, family.unbeaten()
    others = len(judged) < len(family.arms)
    if top := family.champion():
        if not others and all(share.all for share in family.ended.values()):
            leads = between([abs(row.decisive.mean) for row in family if row.winner == top])
            return (
                f"{label(top)} reaches the highest gold reward, {BETTER} than every other method "
                f"by {leads}"
            )
        than = named(arm for arm in judged if arm != top)
        counted = " with failed runs counted as no gain" * any(r.expected for r in family)
        return f"{label(top)} is {BETTER} in gold reward than {than}{counted}"
    if len(unbeaten) == len(judged):
        tuned = " as tuned" * bool(study.versus_tuned)
        if others:
            return f"{named(judged)} cannot be told apart in gold reward"
        return f"no method{tuned} can be told from another in gold reward"
    return f"there is no single best in gold reward: {leader(family)}"


def scale(study) -> str:
    """Say 'With a model of 0.18 million parameters and 3,000 pairs, '."""
    return f"With a model of {parameters(study)} parameters and {study.meta.pairs:,} pairs, "


def _without_pairs(study) -> str:
    """Name the highest mean of a study without a pair of methods, without calling it the best."""
    found = study.known("gold_delta")
    if not found:
        return "No run that ended has been evaluated"
    best = max(found, key=lambda arm: found[arm].mean)
    if len(found) == 1:
        return f"{scale(study)}{label(best)} ends at {said(found[best])} gold above SFT"
    start = f"{scale(study)}the highest mean gold above SFT is {label(best)}'s, {said(found[best])}"
    return f"{start}; no two of these arms are compared"


def glance_at_cost(study) -> str:
    """Say the cost of the best method, or else the dearest one, as a multiple of the cheapest."""
    flops, seconds = (means(study, key) for key in ("flops", "cost"))
    if len(flops) < 2 or flops.keys() != seconds.keys():
        return ""
    cheap, dear = min(flops, key=flops.get), max(flops, key=flops.get)
    top = None if study.few else study.versus.champion()
    if flops[cheap] == flops[dear]:
        return "All take the same FLOPs."
    if top == cheap:
        return "It also takes the fewest FLOPs."
    who = top if top in flops else dear
    unit = costs.seconds_name(study.meta)
    also = f" ({seconds[who] / seconds[cheap]:.1f} times {label(cheap)}'s {unit})" * study.timed
    times = f"{flops[who] / flops[cheap]:.1f} times the FLOPs"
    few = joined(map(label, cheapest(flops)), "or")
    return f"A run of {label(who)} takes {times} of one of {few}, the cheapest{also}."


def cheapest(flops: dict[str, float]) -> list[str]:
    """Return the arms with the fewest FLOPs, but for a hundredth."""
    return [arm for arm, spent in flops.items() if spent <= ALIKE * min(flops.values())]


def means(study, key: str) -> dict[str, float]:
    """Return {arm: the mean of a cost} of the arms for which it was measured."""
    return {arm: i.mean for arm, i in study.known(key).items() if i.mean > 0}


def finding(study) -> str:
    """Say who gains most and what that costs, for the headline of a figure."""
    top = study.versus.champion()
    if study.few or not top:
        return "" if study.few else leader(study.versus)
    flops = means(study, "flops")
    if top not in flops:
        return f"{label(top)} gains most"
    cheap = min(flops, key=flops.get)
    if cheap == top:
        return f"{label(top)} gains most, for the fewest FLOPs"
    times = flops[top] / flops[cheap]
    of = joined((f"{label(arm)}'s" for arm in cheapest(flops)), "or")
    return f"{label(top)} gains most, at {times:.1f} times {of} FLOPs"


def dearest(study) -> str:
    """Say how many times the seconds of the arm with the fewest FLOPs the dearest one takes."""
    known, flops = means(study, "cost"), means(study, "flops")
    if len(known) < 2 or not study.timed or known.keys() != flops.keys():
        return ""
    cheap, dear = min(flops, key=flops.get), max(known, key=known.get)
    times, unit = known[dear] / known[cheap], costs.seconds_name(study.meta)
    return f"A run of {label(dear)} takes {times:.1f} times the {unit} of one of {label(cheap)}"


def glance_at_failures(study) -> str:
    """Say how many runs failed."""
    total, lost = len(study.runs), len(study.failures)
    return f"{lost} of {total} runs failed." if lost else f"None of the {total} runs failed."
