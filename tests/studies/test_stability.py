"""The grid around the tuned settings: what counts as a failure, and how rates are compared."""

from dataclasses import replace

import fake_runs
import numpy as np
import pandas as pd
import pytest

from bench.analysis import statistics as st
from bench.analysis.results import Arm
from bench.core.thresholds import GRID_CURVE, MARGIN
from bench.report.study import Study
from bench.steps.collect import described
from bench.studies import load
from bench.studies.stability import analysis, page

LRS, BETAS, SEEDS = (0.33, 1.0, 3.0, 10.0), (0.33, 1.0, 3.0), (1, 2, 3)
SD = 2.0  # of the SFT base's gold over prompts


def cell(method, lr, beta):
    off = [f"{k}x{v:g}" for k, v in (("lr", lr), ("beta", beta)) if v != 1]
    return "-".join([method, *off])


def made(gain):
    """Results of two methods on the whole grid; gain: (method, lr, beta) -> gold, or a status."""
    runs, curve, log, arms = [], [], [], []
    for method in ("ppo", "dpo"):
        for lr in LRS:
            for beta in BETAS:
                name, end = cell(method, lr, beta), gain(method, lr, beta)
                arms.append(Arm(name, method, factors={"lr": lr, "beta": beta}))
                for seed in SEEDS:
                    key = {"arm": name, "method": method, "seed": seed}
                    ok = not isinstance(end, str)
                    status = "ok" if ok else end
                    loss = -end if ok and method == "dpo" else None
                    runs.append(key | {"status": status, "reason": "", "validation_loss": loss})
                    for fraction in (0.0, 0.25, 0.5, 1.0) if ok else (0.0, 0.5):
                        gold = 3.0 + (end if ok else -8.0) * fraction + 9 * (fraction == 0.25)
                        curve.append(
                            key
                            | {"fraction": fraction, "family": "all", "gold": gold, "n": 100}
                            | {"gold_se": SD / 10, "kl": fraction, "entropy": 1 - 0.6 * fraction}
                            | {"proxy": 2 * gold}
                        )
                    log += [
                        key | {"step": s, "grad_norm": 1.0 + 4 * (s == 2), "logps_chosen": -s}
                        for s in (1, 2, 3)
                    ]
    return fake_runs.by_hand(arms, {"runs": runs, "curve": curve, "log": log})


def dpo_fails_high(method, lr, beta):
    if method == "dpo" and lr == 10:
        return "diverged"
    return -1.0 if method == "dpo" and lr == 3 else 0.1 if beta == 3 else 0.5 * lr**0.5


@pytest.fixture(scope="module")
def study():
    return made(dpo_fails_high)


def by_method(results):
    """{method: how it did on its grid}."""
    return {rates.method: rates for rates in analysis.rates(results)}


def test_a_run_that_ends_below_sft_by_the_margin_has_failed(study):
    runs = analysis.runs(study)
    assert analysis.margin(study) == pytest.approx(MARGIN * SD)
    dpo = runs[runs.method == "dpo"].set_index(["lr", "beta", "seed"])
    assert dpo.outcome[10.0, 1.0, 2] == "diverged" and np.isnan(dpo.gain[10.0, 1.0, 2])
    assert dpo.outcome[3.0, 0.33, 1] == analysis.BELOW
    assert dpo.outcome[1.0, 3.0, 1] == "ok" and dpo.gain[1.0, 3.0, 1] == pytest.approx(0.1)


def test_rates_count_every_run_and_compare_whole_seeds(study):
    ppo, dpo = by_method(study)["ppo"], by_method(study)["dpo"]
    assert (ppo.failed, dpo.failed) == (st.Share(0, 36), st.Share(18, 36))
    assert dpo.by_seed == {seed: st.Share(6, 12) for seed in SEEDS} and dpo.cells == 12
    assert ppo.beat == st.Share(24, 36)  # the tight strength ends within the margin
    assert dpo.worst == -np.inf and dpo.best == pytest.approx(0.5)
    assert dpo.median == pytest.approx(-0.45)  # of all runs, those that diverged too
    (pair,) = analysis.compared(study)
    assert (pair.a, pair.b) == (ppo, dpo)
    assert pair.p == pytest.approx(2 / 20) and pair.p_holm == pair.p  # three seeds cannot tell
    assert pair.worse is None


def test_one_bad_seed_is_one_observation_however_many_cells_fail_in_it():
    """A reward model that is bad fails in every cell of its seed."""
    failing = made(lambda *cell: 0.5)
    bad = (failing.runs.method == "ppo") & (failing.runs.seed == 1)
    runs = failing.runs.assign(status=failing.runs.status.mask(bad, "diverged"))
    (pair,) = analysis.compared(replace(failing, runs=runs))
    assert pair.a.failed == st.Share(12, 36) and pair.p == 1


def test_other_rates_of_critic_and_reward_model_are_beside_the_grid(study):
    own = [("ppo-critic_lrx3", {"critic_lr": 3.0}), ("ppo-reward.lrx10", {"reward.lr": 10.0})]
    arms = [*study.meta.arms, *(Arm(name, "ppo", factors=f) for name, f in own)]
    more = {}
    for name in ("runs", "curve", "log"):
        table = getattr(study, name)
        like = table[table.arm == "ppo-lrx3"]
        more[name] = pd.concat([table, *(like.assign(arm=arm) for arm, _ in own)])
    found = replace(study, **more, meta=replace(study.meta, arms=arms))
    assert analysis.rates(found) == analysis.rates(study)
    rows = analysis.own_rates(found)
    assert [*zip(rows.rate, rows.factor, rows.n, strict=True)] == [
        ("critic_lr", 1.0, 3), ("critic_lr", 3.0, 3), ("reward.lr", 1.0, 3), ("reward.lr", 10.0, 3)
    ]  # fmt: skip
    assert rows.gain.tolist() == pytest.approx([0.5, 0.5 * 3**0.5, 0.5, 0.5 * 3**0.5])
    table = page.own_table(Study(found))
    assert [row[1].text for row in table.rows] == ["critic"] * 2 + ["reward model"] * 2
    assert not page.own_table(Study(study)).rows


def test_drawdown_looks_only_at_points_that_all_runs_have(study):
    runs = analysis.runs(study).set_index(["method", "lr", "beta", "seed"])
    assert runs.drawdown["ppo", 1.0, 1.0, 1] == 0  # the peak at a quarter is not every run's
    assert runs.drawdown["dpo", 3.0, 1.0, 1] == pytest.approx(1.0)
    assert runs.spikes["ppo", 1.0, 1.0, 1] == 5
    assert runs.displacement["ppo", 1.0, 1.0, 1] == -2  # chosen answers became less likely


def test_failure_rates_are_corrected_over_all_pairs():
    failed = {"ppo": 0, "dpo": 3, "ipo": 4}  # of four cells, at each of five seeds
    arms = [Arm(f"{m}-lrx{i}", m, factors={"lr": float(i)}) for m in failed for i in (2, 3, 4, 5)]
    runs = [
        {"arm": arm.name, "method": arm.method, "seed": seed}
        | {"status": "diverged" if arm.factors["lr"] < 2 + failed[arm.method] else "ok"}
        for arm in arms
        for seed in range(5)
    ]
    curve = [
        {"arm": run["arm"], "seed": run["seed"], "fraction": f, "family": "all", "gold": 1.0 + f}
        | {"gold_se": 0.1, "n": 100}
        for run in runs
        for f in (0.0, 1.0)
    ]
    found = analysis.compared(fake_runs.by_hand(arms, {"runs": runs, "curve": curve}))
    pairs = [(d.a.method, d.b.method) for d in found]
    assert pairs == [("ppo", "dpo"), ("ppo", "ipo"), ("dpo", "ipo")]
    ps = [2 / 252] * 3  # each pair is told apart at every seed
    assert [d.p for d in found] == pytest.approx(ps)
    np.testing.assert_allclose([d.p_holm for d in found], st.holm(ps))
    assert [d.worse for d in found] == ["dpo", "ipo", "ipo"]


def test_what_a_method_sees_is_ranked_against_gold(study):
    rates = by_method(study)
    assert rates["dpo"].agreement == pytest.approx(1.0)  # by the loss on held-out pairs
    assert rates["ppo"].agreement == pytest.approx(1.0)  # by its reward model
    assert rates["ppo"].collapsed == st.Share(36, 36)


def test_the_centre_column_has_the_spread_of_seeds(study):
    spread = analysis.spread(study)
    assert set(spread.n) == {3} and len(spread) == 8
    assert spread.set_index(["method", "lr"]).failed["dpo", 10.0] == 3
    table = pd.DataFrame({"lr": 1.0, "seed": [1, 2, 3], "outcome": "ok", "gain": [0.0, 2.0, 4.0]})
    one = analysis.summary(table.groupby("lr")).iloc[0]
    assert (one.gain, one.sd) == (2, 2)


def test_every_method_has_the_same_cells_and_seeds():
    cfg = load("micro", ["study=stability"])
    shapes = {}
    for name, seed in cfg.study_runs:
        arm = cfg.arm(name)
        shapes.setdefault(arm.method, []).append((name.removeprefix(arm.method), seed))
    own = [f"-{rate}x{f}" for rate in ("critic_lr", "reward.lr") for f in ("0.33", "3", "10")]
    assert len(cfg.study_runs) == (4 * 12 + 6) * 5
    assert [x for x in shapes["ppo"] if x[0] in own] == [
        (arm, s) for arm in own for s in range(1, 6)
    ]
    shapes["ppo"] = [x for x in shapes["ppo"] if x[0] not in own]
    assert all(sorted(s) == sorted(shapes["ppo"]) for s in shapes.values())
    assert cfg.of("ppo-reward.lrx3").reward.lr == pytest.approx(3 * cfg.reward.lr, rel=5e-3)
    assert cfg.arm("ppo-critic_lrx3").settings.lr == cfg.ppo.lr
    assert described(cfg, "ppo-reward.lrx3").factors == {"reward.lr": 3.0}
    assert described(cfg, "ppo-critic_lrx0.33").factors == {"critic_lr": 0.33}
    arm = cfg.arm("dpo-lrx10-betax0.33")
    assert arm.settings.lr == pytest.approx(10 * cfg.dpo.lr, rel=5e-3)
    assert arm.settings.beta == pytest.approx(cfg.dpo.beta / 3, rel=5e-3)
    assert arm.curve == GRID_CURVE and not arm.tasks
