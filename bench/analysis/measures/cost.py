"""Measure cost: what a run took, with what it needed beforehand."""

import pandas as pd

from bench.analysis import costs
from bench.analysis.measure import DOWN, NEITHER, SCALED, measure
from bench.analysis.results import Results

LEDGER = "ledger of the run"
LEDGER_IN, METER = ("training/ledger.py:Ledger",), ("training/ledger.py:MemoryMeter",)


@measure(
    "Compute", "FLOPs", DOWN, digits=0, form=SCALED, shown=("scorecard",),
    source="checked against torch.utils.flop_counter",
    made_by=("models/flops.py:training", "models/flops.py:sampling"),
)  # fmt: skip
def flops(results: Results, arm: str) -> pd.Series:
    """FLOPs of the matrix products of training and of what the run needed beforehand (reward model,
    reference log-probabilities), 2 per multiply-add; without padding, evaluation and shared steps.
    """
    return costs.of_arm(results, arm, "flops")


@measure(
    "Cost of a run", "core-seconds, or GPU-seconds", DOWN, unit_of=costs.seconds_name,
    source=LEDGER, digits=1, shown=("scorecard",), made_by=LEDGER_IN,
)  # fmt: skip
def cost(results: Results, arm: str) -> pd.Series:
    """Process CPU-seconds of the same work as for Compute (GPU-seconds if there is a GPU). Unlike
    FLOPs, they depend on how well each method is implemented."""
    return costs.of_arm(results, arm, costs.seconds(results.meta))


@measure(
    "Peak memory", "MiB", DOWN, source=LEDGER, digits=0, shown=("scorecard", "ledger"),
    made_by=METER,
)  # fmt: skip
def memory(results: Results, arm: str) -> pd.Series:
    """Peak over the charged phases of training and, where a run is charged them, over the reward
    model's training and the reference log-probs: memory allocated by CUDA, else resident memory
    above the idle process; without the models that only measure the curve."""
    own, before = of_runs(results, arm, "peak_mb"), reward_peaks(results, arm)
    reference = of_runs(results, arm, "reference_peak_mb").astype(float)
    return pd.concat([own, before[before.index.isin(own.index)], reference], axis=1).max(axis=1)


def reward_peaks(results: Results, arm: str) -> pd.Series:
    """Return the peak of training the reward model of each of an arm's runs that is charged it."""
    rows = costs.charged(results)
    seeds = rows[(rows.arm == arm) & (rows.step == "reward")].seed.unique()
    name = next((a.proxy for a in results.meta.arms if a.name == arm), None)
    trained = results.reward[results.reward.reward_model == name].set_index("seed").peak_mb
    return trained[trained.index.isin(seeds)].astype(float)


@measure("Peak reserved", "MiB", DOWN, source=LEDGER, digits=0, shown=("ledger",), made_by=METER)
def reserved(results: Results, arm: str) -> pd.Series:
    """Peak memory that CUDA's allocator had reserved."""
    return of_runs(results, arm, "peak_reserved_mb")


@measure(
    "Models in memory", "copies", DOWN, digits=0, shown=("ledger",),
    made_by=("methods/ppo/roles.py:Roles",),
)  # fmt: skip
def resident(results: Results, arm: str) -> pd.Series:
    """Whole copies of the base model that training holds."""
    return of_runs(results, arm, "resident_models")


@measure(
    "Tokens sampled", "tokens", NEITHER, source=LEDGER, digits=0, shown=("ledger",),
    made_by=LEDGER_IN,
)  # fmt: skip
def generated(results: Results, arm: str) -> pd.Series:
    """Tokens drawn during training."""
    return of_runs(results, arm, "generated_tokens")


@measure("Energy", "J", DOWN, shown=("ledger",), made_by=("training/energy.py:counter",))
def joules(results: Results, arm: str) -> pd.Series:
    """NVML's counter of the GPU, else RAPL's counter of the CPU packages; both count all that runs
    on the device."""
    return costs.of_arm(results, arm, "joules")


@measure(
    "Money", "currency of price.currency", DOWN, unit_of=lambda meta: meta.price["currency"],
    source=LEDGER, digits=4, shown=("ledger",),
)  # fmt: skip
def money(results: Results, arm: str) -> pd.Series:
    """Seconds of cost at the price set as price.hour."""
    hour = results.meta.price["hour"]
    values = costs.of_arm(results, arm, costs.seconds(results.meta))
    return values[:0] if hour is None else values * hour / 3600


def of_runs(results: Results, arm: str, column: str) -> pd.Series:
    """Return a column of an arm's ended runs, by seed."""
    rows = results.runs
    return rows[(rows.arm == arm) & (rows.status == "ok")].set_index("seed")[column]
