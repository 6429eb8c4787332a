"""The grid around the tuned settings: what counts as a failure, and how rates are compared."""

from dataclasses import replace

import fake_runs
import numpy as np
import pandas as pd
import pytest

from bench.analysis import statistics as st
from bench.analysis.results import Arm
from bench.core.thresholds import GRID_CURVE, MARGIN
from bench.studies import load
from bench.studies.stability import analysis

LRS, BETAS = (0.33, 1.0, 3.0, 10.0), (0.33, 1.0, 3.0)
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
                for seed in (1, 2, 3) if beta == 1 else (1,):
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
    cells = analysis.cells(study)
    assert analysis.margin(study) == pytest.approx(MARGIN * SD)
    dpo = cells[cells.method == "dpo"].set_index(["lr", "beta", "seed"])
    assert dpo.outcome[10.0, 1.0, 2] == "diverged" and np.isnan(dpo.gain[10.0, 1.0, 2])
    assert dpo.outcome[3.0, 0.33, 1] == analysis.BELOW
    assert dpo.outcome[1.0, 3.0, 1] == "ok" and dpo.gain[1.0, 3.0, 1] == pytest.approx(0.1)


def test_rates_count_one_run_a_cell_and_compare_by_fisher(study):
    ppo, dpo = by_method(study)["ppo"], by_method(study)["dpo"]
    assert (ppo.failed, dpo.failed) == (st.Share(0, 12), st.Share(6, 12))
    assert ppo.beat == st.Share(8, 12)  # the tight strength ends within the margin
    assert dpo.worst == -np.inf and dpo.best == pytest.approx(0.5)
    assert dpo.median == pytest.approx(-0.45)  # of twelve, those that diverged too
    (pair,) = analysis.compared(study)
    assert (pair.a, pair.b) == (ppo, dpo)
    assert pair.p == pytest.approx(0.01373, abs=1e-4)  # 0 of 12 against 6 of 12
    assert pair.p_holm == pair.p and pair.worse == "dpo"


def test_cells_are_counted_at_the_seed_that_all_have_whatever_its_number(study):
    other = {}
    for name in ("runs", "curve", "log"):  # seeds=[3, 1, 2] in the settings
        table = getattr(study, name)
        other[name] = table.assign(seed=table.seed.map({1: 3, 2: 1, 3: 2}))
    rates = analysis.rates(replace(study, **other))
    assert [r.failed for r in rates] == [st.Share(0, 12), st.Share(6, 12)]
    assert {r.beat.n for r in rates} | {r.collapsed.n for r in rates} == {12}


def test_drawdown_looks_only_at_points_that_all_runs_have(study):
    cells = analysis.cells(study).set_index(["method", "lr", "beta", "seed"])
    assert cells.drawdown["ppo", 1.0, 1.0, 1] == 0  # the peak at a quarter is not every run's
    assert cells.drawdown["dpo", 3.0, 1.0, 1] == pytest.approx(1.0)
    assert cells.spikes["ppo", 1.0, 1.0, 1] == 5
    assert cells.displacement["ppo", 1.0, 1.0, 1] == -2  # chosen answers became less likely


def test_failure_rates_are_corrected_over_all_pairs():
    failed = {"ppo": 0, "dpo": 6, "ipo": 7}  # of the first twelve cells, every one diverged
    cells = [(m, i, "diverged" if i < n else "ok") for m, n in failed.items() for i in range(12)]
    arms = [Arm(f"{m}-lrx{i + 2}", m, factors={"lr": i + 2.0}) for m, i, _ in cells]
    rows = zip(arms, cells, strict=True)
    runs = [
        {"arm": arm.name, "method": arm.method, "seed": 1, "status": status}
        for arm, (*_, status) in rows
    ]
    curve = [
        {"arm": run["arm"], "seed": 1, "fraction": f, "family": "all", "gold": 1.0 + f}
        | {"gold_se": 0.1, "n": 100}
        for run in runs
        for f in (0.0, 1.0)
    ]
    found = analysis.compared(fake_runs.by_hand(arms, {"runs": runs, "curve": curve}))
    assert [(d.a.method, d.b.method) for d in found] == [
        ("ppo", "dpo"),
        ("ppo", "ipo"),
        ("dpo", "ipo"),
    ]
    shares = [(d.a.failed.count, d.b.failed.count) for d in found]
    assert shares == [(0, 6), (0, 7), (6, 7)] and {d.a.failed.n for d in found} == {12}
    ps = [st.fisher(k1, 12, k2, 12) for k1, k2 in shares]
    assert [d.p for d in found] == ps
    np.testing.assert_allclose([d.p_holm for d in found], st.holm(ps))
    assert all(d.p_holm > d.p for d in found[:2])
    assert [d.worse for d in found] == ["dpo", "ipo", None]


def test_what_a_method_sees_is_ranked_against_gold(study):
    rates = by_method(study)
    assert rates["dpo"].agreement == pytest.approx(1.0)  # by the loss on held-out pairs
    assert rates["ppo"].agreement == pytest.approx(1.0)  # by its reward model
    assert rates["ppo"].collapsed == st.Share(12, 12)


def test_the_centre_column_has_the_spread_of_seeds(study):
    spread = analysis.spread(analysis.cells(study))
    assert set(spread.n) == {3} and len(spread) == 8
    assert spread.set_index(["method", "lr"]).failed["dpo", 10.0] == 3
    table = pd.DataFrame({"method": "ppo", "lr": 1.0, "beta": 1.0, "seed": [1, 2, 3]})
    one = analysis.spread(table.assign(outcome="ok", gain=[0.0, 2.0, 4.0])).iloc[0]
    assert (one.gain, one.sd) == (2, 2)


def test_every_method_has_the_same_cells_and_seeds():
    cfg = load("micro", ["study=stability"])
    shapes = {}
    for name, seed in cfg.study_runs:
        arm = cfg.arm(name)
        shapes.setdefault(arm.method, []).append((name.removeprefix(arm.method), seed))
    assert len(cfg.study_runs) == 80 and all(s == shapes["ppo"] for s in shapes.values())
    arm = cfg.arm("dpo-lrx10-betax0.33")
    assert arm.settings.lr == pytest.approx(10 * cfg.dpo.lr, rel=5e-3)
    assert arm.settings.beta == pytest.approx(cfg.dpo.beta / 3, rel=5e-3)
    assert arm.curve == GRID_CURVE and not arm.tasks
