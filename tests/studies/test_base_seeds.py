"""The study `bases`: bases take the place of seeds, and what varies is told apart."""

import fake_runs
import numpy as np
import pytest

from bench.analysis import statistics as st
from bench.analysis.comparisons import Kind
from bench.analysis.results import Arm
from bench.core.schema import UserError
from bench.report.study import Study
from bench.studies import load
from bench.studies.bases import analysis, page

BASES, SEEDS, PROMPTS = 6, (1, 2), 30
METHODS = ("ppo", "dpo")


def name(method, base):
    return method if base == 1 else f"{method}-sft{base}"


def place(base):
    return "sft" if base == 1 else f"sft@{base}"


def study(gain=0.4, over_bases=0.0, over_seeds=0.0, fail=(), luck=0):
    """Results of six bases: PPO gains 0.5 + gain, DPO 0.5, each with luck of base and seed."""
    rng, runs, prompts = np.random.default_rng(luck), [], []
    ease = rng.normal(0, 1, PROMPTS)
    for base in range(1, BASES + 1):
        prompts += [
            {"arm": place(base), "seed": 0, "prompt_id": p, "draw": 0, "family": "review"}
            | {"gold": ease[p] + base}
            for p in range(PROMPTS)
        ]
        of_base = rng.normal(0, over_bases)
        for method in METHODS:
            for seed in SEEDS:
                key = {"arm": name(method, base), "method": method, "seed": seed}
                failed = (key["arm"], seed) in fail
                runs.append(key | {"status": "diverged" if failed else "ok"})
                mine = 0.5 + (method == "ppo") * (gain + of_base) + rng.normal(0, over_seeds)
                prompts += [
                    key | {"prompt_id": p, "draw": 0, "family": "review"}
                    | {"gold": ease[p] + base + mine + rng.normal(0, 0.01)}
                    for p in range(PROMPTS)
                    if not failed
                ]  # fmt: skip
    arms = [
        Arm(name(m, b), m, base=place(b), varies=("sft.seed",) * (b > 1))
        for b in range(1, BASES + 1)
        for m in METHODS
    ]
    tables = {"runs": runs, "prompts": prompts}
    return fake_runs.by_hand(
        arms,
        tables,
        seeds=SEEDS,
        methods=list(METHODS),
        tuned_families=["review"],
        study="bases",
        planned={arm.name: list(SEEDS) for arm in arms},
    )


def one(results):
    (row,) = analysis.family(results)
    return row


def test_bases_are_the_units_and_each_is_compared_with_itself():
    row = one(study())
    assert (row.a, row.b) == METHODS
    assert row.interval.mean == pytest.approx(0.4, abs=0.01)
    assert (row.interval.seeds, row.interval.prompts) == (BASES, PROMPTS)
    assert (row.kind, row.winner) == (Kind.BETTER, "ppo")
    found = analysis.interval(study(), "dpo")
    assert found.mean == pytest.approx(0.5, abs=0.01)  # though the bases' gold is 1 to 6


def test_a_difference_that_holds_on_some_bases_only_is_inconclusive():
    row = one(study(gain=0.1, over_bases=0.5))
    assert row.kind is Kind.INCONCLUSIVE
    table = analysis.by_base(study(gain=0.1, over_bases=0.5))
    ahead = int((table.ppo > table.dpo).sum())
    assert 0 < ahead < BASES
    assert analysis.leads(study(gain=0.1, over_bases=0.5), *METHODS) == st.Share(ahead, BASES)


def test_what_varies_is_told_apart():
    """Means over many invented studies: 0.3 over bases; 0.2 a seed and method, so 0.28 a gap."""
    found = [
        analysis.spread(study(over_bases=0.3, over_seeds=0.2, luck=i), *METHODS) for i in range(60)
    ]
    base, seed = (np.sqrt(np.mean([getattr(s, k) ** 2 for s in found])) for k in ("base", "seed"))
    assert base == pytest.approx(0.3, rel=0.15)
    assert seed == pytest.approx(0.2 * np.sqrt(2), rel=0.15)
    alone = analysis.spread(study(over_seeds=0.2), *METHODS)
    assert alone.base < 0.2


def test_a_failed_run_counts_as_no_gain():
    fail = {("ppo-sft3", 1), ("dpo", 1), ("dpo", 2)}
    table = analysis.by_base(study(fail=fail))
    assert table.ppo["sft@3"] == pytest.approx(0.45, abs=0.01)  # half of 0.9
    assert table.dpo["sft"] == 0
    row = one(study(fail=fail))
    expected = (0.9 * 5 + 0.45) / 6 - 0.5 * 5 / 6
    assert row.interval.mean == pytest.approx(expected, abs=0.01)


def test_the_page_says_on_how_many_bases():
    shown = Study(study())
    assert page.headline(shown) == [
        "PPO gains most on 6 of 6 SFT bases. Over bases PPO is better than every other method."
    ]
    (row,) = page.matrix(shown).rows
    assert [cell.text for cell in row[:2]] == ["PPO − DPO", "+0.40"]
    assert row[4].text == "6 of 6"
    assert len(page.gains_table(shown).rows) == BASES + 1


def test_the_plan_has_other_seeds_of_every_base_and_nothing_else():
    cfg = load("tiny", ["study=bases", "bases={n: 3, seeds: [1]}"])
    assert [arm for arm, _ in cfg.study_runs] == [
        *cfg.compared, *(f"{m}-sft{b}" for b in (2, 3) for m in cfg.compared)
    ]  # fmt: skip
    own = cfg.of("dpo-sft3")
    assert (own.base.seed, own.sft.seed) == (cfg.base.seed + 2, cfg.sft.seed + 2)
    assert own.dpo == cfg.dpo and own.pairs == cfg.pairs
    assert len(cfg.sft_bases) == 3
    for seeds, said in (
        ("[1, 1]", "bases.seeds: 1 stands there twice"),
        ("[100]", "seed 100 is tune.seed"),
        ("[101]", "finals.seeds holds 101"),
    ):
        with pytest.raises(UserError, match=said):
            load("tiny", [f"bases.seeds={seeds}"])
