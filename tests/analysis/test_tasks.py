"""lm-eval: changes from the SFT base, tested over seeds and documents."""

import fake_runs
import numpy as np
import pytest

from bench.analysis.results import Arm
from bench.analysis.tasks import changes
from bench.report.study import Study
from bench.studies.compare import sentences

ARMS = [Arm("dpo", "dpo"), Arm("ppo", "ppo")]
DOCUMENTS = 73


def scored(scores: dict[tuple[str, int], np.ndarray], kept: bool = True, up: bool = True):
    """Results of one task; scores: {(arm, seed): those of its documents}."""
    head = {"task": "grammar", "metric": "acc"}
    rows = [
        head | {"arm": arm, "seed": seed, "value": values.mean(), "stderr": 0.05}
        | {"n": len(values), "higher_is_better": up}
        for (arm, seed), values in scores.items()
    ]  # fmt: skip
    items = [
        head | {"arm": arm, "seed": seed, "item": i, "value": value}
        for (arm, seed), values in scores.items()
        for i, value in enumerate(values)
    ]
    runs = [{"arm": arm, "seed": seed, "status": "ok"} for arm, seed in scores if arm != "sft"]
    return fake_runs.by_hand(ARMS, {"tasks": rows, "items": items * kept, "runs": runs})


def base() -> np.ndarray:
    return (np.arange(DOCUMENTS) % 3 > 0).astype(float)


def off(*documents: int) -> np.ndarray:
    """The base's scores, with some documents answered the other way."""
    found = base()
    found[list(documents)] = 1 - found[list(documents)]
    return found


def of(results, arm):
    return next(row for row in changes(results) if row.arm == arm)


def test_one_document_that_all_seeds_answer_otherwise_is_no_loss():
    """Over seeds alone the scores agree to the last digit, so that any change looks certain."""
    results = scored({("sft", 0): base()} | {("dpo", seed): off(1) for seed in (1, 2, 3)})
    row = of(results, "dpo")
    assert row.change.mean == pytest.approx(-1 / DOCUMENTS) and row.items == DOCUMENTS
    assert row.change.low < 0 < row.change.high and row.p > 0.1 and not row.is_loss
    (told,) = sentences.tax(Study(results))
    assert told.startswith("No loss on an lm-eval task can be told from chance (tested over seeds")


def test_a_loss_on_many_documents_is_named():
    lost = [i for i in range(DOCUMENTS) if i % 3 and i % 2]
    rng = np.random.default_rng(0)
    runs = {("dpo", seed): off(*lost, int(rng.integers(0, 73, 1)[0])) for seed in (1, 2, 3)}
    results = scored({("sft", 0): base()} | runs)
    row = of(results, "dpo")
    assert row.is_loss and row.change.high < 0 and row.change.over == "seeds and prompts"
    (told,) = sentences.tax(Study(results))
    assert "Holm's correction over 2 changes): DPO on grammar −0." in told
    worse_if_higher = scored({("sft", 0): base()} | runs, up=False)
    assert not of(worse_if_higher, "dpo").is_loss


def test_under_three_seeds_that_ended_nothing_is_tested():
    results = scored({("sft", 0): base()} | {("dpo", seed): 0 * base() for seed in (1, 2)})
    row = of(results, "dpo")
    assert row.change.high < 0 and np.isnan(row.p) and not row.is_loss
    (told,) = sentences.tax(Study(results))
    assert told == "Losses on lm-eval tasks are not tested: that takes 3 seeds or more."


def test_the_family_keeps_its_size_when_an_arm_s_runs_fail():
    runs = {("dpo", s): off(*range(1, 73, 7)) for s in (1, 2, 3)}
    alone = scored({("sft", 0): base()} | runs)
    row = of(alone, "dpo")
    assert [arm.name for arm in ARMS] == ["dpo", "ppo"]
    assert row.p_holm == pytest.approx(min(1, 2 * row.p))


def test_all_tasks_and_arms_are_one_family():
    runs = {("dpo", s): off(*range(1, 73, 7)) for s in (1, 2, 3)}
    runs |= {("ppo", s): off(5) for s in (1, 2, 3)}
    results = scored({("sft", 0): base()} | runs)
    dpo, ppo = of(results, "dpo"), of(results, "ppo")
    assert max(dpo.p_holm, ppo.p_holm) == max(dpo.p, ppo.p)
    assert min(dpo.p_holm, ppo.p_holm) == pytest.approx(2 * min(dpo.p, ppo.p))


def test_without_documents_nothing_is_called_a_loss():
    results = scored({("sft", 0): base()} | {("dpo", s): 0 * base() for s in (1, 2)}, kept=False)
    row = of(results, "dpo")
    assert row.items == 0 and row.change.over == "seeds" and not row.is_loss
    (told,) = sentences.tax(Study(results))
    assert told.endswith("are not tested: the scores of documents were not kept.")
