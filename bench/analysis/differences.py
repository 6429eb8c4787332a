"""Compare two results.json: how they were made, which numbers moved, which verdicts changed.

Pure functions of the two documents, whose format is in `bench.report.results`.
"""

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis import statistics as st
from bench.settings.overrides import leaves

IDENTICAL, MOVED, NOISE, ALONE = "identical", "moved", "within noise", "not told: too few runs"
SAME, OPPOSITE, ONE_ONLY, OPEN = "same", "opposite", "decided in one only", "both open"
SETTING = ("testbed", "study", "commit", "seeds", "prompts", "pairs", "decode", "machine",
           "versions", "overrides")  # fmt: skip


def differences(a: dict, b: dict) -> list[tuple[str, object, object]]:
    """List what differs in how the two were made, as (field, value in a, value in b)."""
    first, second = ({k: d["about"].get(k) for k in SETTING} | settings(d) for d in (a, b))
    flat = [dict(leaves(x)) for x in (first, second)]
    names = dict.fromkeys([*flat[0], *flat[1]])
    found = [(name, flat[0].get(name), flat[1].get(name)) for name in names]
    return [row for row in found if row[1] != row[2]]


def settings(document: dict) -> dict:
    """Return {arm: its settings}."""
    return {arm["name"]: arm["settings"] for arm in document["arms"]}


def failed(document: dict) -> dict[str, tuple[int, int]]:
    """Return {arm: (runs that failed, runs)}."""
    found: dict[str, tuple[int, int]] = {}
    for run in document["runs"]:
        k, n = found.get(run["arm"], (0, 0))
        found[run["arm"]] = (k + (run["status"] != "ok"), n + 1)
    return found


def same_testbed(a: dict, b: dict) -> bool:
    """Return whether both are of one testbed; numbers of two testbeds do not compare."""
    return a["about"]["testbed"] == b["about"]["testbed"]


def by_seed(document: dict) -> dict[tuple[str, str], pd.Series]:
    """Return {(arm, measure): its values by seed} of the runs that ended."""
    found = {}
    for run in document["runs"]:
        for measure, value in run["values"].items():
            found.setdefault((run["arm"], measure), {})[run["seed"]] = value
    return {key: pd.Series(values, dtype=float) for key, values in found.items()}


def moved(a: dict, b: dict) -> pd.DataFrame:
    """Compare each measure of each arm that both have, one row each; empty for two testbeds.

    Columns: both means, the difference b - a with its 95 % interval, p, Holm's p within the
    measure, and the verdict. Runs with the same seeds are paired, since their pairs and prompts are
    the same; others are compared by Welch's t test over seeds.
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
    """Compare the values of one measure by seed: means, b - a, interval, p, and whether paired."""
    shared = a.index.intersection(b.index)
    paired = len(shared) > 1 or a.index.equals(b.index)
    x, y = (a[shared], b[shared]) if paired else (a, b)
    out = {"a": x.mean(), "b": y.mean(), "difference": y.mean() - x.mean(), "paired": paired}
    low, high, p = tested(x.to_numpy(float), y.to_numpy(float), paired)
    return out | {"low": low, "high": high, "p": p}


def tested(x: np.ndarray, y: np.ndarray, paired: bool) -> tuple[float, float, float]:
    """Return (low, high, p) of mean(y) - mean(x); NaN if there are too few runs to test."""
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
    """Return the verdict on a number: IDENTICAL, MOVED, NOISE or ALONE."""
    if row.low == row.high == 0:
        return IDENTICAL
    if not np.isfinite(row.p_holm):
        return ALONE
    return MOVED if row.p_holm < 1 - st.LEVEL else NOISE


def verdicts(a: dict, b: dict) -> list[dict]:
    """Return both comparisons of each declared pair that both have, and their `agreement`."""
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
    """Return a comparison with its two arms exchanged."""
    ends = {"mean": "mean", "low": "high", "high": "low", "expected": "expected",
            "expected_low": "expected_high", "expected_high": "expected_low"}  # fmt: skip
    ends = {new: None if row[old] is None else -row[old] for new, old in ends.items() if old in row}
    sides = {f"{key}_{new}": row[f"{key}_{old}"] for key in ("seeds", "declared")
             for new, old in ("ab", "ba") if f"{key}_{old}" in row}  # fmt: skip
    return row | {"a": row["b"], "b": row["a"]} | ends | sides


def agreement(one: dict, other: dict) -> str:
    """Say whether two verdicts on a pair agree: SAME, OPPOSITE, ONE_ONLY or OPEN."""
    if (one["verdict"], one["winner"]) == (other["verdict"], other["winner"]):
        return SAME
    decided = [row["winner"] is not None for row in (one, other)]
    return OPPOSITE if all(decided) else ONE_ONLY if any(decided) else OPEN
