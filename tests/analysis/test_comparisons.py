"""Comparisons: who is better of two arms, and families that are corrected together."""

from dataclasses import replace
from itertools import combinations

import fake_runs
import numpy as np
import pandas as pd
import pytest

from bench.analysis import comparisons as cs
from bench.analysis import expected
from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison, Family, Kind, Side, Verdict
from bench.analysis.results import Arm
from bench.core.thresholds import MARGIN

PAIRS = (("ppo", "dpo"), ("ppo", "ipo"), ("dpo", "ipo"))


def row(a: str, b: str, mean: float, p: float, seeds: int = 5, margin: float = 0.0) -> Comparison:
    """A comparison with this difference and p, whatever scores would give them."""
    interval = st.Interval(mean, mean - 0.1, mean + 0.1, 0.05, 4.0, seeds, 40, "seeds and prompts")
    return Comparison(a, b, interval, p, (st.Share(seeds, seeds),) * 2, margin=margin)


def family(*found: tuple[float, float]) -> Family:
    """The three pairs of three arms with (mean, p) each."""
    return Family.of(row(*pair, *each) for pair, each in zip(PAIRS, found, strict=True))


# --- one comparison


def test_the_winner_is_the_arm_with_more_gold_and_the_loser_the_other():
    for mean, winner, loser in ((1.0, "ppo", "dpo"), (-1.0, "dpo", "ppo")):
        found = replace(row("ppo", "dpo", mean, 0.01), p_holm=0.01)
        assert found.verdict == Verdict(Kind.BETTER, winner)
        assert (found.kind, found.winner, found.loser) == (Kind.BETTER, winner, loser)


def test_what_holm_takes_away_is_not_decided():
    found = replace(row("ppo", "dpo", 1.0, 0.01), p_holm=0.06)
    assert found.verdict == Verdict(Kind.INCONCLUSIVE)
    assert found.winner is found.loser is None


def test_without_a_p_nothing_is_decided():
    found = row("ppo", "dpo", 1.0, float("nan"))
    assert found.kind is Kind.INCONCLUSIVE and Family.of([found])[0].kind is Kind.INCONCLUSIVE


@pytest.mark.parametrize(
    "seeds,margin,kind",
    [
        (10, 0.5, Kind.EQUIVALENT),
        (9, 0.5, Kind.INCONCLUSIVE),  # too few seeds
        (10, 0.05, Kind.INCONCLUSIVE),  # the margin is too tight
        (10, 0.0, Kind.INCONCLUSIVE),  # no margin was declared
    ],
)
def test_equivalence_needs_ten_seeds_and_a_margin(seeds, margin, kind):
    found = replace(row("ppo", "dpo", 0.01, 0.8, seeds, margin), p_holm=0.8)
    assert found.verdict == Verdict(kind) and found.winner is None


def test_a_clear_difference_is_no_equivalence_however_small():
    found = replace(row("ppo", "dpo", 0.01, 0.001, 10, 0.5), p_holm=0.001)
    assert found.kind is Kind.BETTER


def test_the_values_of_kinds_are_those_of_results_json():
    assert [str(kind) for kind in Kind] == ["better", "equivalent", "inconclusive"]


# --- families


def test_holm_is_over_the_comparisons_of_a_family():
    found = family((1, 0.01), (1, 0.03), (1, 0.04))
    assert [r.p_holm for r in found] == pytest.approx([0.03, 0.06, 0.06])
    assert [r.p_holm for r in found] == list(st.holm([0.01, 0.03, 0.04]))
    assert [r.p for r in found] == [0.01, 0.03, 0.04]
    assert [r.kind for r in found] == [Kind.BETTER, Kind.INCONCLUSIVE, Kind.INCONCLUSIVE]


def test_a_comparison_that_cannot_be_tested_keeps_its_place_in_the_correction():
    found = family((1, 0.01), (1, float("nan")), (1, 0.04))
    assert [found[0].p_holm, found[2].p_holm] == pytest.approx([0.03, 0.08])
    assert np.isnan(found[1].p_holm)


def test_the_champion_beats_every_other():
    won = family((1, 0.001), (1, 0.001), (1, 0.9))
    assert (won.champion(), won.unbeaten()) == ("ppo", ["ppo"])
    assert [(r.a, r.b) for r in won.won_by("ppo")] == [("ppo", "dpo"), ("ppo", "ipo")]
    assert won.champion(["ppo", "dpo", "ipo", "orpo"]) is None  # orpo was not compared
    last = family((1, 0.001), (-1, 0.001), (-1, 0.001))
    assert (last.champion(), last.unbeaten()) == ("ipo", ["ipo"])


def test_who_is_unbeaten_need_not_be_champion():
    found = family((1, 0.001), (0, 0.9), (0, 0.9))
    assert (found.champion(), found.unbeaten()) == (None, ["ppo", "ipo"])
    round_ = family((1, 0.001), (-1, 0.001), (1, 0.001))  # each loses once
    assert (round_.champion(), round_.unbeaten()) == (None, [])


def test_a_pair_is_found_in_its_own_order():
    found = family((1, 0.001), (0, 0.9), (0, 0.9))
    assert found.arms == ["ppo", "dpo", "ipo"]
    assert found.between("ppo", "ipo") is found[1]
    assert found.between("ipo", "ppo") is None and found.between("ppo", "orpo") is None
    assert found.of_kind(Kind.BETTER) == [found[0]]
    assert found.of_kind(Kind.INCONCLUSIVE) == [found[1], found[2]]


def test_a_family_of_nothing_has_no_arm_and_no_champion():
    nothing = Family.of([])
    assert not nothing and nothing.arms == nothing.unbeaten() == []
    assert nothing.champion() is None


# --- from scores


def scores(level: float, seeds, prompts=range(20)) -> pd.DataFrame:
    """Seeds x prompts; prompts differ by nature, seeds and answers by luck."""
    rng = np.random.default_rng([len(prompts), *seeds])
    luck = rng.normal(0, 0.05, (len(seeds), len(prompts)))
    return pd.DataFrame(level + np.array(prompts) + luck, index=seeds, columns=prompts)


def side(scores: pd.DataFrame, of: int = 0) -> Side:
    """A side whose rows ended, of as many runs or of more; its SFT base has gold 0."""
    base = pd.DataFrame(0.0, index=[0], columns=scores.columns)
    return Side(scores, base, st.Share(len(scores), of or len(scores)))


def compared(**sides: Side) -> Family:
    """All pairs of these sides as one family."""
    return cs.compared({both: tuple(sides[x] for x in both) for both in combinations(sides, 2)})


def test_a_comparison_is_paired_by_seed_and_prompt():
    a, b = scores(1.0, (1, 2, 3, 4)), scores(0.0, (2, 3, 4, 5), range(5, 30))
    (found,) = compared(a=side(a), b=side(b))
    both, shared = [2, 3, 4], list(range(5, 20))
    by_hand = st.crossed(a.loc[both, shared].to_numpy() - b.loc[both, shared].to_numpy())
    assert found.interval == by_hand and found.p == st.p_value(by_hand)
    assert found.ended == (st.Share(4, 4),) * 2 and (by_hand.seeds, by_hand.prompts) == (3, 15)


def test_survivors_of_other_seeds_leave_the_pair_in_place_and_open():
    a, b, c = scores(1.0, (1, 2, 3)), scores(0.0, (1, 2, 3)), scores(0.0, (7, 8, 9))
    found = compared(a=side(a), b=side(b), c=side(c))
    assert [(r.a, r.b) for r in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found[0].p_holm == pytest.approx(3 * found[0].p)  # the family keeps its size
    assert all(r.interval is cs.NOTHING and np.isnan(r.p_holm) for r in found[1:])
    assert {r.kind for r in found[1:]} == {Kind.INCONCLUSIVE}


def test_a_pair_without_prompts_in_common_or_without_answers_stays_open():
    a, other = scores(1.0, (1, 2, 3)), scores(0.0, (1, 2, 3), range(50, 60))
    found = compared(a=side(a), b=side(other), c=side(pd.DataFrame(), 3))
    assert len(found) == 3 and {r.kind for r in found} == {Kind.INCONCLUSIVE}
    assert found.judged == [] and found.champion() is None


@pytest.mark.parametrize("shared", [1, 2])
def test_under_three_shared_seeds_nothing_is_tested(shared):
    """However clear: one seed's p would cover prompts alone."""
    a, b = scores(9.0, (1, 2, 3)), scores(0.0, range(4 - shared, 7 - shared))
    (found,) = compared(a=side(a), b=side(b))
    assert found.interval.seeds == shared and np.isnan(found.p)
    assert found.kind is Kind.INCONCLUSIVE


def test_the_one_row_of_a_base_stands_against_every_seed():
    a, base = scores(1.0, (1, 2, 3)), scores(0.0, (0,))
    (found,) = compared(a=side(a), sft=Side(base, base, st.Share(1, 1)))
    assert found.interval == st.crossed(a.to_numpy() - base.to_numpy())
    assert (found.interval.seeds, found.ended[1]) == (3, st.Share(1, 1))


def test_an_arm_of_one_seed_is_no_base():
    """Its seed is not that of the others: there is nothing to pair."""
    (found,) = compared(a=side(scores(1.0, (1, 2))), b=side(scores(0.0, (5,))))
    assert found.interval is cs.NOTHING
    (found,) = compared(a=side(scores(1.0, (1, 2))), b=side(scores(0.0, (2,))))
    assert found.interval.seeds == 1 and found.kind is Kind.INCONCLUSIVE


# --- failed runs


def test_failures_take_away_what_the_runs_that_ended_gained():
    """b fails in half of its runs: its gain of 1.2 is worth 0.6, and a's of 1.0 more."""
    a, b = (
        pd.DataFrame(gain + scores(0, range(n)) - np.arange(20))
        for gain, n in ((1.0, 10), (1.2, 5))
    )
    gain_a, gain_b = (float(table.to_numpy().mean()) for table in (a, b))
    (found,) = compared(a=side(a), b=side(b, 10))
    assert found.interval.high < 0 < found.expected.mean == pytest.approx(gain_a - gain_b / 2)
    assert found.kind is Kind.INCONCLUSIVE  # the runs that ended speak for b


def test_an_arm_that_fails_more_and_gains_no_more_is_worse():
    (found,) = compared(a=side(scores(2.0, range(20))), b=side(scores(2.0, range(8)), 20))
    assert found.verdict == Verdict(Kind.BETTER, "a") and found.expected.low > 0


def test_a_winner_by_gain_that_fails_more_is_none():
    """Both parts must agree."""
    wins = replace(row("ppo", "dpo", 1.0, 0.001), p_holm=0.001)
    fails = st.Share(4, 10), st.Share(10, 10)
    assert wins.winner == "ppo" and replace(wins, ended=fails).winner is None
    assert replace(wins, ended=(st.Share(9, 10), st.Share(10, 10))).winner == "ppo"


def test_no_equivalence_where_failures_may_make_a_difference():
    near = replace(row("ppo", "dpo", 0.0, 0.9, 10, 0.5), p_holm=0.9)
    wide = replace(near.interval, low=-0.6, high=0.6)
    assert near.kind is Kind.EQUIVALENT and replace(near, expected=wide).winner is None
    assert replace(near, expected=wide).kind is Kind.INCONCLUSIVE


def test_an_arm_whose_runs_failed_is_neither_champion_nor_unbeaten():
    gone = side(pd.DataFrame(), 3)
    a, b = side(scores(9.0, (1, 2, 3))), side(scores(0.0, (1, 2, 3)))
    found = compared(a=a, b=b, c=gone)
    assert found.ended["c"] == st.Share(0, 3) and found.judged == ["a", "b"]
    assert (found.champion(), found.unbeaten()) == ("a", ["a"])
    assert found.champion(["a", "b", "c"]) is None


def test_against_sft_the_gain_counts_with_the_arm_s_own_share_alone():
    a = scores(1.0, range(8))
    base = pd.DataFrame(0.0, index=[0], columns=a.columns)
    (found,) = compared(a=side(a, 10), sft=Side(base, base, st.Share(1, 1)))
    assert found.expected == expected.gain(st.Share(8, 10), found.interval)


def test_arms_are_judged_by_the_comparison_with_the_fewest_runs():
    """At equal KL an arm's share differs from pair to pair."""
    few, many = st.Share(2, 5), st.Share(5, 5)
    rows = [replace(row("a", x, 1.0, 0.5), ended=(n, many)) for x, n in (("b", few), ("c", many))]
    assert [Family(order).ended["a"] for order in (rows, rows[::-1])] == [few, few]


def test_arms_that_share_too_few_seeds_are_not_judged():
    early, late, all_ = scores(9.0, (1, 2, 3)), scores(0.0, (4, 5, 6)), scores(0.0, range(1, 7))
    pair = compared(a=side(early, 6), b=side(late, 6))
    assert pair.judged == [] and pair.champion() is None
    assert compared(a=side(early, 6), b=side(late, 6), c=side(all_)).judged == ["a", "b", "c"]


def test_one_arm_that_is_judged_is_no_champion():
    rest = {name: side(pd.DataFrame(), 3) for name in "bc"}
    assert compared(a=side(scores(9.0, (1, 2, 3))), **rest).champion() is None


# --- of a study


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    arms = fake_runs.ARMS | {"dpo-beta0.3": "dpo", "dpo-beta1": "dpo"}
    return fake_runs.collected(tmp_path_factory.mktemp("study"), arms=arms, seeds=(1, 2, 3))


def test_methods_are_compared_as_tuned_and_variants_with_their_method(results):
    tuned = cs.between_methods(results)
    assert len(tuned) == 6 and tuned.arms == ["ppo", "dpo", "ipo", "orpo"]
    found = cs.against_tuned(results)
    assert [(r.a, r.b) for r in found] == [("dpo-beta0.3", "dpo"), ("dpo-beta1", "dpo")]
    assert {(r.a, r.b) for r in cs.against_sft(results)} == {(a, "sft") for a in results.arms}


def test_every_family_of_a_study_is_corrected_on_its_own(results):
    for found in (cs.between_methods, cs.against_tuned, cs.against_sft):
        rows = found(results)
        np.testing.assert_array_equal([r.p_holm for r in rows], st.holm([r.p for r in rows]))
        assert {r.margin for r in rows} == {cs.margin(results)}


def test_a_study_without_answers_to_test_prompts_compares_nothing(results):
    """Such as `stability`: no pair of it is undecided."""
    curves_alone = replace(results, prompts=results.prompts.iloc[:0])
    assert not cs.between_methods(curves_alone) and not cs.against_sft(curves_alone)


def test_a_difference_of_no_interest_is_a_share_of_the_spread_of_sft(results):
    rows = results.prompts
    gold = rows[(rows.arm == "sft") & rows.family.isin(fake_runs.TUNED)].gold
    assert len(gold) == 80 * fake_runs.BASE_DRAWS  # of answers, which readers see
    assert cs.margin(results) == pytest.approx(MARGIN * gold.std())


def test_a_variant_of_a_method_that_is_no_arm_is_compared_with_sft_alone():
    alone = fake_runs.by_hand([Arm("dpo-beta1", "dpo", varies=("beta",))], {})
    assert cs.pairs(alone) == cs.variants(alone) == []
    (only,) = cs.against_sft(alone)
    assert only.interval is cs.NOTHING and cs.margin(alone) == 0


def test_a_seed_of_number_0_is_no_sft_base():
    """It would be compared with every seed of the other arm, as if it were five."""
    rng = np.random.default_rng(0)
    gold = {("ppo", s): 1.0 for s in range(5)} | {("dpo", 0): 0.0}
    prompts = [
        {"arm": arm, "seed": seed, "prompt_id": p, "family": "review"}
        | {"gold": level + rng.normal(0, 0.1)}
        for (arm, seed), level in (gold | {("sft", 0): -1.0}).items()
        for p in range(20)
    ]
    runs = [{"arm": a, "seed": s, "status": "ok" if (a, s) in gold else "diverged"}
            for a in ("ppo", "dpo") for s in range(5)]  # fmt: skip
    arms, more = [Arm("ppo", "ppo"), Arm("dpo", "dpo")], {"tuned_families": ["review"]}
    results = fake_runs.by_hand(arms, {"prompts": prompts, "runs": runs}, seeds=range(5), **more)
    (found,) = cs.between_methods(results)
    assert found.interval.seeds == 1 and found.winner is None
    of_sft = cs.against_sft(results).between("ppo", "sft")
    assert of_sft.interval.seeds == 5 and of_sft.winner == "ppo"


def test_a_family_keeps_the_declared_size():
    few = Family.of([row("ppo", "dpo", 1.0, 0.01)], 6)
    assert few[0].p_holm == pytest.approx(0.06) and few.champion() is None
