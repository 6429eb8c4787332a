"""Every measure, declared once: name, formula, unit, direction, source.

The report's tables, the labels of its plots, results.csv and the glossary are made from this table.
`summary` measures have a row an arm in the summary, from a column of a collected table; the others
are computed by the module that their `source` names.
"""

from dataclasses import dataclass

from bench.core.thresholds import ENTROPY_LEFT, MARGIN, MAX_KL_WORDS

UP, DOWN, NEITHER = "higher is better", "lower is better", "neither"
ARROW = {UP: " ↑", DOWN: " ↓", NEITHER: ""}


@dataclass(frozen=True)
class Measure:
    """One measure. table and column: where the summary finds it; against_sft: whether it is the
    difference from the SFT base on the same prompts."""

    key: str
    label: str
    unit: str
    better: str
    formula: str
    source: str
    digits: int = 2
    table: str = ""
    column: str = ""
    against_sft: bool = False

    @property
    def note(self) -> str:
        """Unit and direction, for the head of a column."""
        return self.unit + ARROW[self.better]


GOLD = "the testbed's ground truth (bench/data), which no method trains on"
CURVE = "training curve on validation prompts (bench/monitor.py)"
LEDGER = "ledger of the run (bench/record.py)"

MEASURES = (
    # Quality
    Measure(
        "gold", "Gold reward", "gold", UP,
        "mean gold over test prompts of the families that were tuned",
        GOLD, table="prompts", column="gold",
    ),
    Measure(
        "gold_delta", "Gold above SFT", "gold", UP,
        "mean over prompts of gold minus the SFT's gold on the same prompt",
        GOLD, table="prompts", column="gold", against_sft=True,
    ),
    Measure(
        "win", "Win rate against SFT", "%", UP,
        "share of prompts where gold is above the SFT's on the same prompt, a tie counts half",
        GOLD, 1, "prompts", "win",
    ),
    Measure(
        "win_lc", "Length-controlled win rate", "%", UP,
        "win rate that a logistic regression of wins on tanh(difference in length / its SD) "
        "expects where answers are as long as the SFT's; a seed at a time",
        "Dubois et al. 2024, 2404.04475, eq. 1-2, length alone", 1, "prompts",
    ),
    Measure(
        "kl", "KL from SFT", "nats", NEITHER,
        "full-vocabulary KL per token at temperature 1, summed along the sample, mean over samples",
        "Rao-Blackwellised; bench/measure.py", table="prompts", column="kl",
    ),
    Measure(
        "length", "Length", "tokens", NEITHER, "mean tokens of an answer, EOS included",
        "bench/measure.py", 1, "prompts", "length",
    ),
    Measure(
        "proxy", "Proxy reward", "SDs", NEITHER,
        "score of the seed's reward model in SDs above its mean over the pool's unseen answers; "
        "only PPO trains against it",
        "bench/reward.py", table="prompts", column="proxy",
    ),
    Measure(
        "entropy", "Entropy", "nats/token", NEITHER,
        "mean entropy of the next token along the sample", "bench/measure.py",
        table="prompts", column="entropy",
    ),
    Measure(
        "distinct2", "Distinct bigrams", "share", NEITHER,
        "distinct word bigrams over all word bigrams of the samples",
        "Li et al. 2016, 1510.03055",
    ),
    Measure(
        "preference", "Preference accuracy", "%", UP,
        "share of held-out pairs where the preferred answer is the likelier per byte",
        "lm-eval, task preference", 1, "tasks", "preference",
    ),
    # Cost of a run
    Measure(
        "flops", "Compute", "FLOPs", DOWN,
        "matrix products of training and of what the run needed (reward model, reference "
        "log-probabilities), 2 a multiply-add, without padding, evaluation and what all share",
        "bench/flops.py, checked against torch.utils.flop_counter", 0, "cost", "flops",
    ),
    Measure(
        "cost", "Cost of a run", "core-seconds", DOWN,
        "the same in process CPU-seconds (GPU-seconds where there is a GPU); depends on how well "
        "each method is implemented, which FLOPs do not",
        LEDGER, 1, "cost", "seconds",
    ),
    Measure(
        "memory", "Peak memory", "MiB", DOWN,
        "peak of the charged phases of the training process: allocated by CUDA, else resident "
        "memory above the idle process; the curve's own models left out",
        LEDGER, 0, "runs", "peak_mb",
    ),
    Measure(
        "reserved", "Peak reserved", "MiB", DOWN, "peak that CUDA's allocator had reserved",
        LEDGER, 0, "runs", "peak_reserved_mb",
    ),
    Measure(
        "resident", "Models in memory", "copies", DOWN,
        "whole copies of the base that training holds", "bench/roles.py", 0, "runs",
        "resident_models",
    ),
    Measure(
        "generated", "Tokens sampled", "tokens", NEITHER, "tokens drawn during training", LEDGER, 0,
        "runs", "generated_tokens",
    ),
    Measure(
        "joules", "Energy", "J", DOWN,
        "NVML's counter of the GPU, else RAPL's of the CPU packages, which count neighbours too",
        "bench/energy.py", 0, "cost", "joules",
    ),
    Measure(
        "money", "Money", "per run", DOWN, "seconds of cost at the price set as price.hour",
        LEDGER, 4, "cost", "money",
    ),
    # Stability
    Measure(
        "failed", "Failed", "runs", DOWN,
        f"loss or gradient that is no number, KL above {MAX_KL_WORDS}, or out of memory; in the "
        f"grid also gold that ends {MARGIN:g} SDs of the SFT's below it",
        "bench/thresholds.py",
    ),
    Measure(
        "beat", "Beat SFT", "cells", UP,
        f"cells that end {MARGIN:g} SDs of the SFT's gold above it", "bench/thresholds.py",
    ),
    Measure(
        "spread", "Seed spread", "SD of gold", DOWN,
        "standard deviation over seeds of a seed's mean gold", "bench/analysis/stability.py", 3,
    ),
    Measure(
        "worst", "Worst seed", "gold", UP, "lowest of the seeds' mean golds",
        "bench/analysis/stability.py",
    ),
    Measure(
        "drawdown", "Drawdown", "gold", DOWN, "highest gold of the curve minus its last", CURVE,
    ),
    Measure(
        "spikes", "Gradient spike", "ratio", DOWN,
        "largest gradient norm of training over the median one", "training log", 1,
    ),
    Measure(
        "displacement", "Displacement", "nats", NEITHER,
        "change of the mean log-probability of chosen answers, last logged step minus first; of a "
        "whole answer, but a mean per token as ORPO's trainer logs it",
        "training log; Razin et al. 2024, 2410.08847", 1,
    ),
    Measure(
        "collapsed", "Entropy collapse", "cells", DOWN,
        f"cells that keep less than {100 * ENTROPY_LEFT:.0f} % of the SFT's entropy", CURVE,
    ),
    Measure(
        "told", "Does its signal tell?", "rank correlation", UP,
        "Spearman's correlation across cells of gold with the loss on held-out pairs (negated), or "
        "with the reward model's score where training uses it",
        "bench/analysis/grid.py",
    ),
)  # fmt: skip
BY_KEY = {m.key: m for m in MEASURES}
SUMMARY = tuple(m for m in MEASURES if m.table)
