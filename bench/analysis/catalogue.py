"""Every measure, declared once: name, formula, unit, direction, source.

The report's tables, the labels of its plots, results.csv and the glossary are made from this table.
`summary` measures have a row an arm in the summary, from a column of a collected table. What a
comparison of two arms is called stands here too: VERDICTS.
"""

from dataclasses import dataclass, field

from bench.core.thresholds import ENTROPY_LEFT, MARGIN, MAX_KL_WORDS

UP, DOWN, NEITHER = "higher is better", "lower is better", "neither"
ARROW = {UP: " ↑", DOWN: " ↓", NEITHER: ""}


@dataclass(frozen=True)
class Measure:
    """One measure. basis: what it rests on, a paper or an instrument; where: the functions that
    compute it, as file:name within bench/; table and column: where the summary finds it;
    against_sft: whether it is the difference from the SFT base on the same prompts."""

    key: str
    label: str
    unit: str
    better: str
    formula: str
    basis: str
    digits: int = 2
    table: str = ""
    column: str = ""
    against_sft: bool = False
    where: tuple[str, ...] = field(kw_only=True)

    @property
    def note(self) -> str:
        """Unit and direction, for the head of a column."""
        return self.unit + ARROW[self.better]

    @property
    def source(self) -> str:
        """What it rests on, and what computes it."""
        return "; ".join(filter(None, [self.basis, *(f"bench/{place}" for place in self.where)]))


GOLD = "the testbed's ground truth, which no method trains on"
CURVE = "training curve on validation prompts"
LOG = "training log"
LEDGER = "ledger of the run"
IN_WORLD = "worlds/*/gold.py:Gold"
IN_SAMPLES = "evaluation/samples.py"
IN_LEDGER = "training/ledger.py:Ledger"
IN_MEASURES = "analysis/measures.py"
IN_HEALTH = "analysis/health.py"
IN_GRID = "analysis/stability.py"

MEASURES = (
    # Quality
    Measure(
        "gold", "Gold reward", "gold", UP,
        "mean gold over test prompts of the families that were tuned",
        GOLD, table="prompts", column="gold", where=(IN_WORLD, f"{IN_MEASURES}:scores"),
    ),
    Measure(
        "gold_delta", "Gold above SFT", "gold", UP,
        "mean over prompts of gold minus the SFT's gold on the same prompt",
        GOLD, table="prompts", column="gold", against_sft=True,
        where=(IN_WORLD, f"{IN_MEASURES}:paired"),
    ),
    Measure(
        "win", "Win rate against SFT", "%", UP,
        "share of prompts where gold is above the SFT's on the same prompt, a tie counts half",
        GOLD, 1, "prompts", "win", where=(f"{IN_MEASURES}:with_wins",),
    ),
    Measure(
        "win_lc", "Length-controlled win rate", "%", UP,
        "win rate that a logistic regression of wins on tanh(difference in length / its SD) "
        "expects where answers are as long as the SFT's; a seed at a time",
        "Dubois et al. 2024, 2404.04475, eq. 1-2, length alone", 1, "prompts",
        where=(f"{IN_MEASURES}:length_controlled",),
    ),
    Measure(
        "kl", "KL from SFT", "nats", NEITHER,
        "full-vocabulary KL per token at temperature 1, summed along the sample, mean over samples",
        "Rao-Blackwellised", table="prompts", column="kl", where=(f"{IN_SAMPLES}:kl_and_entropy",),
    ),
    Measure(
        "length", "Length", "tokens", NEITHER, "mean tokens of an answer, EOS included",
        "", 1, "prompts", "length", where=(f"{IN_SAMPLES}:Measure",),
    ),
    Measure(
        "proxy", "Proxy reward", "SDs", NEITHER,
        "score of the seed's reward model in SDs above its mean over the pool's unseen answers; "
        "only PPO trains against it",
        "", table="prompts", column="proxy", where=(f"{IN_MEASURES}:with_scaled_proxy",),
    ),
    Measure(
        "entropy", "Entropy", "nats/token", NEITHER,
        "mean entropy of the next token along the sample", "",
        table="prompts", column="entropy", where=(f"{IN_SAMPLES}:kl_and_entropy",),
    ),
    Measure(
        "distinct2", "Distinct bigrams", "share", NEITHER,
        "distinct word bigrams over all word bigrams of the samples",
        "Li et al. 2016, 1510.03055", where=(f"{IN_SAMPLES}:distinct_2",),
    ),
    Measure(
        "preference", "Preference accuracy", "%", UP,
        "share of held-out pairs where the preferred answer is the likelier per byte",
        "lm-eval, task preference", 1, "tasks", "preference",
        where=("evaluation/harness.py:lm_eval_rows", f"{IN_MEASURES}:preference"),
    ),
    # Cost of a run
    Measure(
        "flops", "Compute", "FLOPs", DOWN,
        "matrix products of training and of what the run needed (reward model, reference "
        "log-probabilities), 2 a multiply-add, without padding, evaluation and what all share",
        "checked against torch.utils.flop_counter", 0, "cost", "flops",
        where=("models/flops.py:training", "models/flops.py:sampling"),
    ),
    Measure(
        "cost", "Cost of a run", "core-seconds", DOWN,
        "the same in process CPU-seconds (GPU-seconds where there is a GPU); depends on how well "
        "each method is implemented, which FLOPs do not",
        LEDGER, 1, "cost", "seconds", where=(IN_LEDGER, f"{IN_MEASURES}:cost_of"),
    ),
    Measure(
        "memory", "Peak memory", "MiB", DOWN,
        "peak of the charged phases of the training process: allocated by CUDA, else resident "
        "memory above the idle process; the curve's own models left out",
        LEDGER, 0, "runs", "peak_mb", where=("training/ledger.py:MemoryMeter",),
    ),
    Measure(
        "reserved", "Peak reserved", "MiB", DOWN, "peak that CUDA's allocator had reserved",
        LEDGER, 0, "runs", "peak_reserved_mb", where=("training/ledger.py:MemoryMeter",),
    ),
    Measure(
        "resident", "Models in memory", "copies", DOWN,
        "whole copies of the base that training holds", "", 0, "runs",
        "resident_models", where=("methods/ppo/roles.py:Roles",),
    ),
    Measure(
        "generated", "Tokens sampled", "tokens", NEITHER, "tokens drawn during training", LEDGER, 0,
        "runs", "generated_tokens", where=(IN_LEDGER,),
    ),
    Measure(
        "joules", "Energy", "J", DOWN,
        "NVML's counter of the GPU, else RAPL's of the CPU packages, which count neighbours too",
        "", 0, "cost", "joules", where=("training/energy.py:counter",),
    ),
    Measure(
        "money", "Money", "per run", DOWN, "seconds of cost at the price set as price.hour",
        LEDGER, 4, "cost", "money", where=(f"{IN_MEASURES}:cost_of",),
    ),
    # Stability
    Measure(
        "failed", "Failed", "runs", DOWN,
        f"loss or gradient that is no number, KL above {MAX_KL_WORDS}, or out of memory; in the "
        f"grid also gold that ends {MARGIN:g} SDs of the SFT's below it",
        "", where=("training/monitor.py:Monitor", "core/thresholds.py:max_kl", f"{IN_GRID}:cells"),
    ),
    Measure(
        "beat", "Beat SFT", "cells", UP,
        f"cells that end {MARGIN:g} SDs of the SFT's gold above it", "",
        where=(f"{IN_GRID}:rates",),
    ),
    Measure(
        "spread", "Seed spread", "SD of gold", DOWN,
        "standard deviation over seeds of a seed's mean gold", "", 3,
        where=(f"{IN_HEALTH}:stability",),
    ),
    Measure(
        "worst", "Worst seed", "gold", UP, "lowest of the seeds' mean golds", "",
        where=(f"{IN_HEALTH}:stability",),
    ),
    Measure(
        "drawdown", "Drawdown", "gold", DOWN, "highest gold of the curve minus its last", CURVE,
        where=(f"{IN_HEALTH}:by_run",),
    ),
    Measure(
        "spikes", "Gradient spike", "ratio", DOWN,
        "largest gradient norm of training over the median one", LOG, 1,
        where=(f"{IN_HEALTH}:by_run",),
    ),
    Measure(
        "displacement", "Displacement", "nats", NEITHER,
        "change of the mean log-probability of chosen answers, last logged step minus first; of a "
        "whole answer, but a mean per token as ORPO's trainer logs it",
        f"{LOG}; Razin et al. 2024, 2410.08847", 1, where=(f"{IN_HEALTH}:by_run",),
    ),
    Measure(
        "collapsed", "Entropy collapse", "cells", DOWN,
        f"cells that keep less than {100 * ENTROPY_LEFT:.0f} % of the SFT's entropy", CURVE,
        where=(f"{IN_GRID}:rates",),
    ),
    Measure(
        "told", "Does its signal tell?", "rank correlation", UP,
        "Spearman's correlation across cells of gold with the loss on held-out pairs (negated), or "
        "with the reward model's score where training uses it",
        "", where=(f"{IN_GRID}:told",),
    ),
)  # fmt: skip
BY_KEY = {m.key: m for m in MEASURES}
SUMMARY = tuple(m for m in MEASURES if m.table)


@dataclass(frozen=True)
class Verdict:
    """What a comparison of two arms is called, when, and the function that decides it."""

    key: str
    rule: str
    where: tuple[str, ...] = ("analysis/statistics.py:verdict", "analysis/measures.py:comparisons")


VERDICTS = (
    Verdict(
        "better",
        "one of two arms is better where the difference of their gold on the same prompts has a "
        "Holm-corrected p below .05 and is over two seeds or more; its variance is that of seeds "
        "and prompts, crossed",
    ),
    Verdict(
        "equivalent",
        f"two arms are equivalent where the difference of their gold lies within {MARGIN:g} SDs of "
        "the SFT's by two one-sided tests (Schuirmann 1987), from ten seeds on",
    ),
    Verdict("inconclusive", "neither arm is better, and they are not equivalent"),
)
