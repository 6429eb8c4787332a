"""What a post says of a comparison, in sentences. Each follows from the statistics alone.

'Better' is said of a decided comparison only; what is not decided is called inconclusive.
"""

import math

from bench.analysis import statistics as st
from bench.analysis.health import stability as runs_by_arm
from bench.report import page, tables, verdict
from bench.report.plate import counts
from bench.report.style import label
from bench.report.verdict import fixed, joined
from bench.studies.compare import page as compare_page
from bench.studies.compare.marked_text import code, inert
from bench.studies.views import page as views_page


def caveat(study) -> str:
    """What forbids quoting this without a word; empty if nothing does."""
    meta, breaches = study.meta, tables.breaches(study)
    parts = [
        "Runs are missing: do not quote this." * (not meta["complete"]),
        f"Not the default settings: {' '.join(meta['overrides'])}."
        * (not meta["default_settings"]),
        contract(study) * bool(breaches),
    ]
    said = " ".join(part for part in parts if part)
    return f"**{inert(said)}**" * bool(said)


def contract(study) -> str:
    """Whether the fairness contract was kept, and every breach of it."""
    found = tables.breaches(study)
    if not found:
        return (
            f"No breach: all {len(study.tables['runs'])} runs agree on what must be equal, and "
            "differ where seeds must differ."
        )
    items = [f"{b['field']} ({b['why']}): {', '.join(b['values'])}" for b in found]
    return f"Breach of the fairness contract: {'; '.join(items)}."


HELD = ("pairs a seed", "trainable parameters", "tuning trials a method")


def matched(study) -> str:
    """'3,000 pairs a seed and 176,320 trainable parameters'."""
    known = dict(tables.matched(study))
    counted = [
        f"{known[name].replace(', ', ' or ')} {name}"
        for name in HELD
        if known.get(name, "")[:1].isdigit()
    ]
    return joined(counted) or "nothing was recorded"


def over(study) -> str:
    """What the intervals of gold cover."""
    found = [study.interval(arm, "gold_delta") for arm in study.arms]
    return next((i.over for i in found if i is not None), "nothing, since no run ended")


def gains(study) -> str:
    """Where each arm ended in gold above SFT."""
    found = {arm: study.interval(arm, "gold_delta") for arm in plain(study)}
    items = [f"{label(a)} {verdict.said(i)}" for a, i in found.items() if i is not None]
    return inert(", ".join(items) or "nothing to show, since every run failed") + "."


def compute(study) -> str:
    """What equal FLOPs make of the answer."""
    lines = views_page.spent_lines(study)
    return inert(" ".join(lines) or "That cannot be told here.")


def reward(study) -> str:
    """How good the reward models are, and the ceiling that noisy labels set."""
    rows, pool, said = study.tables["reward"], study.meta.get("pool") or {}, []
    for label_set in sorted({arm["label_set"] for arm in study.meta["arms"]}):
        own = rows[rows.seed.isin(study.meta["seeds"]) & (rows.label_set == label_set)]
        if "gold_order_accuracy" in own and len(own):
            share = percent(st.over_seeds(100 * own.gold_order_accuracy))
            said.append(
                f"Reward models of {label_set} labels rank pairs of the pool that they never saw "
                f"as gold does in {share} of cases."
            )
        if ceiling := pool.get(f"bayes_accuracy_{label_set}"):
            said.append(
                f"The labels are noisy: nothing could predict over {100 * ceiling:.0f} % of them."
            )
    return inert(" ".join(said))


def percent(found: st.Interval) -> str:
    """'84 % (82 to 85)'."""
    covers = f"{found.low:.0f} to {found.high:.0f}" if math.isfinite(found.half) else "no interval"
    return f"{found.mean:.0f} % ({covers})"


def above(study) -> str:
    """Where the arms ended against the SFT base."""
    rows, groups = study.versus_sft, {}
    if not len(rows):
        return "every run failed."
    if study.seeds == 1:
        return "one seed decides nothing."
    for row in rows.itertuples():
        groups.setdefault(_end(row), []).append(label(row.a))
    parts = [f"{joined(names)} {end}" for end, names in groups.items()]
    lost = [label(arm) for arm in study.arms if arm not in set(rows.a)]
    return inert("; ".join(parts + [f"every run of {joined(lost)} failed"] * bool(lost))) + "."


def _end(row) -> str:
    """Where an arm ended against the SFT base, in the past tense (which has no plural)."""
    ends = {f"{row.a} better": "ended above it", f"{row.b} better": "ended below it"}
    ends |= {"inconclusive": "could not be told from it"}
    return ends.get(row.verdict, f"ended {row.verdict}")


def between(study) -> str:
    """The declared comparisons between methods, and of variants with their method as tuned."""
    if study.seeds == 1:
        return "one seed decides nothing."
    both = [rows for rows in (study.versus, study.versus_tuned) if len(rows)]
    return " ".join(map(comparisons, both)) or "there is no pair to compare."


def comparisons(rows) -> str:
    """'PPO is better than DPO by 0.31 (0.15 to 0.47).': a sentence a winner, then the undecided."""
    wins, same, unsure = {}, [], []
    for row in rows.itertuples():
        winner, pair = row.verdict.removesuffix(" better"), (label(row.a), label(row.b))
        if winner != row.verdict:
            wins.setdefault(label(winner), []).append(_margin(row, winner))
        elif row.verdict == "inconclusive":
            unsure.append(" against ".join(pair))
        else:
            same.append(f"{' and '.join(pair)} are {row.verdict}.")
    said = [f"{winner} is better {joined(margins)}." for winner, margins in wins.items()]
    said += same + [f"Inconclusive: {joined(unsure)}."] * bool(unsure)
    return inert(" ".join(said))


def _margin(row, winner: str) -> str:
    """'than DPO by 0.31 (0.15 to 0.47)'."""
    size, low, high = (fixed(v, ".2f") for v in verdict.sorted_size(row.interval))
    return f"than {label(row.b if winner == row.a else row.a)} by {size} ({low} to {high})"


def cost(study) -> str:
    """Whose runs took the fewest seconds, and how many times as many the others took."""
    known = {arm: study.interval(arm, "cost") for arm in study.arms}
    known = {arm: i.mean for arm, i in known.items() if i is not None and i.mean > 0}
    if not known:
        return "No run ended, so there is no cost to compare."
    least, *others = sorted(known, key=known.get)
    first = f"{label(least)}'s runs took the fewest {study.second_name} on average."
    ratios = [f"{label(arm)}'s {_times(study, arm, least)}" for arm in others]
    return inert(f"{first} Times as many: {', '.join(ratios)}." if ratios else first)


def _times(study, arm: str, other: str) -> str:
    """'1.36 (1.21 to 1.53)'; says where there is no interval."""
    found = verdict.ratio(study, arm, other)
    if found is None:
        return "unknown (no seed in common)"
    mean, low, high = (f"{v:.2f}" for v in found)
    return f"{mean} ({low} to {high})" if math.isfinite(found[1]) else f"{mean} (no interval)"


def stability(study) -> str:
    """Which runs failed, and how far seeds spread."""
    lines = verdict.stability(study)
    bare = any(line.startswith("Spread") for line in lines)
    return inert(" ".join(lines) + " These spreads have no interval and decide no order." * bare)


def proxy(study) -> str:
    """Where the reward models' scores ended."""
    found = {arm: study.interval(arm, "proxy") for arm in plain(study)}
    items = [f"{label(a)} {verdict.said(i)}" for a, i in found.items() if i is not None]
    return inert(", ".join(items) or "not measured")


def optimised(study) -> str:
    """Whether the highest mean by the reward models is the highest in gold, too."""
    found = {key: _highest(study, key) for key in ("proxy", "gold")}
    if None in found.values():
        return ""
    first, best = (label(found[key]) for key in ("proxy", "gold"))
    if first == best:
        return inert(
            f"The highest mean by the reward models, {first}'s, is the highest in gold, too."
        )
    return inert(
        f"The highest mean by the reward models is {first}'s, the highest in gold {best}'s."
    )


def _highest(study, key: str) -> str | None:
    """The arm with the highest mean of a measure; None where fewer than two have one."""
    found = {arm: study.interval(arm, key) for arm in plain(study)}
    means = {arm: i.mean for arm, i in found.items() if i is not None and math.isfinite(i.mean)}
    return max(means, key=means.get) if len(means) > 1 else None


def of_views(study) -> list[str]:
    """Whether the winner changes with labels, compute and KL, where that has been studied."""
    beside = study.companions.get("views")
    return ["In other views. " + " ".join(views_page.matrix_lines(beside))] if beside else []


def drawdown(study) -> str:
    """How far gold fell along training."""
    table = runs_by_arm(study.tables, study.meta).set_index("arm").drawdown
    items = [f"{label(a)} {table[a]:.2f}" for a in plain(study) if math.isfinite(table[a])]
    return inert(f"{', '.join(items)} (no intervals)" if items else "not measured")


def tax(study) -> str:
    """On which tasks an arm's change for the worse has an interval that leaves out none."""
    lines = verdict.tax(study)
    return inert(" ".join(lines) or "No change has an interval, so none is called a loss.")


def plain(study) -> list[str]:
    """The arms that sentences list: all, or the methods as tuned where there are many."""
    return [a for a in study.arms if a == study.method[a]] if study.many else study.arms


def listed(values: dict | None) -> str:
    """'cores 2, cpu AMD EPYC'."""
    return inert(", ".join(f"{name} {value}" for name, value in (values or {}).items()))


FINDINGS = {
    "headline": lambda s: inert(compare_page.headline(s)),
    "caveat": caveat,
    "contract": lambda s: inert(contract(s)),
    "matched": lambda s: inert(matched(s)),
    "n": counts,
    "level": lambda s: f"{100 * st.LEVEL:.0f} %",
    "over": over,
    "gains": gains,
    "certainty": lambda s: inert(" ".join(verdict.certainty(s)[1:])),
    "reward": reward,
    "above": above,
    "between": between,
    "cost": cost,
    "charged": lambda s: inert(verdict.cost(s)[-1]),
    "compute": compute,
    "seconds": lambda s: s.second_name.capitalize(),
    "stability": stability,
    "grid": lambda s: inert(" ".join(compare_page.grid_words(s))),
    "proxy": proxy,
    "optimised": optimised,
    "views": lambda s: inert(" ".join(of_views(s))),
    "memory": lambda s: inert(" ".join(tables.libraries(s))),
    "drawdown": drawdown,
    "tax": tax,
    "command": lambda s: code(page.command(s.meta)),
    "commit": lambda s: code(str(s.meta["commit"])),
    "machine": lambda s: listed(s.meta["machine"]),
    "seeds": lambda s: joined(map(str, s.meta["seeds"])),
}
