"""Three views of who wins: what each compares, by hand on invented tables."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.analysis import measures as ms
from bench.analysis import statistics as st
from bench.analysis import views
from bench.studies.views import page as page

SEEDS, PROMPTS = 5, 40


def arm(name, method, **more):
    plain = {"label_set": "gold", "n": None, "start": "sft", "varies": [], "factors": {}}
    return plain | {"name": name, "method": method} | more


META = {
    "methods": ["ppo", "dpo"],
    "pairs": 1000,
    "tuned_families": ["review"],
    "machine": {"gpu": "none"},
    "arms": [
        arm("ppo", "ppo"),
        arm("dpo", "dpo"),
        arm("ppo-n250", "ppo", n=250),
        arm("dpo-n250", "dpo", n=250),
        *(arm(f"{m}-betax{b}", m, varies=["beta"]) for m in ("ppo", "dpo") for b in (3, 10)),
        arm("dpo-other", "dpo", varies=["lr"]),
    ],
}
# arm -> (test gold, validation gold, KL)
ENDS = {
    "ppo": (1.0, 1.0, 4.0), "ppo-betax3": (0.7, 0.7, 2.0), "ppo-betax10": (0.3, 0.3, 1.0),
    "dpo": (0.6, 0.6, 3.0), "dpo-betax3": (0.2, 0.9, 1.5), "dpo-betax10": (0.1, 0.1, 0.5),
    "ppo-n250": (0.1, 0.1, 1.0), "dpo-n250": (0.5, 0.5, 2.0), "dpo-other": (9.0, 9.0, 2.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def tables():
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
    names = {"prompts": prompts, "curve": curve, "runs": runs, "cost": cost}
    return {name: pd.DataFrame(rows) for name, rows in names.items()}


def one(table):
    (row,) = table.itertuples()
    return row


def test_each_number_of_labels_has_one_arm_a_method():
    assert views.label_arms(META) == {
        250: {"ppo": "ppo-n250", "dpo": "dpo-n250"},
        1000: {"ppo": "ppo", "dpo": "dpo"},
    }


def test_equal_data_compares_what_learned_from_as_many_labels(tables):
    few = one(views.equal_data(tables["prompts"], META, 250))
    assert few.interval.mean == pytest.approx(-0.4, abs=0.03)
    assert few.verdict == "dpo better"
    assert one(views.equal_data(tables["prompts"], META, 1000)).verdict == "ppo better"


def test_equal_compute_is_at_the_most_that_both_spent_the_reward_model_included(tables):
    """DPO spends 100; by then PPO has paid 50 for its reward model and trained for 50 of 300."""
    row = one(views.equal_compute(tables, META, "flops"))
    assert row.at == pytest.approx(100)
    assert row.interval.mean == pytest.approx(1.0 * 50 / 300 - 0.6, abs=0.03)
    assert row.verdict == "dpo better" and row.interval.over == "seeds"


def test_paths_start_at_nothing_gained_once_what_came_before_is_paid(tables):
    cost = [
        {"arm": "dpo", "seed": s, "step": "reference", "charged": True, "flops": 7.0, "cpu_s": 1.0}
        for s in range(1, SEEDS + 1)
    ]
    both = tables | {"cost": pd.concat([tables["cost"], pd.DataFrame(cost)])}
    for method, before in (("ppo", 50), ("dpo", 7)):
        for path in views.paths(both, META, "flops")[method].values():
            assert len(path) == 3
            assert (path.spent[0], path.gain[0]) == (pytest.approx(before), 0)


def test_holm_is_over_the_pairs_of_a_view():
    zero = st.over_seeds([-1.0, 0.0, 1.0])
    rows = [{"a": a, "b": b, "interval": zero, "p": p} for a, b, p in ABC]
    assert list(ms.decided(rows).p_holm) == pytest.approx([0.03, 0.06, 0.06])


ABC = (("ppo", "dpo", 0.01), ("ppo", "ipo", 0.03), ("dpo", "ipo", 0.04))


def test_longer_runs_stand_for_their_method_at_equal_compute(tables):
    """With three times the epochs DPO spends 300, as much as PPO's training alone."""
    curve = tables["curve"]
    more = curve[curve.arm == "dpo"].assign(arm="dpo-epochsx3")
    more[["flops", "cpu_s"]] *= 3
    longer = arm("dpo-epochsx3", "dpo", varies=["epochs"], factors={"epochs": 3.0})
    meta = META | {"arms": [*META["arms"], longer]}
    assert views.longest(meta) == {"ppo": "ppo", "dpo": "dpo-epochsx3"}
    runs = tables["runs"]
    ended = pd.concat([runs, runs[runs.arm == "dpo"].assign(arm="dpo-epochsx3")])
    both = tables | {"curve": pd.concat([curve, more]), "runs": ended}
    assert one(views.equal_compute(both, meta, "flops")).at == pytest.approx(100)
    row = one(views.equal_compute(both, meta, "flops", longer=True))
    assert row.at == pytest.approx(300)
    assert row.interval.mean == pytest.approx(250 / 300 - 0.6, abs=0.03)


def test_a_failed_run_neither_ends_the_budget_nor_takes_part(tables):
    """DPO's seed 2 diverged at half of its budget: the others are compared where they were."""
    curve, runs = tables["curve"], tables["runs"].copy()
    runs.loc[(runs.arm == "dpo") & (runs.seed == 2), "status"] = "diverged"
    cut = curve[(curve.arm != "dpo") | (curve.seed != 2) | (curve.fraction < 1)]
    lost = tables | {"curve": cut, "runs": runs}
    row = one(views.equal_compute(lost, META, "flops"))
    assert row.at == pytest.approx(100) and row.interval.seeds == SEEDS - 1
    lengths = {len(path) for path in views.paths(lost, META, "flops")["dpo"].values()}
    assert lengths == {3}  # paths of one length, as the figure draws them
    runs.loc[runs.arm == "dpo", "status"] = "diverged"
    assert not len(views.equal_compute(tables | {"runs": runs}, META, "flops"))


def test_arms_of_other_labels_or_another_start_are_in_no_view():
    others = [
        arm("dpo-biased", "dpo", label_set="biased"),
        arm("dpo-biased-few", "dpo", label_set="biased-n250", n=250),
        arm("dpo-from-base", "dpo", start="base", varies=["epochs"], factors={"epochs": 9.0}),
    ]
    meta = META | {"arms": [*META["arms"], *others]}
    assert views.label_arms(meta) == views.label_arms(META)
    assert views.longest(meta) == views.longest(META)


def test_a_sweep_is_of_one_kind_of_labels(tables):
    meta = META | {"arms": [arm("ppo", "ppo"), arm("dpo", "dpo")]}
    meta["arms"] += [
        arm("ppo-betax3", "ppo", label_set="biased"),
        arm("dpo-betax3", "dpo", start="base"),
    ]
    assert list(views.sweep(tables, meta, "ppo").arm) == ["ppo"]
    assert list(views.sweep(tables, meta, "dpo").arm) == ["dpo"]
    assert not len(views.equal_kl(tables, meta))


def verdicts(*words):
    """A view of three methods, with its verdicts."""
    pairs = [("ppo", "dpo"), ("ppo", "ipo"), ("dpo", "ipo")]
    return pd.DataFrame(
        [{"a": a, "b": b, "verdict": v} for (a, b), v in zip(pairs, words, strict=False)]
    )


@pytest.mark.parametrize(
    "tables,words",
    [
        (
            [("ppo better", "ppo better", "inconclusive")] * 2,
            "PPO beats every other method in every",
        ),
        # unbeaten alone, but it beats DPO only
        ([("ppo better", "inconclusive", "dpo better")], "In no view does one method beat all"),
        ([("ppo better", "ppo better", "inconclusive"), ("ppo better",)], "in 1 of 2 views"),
        (
            [
                ("ppo better", "ppo better", "inconclusive"),
                ("dpo better", "inconclusive", "dpo better"),
            ],
            "The winner changes with the view: PPO and DPO.",
        ),
    ],
)
def test_a_winner_beats_every_other_method(tables, words):
    study = SimpleNamespace(
        views={str(i): verdicts(*t) for i, t in enumerate(tables)},
        meta={"methods": ["ppo", "dpo", "ipo"]},
    )
    assert words in page.headline(study)


def test_before_its_training_has_begun_a_method_is_the_sft_base():
    path = pd.DataFrame({"spent": [50.0, 100.0], "gain": [0.0, 1.0]})
    assert [views.gain_at(path, at) for at in (10, 50, 75)] == [0, 0, 0.5]


def test_settings_are_chosen_on_validation_prompts_within_a_kl(tables):
    ends = views.sweep(tables, META, "dpo")
    assert list(ends.arm) == [
        "dpo-betax10",
        "dpo-betax3",
        "dpo",
    ]  # no other setting, no fewer labels
    assert views.chosen(ends, 0.4) is None
    assert views.chosen(ends, 1.0) == "dpo-betax10"
    assert views.chosen(ends, 3.0) == "dpo-betax3"  # the best on validation, though not on test


def test_equal_kl_covers_only_what_both_reached_and_scores_on_test_prompts(tables):
    row = one(views.equal_kl(tables, META))
    assert (row.low, row.high) == pytest.approx((1.0, 3.0), abs=1e-6)
    kls = np.linspace(1.0, np.sqrt(3.0), views.POINTS) ** 2
    ppo = np.mean([0.7 if kl >= 2 else 0.3 for kl in kls])
    dpo = np.mean([0.2 if kl >= 1.5 else 0.1 for kl in kls])
    assert row.interval.mean == pytest.approx(ppo - dpo, abs=0.015)
    assert (row.interval.seeds, row.interval.prompts) == (SEEDS, PROMPTS)


def test_sweeps_that_do_not_meet_are_not_compared(tables):
    far = tables["curve"].copy()
    far.loc[far.arm.str.startswith("dpo"), "kl"] += 20
    assert not len(views.equal_kl(tables | {"curve": far}, META))


def test_a_failed_run_has_no_end(tables):
    runs = tables["runs"].assign(status=np.where(tables["runs"].arm == "dpo", "diverged", "ok"))
    assert "dpo" not in set(views.sweep(tables | {"runs": runs}, META, "dpo").arm)


def test_every_view_is_corrected_on_its_own(tables):
    found = views.every(tables, META, {"flops": "FLOPs", "cpu_s": "core-seconds"})
    assert list(found) == [
        "250 labels", "1,000 labels", "Equal FLOPs", "Equal core-seconds", "Equal KL budget",
    ]  # fmt: skip
    longer = arm("dpo-epochsx3", "dpo", varies=["epochs"], factors={"epochs": 3.0})
    more = views.every(tables, META | {"arms": [*META["arms"], longer]}, {"flops": "FLOPs"})
    assert set(more) - set(found) == {"Equal FLOPs (longer runs)"}
    for table in found.values():
        np.testing.assert_allclose(table.p_holm, st.holm(table.p))
