"""Arms with candidates: each run counts at the candidate that the other seeds picked."""

import fake_runs
import pytest

from bench.analysis import picks
from bench.analysis.results import Arm, Results
from bench.report import reference
from bench.report.study import Study

SEEDS = (1, 2, 3)
GAIN = {"orpo": 0.4, "orpo-a": 0.5, "orpo-a-slow": 0.9, "orpo-a-fast": 0.1}


def results(fail=(), gains=None, missing=()) -> Results:
    """Gold is the gain; gains: {(arm, seed): another one on validation prompts}."""
    arms = [Arm("orpo", "orpo"), Arm("orpo-a", "orpo", sets={"lr": 2.0}, factors={"lr": 2.0})]
    arms += [
        Arm(f"orpo-a-{name}", "orpo", sets={"lr": lr}, factors={"lr": lr}, candidate_of="orpo-a")
        for name, lr in (("slow", 1.0), ("fast", 6.0))
    ]
    tables = {name: [] for name in picks.OF_RUNS} | {
        "prompts": [
            {"arm": "sft", "seed": 0, "prompt_id": 0, "draw": 0, "family": "review", "gold": 0.0}
        ]
    }
    for arm in arms:
        for seed in SEEDS:
            if (arm.name, seed) in missing:
                continue
            key = {"arm": arm.name, "method": arm.method, "seed": seed}
            status = "diverged" if (arm.name, seed) in fail else "ok"
            tables["runs"].append(key | {"status": status, "settings": '{"lr": 1.0}'})
            tables["cost"].append(key | {"step": "align", "flops": GAIN[arm.name]})
            seen = (gains or {}).get((arm.name, seed), GAIN[arm.name])
            tables["curve"] += [
                key | {"fraction": f, "family": "all", "gold": f * seen} for f in (0.0, 1.0)
            ]
            at = {"prompt_id": 0, "draw": 0, "family": "review", "gold": GAIN[arm.name]}
            tables["prompts"].append(key | at)
    samples = [{"arm": a.name, "seed": s, "text": a.name} for a in arms for s in SEEDS]
    made = fake_runs.by_hand(
        arms,
        tables,
        seeds=SEEDS,
        methods=["orpo"],
        tuned_families=["review"],
        planned={arm.name: list(SEEDS) for arm in arms},
    )
    made.samples = samples
    return picks.reduced(made)


def test_an_arm_counts_at_its_best_candidate_in_every_table():
    found = results()
    assert found.arms == ["orpo", "orpo-a"]
    assert found.meta.planned == {"orpo": [1, 2, 3], "orpo-a": [1, 2, 3]}
    mine = found.runs[found.runs.arm == "orpo-a"]
    assert mine.seed.tolist() == [1, 2, 3] and set(mine.candidate) == {"orpo-a-slow"}
    assert found.scores("orpo-a").to_numpy().tolist() == [[0.9]] * 3
    assert found.scores("orpo").to_numpy().tolist() == [[0.4]] * 3
    assert found.scores("sft").to_numpy().tolist() == [[0.0]]
    assert set(found.cost[found.cost.arm == "orpo-a"].flops) == {0.9}
    assert {s["text"] for s in found.samples if s["arm"] == "orpo-a"} == {"orpo-a-slow"}
    for name in picks.OF_RUNS:
        assert set(getattr(found, name).arm) <= {"sft", "orpo", "orpo-a"}


def test_no_seed_picks_its_own_candidate():
    """The lucky run of seed 2 moves the pick of the other seeds, never that of seed 2."""
    lucky = results(gains={("orpo-a-fast", 2): 50.0})
    assert lucky.meta.picks["orpo-a"].picked == ["orpo-a-fast", "orpo-a-slow", "orpo-a-fast"]


def test_a_failed_run_counts_as_no_gain_and_is_kept_where_it_counts():
    fail = {("orpo-a-slow", 1), ("orpo-a-slow", 2)}
    found = results(fail)
    assert found.meta.picks["orpo-a"].picked == ["orpo-a", "orpo-a", "orpo-a"]
    fail = {("orpo-a-slow", 1)}  # mean over seeds 2 and 3: 0.9; over 1 and another: 0.45
    found = results(fail)
    assert found.meta.picks["orpo-a"].picked == ["orpo-a-slow", "orpo-a", "orpo-a"]
    assert (found.share_ended("orpo-a").count, found.share_ended("orpo-a").n) == (2, 3)


def test_a_missing_run_is_no_failure():
    found = results(missing={("orpo-a-slow", 1), ("orpo-a-slow", 2)})
    assert found.meta.picks["orpo-a"].picked == ["orpo-a-slow", "orpo-a-slow", "orpo-a"]
    assert found.meta.picks["orpo-a"].gains[1] == [None, None, 0.9]
    assert len(found.runs[found.runs.arm == "orpo-a"]) == 1


def test_equal_candidates_leave_the_arm_as_it_is():
    gains = {(arm, seed): 0.3 for arm in GAIN for seed in SEEDS}
    assert set(results(gains=gains).meta.picks["orpo-a"].picked) == {"orpo-a"}


def test_results_without_candidates_stay_what_they_are():
    made = fake_runs.by_hand([Arm("dpo", "dpo")], {"runs": []}, seeds=SEEDS)
    assert picks.reduced(made) is made


def test_picks_travel_with_the_tables_and_show_on_the_page(tmp_path):
    found = results()
    found.write(tmp_path)
    read = Results.read(tmp_path)
    assert read.meta.picks == found.meta.picks
    table = reference.candidates(Study(read))
    assert [cell.text for cell in table.rows[1][1:4]] == ["orpo-a-slow", "+0.90", "3 of 3"]
    assert reference.trained(Study(read), "orpo-a", 2) == "orpo-a-slow"
    assert reference.trained(Study(read), "orpo", 2) == "orpo"
    assert pytest.approx(0.9) == read.scores("orpo-a").to_numpy().mean()
