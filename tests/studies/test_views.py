"""Three views of who wins: what each compares, by hand on invented tables."""

from dataclasses import replace
from types import SimpleNamespace

import fake_runs
import numpy as np
import pandas as pd
import pytest

from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison, Family, Kind
from bench.analysis.results import Arm
from bench.studies.views import analysis as views
from bench.studies.views import page

SEEDS, PROMPTS = 5, 40
ARMS = [
    Arm("ppo", "ppo"),
    Arm("dpo", "dpo"),
    Arm("ppo-n250", "ppo", label_set="gold-n250", n=250),
    Arm("dpo-n250", "dpo", label_set="gold-n250", n=250),
    *(Arm(f"{m}-betax{b}", m, varies=("beta",)) for m in ("ppo", "dpo") for b in (3, 10)),
    Arm("dpo-other", "dpo", varies=("lr",)),
]
LONGER = Arm("dpo-epochsx3", "dpo", varies=("epochs",), factors={"epochs": 3.0})
META = {"methods": ["ppo", "dpo"], "pairs": 1000, "tuned_families": ["review"]}
# arm -> (test gold, validation gold, KL)
ENDS = {
    "ppo": (1.0, 1.0, 4.0), "ppo-betax3": (0.7, 0.7, 2.0), "ppo-betax10": (0.3, 0.3, 1.0),
    "dpo": (0.6, 0.6, 3.0), "dpo-betax3": (0.2, 0.9, 1.5), "dpo-betax10": (0.1, 0.1, 0.5),
    "ppo-n250": (0.1, 0.1, 1.0), "dpo-n250": (0.5, 0.5, 2.0), "dpo-other": (9.0, 9.0, 2.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(0)
    prompts, curve, runs = [], [], []
    for name, (test, validation, kl) in ENDS.items():
        method = name.split("-")[0]
        for seed in range(1, SEEDS + 1):
            luck = rng.normal(0, 0.01)
            runs.append({"arm": name, "method": method, "seed": seed, "status": "ok"})
            prompts += [
                {"arm": name, "seed": seed, "prompt_id": p, "family": "review"}
                | {"gold": test + luck + rng.normal(0, 0.01)}
                for p in range(PROMPTS)
            ]
            dear = 3 if method == "ppo" else 1
            curve += [
                {"arm": name, "method": method, "seed": seed, "fraction": f, "family": family}
                | {
                    "gold": 5
                    + (seed + 9 * (method == "ppo")) * (family != "all")
                    + f * (validation + luck),
                    "kl": f * kl,
                    "proxy": 0,
                    "entropy": 1,
                }
                | {"flops": dear * f * 100.0, "cpu_s": dear * f * 10.0}
                for f in (0.0, 0.5, 1.0)
                for family in ("all", "review")
            ]
    cost = [
        {"arm": "ppo", "seed": s, "step": "reward", "charged": True, "flops": 50.0, "cpu_s": 5.0}
        for s in range(1, SEEDS + 1)
    ]
    cost += [row | {"flops": 999.0, "charged": False} for row in cost]  # checks, of nobody's cost
    tables = {"prompts": prompts, "curve": curve, "runs": runs, "cost": cost}
    return fake_runs.by_hand(ARMS, tables, seeds=range(1, SEEDS + 1), **META)


def with_arms(results, arms, **tables):
    """The same results of other arms, with other tables."""
    return replace(results, meta=replace(results.meta, arms=arms), **tables)


def one(view):
    (row,) = view.family
    return row


BOTH = ("ppo", "dpo")


def of_flops(results, longer=False):
    return views.equal_compute(results, "flops", "FLOPs", longer)


def test_each_number_of_labels_has_one_arm_a_method(results):
    assert views.label_arms(results.meta) == {
        250: {"ppo": "ppo-n250", "dpo": "dpo-n250"},
        1000: {"ppo": "ppo", "dpo": "dpo"},
    }


def test_equal_data_compares_what_learned_from_as_many_labels(results):
    few, all_ = (one(views.equal_data(results, n)) for n in (250, 1000))
    assert (few.a, few.b) == (all_.a, all_.b) == BOTH
    assert few.interval.mean == pytest.approx(-0.4, abs=0.03)
    assert (few.kind, few.winner, few.loser) == (Kind.BETTER, "dpo", "ppo")
    assert (all_.kind, all_.winner, all_.loser) == (Kind.BETTER, "ppo", "dpo")


def test_equal_compute_is_at_the_most_that_both_spent_the_reward_model_included(results):
    """DPO spends 100; by then PPO has paid 50 for its reward model and trained for 50 of 300."""
    view = of_flops(results)
    row = one(view)
    assert view.at == {BOTH: pytest.approx(100)} and view.waiting == {}
    assert row.interval.mean == pytest.approx(1.0 * 50 / 300 - 0.6, abs=0.03)
    assert (row.kind, row.winner) == (Kind.BETTER, "dpo") and row.interval.over == "seeds"


def test_a_method_that_a_budget_does_not_let_begin_is_named(results):
    """Where its reward model alone takes what DPO spends, PPO stands at the SFT base."""
    cost = results.cost.assign(flops=results.cost.flops + 50.0)
    view = of_flops(replace(results, cost=cost))
    assert view.waiting == {BOTH: "ppo"} and view.at == {BOTH: pytest.approx(100)}
    assert one(view).interval.mean == pytest.approx(-0.6, abs=0.03)


def test_paths_start_at_nothing_gained_once_what_came_before_is_paid(results):
    cost = [
        {"arm": "dpo", "seed": s, "step": "reference", "charged": True, "flops": 7.0, "cpu_s": 1.0}
        for s in range(1, SEEDS + 1)
    ]
    both = replace(results, cost=pd.concat([results.cost, pd.DataFrame(cost)]))
    for method, before in (("ppo", 50), ("dpo", 7)):
        paths = views.paths(both, "flops")[method]
        assert len(paths) == SEEDS
        for path in paths.values():
            assert len(path) == 3
            assert (path.spent[0], path.gain[0]) == (pytest.approx(before), 0)


def test_longer_runs_stand_for_their_method_at_equal_compute(results):
    """With three times the epochs DPO spends 300, as much as PPO's training alone."""
    curve, runs = results.curve, results.runs
    more = curve[curve.arm == "dpo"].assign(arm=LONGER.name)
    more[["flops", "cpu_s"]] *= 3
    assert views.longest([*ARMS, LONGER]) == {"ppo": "ppo", "dpo": "dpo-epochsx3"}
    ended = pd.concat([runs, runs[runs.arm == "dpo"].assign(arm=LONGER.name)])
    both = with_arms(results, [*ARMS, LONGER], curve=pd.concat([curve, more]), runs=ended)
    assert of_flops(both).at == {BOTH: pytest.approx(100)}
    view = of_flops(both, longer=True)
    assert view.at == {BOTH: pytest.approx(300)} and view.kind == views.LONGER
    assert one(view).interval.mean == pytest.approx(250 / 300 - 0.6, abs=0.03)


def test_a_failed_run_neither_ends_the_budget_nor_takes_part(results):
    """DPO's seed 2 diverged at half of its budget: the others are compared where they were."""
    curve, runs = results.curve, results.runs.copy()
    runs.loc[(runs.arm == "dpo") & (runs.seed == 2), "status"] = "diverged"
    cut = curve[(curve.arm != "dpo") | (curve.seed != 2) | (curve.fraction < 1)]
    lost = replace(results, curve=cut, runs=runs)
    view = of_flops(lost)
    assert view.at == {BOTH: pytest.approx(100)}
    assert one(view).interval.seeds == SEEDS - 1
    assert one(view).ended == (st.Share(SEEDS, SEEDS), st.Share(SEEDS - 1, SEEDS))
    assert one(view).interval.mean < one(view).expected.mean < 0  # DPO, ahead, loses a fifth
    lengths = {len(path) for path in views.paths(lost, "flops")["dpo"].values()}
    assert lengths == {3}  # paths of one length, as the figure draws them
    gone = runs.assign(status=runs.status.where(runs.arm != "dpo", "diverged"))
    row = one(of_flops(replace(results, runs=gone)))
    assert row.ended[1].count == 0 and row.winner is None and row.interval.seeds == 0


def test_arms_of_other_labels_or_another_start_are_in_no_view(results):
    others = [
        Arm("dpo-biased", "dpo", label_set="biased"),
        Arm("dpo-biased-few", "dpo", label_set="biased-n250", n=250),
        Arm("dpo-from-base", "dpo", start="base", varies=("epochs",), factors={"epochs": 9.0}),
    ]
    more = with_arms(results, [*ARMS, *others])
    assert views.label_arms(more.meta) == views.label_arms(results.meta)
    assert views.longest(more.meta.arms) == views.longest(results.meta.arms)


def test_a_sweep_is_of_one_kind_of_labels(results):
    arms = [
        Arm("ppo", "ppo"),
        Arm("dpo", "dpo"),
        Arm("ppo-betax3", "ppo", label_set="biased"),
        Arm("dpo-betax3", "dpo", start="base"),
    ]
    found = with_arms(results, arms)
    assert list(views.sweep(found, "ppo").arm) == ["ppo"]
    assert list(views.sweep(found, "dpo").arm) == ["dpo"]
    assert not views.equal_kl(found).family


PAIRS = (("ppo", "dpo"), ("ppo", "ipo"), ("dpo", "ipo"))


def decided(*winners):
    """A family of three methods with a winner of each pair, or None."""
    rows = []
    for (a, b), winner in zip(PAIRS, winners, strict=False):
        mean = {a: 1.0, b: -1.0, None: 0.0}[winner]
        interval = st.Interval(mean, mean - 0.1, mean + 0.1, 0.05, 4.0, 5, 40, "seeds and prompts")
        p = 0.5 if winner is None else 1e-6
        rows.append(Comparison(a, b, interval, p, (st.Share(5, 5),) * 2))
    family = Family.of(rows)
    assert [row.winner for row in family] == list(winners)
    return family


@pytest.mark.parametrize(
    "families,words",
    [
        ([("ppo", "ppo", None)] * 2, "PPO beats every other method in every"),
        # unbeaten alone, but it beats DPO only
        ([("ppo", None, "dpo")], "In no view does one method beat all"),
        ([("ppo", "ppo", None), ("ppo",)], "in 1 of 2 views"),  # the second lacks a method
        (
            [("ppo", "ppo", None), ("dpo", None, "dpo")],
            "The winner changes with the view: PPO and DPO.",
        ),
        (
            [("ppo", "ppo", None), ("ppo", "ipo", None)],
            "PPO beats every other method in 1 of 2 views; in 1 it loses to another.",
        ),
    ],
)
def test_a_winner_beats_every_other_method(monkeypatch, families, words):
    found = [views.View(str(i), views.DATA, decided(*f)) for i, f in enumerate(families)]
    monkeypatch.setattr(views, "every", lambda results: found)
    meta = SimpleNamespace(methods=["ppo", "dpo", "ipo"])
    assert words in page.winner(SimpleNamespace(results=None, meta=meta, few=False))


def test_before_its_training_has_begun_a_method_is_the_sft_base():
    path = pd.DataFrame({"spent": [50.0, 100.0], "gain": [0.0, 1.0]})
    assert [views.gain_at(path, at) for at in (10, 50, 75)] == [0, 0, 0.5]


def test_settings_are_chosen_on_validation_prompts_within_a_kl(results):
    ends = views.sweep(results, "dpo")
    # no other setting, no fewer labels
    assert list(ends.arm) == ["dpo-betax10", "dpo-betax3", "dpo"]
    assert views.chosen(ends, 0.4) is None
    assert views.chosen(ends, 1.0) == "dpo-betax10"
    assert views.chosen(ends, 3.0) == "dpo-betax3"  # the best on validation, though not on test


def test_equal_kl_covers_only_what_both_reached_and_scores_on_test_prompts(results):
    view = views.equal_kl(results)
    row = one(view)
    assert view.reached == {BOTH: pytest.approx((1.0, 3.0), abs=1e-6)}
    kls = np.linspace(1.0, np.sqrt(3.0), views.POINTS) ** 2
    ppo = np.mean([0.7 if kl >= 2 else 0.3 for kl in kls])
    dpo = np.mean([0.2 if kl >= 1.5 else 0.1 for kl in kls])
    assert row.interval.mean == pytest.approx(ppo - dpo, abs=0.015)
    assert (row.interval.seeds, row.interval.prompts) == (SEEDS, PROMPTS)


def test_sweeps_that_do_not_meet_are_not_compared(results):
    far = results.curve.copy()
    far.loc[far.arm.str.startswith("dpo"), "kl"] += 20
    view = views.equal_kl(replace(results, curve=far))
    assert not view.family and view.reached == {}


def test_a_failed_run_has_no_end(results):
    runs = results.runs.assign(status=np.where(results.runs.arm == "dpo", "diverged", "ok"))
    assert "dpo" not in set(views.sweep(replace(results, runs=runs), "dpo").arm)


def test_every_view_is_corrected_on_its_own(results):
    found = views.every(results)
    assert [view.name for view in found] == [
        "250 labels", "1,000 labels", "Equal FLOPs", "Equal core-seconds", "Equal KL budget",
    ]  # fmt: skip
    assert views.every(with_arms(results, [*ARMS, LONGER])) == found  # of which no run ended
    of_longer = {
        name: pd.concat([rows, rows[rows.arm == LONGER.method].assign(arm=LONGER.name)])
        for name in ("runs", "curve", "cost")
        for rows in [getattr(results, name)]
    }
    more = views.every(with_arms(replace(results, **of_longer), [*ARMS, LONGER]))
    assert {view.name for view in more} - {view.name for view in found} == {
        "Equal FLOPs (longer runs)",
        "Equal core-seconds (longer runs)",
    }
    for view in found:
        ps = [row.p for row in view.family]
        np.testing.assert_allclose([row.p_holm for row in view.family], st.holm(ps))
