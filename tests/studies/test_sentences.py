"""Sentences of a comparison agree with the statistics: ties, one seed, failures and the rest."""

import re
from dataclasses import replace
from types import SimpleNamespace

import fake_runs
import numpy as np
import pytest

from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison, Family, Kind
from bench.analysis.tasks import Change
from bench.report import page
from bench.report.study import Study
from bench.report.words import joined, label, p_words, size, verdict
from bench.studies.compare import headline, sentences, tables


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Five seeds of four methods, one run diverged."""
    return fake_runs.study(tmp_path_factory.mktemp("study"), fail={("ipo", 2): "diverged"})


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory):
    return fake_runs.study(tmp_path_factory.mktemp("one"), seeds=(1,))


def test_better_is_said_of_decided_comparisons_alone(study):
    said = sentences.quality(study)
    decided = study.versus.of_kind(Kind.BETTER)
    assert {Kind.BETTER, Kind.INCONCLUSIVE} == {row.kind for row in study.versus}
    for row in decided:
        assert row.p_holm < 0.05 and row.winner == (row.a if row.decisive.mean > 0 else row.b)
        (line,) = [
            x
            for x in said
            if x.startswith(f"{label(row.winner)} is better than {label(row.loser)}")
        ]
        number = size(row.decisive, swap=row.winner == row.b)
        assert f"{number[:-1]}; Holm p {p_words(row.p_holm, '= ')})" in line
    beaten = re.findall(r"(\w+) is better than (\w+)", " ".join(said))
    assert len(beaten) == len(set(beaten)) == len(decided)
    assert len(re.findall("better", " ".join(said))) == len(decided)


def test_undecided_pairs_are_called_inconclusive(study):
    (line,) = [x for x in sentences.quality(study) if "Inconclusive" in x]
    rows = study.versus.of_kind(Kind.INCONCLUSIVE)
    assert rows and all(f"{label(r.a)} against {label(r.b)}" in line for r in rows)
    assert line.count(" against ") == len(rows)
    assert "equivalent" not in " ".join(sentences.quality(study))


def test_the_headline_names_a_best_method_only_if_it_beats_every_other(study):
    unbeaten = study.versus.unbeaten()
    assert study.versus.champion() is None and 1 < len(unbeaten) < len(study.arms)
    names = joined(map(label, unbeaten), "or")
    assert headline.headline(study) == (
        "With a model of 0.41 million parameters and 1,500 pairs, there is no single best in gold "
        f"reward: no method is better than {names}."
    )
    won = Family(row for row in study.versus if row.winner == "ppo")
    known = {key: getattr(study, key) for key in ("runs", "ended", "meta", "results")}
    sole = SimpleNamespace(few=False, versus=won, **known)
    assert {f"{abs(row.decisive.mean):.2f}" for row in won} == {"0.79"}
    assert headline.headline(sole) == (
        "With a model of 0.41 million parameters and 1,500 pairs, PPO reaches the highest gold "
        "reward, better than every other method by 0.79."
    )


def test_a_study_that_decides_nothing_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(fake_runs, "GAIN", dict.fromkeys(fake_runs.ARMS, 0.0))
    found = fake_runs.study(tmp_path, seeds=(1, 2, 3))
    words = " ".join(sentences.quality(found))
    assert "PPO, DPO, IPO and ORPO cannot be told from the SFT base" in words
    assert "Inconclusive: PPO against DPO" in words and "is better than" not in words
    assert "no method can be told from another in gold reward." in headline.headline(found)


def test_one_seed_decides_nothing_and_says_so(one_seed):
    few = "what the methods do, but not which of them is better: that takes 3 seeds or more."
    assert headline.headline(one_seed) == f"One seed shows {few}"
    assert headline.few_seeds(fake_runs.changed(one_seed, seeds=[1, 2])) == f"2 seeds show {few}"
    words = " ".join(sentences.quality(one_seed) + sentences.certainty(one_seed))
    assert "prompts only" in words and "is better than" not in words
    assert f"One seed shows {few}" in words
    assert "one seed, so no interval" in " ".join(sentences.cost(one_seed))


def test_one_arm_alone_is_compared_with_none(tmp_path):
    alone = fake_runs.study(tmp_path, arms={"dpo": "dpo"}, seeds=(1, 2, 3))
    assert "pairs, DPO ends at +" in headline.headline(alone)


def test_a_study_in_which_all_failed_says_so(tmp_path):
    fail = {(arm, seed): "oom" for arm in fake_runs.ARMS for seed in (1, 2)}
    found = fake_runs.study(tmp_path, seeds=(1, 2), fail=fail)
    assert "8 of 8 runs failed." in sentences.stability(found)
    assert headline.headline(found) == "Every run failed: there is nothing to compare."
    assert sentences.cost(found) == ["Every run failed: no cost to compare."]
    (line,) = sentences.failed_runs(found)
    assert line.startswith("Every run of PPO failed; every run of DPO failed; every run of IPO")


def test_gold_that_says_the_same_of_every_answer_is_named(tmp_path):
    found = fake_runs.study(tmp_path, seeds=(1, 2, 3)).results
    same = Study(replace(found, prompts=found.prompts.assign(gold=0.0)))
    assert headline.headline(same).endswith("nothing can be compared: check the gold reward.")


def test_ten_seeds_may_be_called_equivalent_five_may_not(tmp_path, monkeypatch):
    ten = fake_runs.study(tmp_path, seeds=tuple(range(1, 11)), prompts=30)
    assert "quivalent" not in " ".join(sentences.certainty(ten))  # no pair is, so none asks
    with monkeypatch.context() as patch:
        patch.setattr(Family, "of_kind", lambda family, kind: [*family] * (kind is Kind.EQUIVALENT))
        assert "'Equivalent' means within" in " ".join(sentences.certainty(ten))
    five = fake_runs.changed(ten, seeds=[1, 2, 3, 4, 5])
    assert "no two methods are called equivalent" in " ".join(sentences.certainty(five))


def test_an_arm_as_good_as_sft_is_named():
    near = st.Interval(0.01, -0.01, 0.03, 0.01, 9.0, 10, 80, "seeds and prompts")
    family = Family.of(
        [Comparison("orpo", "sft", near, 0.3, (st.Share(10, 10), st.Share(1, 1)), margin=0.1)]
    )
    assert family[0].kind is Kind.EQUIVALENT
    (line,) = sentences.against_sft(SimpleNamespace(versus_sft=family, many=False))
    assert line == "ORPO and the SFT base are equivalent within 0.1 in gold."


def failing(tmp_path, lost: dict[str, int], of: int = 5):
    """A study in which so many runs of each of these arms failed."""
    fail = {(arm, seed): "diverged" for arm, n in lost.items() for seed in range(1, n + 1)}
    return fake_runs.study(tmp_path, seeds=range(1, of + 1), prompts=60, fail=fail)


def test_a_method_whose_every_run_failed_stands_in_the_headline(tmp_path):
    found = failing(tmp_path, {"dpo": 5})
    assert headline.headline(found) == (
        "With a model of 0.41 million parameters and 1,500 pairs, PPO is better in gold reward "
        "than IPO and ORPO; every run of DPO failed."
    )
    assert len(found.versus) == 6  # the family keeps its size
    (row,) = [row for row in found.versus if (row.a, row.b) == ("ppo", "dpo")]
    assert verdict(row) == "inconclusive: every run of DPO failed"
    assert size(row.interval) == "– (– to –)"


def test_a_method_down_to_two_seeds_is_not_judged(tmp_path):
    found = failing(tmp_path, {"ppo": 3})
    assert headline.headline(found).endswith("; 2 of 5 runs of PPO ended.")
    words = " ".join(sentences.quality(found) + sentences.certainty(found))
    assert "PPO is better" not in words and "2 of 5 runs of PPO ended, expected gain +" in words
    assert "it counts as no gain" in words
    (row,) = [row for row in found.versus if (row.a, row.b) == ("ppo", "dpo")]
    assert verdict(row) == "inconclusive: 2 shared seeds"


def test_survivors_of_other_seeds_leave_the_pair_in_the_table(tmp_path):
    fail = {("ppo", s): "oom" for s in (1, 2, 3)} | {("dpo", s): "oom" for s in (4, 5, 6)}
    found = fake_runs.study(tmp_path, seeds=range(1, 7), prompts=60, fail=fail)
    rows = {row[0].text: row for row in tables.comparisons(found).rows}
    difference, *_, verdict = rows["PPO − DPO"][1:]
    assert (difference.text, difference.quiet) == ("–", "")
    assert verdict.text == "inconclusive: 0 shared seeds"
    assert verdict.quiet == "3 of 6 seeds; 0 shared"


def test_survivors_of_other_seeds_alone_are_not_called_alike(tmp_path):
    fail = {("ppo", s): "oom" for s in (1, 2, 3)} | {("dpo", s): "oom" for s in (4, 5, 6)}
    two = {arm: arm for arm in ("ppo", "dpo")}
    found = fake_runs.study(tmp_path, arms=two, seeds=range(1, 7), prompts=24, fail=fail)
    assert headline.headline(found) == (
        "Too few runs ended for a verdict between methods: PPO and DPO share too few seeds that "
        "ended."
    )


def test_one_arm_with_a_failed_run_says_so_in_the_headline(tmp_path):
    fail = {("dpo", 1): "oom"}
    found = fake_runs.study(tmp_path, arms={"dpo": "dpo"}, seeds=(1, 2, 3, 4), fail=fail)
    assert headline.headline(found).endswith("gold above SFT; 3 of 4 runs of DPO ended.")


def test_power_is_that_of_the_pairs_with_the_most_seeds(tmp_path):
    found = failing(tmp_path, {"orpo": 2})
    assert "A study of this size" in sentences.detectable(found)
    none_whole = failing(tmp_path / "more", dict.fromkeys(("ppo", "dpo", "ipo", "orpo"), 1))
    assert "A study of 4 seeds" in sentences.detectable(none_whole)


def test_a_win_with_failed_runs_says_both_numbers(tmp_path):
    found = failing(tmp_path, {"orpo": 1}, of=10)
    (row,) = [row for row in found.versus if (row.a, row.b) == ("ppo", "orpo")]
    (line,) = [x for x in sentences.between_methods(found) if x.startswith("PPO is better than OR")]
    counted = f"by {size(row.expected, more=f'; Holm p {p_words(row.p_holm, chr(61) + chr(32))}')}"
    assert f"{counted} with failed runs counted as no gain" in line
    assert line.endswith(f"by {size(row.interval)} in the runs that ended.")
    assert row.expected.mean > row.interval.mean  # ORPO's failure takes a tenth of its gain
    shown = tables.scorecard(found, [])
    assert "Expected gain" in str(shown.header)
    whole = tables.scorecard(fake_runs.study(tmp_path / "whole", prompts=30), [])
    assert "Expected gain" not in str(whole.header)


def test_costs_are_ratios_of_the_means_over_seeds(study):
    rows = study.results.cost
    rows = rows[rows.charged.astype(bool) & rows.arm.isin(["ppo", "orpo"])]
    spent = rows.groupby(["arm", "seed"]).cpu_s.sum()
    ratios = spent["ppo"] / spent["orpo"]
    mean, low, high = sentences.ratio(study.by_seed("ppo", "cost"), study.by_seed("orpo", "cost"))
    assert mean == pytest.approx(ratios.mean(), rel=1e-3)
    assert mean == pytest.approx(np.exp(np.log(ratios).mean())) and low < mean < high
    words = " ".join(sentences.cost(study))
    assert (
        "A run of ORPO takes the fewest FLOPs" in words
        and "PPO pays for its seed's reward model" in words
        and f"PPO {mean:.2f} ({low:.2f} to {high:.2f})" in words
    )


def test_equal_cost_is_called_equal(tmp_path):
    found = fake_runs.study(tmp_path, arms={"dpo": "dpo", "ipo": "ipo"}, seeds=(1, 2), prompts=24)
    assert headline.glance_at_cost(found) == "All take the same FLOPs."


def test_a_failed_run_is_named_with_its_reason(study):
    assert "IPO seed 2: diverged (loss is NaN at step 12)." in sentences.stability(study)
    assert sentences.stability(study)[0] == "1 of 20 runs failed."


def test_a_fitted_gold_says_how_near_it_is_to_the_raters(study):
    found = {
        "with_raters": {"movie": {"r": 0.664, "ci95": [0.634, 0.689], "n": 1590}},
        "pairs_in_raters_order": {"movie": 0.8187},
    }
    fitted = fake_runs.changed(study, gold=found)
    (line,) = set(sentences.reward(fitted)) - set(sentences.reward(study))
    assert "0.66 (0.63 to 0.69) for movie texts" in line and "82 % (movie)" in line


def test_the_reward_models_accuracy_stands_beside_its_ceiling(study):
    first, second = sentences.reward(study)
    assert (
        "in 83 % of cases, 95 % interval 81 to 85" in first
        and "agree with only 76 % of them" in second
    )


def test_a_base_below_zero_has_a_minus_sign(tmp_path):
    found = fake_runs.study(tmp_path, seeds=(1,), prompts=24)
    found.results.prompts["gold"] -= 5
    assert "SFT base's answers score −" in page.introduction(found)[1]


def task(arm, change, half, up=True, metric="acc", p=0.001, name="sums"):
    """A change of lm-eval's score that was tested, or not if p is NaN."""
    found = st.Interval(change, change - half, change + half, half / 2, 9.0, 5, 80, "seeds")
    return Change(name, metric, arm, 0.5, found, 80, 80, up, p, p)


@pytest.fixture
def tax(monkeypatch):
    """A function: what is said of these changes of lm-eval scores."""

    def said(*rows) -> list[str]:
        monkeypatch.setattr(sentences, "changes", lambda results: list(rows))
        return sentences.tax(SimpleNamespace(results=None, bases=["sft"], arms=["ppo", "dpo"]))

    return said


UNTESTED = float("nan")


def test_losses_are_those_that_survive_the_correction_worst_first(tax):
    (line,) = tax(
        task("dpo", -0.0142, 0.0130),
        task("ppo", 0.02, 0.01, up=False),
        task("dpo", -0.1, 0.2, p=0.3, name="other"),
        task("ppo", 0.1, 0.2, p=0.3, name="other"),
    )
    assert line.startswith("Losses on lm-eval tasks (tested over seeds and documents, with Holm's")
    assert "correction over 4 changes): PPO on sums +0.020 (+0.010 to +0.030), DPO on" in line
    assert line.endswith("DPO on sums −0.014 (−0.027 to −0.001).")


def test_the_first_screen_says_losses_with_the_level_that_they_start_from(monkeypatch):
    rows = [task("dpo", -0.1, 0.05), task("ppo", 0.02, 0.01), replace(task("sft", 0, 0), mean=0.6)]
    monkeypatch.setattr(sentences, "changes", lambda results: rows)
    study = SimpleNamespace(results=None, bases=["sft"], arms=["ppo", "dpo"], base={"dpo": "sft"})
    assert sentences.losses(study) == ["Losses on lm-eval tasks: DPO on sums −0.100, from 0.600."]


def test_a_loss_on_a_task_with_several_metrics_is_said_once_and_names_the_metric(tax):
    rows = [task("dpo", -0.5, 0.1), task("dpo", -0.9, 0.1, metric="exact_match", p=UNTESTED)]
    (line,) = tax(*rows)
    assert line.endswith(": DPO on sums (acc) −0.500 (−0.600 to −0.400).")


def test_what_was_not_tested_is_named(tax):
    loss, left = tax(task("dpo", -0.5, 0.1), task("dpo", -0.9, 0.1, p=UNTESTED, name="bleu"))
    assert "DPO on sums" in loss and left == "Not tested: bleu of DPO."
