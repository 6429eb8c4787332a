"""What a run costs: phases that add up, money at the user's price, words for what is unknown."""

from dataclasses import replace

import fake_runs
import pytest

from bench.analysis.costs import spent
from bench.report.study import Study
from bench.studies.compare import costs


@pytest.fixture
def study(tmp_path):
    return fake_runs.study(tmp_path, seeds=(1, 2, 3), fail={("ipo", 3): "diverged"})


def with_cost(study, cost) -> Study:
    """The study with another table of cost."""
    return Study(replace(study.results, cost=cost))


def cells(table) -> dict[str, dict[str, object]]:
    """{row: {arm: cell}}."""
    arms = [name for name, _ in table.header[1:]]
    return {row[0].text: dict(zip(arms, row[1:], strict=True)) for row in table.rows}


@pytest.mark.parametrize("column,key", [("flops", "flops"), ("cpu_s", "cost")])
def test_the_phases_add_up_to_the_run(study, column, key):
    table = costs.by_phase(study, column)
    for arm in study.arms:
        assert table.loc[arm].sum() == pytest.approx(study.interval(arm, key).mean)


def test_ppo_has_phases_that_the_others_do_not(study):
    found = cells(costs.ledger(study))
    assert found["rollouts"]["DPO"].text == found["reward model"]["DPO"].text == "–"
    assert found["rollouts"]["PPO"].text != "–" != found["reward model"]["PPO"].text
    assert found["reference log-probs"]["ORPO"].text == "–"


def test_failed_runs_are_in_no_mean(study):
    ended = study.runs.query("arm == 'ipo' and status == 'ok'").seed
    assert study.interval("ipo", "cost").seeds == len(ended) == 2


def test_money_is_seconds_at_the_price_of_an_hour(study):
    assert cells(costs.ledger(study))["Money"]["PPO"].text == "set price.hour"
    priced = fake_runs.changed(study, price={"hour": 36.0, "currency": "EUR"})
    assert priced.interval("ppo", "money").mean == pytest.approx(
        priced.interval("ppo", "cost").mean / 100
    )
    row = next(r for r in costs.ledger(priced).rows if r[0].text == "Money")
    assert row[0].quiet == "EUR"


def test_energy_is_shown_where_it_was_read_and_named_unknown_where_not(study):
    assert cells(costs.ledger(study))["Energy"]["PPO"].text == "not measurable here"
    cost = study.results.cost
    read = with_cost(study, cost.assign(joules=2.0))
    rows = cost[(cost.arm == "dpo") & (cost.seed == 1) & cost.charged]
    assert read.interval("dpo", "joules").mean == pytest.approx(2.0 * len(rows))


def test_a_run_with_one_unread_phase_has_no_energy(study):
    cost = study.results.cost.assign(joules=2.0)
    cost.loc[(cost.arm == "dpo") & (cost.phase == "train"), "joules"] = None
    assert with_cost(study, cost).interval("dpo", "joules") is None


def test_tuning_stands_apart_from_the_run(study):
    found = {"trials": 16, "flops": 3.1e12, "cpu_s": 450.0, "wall_s": 470.0}
    tuned = fake_runs.changed(study, provenance={"methods": {"dpo": found}})
    row = cells(costs.ledger(tuned))["tuning (all trials)"]
    assert (row["DPO"].text, row["DPO"].quiet) == ("3.1 T", "450 s, 16 trials")
    assert row["PPO"].text == "–"


def test_an_arm_from_the_base_does_without_sft(study):
    *others, orpo = study.meta.arms
    late = fake_runs.changed(study, arms=[*others, replace(orpo, start="base")])
    found = cells(costs.ledger(late))
    assert found["SFT (shared)"]["ORPO"].text == found["pool of pairs (shared)"]["ORPO"].text == "–"
    assert found["base (shared)"]["ORPO"].text != "–" != found["SFT (shared)"]["DPO"].text


def test_shared_steps_are_charged_to_nobody(study):
    shared = costs.shared(study, "cpu_s")
    assert set(shared) == set(costs.SHARED.values()) and all(shared.values())
    assert set(spent(study.results, ("cpu_s",)).arm) == set(study.arms)


def test_seconds_of_shared_gpus_are_said_to_rank_no_method(study):
    assert not costs.neighbours(study)  # tables of runs from before there were slots
    runs = study.runs.assign(gpu_slots=[1] * 3 + [4] * (len(study.runs) - 3))
    (said,) = costs.neighbours(Study(replace(study.results, runs=runs)))
    assert said.startswith(f"{len(runs) - 3} of {len(runs)} runs shared their GPU, with up to 3 ")
    assert said in costs.notes(Study(replace(study.results, runs=runs)))
