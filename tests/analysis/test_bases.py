"""Arms of several SFT bases in one study: each is compared with the base that it starts from."""

from dataclasses import replace

import fake_runs
import numpy as np
import pytest

from bench.analysis import curves, measures, tasks
from bench.analysis.comparisons import Kind, against_sft, against_tuned
from bench.analysis.fairness import breaches
from bench.analysis.results import Arm
from bench.core.layout import Layout
from bench.report.study import Study
from bench.report.words import why_open
from bench.steps.collect import described
from bench.studies import load
from bench.studies.views.analysis import longest

OTHER = "sft@3f9a1c2e"  # as meta.json calls a second base
SHARED = {"arm": "shared", "method": "shared", "seed": 0, "step": "sft", "phase": "train"}
SPENT = {"charged": True, "flops": 1.0, "cpu_s": 1.0, "joules": None}
SEEDS, PROMPTS = (1, 2, 3), range(6)
# Gold: the second base lies 5 above the first; both dpo arms end 1 above their own.
LEVEL = {"sft": 0.0, OTHER: 5.0, "dpo": 1.0, "dpo-base2": 6.0, "ppo": -1.0}


def row(arm: str, seed: int, prompt: int) -> dict:
    """An answer; prompts differ by nature, seeds by luck."""
    gold = LEVEL[arm] + prompt + 0.1 * (-1) ** (seed + prompt) * (seed > 0)
    at = {"prompt_id": prompt, "family": "review", "gold": gold, "length": 10 + prompt + seed}
    return {"arm": arm, "method": arm.partition("-")[0], "seed": seed} | at


def curve_row(arm: str, seed: int, fraction: float) -> dict:
    """A point of a curve, which leads from the arm's base to where it ends."""
    start = 5.0 if arm == "dpo-base2" else 0.0
    gold = start + fraction * (LEVEL[arm] - start)
    at = {"fraction": fraction, "family": "all", "gold": gold}
    return {"arm": arm, "method": arm.partition("-")[0], "seed": seed} | at


ARMS = [
    Arm("dpo", "dpo"),
    Arm("dpo-base2", "dpo", base=OTHER, varies=("sft.seed",)),
    Arm("ppo", "ppo"),
]


@pytest.fixture
def study() -> Study:
    arms, bases = [arm.name for arm in ARMS], ("sft", OTHER)
    runs = [*((a, s) for a in arms for s in SEEDS), *((b, 0) for b in bases)]
    scores = [
        {"arm": a, "seed": s, "task": "grammar", "metric": "acc", "stderr": 0.01, "n": 9}
        | {"value": LEVEL[a] / 10, "higher_is_better": True}
        for a, s in runs
    ]
    tables = {
        "prompts": [row(a, s, p) for a, s in runs for p in PROMPTS],
        "curve": [curve_row(a, s, f) for a in arms for s in SEEDS for f in (0.0, 1.0)],
        "runs": [{"arm": a, "seed": s, "status": "ok"} for a in arms for s in SEEDS],
        "cost": [SHARED | SPENT],
        "tasks": scores,
    }
    families, methods = ["review"], ["ppo", "dpo"]
    return Study(
        fake_runs.by_hand(ARMS, tables, seeds=SEEDS, tuned_families=families, methods=methods)
    )


def test_the_base_of_an_arm_is_sft_unless_it_says_another(study):
    assert study.base == {
        "sft": "sft",
        OTHER: OTHER,
        "dpo": "sft",
        "dpo-base2": OTHER,
        "ppo": "sft",
    }
    assert study.bases == ["sft", OTHER]


def test_each_arm_is_measured_against_its_own_base(study):
    for name, gain in {"dpo": 1, "dpo-base2": 1, "ppo": -1}.items():
        assert study.interval(name, "gold_delta").mean == pytest.approx(gain)
        assert study.interval(name, "win").mean == (100 if gain > 0 else 0)
        assert study.by_seed(name, "gold_delta").mean() == pytest.approx(gain)
        curve = curves.of_arm(study.results, name)
        assert curve.groupby("fraction").gain.mean()[1.0] == pytest.approx(gain)
    values = measures.of_runs(study.results)
    runs = values[(values.arm == "dpo-base2") & (values.measure == "gold_delta")].value
    assert len(runs) == len(SEEDS) and runs.mean() == pytest.approx(1)


def test_a_base_is_measured_but_gains_nothing_on_itself(study):
    assert study.interval(OTHER, "gold").mean == pytest.approx(7.5)
    for base in study.bases:
        assert study.interval(base, "gold_delta") is None
        assert study.interval(base, "win") is None


def test_the_verdict_against_sft_is_against_one_s_own(study):
    found = against_sft(study.results)
    assert {row.b for row in found} == {"sft"}
    second, ppo = (found.between(name, "sft") for name in ("dpo-base2", "ppo"))
    assert second.interval.mean == pytest.approx(1)
    assert (second.kind, second.winner, second.loser) == (Kind.BETTER, "dpo-base2", "sft")
    assert (ppo.kind, ppo.winner, ppo.loser) == (Kind.BETTER, "sft", "ppo")


def test_lm_eval_changes_from_the_arm_s_own_base(study):
    found = {row.arm: row.change.mean for row in tasks.changes(study.results)}
    assert found["dpo-base2"] == pytest.approx(0.1) and found["dpo"] == pytest.approx(0.1)
    assert found[OTHER] == found["sft"] == 0


def test_an_arm_of_another_base_is_in_no_sweep_and_no_view(study):
    assert study.sweeps == []
    assert curves.from_base(study.results) == ["dpo", "ppo"]
    assert curves.from_base(study.results, OTHER) == ["dpo-base2"]
    assert "dpo-base2" not in longest(study.meta.arms).values()


def test_meta_names_the_base_of_each_arm():
    words = ["arms.dpo-base2={method: dpo, sft: {seed: 2}}", "studies.mine=[dpo, dpo-base2]"]
    cfg = load("tiny", [*words, "study=mine"])
    plain, other = (described(cfg, name) for name in ("dpo", "dpo-base2"))
    assert (plain.base, plain.varies) == ("sft", ())
    assert (other.base, other.varies) == ([*cfg.sft_bases][1], ("sft.seed",))
    assert isinstance(cfg.sft_bases[other.base], Layout)


def entry(name: str, seed: int, base: str, weights: str) -> dict:
    """As much of a run as says what it starts from."""
    run = {"arm": name, "method": "dpo", "seed": seed, "status": "ok", "label_set": "gold"}
    run |= {"preference": "gold", "base": base, "drawn_from": base, "hashes": {"start": weights}}
    return run | {"folder_arm": name, "folder_seed": seed, "evaluation": None}


def started(ledger: list[dict], starts: dict | None = None) -> list[dict]:
    """The breaches of what runs start from."""
    found = breaches(ledger, starts, evaluations_expected=False)
    return [b for b in found if b["field"] == "hashes.start"]


def evaluated(weights: str, prompts: str = "t0") -> dict:
    """The eval.json of an SFT base."""
    known = {"arm": "sft", "seed": 0, "status": "ok"}
    return known | {"model_sha256": weights, "prompts_sha256": prompts}


def test_runs_of_one_base_start_from_the_same_weights():
    one = [entry("dpo", seed, "sft", "a") for seed in (1, 2)]
    two = [entry("dpo-base2", seed, OTHER, "b") for seed in (1, 2)]
    starts = {"sft": evaluated("a"), OTHER: evaluated("b")}
    assert started([*one, *two], starts) == []
    assert "base" not in {b["field"] for b in breaches([*one, *two], starts, False)}
    mixed = [*one, two[0], entry("dpo-base2", 2, OTHER, "a")]
    (breach,) = started(mixed, starts)
    assert breach["values"] == {
        "dpo-base2 seed 1": "b",
        "dpo-base2 seed 2": "a",
        f"{OTHER} seed 0": "b",
    }
    (breach,) = started([*one, *two], starts | {OTHER: evaluated("c")})
    assert breach["values"][f"{OTHER} seed 0"] == "c"


def test_no_base_hides_another():
    """Each is an entry of its own: of the first one, too, the prompts are compared."""
    ledger = [entry("dpo", 1, "sft", "a"), entry("dpo-base2", 1, OTHER, "b")]
    starts = {"sft": evaluated("a", "t1"), OTHER: evaluated("b")}
    found = {b["field"]: b["values"] for b in breaches(ledger, starts, False)}
    asked = found["evaluation.prompts_sha256"]
    assert asked == {"sft seed 0": "t1", f"{OTHER} seed 0": "t0"}


def test_arms_of_two_bases_get_no_verdict_where_runs_failed():
    """A failed run leaves its user with the base of its arm, so that gains do not compare."""
    seeds = range(1, 13)
    arms = [ARMS[0], ARMS[1]]
    runs = [*((a.name, s) for a in arms for s in seeds if s > 1), ("sft", 0), (OTHER, 0)]
    level = {"dpo": 5.5, "dpo-base2": 5.5, "sft": 0.0, OTHER: 5.0}
    rng = np.random.default_rng(0)
    prompts = [row(a, s, p) | {"gold": level[a] + rng.normal(0, 0.2)}
               for a, s in runs for p in range(30)]  # fmt: skip
    status = [{"arm": a.name, "seed": s, "status": "ok" if s > 1 else "oom"}
              for a in arms for s in seeds]  # fmt: skip
    more = {"tuned_families": ["review"], "methods": ["dpo"]}
    results = fake_runs.by_hand(arms, {"prompts": prompts, "runs": status}, seeds=seeds, **more)
    (found,) = against_tuned(results)
    assert found.interval.seeds == 11 and abs(found.interval.mean) < 0.1
    assert replace(found, margin=1.0).kind is Kind.INCONCLUSIVE and found.expected is None
    assert why_open(found) == ": runs failed, and the arms have two SFT bases"
