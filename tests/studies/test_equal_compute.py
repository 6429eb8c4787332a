"""What equal FLOPs make of a verdict, in sentences."""

from types import SimpleNamespace

import pytest

from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison, Family
from bench.studies.views import page as views_page
from bench.studies.views.analysis import CHEAP, View


def row(a: str, b: str, winner: str | None = None) -> Comparison:
    """A comparison that `winner` won, or one that decides nothing."""
    mean, p = (-0.4 if winner == b else 0.4), (0.001 if winner else 0.5)
    gap = st.Interval(mean, mean - 0.2, mean + 0.2, 0.1, 4.0, 5, 1, "seeds")
    return Comparison(a, b, gap, p, (st.Share(5, 5),) * 2, p_holm=p)


def at_equal(rows=None, ends=(), seeds=5):
    """A study with these comparisons at equal FLOPs, and those at the end of training."""
    views = []
    if rows is not None:
        made = {(r.a, r.b): ((f"{r.a}-n750", 1.1e12), (r.b, 1e12)) for r in rows}
        views.append(View("Equal FLOPs of the cheaper", CHEAP, Family(rows), made=made))
    return SimpleNamespace(
        views=views, seeds=seeds, few=seeds < 3, versus=Family(ends), results=None
    )


@pytest.fixture(autouse=True)
def own_views(monkeypatch):
    monkeypatch.setattr(views_page, "views", lambda study: study.views)


def lines(study) -> list[str]:
    return views_page.spent_lines(study, None)


SAME = "Between pipelines of equal FLOPs, every verdict that can be compared is the same."


def test_a_verdict_is_another_only_where_it_differs_however_the_pair_is_turned():
    rows = [row("ppo", "dpo", "ppo"), row("dpo", "ipo")]
    assert lines(at_equal(rows, ends=[row("dpo", "ppo", "ppo"), row("ipo", "dpo")])) == [SAME]
    for turned in (
        [row("ppo", "dpo", "dpo"), row("dpo", "ipo", "ipo")],
        [row("dpo", "ppo", "dpo"), row("ipo", "dpo", "ipo")],
    ):
        (line,) = lines(at_equal(rows, ends=turned))
        assert line == (
            "Verdicts that change between pipelines of equal FLOPs: PPO better than DPO (PPO from "
            "750 pairs at 1.1 T FLOPs against DPO at 1 T; +0.40 (+0.20 to +0.60)); DPO against IPO "
            "inconclusive (DPO from 750 pairs at 1.1 T FLOPs against IPO at 1 T; +0.40 (+0.20 to "
            "+0.60))."
        )


def test_a_pair_that_was_not_compared_at_the_end_is_no_other_verdict():
    assert lines(at_equal([row("ppo", "dpo", "ppo")])) == [SAME]


def test_what_is_not_known_of_equal_flops_is_not_claimed():
    for study in (at_equal(), at_equal([row("ppo", "dpo")], seeds=1)):
        assert lines(study) == []


def test_all_of_it_is_from_the_study_of_the_views_where_it_was_run():
    """More seeds in one of two studies would change verdicts too."""
    study = at_equal([row("ppo", "dpo")], ends=[row("ppo", "dpo", "ppo")])
    beside = at_equal([row("ppo", "dpo", "dpo")], ends=[row("ppo", "dpo")])
    (line,) = views_page.spent_lines(study, beside)
    assert "DPO better than PPO" in line
    same = at_equal([row("ppo", "dpo", "dpo")], ends=[row("ppo", "dpo", "dpo")])
    assert views_page.spent_lines(study, same) == [SAME]
