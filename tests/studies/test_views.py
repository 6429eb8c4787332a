"""Three views of who wins: what each compares, by hand on invented tables."""

import math
from dataclasses import replace
from types import SimpleNamespace

import fake_runs
import numpy as np
import pandas as pd
import pytest

from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison, Family, Kind
from bench.analysis.results import Arm
from bench.report.study import Study
from bench.steps.collect import described
from bench.studies import load
from bench.studies.views import analysis as views
from bench.studies.views import page
from bench.training.batches import total_steps

SEEDS, PROMPTS = 5, 40
ARMS = [
    Arm("ppo", "ppo"),
    Arm("dpo", "dpo"),
    Arm("ppo-n250", "ppo", label_set="gold-n250", n=250),
    Arm("dpo-n250", "dpo", label_set="gold-n250", n=250),
    *(
        Arm(f"{m}-n250-reread", m, "gold-n250", n=250, varies=lengths, factors={"epochs": times})
        for m, times, lengths in (("ppo", 4, ("epochs", "reward.epochs")), ("dpo", 2, ("epochs",)))
    ),
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
    "ppo-n250-reread": (0.8, 0.8, 4.0), "dpo-n250-reread": (0.3, 0.3, 3.0),
}  # fmt: skip


def spent(arm: str, seed: int, times: float = 1.0) -> list[dict]:
    """What a run is charged: PPO 300 and a reward model of 50, DPO 100, a quarter from 250 labels;
    times: as many epochs."""
    share, dear = 0.25 if "n250" in arm else 1.0, 3 if arm.startswith("ppo") else 1
    head = {"arm": arm, "seed": seed, "charged": True}
    found = {"align": 100.0 * dear * times * share, "reward": 50.0 * share * (dear == 3)}
    return [
        head | {"step": step, "phase": step, "flops": flops, "cpu_s": flops / 10}
        for step, flops in found.items()
        if flops
    ]


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
    cost = [row for name in ENDS for s in range(1, SEEDS + 1) for row in spent(name, s)]
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


def of_flops(results, of=views.CHEAP):
    return views.equal_compute(results, "flops", "FLOPs", of)


def test_each_number_of_labels_has_one_arm_a_method(results):
    assert views.label_arms(results.meta) == {
        250: {"ppo": "ppo-n250", "dpo": "dpo-n250"},
        1000: {"ppo": "ppo", "dpo": "dpo"},
    }


def test_fewer_labels_have_an_arm_that_reads_them_more_often(results):
    assert views.label_arms(results.meta, views.REREAD) == {
        250: {"ppo": "ppo-n250-reread", "dpo": "dpo-n250-reread"}
    }
    often = {"varies": ("epochs",), "factors": {"epochs": 2.0}}
    few = Arm("dpo-n250-reread", "dpo", "gold-n250", n=250, **often)
    others = [
        replace(few, factors={"epochs": 0.5}),
        replace(few, factors={"epochs": 4.0}),  # in as many steps as all labels give
        replace(few, varies=("lr", "epochs")),
        replace(few, label_set="biased-n250"),
        replace(few, n=None),
    ]
    assert views.label_arms(replace(results.meta, arms=others), views.REREAD) == {}


@pytest.mark.parametrize("testbed", ["micro", "reviews", "zephyr-7b"])
def test_a_warm_up_shrinks_as_the_labels_do_and_its_arms_are_equal_data(testbed):
    cfg = load(testbed, ["study=views", "views.shares=[0.1, 0.5]"])
    arms = [described(cfg, name) for name in cfg.study_arms]
    meta = SimpleNamespace(arms=arms, methods=cfg.known_methods, pairs=cfg.pairs.n)
    found = views.label_arms(meta)
    for n, by_method in found.items():
        assert tuple(by_method) == cfg.compared
        for method, arm in by_method.items():
            usual, own = getattr(cfg, method), cfg.arm(arm).settings
            shorter = math.ceil(usual.warmup * n / cfg.pairs.n)
            assert own.epochs == usual.epochs and own.warmup == shorter
            assert total_steps(own, n) > own.warmup  # the rate reaches its setting
    assert len(found) == 3


@pytest.mark.parametrize("testbed", ["micro", "reviews", "zephyr-7b"])
def test_few_labels_are_read_more_often_by_the_root_and_ppo_takes_as_many_steps(testbed):
    cfg = load(testbed, ["study=views", "views.shares=[0.125, 0.3]"])
    arms = [described(cfg, name) for name in cfg.study_arms]
    meta = SimpleNamespace(arms=arms, methods=cfg.known_methods, pairs=cfg.pairs.n)
    found = views.label_arms(meta, views.REREAD)
    assert len(found) == 2
    for n, by_method in found.items():
        assert tuple(by_method) == cfg.compared
        for method, arm in by_method.items():
            steps = total_steps(cfg.arm(arm).settings, n)
            usual = total_steps(getattr(cfg, method), cfg.pairs.n)
            root = (n / cfg.pairs.n) ** 0.5
            expected = usual if method == "ppo" else usual * root
            assert abs(steps - expected) <= 0.05 * usual, (testbed, arm)
        reward = cfg.of(found[n]["ppo"]).reward.epochs
        assert reward == pytest.approx(cfg.reward.epochs * (cfg.pairs.n / n) ** 0.5, rel=0.01)


def test_what_is_read_more_often_is_compared_apart(results):
    row = one(views.equal_data(results, views.REREAD, 250))
    assert (row.a, row.b, row.winner) == (*BOTH, "ppo")
    assert row.interval.mean == pytest.approx(0.5, abs=0.03)
    assert all("reread" not in arm for arms in of_flops(results).made.values() for arm, _ in arms)


def test_equal_data_compares_what_learned_from_as_many_labels(results):
    few, all_ = (one(views.equal_data(results, views.DATA, n)) for n in (250, 1000))
    assert (few.a, few.b) == (all_.a, all_.b) == BOTH
    assert few.interval.mean == pytest.approx(-0.4, abs=0.03)
    assert (few.kind, few.winner, few.loser) == (Kind.BETTER, "dpo", "ppo")
    assert (all_.kind, all_.winner, all_.loser) == (Kind.BETTER, "ppo", "dpo")


def test_equal_compute_compares_pipelines_made_for_what_the_cheaper_spends(results):
    """DPO spends 100. PPO from 250 labels, its reward model included, 87.5: it takes part."""
    view = of_flops(results)
    row = one(view)
    assert view.made == {BOTH: (("ppo-n250", pytest.approx(87.5)), ("dpo", pytest.approx(100)))}
    assert (row.a, row.b) == BOTH
    assert row.interval.mean == pytest.approx(0.1 - 0.6, abs=0.03)
    assert (row.kind, row.winner) == (Kind.BETTER, "dpo")
    assert row.interval.over == "seeds and prompts"


def test_equal_compute_is_told_in_its_own_unit(results):
    study = Study(results)
    said = {line.partition(":")[0]: line for line in page.compute_lines(study)}
    for name, line in said.items():
        assert f" {name.split()[1]} against" in line
    assert any("seconds" in name for name in said)


def test_a_pair_without_a_pipeline_for_the_budget_is_not_compared(results):
    """At 350, PPO's budget, DPO has nothing within a quarter."""
    assert not of_flops(results, views.DEAR).family
    assert views.made_for(100, {"a": 79.9, "b": 125.1}) is None
    assert views.made_for(100, {"a": 80.1, "b": 124.9}) == ("a", 80.1)


def test_two_methods_that_cost_the_same_are_no_view_of_their_own(results):
    cost = results.cost.copy()
    cost.loc[cost.arm == "ppo", "flops"] = 50.0  # align and reward: 100 in all
    view = of_flops(replace(results, cost=cost))
    assert view.made[BOTH] == (("ppo", pytest.approx(100)), ("dpo", pytest.approx(100)))
    assert not views.differs(view) and views.differs(of_flops(results))


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


def longer(results):
    """The same results with DPO for three times the epochs, which costs 300."""
    found = {
        name: pd.concat([rows, rows[rows.arm == "dpo"].assign(arm=LONGER.name)])
        for name in ("runs", "curve", "prompts")
        for rows in [getattr(results, name)]
    }
    cost = [row for s in range(1, SEEDS + 1) for row in spent(LONGER.name, s, 3)]
    found["cost"] = pd.concat([results.cost, pd.DataFrame(cost)])
    return with_arms(replace(results, **found), [*ARMS, LONGER])


def test_at_the_dearer_budget_the_cheaper_method_trains_for_longer(results):
    view = of_flops(longer(results), views.DEAR)
    assert view.made == {BOTH: (("ppo", pytest.approx(350)), (LONGER.name, pytest.approx(300)))}
    assert one(view).interval.mean == pytest.approx(0.4, abs=0.03)
    assert views.longest([*ARMS, LONGER]) == {"ppo": "ppo", "dpo": "dpo-epochsx3"}


def test_failed_runs_take_no_part_in_a_path_and_count_in_a_view(results):
    """DPO's seed 2 diverged."""
    curve, runs = results.curve, results.runs.copy()
    gone = (runs.arm == "dpo") & (runs.seed == 2)
    runs.loc[gone, "status"] = "diverged"
    prompts = results.prompts[(results.prompts.arm != "dpo") | (results.prompts.seed != 2)]
    cut = curve[(curve.arm != "dpo") | (curve.seed != 2) | (curve.fraction < 1)]
    lost = replace(results, curve=cut, runs=runs, prompts=prompts)
    row = one(of_flops(lost))
    assert row.interval.seeds == SEEDS - 1
    assert row.ended == (st.Share(SEEDS, SEEDS), st.Share(SEEDS - 1, SEEDS))
    lengths = {len(path) for path in views.paths(lost, "flops")["dpo"].values()}
    assert lengths == {3}  # paths of one length, as the figure draws them
    every = runs.assign(status=runs.status.where(runs.arm != "dpo", "diverged"))
    row = one(of_flops(replace(results, runs=every, prompts=prompts[prompts.arm != "dpo"])))
    assert (row.interval.seeds, row.winner, row.ended[1].count) == (0, None, 0)


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
        # the second lacks a method
        (
            [("ppo", "ppo", None), ("ppo",)],
            "PPO beats every other method at 0 labels; at 1 labels, PPO is better than every other "
            "method of those compared; IPO compared with none.",
        ),
        (
            [("ppo", "ppo", None), ("dpo", None, "dpo")],
            "The winner changes with the view: PPO beats every other method at 0 labels; DPO beats "
            "every other method at 1 labels.",
        ),
    ],
)
def test_a_winner_beats_every_other_method(monkeypatch, families, words):
    found = [views.View(f"{i} labels", views.DATA, decided(*f)) for i, f in enumerate(families)]
    monkeypatch.setattr(views, "every", lambda results: found)
    study = SimpleNamespace(results=None, methods=["ppo", "dpo", "ipo"], few=False)
    assert words in page.winner(study)


def test_a_method_that_the_study_does_not_train_is_not_waited_for(results):
    more = replace(results.meta, methods=[*results.meta.methods, "simpo"])
    assert Study(replace(results, meta=more)).methods == list(results.meta.methods)


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
        "250 labels", "1,000 labels", "250 labels read more often",
        "Equal FLOPs of the cheaper", "Equal core-seconds of the cheaper", "Equal KL budget",
    ]  # fmt: skip
    assert views.every(with_arms(results, [*ARMS, LONGER])) == found  # of which no run ended
    more = views.every(longer(results))
    assert {view.name for view in more} - {view.name for view in found} == {
        "Equal FLOPs of the dearer",
        "Equal core-seconds of the dearer",
    }
    for view in found:
        ps = [row.p for row in view.family]
        np.testing.assert_allclose([row.p_holm for row in view.family], st.holm(ps))


def test_seconds_of_runs_that_shared_a_gpu_make_no_view(results):
    shared = {"field": "gpu_slots", "expect": "1", "why": "", "values": {"ppo seed 1": 9}}
    found = views.every(replace(results, meta=replace(results.meta, breaches=[shared])))
    assert "Equal FLOPs of the cheaper" in {view.name for view in found}
    assert not any("seconds" in view.name for view in found)
