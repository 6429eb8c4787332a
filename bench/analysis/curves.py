"""Describe training, from the curves on validation prompts and from the logs."""

import pandas as pd

from bench.analysis.proxy import with_scaled_proxy
from bench.analysis.results import Results, once
from bench.core.names import SFT

ENDS = ("gold", "kl", "proxy", "entropy")


def overall(results: Results) -> pd.DataFrame:
    """Return the points of all curves, over all families of prompts, in the order of training."""
    rows = results.curve
    return rows[rows.family == "all"].sort_values("fraction")


@once
def ends(results: Results) -> pd.DataFrame:
    """Return where each run's curve ended: ENDS and gain, one row per run.

    gain: gold minus that at the start of the curve, which is the SFT base; proxy: in the reward
    model's own unit.
    """
    groups = overall(results).groupby(["arm", "seed"], sort=False)
    last, first = groups.last(), groups.first()
    return last[list(ENDS)].assign(gain=last.gold - first.gold).reset_index()


def from_base(results: Results, base: str = SFT) -> list[str]:
    """Return the arms whose curves start at an SFT base, all on the same prompts and draws."""
    return [a.name for a in results.meta.arms if (a.start, a.base) == ("sft", base)]


def of_arm(results: Results, arm: str) -> pd.DataFrame:
    """Return the training curves of an arm, with `gain` (gold minus its SFT base's) and `proxy` in
    SDs."""
    rows = results.curve
    rows = rows[rows.family == "all"].sort_values(["seed", "fraction"])
    starts = rows[(rows.fraction == 0) & rows.arm.isin(from_base(results, results.base[arm]))]
    rows = rows[rows.arm == arm]
    return with_scaled_proxy(rows.assign(gain=rows.gold - starts.gold.mean()), results, arm)


def of_ended(results: Results, arm: str) -> pd.DataFrame:
    """Return the training curves of an arm's runs that ended."""
    rows, ended = of_arm(results, arm), results.ended()
    return rows[rows.seed.isin(ended[ended.arm == arm].seed)]


@once
def health(results: Results, fractions: tuple[float, ...] | None = None) -> pd.DataFrame:
    """Return what each run's training looked like, from its curve and its log, one row per run.

    drawdown: highest gold minus the last; entropy_left: last entropy as a share of the first;
    spikes: largest gradient norm over the median; displacement: change of the log-prob of chosen
    answers, in nats. fractions: use only these points of the curve, since runs may have different
    ones.
    """
    curves = _of_curves(overall(results), fractions)
    return curves.merge(_of_logs(results.log), how="outer", on=["arm", "seed"])


def _of_curves(rows: pd.DataFrame, fractions) -> pd.DataFrame:
    rows = rows[rows.fraction.isin(fractions)] if fractions else rows
    runs = rows.groupby(["arm", "seed"])
    drawdown = runs.gold.max() - runs.gold.last()
    left = runs.entropy.last() / runs.entropy.first()
    return pd.DataFrame({"drawdown": drawdown, "entropy_left": left}).reset_index()


def _of_logs(log: pd.DataFrame) -> pd.DataFrame:
    runs = log.sort_values("step").groupby(["arm", "seed"])
    spikes = runs.grad_norm.max() / runs.grad_norm.median()
    moved = runs.logps_chosen.last() - runs.logps_chosen.first()
    return pd.DataFrame({"spikes": spikes, "displacement": moved}).reset_index()
