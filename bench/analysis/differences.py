"""Two results.json side by side: what differs in how they were made, which numbers moved beyond
noise, which verdicts changed. Pure functions of the two documents (`bench.report.results`).
"""

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis import statistics as st

IDENTICAL, MOVED, NOISE, ALONE = "identical", "moved", "within noise", "not told: too few runs"
SAME, OPPOSITE, ONE_ONLY, OPEN = "same", "opposite", "decided in one only", "both open"
SETTING = ("testbed", "study", "commit", "seeds", "prompts", "pairs", "decode", "machine",
           "versions", "overrides")  # fmt: skip


def differences(a: dict, b: dict) -> list[tuple[str, object, object]]:
    """What was not the same in the making of the two: (field, its value in a, in b)."""
    first, second = ({k: d["about"].get(k) for k in SETTING} | settings(d) for d in (a, b))
    flat = [dict(leaves(x)) for x in (first, second)]
    names = dict.fromkeys([*flat[0], *flat[1]])
    found = [(name, flat[0].get(name), flat[1].get(name)) for name in names]
    return [row for row in found if row[1] != row[2]]


def settings(document: dict) -> dict:
    """{arm: its settings}."""
    return {arm["name"]: arm["settings"] for arm in document["arms"]}


def leaves(tree: dict, prefix: str = ""):
    """Dotted names and values of a nested mapping."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def same_testbed(a: dict, b: dict) -> bool:
    """Whether numbers of the two mean the same; those of two testbeds do not."""
    return a["about"]["testbed"] == b["about"]["testbed"]


def by_seed(document: dict) -> dict[tuple[str, str], pd.Series]:
    """{(arm, measure): its values by seed}, of the runs that ended."""
    found = {}
    for run in document["runs"]:
        for measure, value in run["values"].items():
            found.setdefault((run["arm"], measure), {})[run["seed"]] = value
    return {key: pd.Series(values, dtype=float) for key, values in found.items()}


def moved(a: dict, b: dict) -> pd.DataFrame:
    """Each arm and measure that both have: both means, difference b - a with its 95 % interval, p,
    Holm's p within the measure, and the verdict; empty for two testbeds.

    Runs with the same seeds are paired (their pairs and prompts are the same); others are compared
    by Welch's t test over seeds.
    """
    columns = ["arm", "measure", "a", "b", "difference", "low", "high", "p", "paired", "p_holm",
               "verdict"]  # fmt: skip
    if not same_testbed(a, b):
        return pd.DataFrame(columns=columns)
    units = [{m["key"]: m["unit"] for m in d["measures"]} for d in (a, b)]
    first, second = by_seed(a), by_seed(b)
    rows = [
        {"arm": arm, "measure": measure} | difference(first[arm, measure], second[arm, measure])
        for arm, measure in first
        if (arm, measure) in second and units[0].get(measure) == units[1].get(measure)
    ]
    table = pd.DataFrame(rows, columns=columns[:-2])
    table["p_holm"] = table.groupby("measure").p.transform(lambda p: st.holm(p.to_numpy(float)))
    return table.assign(verdict=[verdict(row) for row in table.itertuples()])


def difference(a: pd.Series, b: pd.Series) -> dict:
    """b - a of two measures by seed: means, interval, p, whether the runs are paired."""
    shared = a.index.intersection(b.index)
    paired = len(shared) > 1 or a.index.equals(b.index)
    x, y = (a[shared], b[shared]) if paired else (a, b)
    out = {"a": x.mean(), "b": y.mean(), "difference": y.mean() - x.mean(), "paired": paired}
    low, high, p = tested(x.to_numpy(float), y.to_numpy(float), paired)
    return out | {"low": low, "high": high, "p": p}


def tested(x: np.ndarray, y: np.ndarray, paired: bool) -> tuple[float, float, float]:
    """(low, high, p) of mean(y) - mean(x); without an interval where runs are too few to tell."""
    fixed = np.ptp(y - x) == 0 if paired else np.ptp(x) == np.ptp(y) == 0
    step = float(y[0] - x[0])
    few = min(len(x), len(y)) < 2
    if fixed and (not few or step == 0):
        return step, step, float(step == 0)  # the same in every run: no noise to speak of
    if few:
        return np.nan, np.nan, np.nan
    found = stats.ttest_rel(y, x) if paired else stats.ttest_ind(y, x, equal_var=False)
    span = found.confidence_interval(st.LEVEL)
    return float(span.low), float(span.high), float(found.pvalue)


def verdict(row) -> str:
    """What became of a number."""
    if row.low == row.high == 0:
        return IDENTICAL
    if not np.isfinite(row.p_holm):
        return ALONE
    return MOVED if row.p_holm < 1 - st.LEVEL else NOISE


def verdicts(a: dict, b: dict) -> list[dict]:
    """The declared pairs of methods that both have: the comparison in each, and whether the two
    agree (see `agreement`)."""
    first, second = ({(r["a"], r["b"]): r for r in d["comparisons"] if r["family"] == "methods"}
                     for d in (a, b))  # fmt: skip
    second |= {(y, x): turned(r) for (x, y), r in second.items()}
    return [
        {"a": pair[0], "b": pair[1], "first": row, "second": second[pair]}
        | {"agreement": agreement(row, second[pair])}
        for pair, row in first.items()
        if pair in second
    ]


def turned(row: dict) -> dict:
    """A comparison with its arms the other way round."""
    ends = {"mean": row["mean"], "low": row["high"], "high": row["low"]}
    ends = {key: None if value is None else -value for key, value in ends.items()}
    seeds = {"seeds_a": row["seeds_b"], "seeds_b": row["seeds_a"]}
    return row | {"a": row["b"], "b": row["a"]} | ends | seeds


def agreement(one: dict, other: dict) -> str:
    """How two verdicts on the same pair stand to each other: SAME, OPPOSITE, ONE_ONLY or OPEN."""
    if (one["verdict"], one["winner"]) == (other["verdict"], other["winner"]):
        return SAME
    decided = [row["winner"] is not None for row in (one, other)]
    return OPPOSITE if all(decided) else ONE_ONLY if any(decided) else OPEN
