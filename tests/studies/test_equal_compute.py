"""What equal FLOPs make of a verdict, in sentences: turned pairs, late starts, longer runs."""

from types import SimpleNamespace

import pandas as pd
import pytest

from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison, Family
from bench.studies.views import analysis
from bench.studies.views import page as views_page
from bench.studies.views.analysis import COMPUTE, LONGER, View


def row(a: str, b: str, winner: str | None = None) -> Comparison:
    """A comparison that `winner` won, or one that decides nothing."""
    mean, p = (-0.4 if winner == b else 0.4), (0.001 if winner else 0.5)
    gap = st.Interval(mean, mean - 0.2, mean + 0.2, 0.1, 4.0, 5, 1, "seeds")
    return Comparison(a, b, gap, p, (st.Share(5, 5),) * 2, p_holm=p)


def at_equal(rows=None, waiting=None, longer=None, still=None, ends=(), seeds=5):
    """A study with these comparisons at equal FLOPs, and those at the end of training.

    waiting: {pair: who has not begun}; longer, still: the same of longer runs.
    """
    views = []
    if rows is not None:
        views.append(View("Equal FLOPs", COMPUTE, Family(rows), waiting=waiting or {}))
    if longer is not None:
        views.append(View("Equal FLOPs (longer runs)", LONGER, Family(longer), waiting=still or {}))
    return SimpleNamespace(
        views=views, seeds=seeds, few=seeds < 3, versus=Family(ends), results=None
    )


@pytest.fixture(autouse=True)
def late(monkeypatch):
    """PPO begins at 7 and IPO at 2 GFLOPs."""
    runs = {"ppo": {1: pd.DataFrame({"spent": [7e9]})}, "ipo": {1: pd.DataFrame({"spent": [2e9]})}}
    monkeypatch.setattr(analysis, "paths", lambda *_: runs)
    monkeypatch.setattr(views_page, "views", lambda study: study.views)


def lines(study) -> list[str]:
    return views_page.spent_lines(study, None)


def test_a_verdict_is_another_only_where_it_differs_however_the_pair_is_turned():
    rows = [row("ppo", "dpo", "ppo"), row("dpo", "ipo")]
    ends = [row("dpo", "ppo", "ppo"), row("ipo", "dpo")]
    same = ["At equal FLOPs every verdict between two methods is the same."]
    assert lines(at_equal(rows, ends=ends)) == same
    for turned in (
        [row("ppo", "dpo", "dpo"), row("dpo", "ipo", "ipo")],
        [row("dpo", "ppo", "dpo"), row("ipo", "dpo", "ipo")],
    ):
        (line,) = lines(at_equal(rows, ends=turned))
        assert line.endswith("spent: PPO better than DPO and DPO against IPO inconclusive.")


def test_a_pair_that_was_not_compared_at_the_end_is_no_other_verdict():
    (line,) = lines(at_equal([row("ppo", "dpo", "ppo")]))
    assert line == "At equal FLOPs every verdict between two methods is the same."


def test_a_method_is_not_taken_for_one_whose_name_begins_alike():
    (line,) = lines(at_equal([row("dpo", "dpo2", "dpo2")], ends=[row("dpo", "dpo2")]))
    assert line.endswith("DPO2 better than DPO.")


def test_each_method_that_waits_is_named_with_what_it_needs():
    waiting = {("ppo", "dpo"): "ppo", ("ppo", "orpo"): "ppo", ("ipo", "orpo"): "ipo"}
    rows = [row(a, b, b) for a, b in waiting]
    first, second = lines(at_equal(rows, waiting))
    assert "a whole DPO or ORPO run PPO has not begun" in first and "takes 7 GFLOPs" in first
    assert "a whole ORPO run IPO has not begun" in second and "takes 2 GFLOPs" in second


def test_longer_runs_are_told_only_where_both_have_begun():
    waiting = {("ppo", "dpo"): "ppo", ("ppo", "orpo"): "ppo"}
    rows = [row(a, b, b) for a, b in waiting]
    longer, still = [row("ppo", "dpo"), row("ppo", "orpo", "orpo")], {("ppo", "orpo"): "ppo"}
    line = lines(at_equal(rows, waiting, longer, still))[-1]
    assert "train on" in line and line.endswith(
        "are: PPO − DPO +0.40 (+0.20 to +0.60) (inconclusive)."
    )
    every = at_equal(rows, waiting, rows, waiting)
    assert not any("train on" in line for line in lines(every))


def test_what_is_not_known_of_equal_flops_is_not_claimed():
    for study in (at_equal(), at_equal([row("ppo", "dpo")], seeds=1)):
        assert lines(study) == []


def test_the_study_of_the_views_is_asked_where_it_was_run():
    study, beside = at_equal([row("ppo", "dpo")]), at_equal([row("ppo", "dpo", "dpo")])
    study.versus = Family([row("ppo", "dpo")])
    (line,) = views_page.spent_lines(study, beside)
    assert line.endswith("spent: DPO better than PPO.")
