"""The measures of `bench.analysis.catalogue`, computed from the collected tables.

`summary` turns these into one long table (arm, measure, mean, interval, n), from which the report's
tables and results.csv are drawn.
"""

from dataclasses import asdict

import numpy as np
import pandas as pd

from bench.analysis import statistics as st
from bench.analysis.catalogue import SUMMARY, Measure
from bench.core.names import SFT
from bench.core.thresholds import MARGIN


def unit_of(measure: Measure, meta: dict) -> str:
    """The unit; cost counts device-seconds on a GPU and process CPU-seconds elsewhere."""
    if measure.key == "money":
        return meta["price"]["currency"]
    on_gpu = measure.key == "cost" and seconds(meta) == "wall_s"
    return "GPU-seconds" if on_gpu else measure.unit


def seconds(meta: dict) -> str:
    """The column that cost is counted in: wall time means little where neighbours contend."""
    gpu = str((meta.get("machine") or {}).get("gpu") or "none").lower()
    return "cpu_s" if gpu in ("none", "false") else "wall_s"


def arms_of(meta: dict) -> list[str]:
    """The study's arms in its own order."""
    return [arm["name"] for arm in meta["arms"]]


def base_of(meta: dict) -> dict[str, str]:
    """{arm: the SFT base that it starts from, as the tables call it}; a base is its own."""
    arms = {arm["name"]: arm.get("base", SFT) for arm in meta["arms"]}
    return {base: base for base in (SFT, *arms.values())} | arms


def bases_of(meta: dict) -> list[str]:
    """The SFT bases that arms start from, `sft` first."""
    return list(dict.fromkeys([SFT, *(base_of(meta)[arm] for arm in arms_of(meta))]))


def scores(prompts: pd.DataFrame, arm: str, column: str, families) -> pd.DataFrame:
    """The table seeds x prompts of one arm on the tuned families; prompts with a gap are left out.

    An arm without answers (all runs failed) gives an empty table.
    """
    if "family" not in prompts:
        return pd.DataFrame()
    rows = prompts[(prompts.arm == arm) & prompts.family.isin(families)]
    if column not in rows or rows[column].isna().all():
        return pd.DataFrame()
    table = rows.pivot_table(index="seed", columns="prompt_id", values=column)
    return table.dropna(axis=1)


def paired(a: pd.DataFrame, b: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Two tables of scores cut to what both have: prompts, and seeds unless b is the one SFT."""
    columns = a.columns.intersection(b.columns)
    rows = a.index.intersection(b.index) if len(b) > 1 or not (b.index == 0).all() else a.index
    other = b.loc[rows, columns] if len(b) > 1 or rows.isin(b.index).all() else b[columns]
    return a.loc[rows, columns].to_numpy(float), other.to_numpy(float)


def with_wins(prompts: pd.DataFrame, meta: dict) -> pd.DataFrame:
    """The prompts' table with `win`: 100, 50 or 0 against the answer of the arm's own SFT base to
    the same prompt."""
    if not len(prompts) or "gold" not in prompts:
        return prompts.assign(win=[])
    bases, own = bases_of(meta), prompts.arm.map(base_of(meta))
    gold = prompts[prompts.arm.isin(bases)].set_index(["arm", "prompt_id"]).gold
    asked = pd.MultiIndex.from_arrays([own, prompts.prompt_id])
    wins = 50 * (1 + np.sign(prompts.gold - gold.reindex(asked).to_numpy()))
    return prompts.assign(win=wins.where(~prompts.arm.isin(bases)))


def proxy_scale(reward: pd.DataFrame) -> dict[tuple[str, int], tuple[float, float]]:
    """{(reward model, seed): mean and SD of its scores of the pool's unseen answers}.

    Each seed's reward model has a zero and a unit of its own; in these units they compare.
    """
    wanted = ["reward_model", "seed", "score_mean", "score_sd"]
    if not set(wanted) <= set(reward.columns):
        return {}
    rows = reward[wanted].dropna().query("score_sd > 0").itertuples()
    return {(r.reward_model, r.seed): (r.score_mean, r.score_sd) for r in rows}


def with_scaled_proxy(table: pd.DataFrame, reward: pd.DataFrame, meta: dict) -> pd.DataFrame:
    """A table of prompts or curves, `proxy` in SDs above the pool's answers; NaN: no scale."""
    if "proxy" not in table or not len(table):
        return table
    scale = proxy_scale(reward)
    proxy = table.arm.map({arm["name"]: arm["proxy"] for arm in meta["arms"]})
    unknown = (np.nan, np.nan)
    found = [scale.get(key, unknown) for key in zip(proxy, table.seed, strict=True)]
    mean, sd = np.array(found, float).T
    return table.assign(proxy=(pd.to_numeric(table.proxy, errors="coerce") - mean) / sd)


def charged(cost: pd.DataFrame) -> pd.DataFrame:
    """The rows that a run pays for; not what all share, nor evaluation and curves."""
    return cost[cost.charged.astype(bool) & (cost.arm != "shared") & (cost.arm != SFT)]


def run_costs(cost: pd.DataFrame, column: str) -> pd.DataFrame:
    """What each run was charged by phase: rows arm, method, seed, group, and the column's sum.

    group: the step for what the run needed beforehand, else the phase of training.
    """
    own = charged(cost)
    group = own.phase.where(own.step == "align", own.step.replace("reward", "reward model"))
    keys = ["arm", "method", "seed", "group"]
    table = own.assign(group=group)
    return table.groupby(keys, as_index=False, sort=False)[column].agg(total)


def total(values: pd.Series) -> float:
    """The sum, which is unknown (NaN) where any part is."""
    return values.astype(float).sum(skipna=False)


def cost_of(key: str, arm: str, tables: dict, meta: dict) -> pd.Series:
    """Of an arm's runs that ended, by seed: FLOPs, seconds, joules or money; empty if unknown."""
    column = {"cost": seconds(meta), "money": seconds(meta)}.get(key, key)
    rows = spent(tables["cost"], [column]).merge(ended(tables["runs"]))
    values = rows[rows.arm == arm].set_index("seed")[column].dropna()
    if key != "money":
        return values
    hour = meta["price"]["hour"]
    return values * hour / 3600 if hour is not None else values[:0]


def ends(curve: pd.DataFrame) -> pd.DataFrame:
    """By run, where its curve on validation prompts ended: gold, kl, proxy, entropy; and gain, the
    gold less that of the curve's start, the SFT base."""
    kept = ["gold", "kl", "proxy", "entropy"]
    if not {"family", "gold"} <= set(curve):
        return pd.DataFrame(columns=["arm", "seed", *kept, "gain"])
    rows = curve[curve.family == "all"].sort_values("fraction")
    groups = rows.groupby(["arm", "seed"], sort=False)
    last, first = groups.last(), groups.first()
    return last.reindex(columns=kept).assign(gain=last.gold - first.gold).reset_index()


def spent(cost: pd.DataFrame, columns) -> pd.DataFrame:
    """By run, what it was charged in all, in each of the columns."""
    return charged(cost).groupby(["arm", "seed"], as_index=False)[list(columns)].agg(total)


def preference(tasks: pd.DataFrame, arm: str) -> pd.Series:
    """Held-out preference accuracy in %, by seed."""
    if not len(tasks):
        return pd.Series(dtype=float)
    named = tasks.task.astype(str).str.contains("pref")
    rows = tasks[named & (tasks.arm == arm) & tasks.metric.astype(str).str.startswith("acc")]
    rows = rows[rows.metric == rows.metric.min()] if len(rows) else rows
    return 100 * rows.groupby("seed").value.mean() if len(rows) else pd.Series(dtype=float)


def length_controlled(prompts: pd.DataFrame, arm: str, families, sft: str = SFT) -> pd.Series:
    """By seed, the win rate in % at no difference in length from the answers of ``sft``, the arm's
    base; may be empty.

    prompts: with `win` (see `with_wins`). Prompts that SFT did not answer are left out.
    """
    wins, lengths = (scores(prompts, arm, column, families) for column in ("win", "length"))
    base = scores(prompts, sft, "length", families)
    if not (wins.size and lengths.size and base.size):
        return pd.Series(dtype=float)
    longer = lengths.sub(base.mean()).dropna(axis=1)
    both = wins.columns.intersection(longer.columns)
    rates = {s: win_at_no_difference(wins.loc[s, both], longer.loc[s, both]) for s in wins.index}
    return pd.Series(rates, dtype=float)


def win_at_no_difference(wins, longer) -> float:
    """100 sigmoid(intercept) of a logistic regression of wins (100, 50, 0) on
    tanh(longer / SD) (Dubois et al. 2024, 2404.04475, eq. 1-2); the plain rate where lengths or
    wins do not vary."""
    from sklearn.linear_model import LogisticRegression

    won, longer = np.asarray(wins, float) / 100, np.asarray(longer, float)
    if np.ptp(won) == 0 or np.ptp(longer) == 0:
        return 100 * float(won.mean())
    x = np.tanh(longer / longer.std())[:, None]
    # a tie is half a win and half a loss; the penalty is felt only where length separates the two
    fit = LogisticRegression(C=1e4, tol=1e-8, max_iter=1000).fit(
        np.concatenate([x, x]), np.repeat([1, 0], len(won)), np.concatenate([won, 1 - won])
    )
    return float(100 / (1 + np.exp(-fit.intercept_[0])))


def _interval(measure: Measure, arm: str, tables: dict, meta: dict) -> st.Interval | None:
    """The interval of one measure of one arm; None where it was not measured."""
    if measure.table == "prompts" and measure.column:
        return _of_prompts(measure, arm, tables["prompts"], meta)
    values = by_seed(measure, arm, tables, meta)
    return st.over_seeds(values) if len(values) else None


def by_seed(measure: Measure, arm: str, tables: dict, meta: dict) -> pd.Series:
    """A measure's value of each run of an arm that ended, by seed; empty where there is none."""
    if measure.key == "win_lc":
        base = base_of(meta)[arm]
        return length_controlled(tables["prompts"], arm, meta["tuned_families"], base)
    if measure.table == "prompts":
        return _means(measure, arm, tables["prompts"], meta)
    if measure.key == "preference":
        return preference(tables["tasks"], arm)
    if measure.table == "cost":
        return cost_of(measure.key, arm, tables, meta)
    rows = tables["runs"]
    rows = rows[(rows.arm == arm) & (rows.status == "ok")].set_index("seed")
    return rows[measure.column].dropna() if measure.column in rows else pd.Series(dtype=float)


def _means(measure: Measure, arm: str, prompts, meta: dict) -> pd.Series:
    """The mean over prompts of each run; against SFT over the prompts that both answered."""
    families, sft = meta["tuned_families"], base_of(meta)[arm]
    table = scores(prompts, arm, measure.column, families)
    if not table.size or (measure.against_sft and arm == sft):
        return pd.Series(dtype=float)
    if measure.against_sft:
        base = scores(prompts, sft, measure.column, families)
        table = table - base.iloc[0] if len(base) else table[:0]
    return table.mean(axis=1)


def of_runs(tables: dict, meta: dict) -> pd.DataFrame:
    """One row a run and measure of the summary: arm, seed, measure and value, in its unit."""
    tables = tables | {"prompts": scaled_prompts(tables, meta)}
    rows = [
        (arm, int(seed), measure.key, float(value))
        for arm in arms_of(meta)
        for measure in SUMMARY
        for seed, value in by_seed(measure, arm, tables, meta).items()
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "measure", "value"])


def scaled_prompts(tables: dict, meta: dict) -> pd.DataFrame:
    """The prompts' table with wins against SFT, and the proxy in SDs above the pool's answers."""
    return with_scaled_proxy(with_wins(tables["prompts"], meta), tables["reward"], meta)


def _of_prompts(measure: Measure, arm: str, prompts, meta: dict) -> st.Interval | None:
    """The crossed interval of a column of the prompts' table."""
    families, sft = meta["tuned_families"], base_of(meta)[arm]
    table = scores(prompts, arm, measure.column, families)
    if not table.size or (measure.against_sft and arm == sft):
        return None
    if not measure.against_sft:
        return st.crossed(table)
    base = scores(prompts, sft, measure.column, families)
    return st.paired_difference(*paired(table, base)) if base.size else None


def ended(runs: pd.DataFrame) -> pd.DataFrame:
    """Arm and seed of the runs that ended well."""
    keys = ["arm", "seed"]
    return runs.reindex(columns=[*keys, "status"]).query("status == 'ok'")[keys]


def summary(tables: dict, meta: dict) -> pd.DataFrame:
    """One row an arm and measure: mean, low, high, se, df, seeds, prompts, over, failed runs."""
    tables = tables | {"prompts": scaled_prompts(tables, meta)}
    rows = []
    for arm in [*bases_of(meta), *arms_of(meta)]:
        for measure in SUMMARY:
            interval = _interval(measure, arm, tables, meta)
            if interval is not None:
                head = {"arm": arm, "measure": measure.key, "unit": unit_of(measure, meta)}
                rows.append(head | {"better": measure.better} | asdict(interval))
    columns = ["arm", "measure", "unit", "better", *st.Interval.__dataclass_fields__]
    return pd.DataFrame(rows, columns=columns)


def comparisons(prompts: pd.DataFrame, pairs, families, margin: float = 0.0) -> pd.DataFrame:
    """The declared endpoint, gold, for each (a, b) of one family of questions, Holm-corrected."""
    found = {}
    for a, b in pairs:
        mine, other = scores(prompts, a, "gold", families), scores(prompts, b, "gold", families)
        found[a, b] = paired(mine, other) if mine.size and other.size else None
    return versus(found, margin)


def versus(found: dict, margin: float = 0.0) -> pd.DataFrame:
    """Comparisons from {(a, b): (scores of a, scores of b)}, each [S, P], or None where there are
    none; margin: how small a difference counts as none, for `equivalent` (from ten seeds on)."""
    rows = []
    for (a, b), both in found.items():
        if both is not None and both[0].size:
            diff = st.paired_difference(*both)
            rows.append({"a": a, "b": b, "interval": diff, "p": st.p_value(diff)})
    return decided(rows, margin)


def decided(rows: list[dict], margin: float = 0.0) -> pd.DataFrame:
    """Rows of a, b, interval and p, with Holm's p and a verdict."""
    for row, p in zip(rows, st.holm([r["p"] for r in rows]), strict=True):
        row["p_holm"] = p
        row["verdict"] = st.verdict(row["a"], row["b"], row["interval"], p, margin)
    return pd.DataFrame(rows, columns=["a", "b", "interval", "p", "p_holm", "verdict"])


def margin(prompts: pd.DataFrame, families) -> float:
    """MARGIN SDs of the SFT's gold over prompts: a smaller difference is of no interest."""
    base = scores(prompts, SFT, "gold", families)
    return MARGIN * float(np.std(base.to_numpy(), ddof=1)) if base.size > 1 else 0.0


def tax(tasks: pd.DataFrame, meta: dict) -> pd.DataFrame:
    """lm-eval: one row a task, metric and arm: mean, half-width over seeds, change from its SFT."""
    if not len(tasks):
        return pd.DataFrame(columns=["task", "metric", "arm", "mean", "half", "change", "seeds"])
    rows = []
    for (task, metric), group in tasks.groupby(["task", "metric"], sort=True):
        for arm in [*bases_of(meta), *arms_of(meta)]:
            values, sft = group[group.arm == arm].value, group[group.arm == base_of(meta)[arm]]
            if len(values):
                i = st.over_seeds(values)
                head = {"task": task, "metric": metric, "arm": arm, "mean": i.mean}
                body = {"half": i.half, "change": i.mean - sft.value.mean(), "seeds": i.seeds}
                se, n = sft.stderr.mean(), group.n.max()
                up = bool(group.higher_is_better.iloc[0])
                rows.append(head | body | {"stderr_sft": se, "n": n, "higher_is_better": up})
    return pd.DataFrame(rows)
