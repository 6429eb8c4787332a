"""Collecting runs into tables."""

import fake_runs
import numpy as np
import pandas as pd
import pytest

from bench.analysis.results import RUN, Results
from bench.steps import collect
from bench.studies import load


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return fake_runs.collected(
        tmp_path_factory.mktemp("study"), seeds=(1, 2, 3), fail={("ipo", 2): "diverged"}
    )


def test_each_run_is_a_row_failed_ones_too(study):
    runs = study.runs
    assert len(runs) == 12
    assert runs.set_index(["arm", "seed"]).status["ipo", 2] == "diverged"
    assert tuple(runs.columns[:3]) == RUN


def test_tables_lead_with_the_run_and_hold_the_sft(study):
    prompts = study.prompts
    assert len(prompts) == 120 * (11 * fake_runs.DRAWS + fake_runs.BASE_DRAWS)
    assert set(prompts.arm) == {"sft", "ppo", "dpo", "ipo", "orpo"}
    assert len(study.curve) == 11 * 5 * 4 and len(study.log) == 11 * 100


def test_ppo_pays_for_its_reward_model_and_dpo_for_its_share_of_the_reference(study):
    cost = study.cost
    one = cost[(cost.seed == 1) & cost.charged]
    ppo, dpo = one[one.arm == "ppo"], one[one.arm == "dpo"]
    assert ppo[ppo.step == "reward"].wall_s.sum() == pytest.approx(8.0)
    assert dpo[dpo.step == "reference"].wall_s.sum() == pytest.approx(12.0 * 1500 / 3000)
    assert "reward" not in set(dpo.step) and "reference" not in set(ppo.step)
    assert not cost[cost.phase == "curve"].charged.any()
    assert not cost[cost.step == "evaluate"].charged.any()


def test_results_survive_the_disk(study, tmp_path):
    study.write(tmp_path)
    again = Results.read(tmp_path)
    assert again.samples == study.samples and again.meta == study.meta
    numbers = study.cost.astype({"joules": float})
    pd.testing.assert_frame_equal(again.cost, numbers, check_dtype=False)


def test_a_complete_study_has_no_breach(study):
    assert study.meta.complete and study.meta.breaches == []


def test_a_missing_run_is_named(tmp_path):
    root = fake_runs.make(tmp_path, seeds=(1, 2))
    (root / "align/dpo/seed2/run.json").unlink()
    facts = fake_runs.gathered(root, fake_runs.ARMS, (1, 2))[2]
    assert not facts["complete"]
    assert facts["breaches"][0]["values"] == {"dpo seed 2": "missing"}


def test_the_ledger_holds_nothing_of_other_studies(tmp_path):
    names = (
        "sft-sft", "pairs-pool", "pairs-gold-seed1", "align-dpo-seed1", "reward-gold-seed1",
        "evaluate-dpo-seed1", "evaluate-sft-seed0", "reward-gold-seed100", "reward-gold-n375-seed1",
        "align-dpo-trial01-seed100", "tune", "evaluate-dpo-seed2", "align-dpo@0a1b2c3d-seed1",
    )  # fmt: skip
    for name in names:
        row = {"step": name.split("-")[0], "arm": "", "wall_s": 1.0, "cpu_s": 1.0}
        fake_runs.put_json(tmp_path / f"ledger/{name}.json", row)
    member = fake_runs.members(tmp_path, {"dpo": "dpo"}, (1,))
    overhead = [{"step": "imports", "arm": "", "wall_s": 1.0, "cpu_s": 1.0}] * 2  # of two tries
    fake_runs.put_json(tmp_path / "overhead.json", overhead)
    bases = {"sft": fake_runs.layout(tmp_path)}
    table = collect.ledger_table(member, bases, tmp_path / "overhead.json")
    counts = dict(zip(table.step, table.processes, strict=True))
    assert counts == {
        "sft": 1, "pairs": 2, "align": 1, "reward": 1, "evaluate": 2, "imports": 2,
    }  # fmt: skip


def test_an_arm_says_what_it_varies():
    cfg = load("micro")
    assert collect.described(cfg, "ppo").varies == ()
    assert collect.described(cfg, "dpo-betax3").varies == ("beta",)
    assert collect.described(cfg, "ppo-small-batch").varies == ("batch", "minibatch")
    factors = collect.described(cfg, "dpo-lrx3-betax0.33").factors
    assert factors == {"lr": 3.0, "beta": 0.33}
    assert collect.described(cfg, "dpo-n750").n == 750


def test_a_run_from_the_base_pays_for_its_share_of_the_base_s_answers(tmp_path):
    fake_runs.step(tmp_path / "pairs", "pool", 20.0, pairs=3000)
    (tmp_path / "pairs/step.json").rename(tmp_path / "pairs/demonstrations.json")
    run = fake_runs.run_json("orpo-from-base", "orpo", 1)
    run |= {"start": "base", "pairs": 1500, "label_set": "demonstrations"}
    arm = {"preference": "demonstrations", "start": "base"}
    member = fake_runs.members(tmp_path, {"orpo-from-base": "orpo"}, (1,), **arm)
    cost = collect.cost_table(member, [run], [], fake_runs.layout(tmp_path))
    assert cost[cost.step == "demonstrations"].wall_s.sum() == pytest.approx(10.0)


def test_a_study_without_evaluations_shows_the_weights_of_its_runs():
    table = collect.runs_table([fake_runs.run_json("dpo", "dpo", 1)], [])
    assert table.model_sha256[0] == "dpo-1" and not table.evaluated[0]


def test_a_run_of_few_labels_pays_for_the_reward_model_of_as_many(tmp_path):
    for label_set, seconds in (("gold", 8.0), ("gold-n750", 3.0)):
        fake_runs.step(tmp_path / "reward" / label_set / "seed1", "train", seconds)
    run = fake_runs.run_json("ppo-n750", "ppo", 1) | {"label_set": "gold-n750", "pairs": 750}
    member = fake_runs.members(tmp_path, {"ppo-n750": "ppo"}, (1,), n=750)
    cost = collect.cost_table(member, [run], [], fake_runs.layout(tmp_path))
    assert cost[cost.step == "reward"].wall_s.sum() == pytest.approx(3.0)
    assert collect.described(load("tiny"), "ppo-n12").label_set == "gold-n12"


def test_evaluations_left_by_another_study_are_not_read(tmp_path):
    root = fake_runs.make(tmp_path, seeds=(1,))
    members, bases = fake_runs.members(root, fake_runs.ARMS, (1,)), {"sft": fake_runs.layout(root)}
    tables, samples, facts = collect.gather(
        members, next(iter(bases.values())), bases, evaluated=False
    )
    assert facts["complete"] and not samples and not len(tables["prompts"])
    assert not tables["runs"].evaluated.any() and "evaluate" not in set(tables["cost"].step)


def test_scores_of_answers_keep_four_digits():
    table = pd.DataFrame(
        {
            "gold": [0.32690909, -12345.678, 0.0, np.nan, 2.0],
            "kl": [1e-5 / 3, 1.00049, 5, 9.9996, 7],
        }
    )
    found = collect.rounded(table.assign(length=[1, 2, 3, 4, 123456]))
    assert found.gold.tolist()[:3] == [0.3269, -12350.0, 0.0] and np.isnan(found.gold[3])
    assert found.kl.tolist() == [3.333e-06, 1.0, 5.0, 10.0, 7.0]
    assert found.length.tolist()[-1] == 123456
