"""What a measure is, how they are found; by hand, the win rate that does not count length."""

import ast
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import fake_runs
import numpy as np
import pytest
from scipy import optimize

from bench.analysis import measures
from bench.analysis import statistics as st
from bench.analysis.measure import DOWN, NEITHER, UP, Measure, measure
from bench.analysis.measures import MEASURES, SUMMARY, entries, quality
from bench.analysis.measures.quality import win, win_at_no_difference, win_lc
from bench.analysis.results import Arm

REPO = Path(__file__).parents[2]
NEWCOMER = """
from bench.analysis.measure import UP, measure
from bench.analysis.measures.quality import length


@measure("Twice", "tokens", UP)
def twice(results, arm):
    \"\"\"Twice the length.\"\"\"
    return 2 * length(results, arm)


def helper(results, arm):
    return twice(results, arm)
"""


# --- what a measure is


@measure("Answers", "answers", DOWN, digits=0, unit_of=lambda meta: f"answers of {meta.testbed}")
def answers(results, arm, *more):
    """Count the answers of an arm,
    failed runs left out."""
    return (results, arm, *more)


def test_a_measure_is_named_and_explained_by_its_function():
    assert isinstance(answers, Measure)
    assert (answers.key, answers.label, answers.unit) == ("answers", "Answers", "answers")
    assert answers.formula == "Count the answers of an arm, failed runs left out."
    assert (answers.better, answers.digits, answers.interval) == (DOWN, 0, True)
    assert answers("results", "dpo") == ("results", "dpo")
    assert answers.unit_in(SimpleNamespace(testbed="micro")) == "answers of micro"


def test_words_stand_for_a_docstring():
    said = measure("Said", "runs", UP, words="In  other\n words.")(lambda results, arm: 1)
    assert said.formula == "In other words." and said.unit_in(None) == "runs"


def test_a_measure_without_words_says_nothing():
    assert measure("Mute", "runs", NEITHER)(lambda results, arm: 1).formula == ""


@pytest.mark.parametrize("found", MEASURES, ids=lambda m: m.key)
def test_every_measure_is_declared_in_full(found):
    assert found.label and found.unit and found.formula.endswith(".")
    assert found.better in (UP, DOWN, NEITHER)
    *_, own = found.where
    file, _, name = own.partition(":")
    assert name == found.key == found.function.__name__
    body = ast.parse((REPO / "bench" / file).read_text()).body
    assert name in {getattr(node, "name", "") for node in body}


def test_keys_are_unique():
    keys = [m.key for m in MEASURES]
    assert len(set(keys)) == len(keys) and list(measures.BY_KEY) == keys


# --- how they are found


def module(code: str, name: str = "newcomer") -> ModuleType:
    made = ModuleType(name)
    exec(code, made.__dict__)
    return made


def test_a_module_declares_its_own_measures_and_none_that_it_imports():
    (found,) = entries(module(NEWCOMER))
    assert (found.key, found.label, found.formula) == ("twice", "Twice", "Twice the length.")
    assert entries(module("X = 1")) == []


def test_measures_stand_in_the_order_of_their_module():
    declared = [m.key for m in MEASURES if m.function.__module__ == quality.__name__]
    assert [m.key for m in entries(quality)] == declared
    assert declared[:3] == ["gold", "gold_delta", "expected_gain"]
    assert list(measures.MODULES)[:3] == ["quality", "cost", "stability"]


def test_a_module_that_is_dropped_in_is_found(tmp_path):
    shutil.copytree(REPO / "bench", tmp_path / "bench")
    (tmp_path / "bench/analysis/measures/newcomer.py").write_text(NEWCOMER)
    code = "import json; from bench.analysis.measures import SUMMARY; "
    code += "print(json.dumps([[m.key, m.where[-1]] for m in SUMMARY]))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(tmp_path)})  # fmt: skip
    found = json.loads(done.stdout)
    assert found[:-1] == [[m.key, m.where[-1]] for m in SUMMARY]
    assert found[-1] == ["twice", "analysis/measures/newcomer.py:twice"]


# --- what is made of them


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return fake_runs.collected(
        tmp_path_factory.mktemp("study"), seeds=(1, 2, 3), fail={("ipo", 2): "diverged"}
    )


def test_the_summary_holds_the_interval_of_every_measure_and_arm(results):
    table = measures.summary(results).set_index(["arm", "measure"])
    assert not table.index.duplicated().any()
    row = table.loc["dpo", "gold"]
    assert row["mean"] == st.crossed(results.scores("dpo")).mean and row.over == "seeds and prompts"
    assert measures.interval(results, "dpo", "gold") == st.crossed(results.scores("dpo"))
    assert measures.interval(results, "sft", "gold_delta") is None
    flops = measures.interval(results, "dpo", "flops")
    assert (flops.seeds, flops.over) == (3, "seeds")
    assert set(table.loc["ppo"].index) >= {"gold", "win", "kl", "flops", "cost", "memory"}


def test_peak_memory_covers_all_that_a_run_is_charged(results):
    """The reward model's training for PPO; for DPO the reference log-probs, of 700 MB here."""
    table = results.reward.assign(peak_mb=[2000.0, 10.0, np.nan][: len(results.reward)])
    found = replace(results, reward=table)
    own = results.runs[results.runs.arm == "ppo"].set_index("seed").peak_mb
    assert measures.by_seed(found, "ppo", "memory").to_dict() == own.to_dict() | {1: 2000.0}
    assert set(results.runs[results.runs.arm.isin(["dpo", "orpo"])].peak_mb) == {620.0}
    assert set(measures.by_seed(found, "dpo", "memory")) == {700.0}
    assert set(measures.by_seed(found, "orpo", "memory")) == {620.0}


def test_the_value_of_a_run_is_what_its_arm_is_averaged_over(results):
    found = measures.of_runs(results)
    gold = found[(found.arm == "ipo") & (found.measure == "gold")].set_index("seed").value
    assert list(gold.index) == [1, 3]  # seed 2 diverged
    for seed in gold.index:
        assert gold[seed] == pytest.approx(results.scores("ipo").loc[seed].mean())
    assert gold.mean() == pytest.approx(measures.interval(results, "ipo", "gold").mean)
    flops = measures.by_seed(results, "ipo", "flops")
    assert list(flops.index) == [1, 3] and measures.by_seed(results, "nobody", "flops").empty


def test_failed_runs_are_a_share_of_all(results):
    failed = measures.BY_KEY["failed"]
    assert failed(results, "ipo") == st.Share(1, 3) and failed(results, "dpo") == st.Share(0, 3)


# --- the win rate that does not count length


def test_wins_that_length_explains_leave_an_even_chance():
    longer = np.repeat([-6, -3, 3, 6], 25)
    assert win_at_no_difference(100.0 * (longer > 0), longer) == pytest.approx(50, abs=0.1)


def test_without_a_difference_in_length_it_is_the_plain_rate():
    wins = np.array([100, 100, 100, 50, 0])
    assert win_at_no_difference(wins, np.zeros(5)) == 70
    assert win_at_no_difference(wins, np.full(5, 4.0)) == 70  # lengths that cannot explain


def test_length_that_has_nothing_to_do_with_winning_changes_nothing():
    wins, longer = np.tile([100, 100, 0, 50], 10), np.repeat([-5, 5], 20)
    assert win_at_no_difference(wins, longer) == pytest.approx(62.5, abs=0.01)


def test_the_model_is_that_of_dubois_and_colleagues():
    """Wins drawn from sigmoid(a + b tanh(d / SD)): the rate at d = 0 is sigmoid(a)."""
    rng = np.random.default_rng(0)
    longer = rng.normal(4, 6, 20_000)  # most answers are longer, which helps
    chance = 1 / (1 + np.exp(-(-0.5 + 1.5 * np.tanh(longer / longer.std()))))
    wins = 100.0 * (rng.random(20_000) < chance)
    assert win_at_no_difference(wins, longer) == pytest.approx(100 / (1 + np.exp(0.5)), abs=1.5)
    assert wins.mean() > 50


def test_few_prompts_are_fitted_as_the_likelihood_has_it():
    """Against a general optimiser, so that the penalty is seen to do nothing."""
    rng = np.random.default_rng(3)
    longer = rng.normal(3, 5, 40)
    won = 1.0 * (rng.random(40) < 1 / (1 + np.exp(-np.tanh(longer / 5) * 2)))
    x = np.tanh(longer / longer.std())

    def cost(w):
        score = w[0] + w[1] * x
        return np.sum(np.logaddexp(0, score) - won * score)

    best = optimize.minimize(cost, [0.0, 0.0]).x[0]
    expected = 100 / (1 + np.exp(-best))
    assert win_at_no_difference(100 * won, longer) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    "wins,expected", [([100] * 4, 100), ([0] * 4, 0), ([50] * 4, 50), ([100], 100), ([50], 50)]
)
def test_all_wins_all_ties_or_one_prompt_are_no_trouble(wins, expected):
    assert win_at_no_difference(np.array(wins), np.arange(len(wins)) + 1) == expected


def test_it_is_taken_seed_by_seed_on_prompts_that_sft_answered():
    """Seed 1 wins where it is longer, seed 2 wins three of four whatever its length."""
    base = [10, 10, 40, 40, 10, 10, 40, 40, 10]  # the SFT's own length is the prompt's affair
    rows = [("sft", 0, p, base[p], 0.0) for p in range(8)]
    rows += [("dpo", 1, p, base[p] + (4 if p % 2 else -4), 2.0 * (p % 2) - 1) for p in range(9)]
    rows += [
        ("dpo", 2, p, base[p] + (4 if p < 4 else -4), 1.0 if p % 4 else -1.0) for p in range(9)
    ]
    keys = ("arm", "seed", "prompt_id", "length", "gold")
    prompts = [dict(zip(keys, row, strict=True), family="review") for row in rows]
    results = fake_runs.by_hand([Arm("dpo", "dpo"), Arm("ppo", "ppo")], {"prompts": prompts})
    found = win_lc(results, "dpo")
    assert found[1] == pytest.approx(50, abs=0.1) and found[2] == pytest.approx(75, abs=0.1)
    assert win_lc(results, "ppo").empty and win_lc(results, "sft").empty


def test_each_answer_is_compared_with_each_of_the_base_s():
    """Two answers against four: 5 and 1 against 1, 2, 5, 9; a tie counts half."""
    rows = [("sft", 0, draw, gold) for draw, gold in enumerate((1.0, 2.0, 5.0, 9.0))]
    rows += [("dpo", 1, draw, gold) for draw, gold in enumerate((5.0, 1.0))]
    prompts = [
        {"arm": arm, "seed": seed, "draw": draw, "prompt_id": p, "family": "review", "gold": gold}
        for arm, seed, draw, gold in rows
        for p in (0, 1)
    ]
    results = fake_runs.by_hand([Arm("dpo", "dpo")], {"prompts": prompts})
    expected = 100 * ((2 + 0.5) / 4 + 0.5 / 4) / 2
    assert win(results, "dpo").to_numpy() == pytest.approx(np.full((1, 2), expected))
