"""Sentences of the verdict that hold in odd cases too: ties, late starts, one seed, no interval."""

from types import SimpleNamespace

import fake_runs
import pandas as pd
import pytest

from bench.analysis import statistics as st
from bench.analysis import views as analysis
from bench.report import introduction, verdict
from bench.report.study import Study
from bench.studies.compare import findings
from bench.studies.views import page as views_page

GAP = st.Interval(0.4, 0.2, 0.6, 0.1, 4.0, 5, 1, "seeds")


def pairs(*rows) -> pd.DataFrame:
    """Comparisons from (a, b, verdict, who waits)."""
    names = ["a", "b", "verdict", "waiting"]
    return pd.DataFrame(rows, columns=names).assign(interval=[GAP] * len(rows))


def at_equal(table, longer=None, ends=(), seeds=5, companions=None):
    """A study with these comparisons at equal FLOPs, and those at the end of training."""
    found = {"Equal FLOPs": table, "Equal FLOPs (longer runs)": longer}
    return SimpleNamespace(
        companions=companions or {},
        spending={"flops": "FLOPs"},
        seeds=seeds,
        views={name: t for name, t in found.items() if t is not None},
        versus=pairs(*ends),
        tables=None,
        meta={},
    )


@pytest.fixture(autouse=True)
def late(monkeypatch):
    """PPO begins at 7 and IPO at 2 GFLOPs."""
    runs = {"ppo": {1: pd.DataFrame({"spent": [7e9]})}, "ipo": {1: pd.DataFrame({"spent": [2e9]})}}
    monkeypatch.setattr(analysis, "paths", lambda *_: runs)


def test_a_verdict_is_another_only_where_it_differs_however_the_pair_is_turned():
    table = pairs(("ppo", "dpo", "ppo better", None), ("dpo", "ipo", "inconclusive", None))
    ends = [("dpo", "ppo", "ppo better", None), ("ipo", "dpo", "inconclusive", None)]
    same = ["At equal FLOPs no verdict between two methods is another."]
    assert views_page.spent_lines(at_equal(table, ends=ends)) == same
    ends = [("ppo", "dpo", "dpo better", None), ("dpo", "ipo", "ipo better", None)]
    (line,) = views_page.spent_lines(at_equal(table, ends=ends))
    assert line.endswith("spent: PPO better than DPO and DPO against IPO undecided.")


def test_a_method_is_not_taken_for_one_whose_name_begins_alike():
    table = pairs(("dpo", "dpo2", "dpo2 better", None))
    (line,) = views_page.spent_lines(at_equal(table, ends=[("dpo", "dpo2", "inconclusive", None)]))
    assert line.endswith("DPO2 better than DPO.")


def test_each_method_that_waits_is_named_with_what_it_needs():
    table = pairs(
        ("ppo", "dpo", "dpo better", "ppo"),
        ("ppo", "orpo", "orpo better", "ppo"),
        ("ipo", "orpo", "orpo better", "ipo"),
    )
    first, second = views_page.spent_lines(at_equal(table))
    assert "a whole DPO or ORPO run PPO has not begun" in first and "takes 7 GFLOPs" in first
    assert "a whole ORPO run IPO has not begun" in second and "takes 2 GFLOPs" in second


def test_longer_runs_are_told_only_where_both_have_begun():
    table = pairs(("ppo", "dpo", "dpo better", "ppo"), ("ppo", "orpo", "orpo better", "ppo"))
    longer = pairs(("ppo", "dpo", "inconclusive", None), ("ppo", "orpo", "orpo better", "ppo"))
    line = views_page.spent_lines(at_equal(table, longer))[-1]
    assert "train on" in line and line.endswith(
        "are: PPO − DPO +0.40 (+0.20 to +0.60) (undecided)."
    )
    waits = pairs(("ppo", "dpo", "dpo better", "ppo"))
    assert not any("train on" in line for line in views_page.spent_lines(at_equal(table, waits)))


def test_what_is_not_known_of_equal_flops_is_not_claimed():
    table = pairs(("ppo", "dpo", "inconclusive", None))
    for study in (at_equal(None), at_equal(table, seeds=1)):
        assert views_page.spent_lines(study) == []
        assert findings.compute(study) == "That cannot be told here."


def study_of(folder, **more) -> Study:
    return Study(*fake_runs.collected(folder, **more))


def test_equal_cost_is_called_equal(tmp_path):
    study = study_of(tmp_path, arms={"dpo": "dpo", "ipo": "ipo"}, seeds=(1, 2), prompts=24)
    assert verdict.glance_at_cost(study) == "All take the same FLOPs."


def test_an_arm_as_good_as_sft_is_named(tmp_path):
    study = study_of(tmp_path, seeds=(1, 2), prompts=24)
    study.versus_sft.loc[study.versus_sft.a == "orpo", "verdict"] = "equivalent within 0.1"
    assert "ORPO and the SFT base are equivalent within 0.1 in gold." in verdict.quality(study)


def test_an_interval_of_one_surviving_seed_says_so(tmp_path):
    study = study_of(tmp_path, seeds=(1, 2), prompts=24, fail={("ppo", 1): "oom"})
    line = next(x for x in verdict.quality(study) if "PPO" in x)
    assert line.count("(one seed)") == 1 and line.index("(one seed)") < line.index("DPO +")


def task(arm, change, half, up=True, metric="acc"):
    head = {"task": "sums", "metric": metric, "arm": arm, "higher_is_better": up}
    return head | {"change": change, "half": half}


def test_a_loss_shows_the_interval_that_leaves_out_zero(monkeypatch):
    rows = [task("dpo", -0.0142, 0.0130), task("ppo", 0.02, 0.01, up=False), task("ipo", -0.1, 0.2)]
    monkeypatch.setattr(verdict.ms, "tax", lambda *_: pd.DataFrame(rows))
    (line,) = verdict.tax(SimpleNamespace(tables={"tasks": None}, meta={}))
    assert line.endswith(
        ": PPO on sums +0.020 (+0.010 to +0.030), DPO on sums −0.014 (−0.027 to −0.001)."
    )


def test_a_loss_on_a_task_with_several_metrics_is_said_once_and_names_the_metric(monkeypatch):
    rows = [task("dpo", -0.5, 0.1), task("dpo", -0.9, 0.1, metric="exact_match")]
    monkeypatch.setattr(verdict.ms, "tax", lambda *_: pd.DataFrame(rows))
    (line,) = verdict.tax(SimpleNamespace(tables={"tasks": None}, meta={}))
    assert line.endswith(": DPO on sums (acc) −0.500 (−0.600 to −0.400).")


def test_without_an_interval_nothing_is_said_of_losses(monkeypatch):
    rows = pd.DataFrame([task("dpo", -0.5, float("nan")), task("sft", 0.0, 0.0)])
    monkeypatch.setattr(verdict.ms, "tax", lambda *_: rows)
    assert verdict.tax(SimpleNamespace(tables={"tasks": None}, meta={})) == []


def test_a_base_below_zero_has_a_minus_sign(tmp_path):
    study = study_of(tmp_path, seeds=(1,), prompts=24)
    study.tables["prompts"]["gold"] -= 5
    assert "SFT's answers score −" in introduction.introduced(study)[1]


def test_one_arm_alone_is_compared_with_none(tmp_path):
    study = Study(*fake_runs.collected(tmp_path, arms={"dpo": "dpo"}, seeds=(1, 2)))
    assert verdict.headline(study).startswith("DPO alone was trained: gold above SFT +")
