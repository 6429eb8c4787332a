"""The grid around the tuned settings: what counts as a failure, and how rates are compared."""

import numpy as np
import pandas as pd
import pytest

from bench.analysis import stability
from bench.analysis import statistics as st
from bench.core.thresholds import GRID_CURVE, MARGIN
from bench.studies import load

LRS, BETAS = (0.33, 1.0, 3.0, 10.0), (0.33, 1.0, 3.0)
SD = 2.0  # of the SFT base's gold over prompts


def cell(method, lr, beta):
    off = [f"{k}x{v:g}" for k, v in (("lr", lr), ("beta", beta)) if v != 1]
    return "-".join([method, *off])


def made(gain):
    """Tables of two methods on the whole grid; gain: (method, lr, beta) -> gold, or a status."""
    runs, curve, log, arms = [], [], [], []
    for method in ("ppo", "dpo"):
        for lr in LRS:
            for beta in BETAS:
                name, end = cell(method, lr, beta), gain(method, lr, beta)
                arms.append({"name": name, "factors": {"lr": lr, "beta": beta}})
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
    tables = {"runs": runs, "curve": curve, "log": log}
    return {k: pd.DataFrame(v) for k, v in tables.items()}, {"arms": arms}


def dpo_fails_high(method, lr, beta):
    if method == "dpo" and lr == 10:
        return "diverged"
    return -1.0 if method == "dpo" and lr == 3 else 0.1 if beta == 3 else 0.5 * lr**0.5


@pytest.fixture(scope="module")
def study():
    return made(dpo_fails_high)


def test_a_run_that_ends_below_sft_by_the_margin_has_failed(study):
    tables, meta = study
    cells = stability.cells(tables, meta)
    assert stability.margin(tables["curve"]) == pytest.approx(MARGIN * SD)
    dpo = cells[cells.method == "dpo"].set_index(["lr", "beta", "seed"])
    assert dpo.outcome[10.0, 1.0, 2] == "diverged" and np.isnan(dpo.gain[10.0, 1.0, 2])
    assert dpo.outcome[3.0, 0.33, 1] == stability.BELOW
    assert dpo.outcome[1.0, 3.0, 1] == "ok" and dpo.gain[1.0, 3.0, 1] == pytest.approx(0.1)


def test_rates_count_one_run_a_cell_and_compare_by_fisher(study):
    tables, meta = study
    cells = stability.cells(tables, meta)
    rates = stability.rates(cells, stability.margin(tables["curve"])).set_index("method")
    assert (rates.n == 12).all()
    assert (rates.failed["ppo"], rates.failed["dpo"]) == (0, 6)
    assert rates.beat["ppo"] == 8  # the tight strength ends within the margin
    assert rates.worst["dpo"] == -np.inf and rates.best["dpo"] == pytest.approx(0.5)
    assert rates["median"]["dpo"] == pytest.approx(-0.45)  # of twelve, those that diverged too
    pair = stability.compared(rates.reset_index()).iloc[0]
    assert pair.p == pytest.approx(0.01373, abs=1e-4)  # 0 of 12 against 6 of 12


def test_cells_are_counted_at_the_seed_that_all_have_whatever_its_number(study):
    tables, meta = study
    other = {"runs": 1, "curve": 1, "log": 1}
    for name in other:  # seeds=[3, 1, 2] in the settings
        table = tables[name]
        other[name] = table.assign(seed=table.seed.map({1: 3, 2: 1, 3: 2}))
    rates = stability.rates(stability.cells(other, meta), 0.1)
    assert (rates.n == 12).all()


def test_drawdown_looks_only_at_points_that_all_runs_have(study):
    tables, meta = study
    cells = stability.cells(tables, meta).set_index(["method", "lr", "beta", "seed"])
    assert cells.drawdown["ppo", 1.0, 1.0, 1] == 0  # the peak at a quarter is not every run's
    assert cells.drawdown["dpo", 3.0, 1.0, 1] == pytest.approx(1.0)
    assert cells.spikes["ppo", 1.0, 1.0, 1] == 5
    assert cells.displacement["ppo", 1.0, 1.0, 1] == -2  # chosen answers became less likely


def test_failure_rates_are_corrected_over_all_pairs():
    rates = pd.DataFrame({"method": ["a", "b", "c"], "failed": [0, 6, 7], "n": 12})
    found = stability.compared(rates)
    np.testing.assert_allclose(found.p_holm, st.holm(found.p))
    assert (found.p_holm > found.p)[:2].all()


def test_what_a_method_sees_is_ranked_against_gold(study):
    tables, meta = study
    cells = stability.cells(tables, meta)
    rates = stability.rates(cells, 0.1).set_index("method")
    assert rates.told["dpo"] == pytest.approx(1.0)  # by the loss on held-out pairs
    assert rates.told["ppo"] == pytest.approx(1.0)  # by its reward model
    assert rates.collapsed["ppo"] == 12


def test_the_centre_column_has_the_spread_of_seeds(study):
    spread = stability.spread(stability.cells(*study))
    assert set(spread.n) == {3} and len(spread) == 8
    assert spread.set_index(["method", "lr"]).failed["dpo", 10.0] == 3
    table = pd.DataFrame({"method": "ppo", "lr": 1.0, "beta": 1.0, "seed": [1, 2, 3]})
    one = stability.spread(table.assign(outcome="ok", gain=[0.0, 2.0, 4.0])).iloc[0]
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
