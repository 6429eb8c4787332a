"""The study `sizes`: each run counts at a rate that other seeds picked on validation prompts."""

from dataclasses import replace

import fake_runs
import numpy as np
import pytest

from bench.analysis.results import Arm
from bench.core.schema import UserError
from bench.report.facts import parameters
from bench.report.page import sized
from bench.report.study import Study
from bench.studies import load
from bench.studies.sizes import analysis, page

SEEDS, PROMPTS = (1, 2, 3), 40
METHODS = ("ppo", "dpo")
SMALL = "sft@1"
RATES = {"-lrx0.33": 0.67, "": 2.0, "-lrx3": 6.0}  # on the tuned rate; the size's factor is 2
LEVEL = {"sft": 0.0, SMALL: 3.0}
# gold above the own SFT base: on the small model DPO leads at its best rate, the lowest
GAIN = {"ppo": 1.0, "dpo": 0.5} | {f"{m}-small{end}": gain for m, gains in
        (("ppo", (0.2, 0.5, 0.1)), ("dpo", (0.9, 0.4, 0.0)))
        for end, gain in zip(RATES, gains, strict=True)}  # fmt: skip


def arms() -> list[Arm]:
    found = [Arm(method, method) for method in METHODS]
    more = {"base": SMALL, "varies": ("lr", "model.hidden")}
    return found + [
        Arm(f"{m}-small{end}", m, factors={"lr": rate}, **more)
        for m in METHODS
        for end, rate in RATES.items()
    ]


def results(fail=(), validation=None):
    """Validation gains are those on test prompts, unless `validation` says {(arm, seed): gain}."""
    rng, validation = np.random.default_rng(0), validation or {}
    ease = rng.normal(0, 1, PROMPTS)

    def answers(key, level):
        gold = level + ease + rng.normal(0, 0.02, PROMPTS)
        at = {"draw": 0, "family": "review"}
        return [key | at | {"prompt_id": p, "gold": gold[p]} for p in range(PROMPTS)]

    prompts = [row for base, level in LEVEL.items()
               for row in answers({"arm": base, "seed": 0}, level)]  # fmt: skip
    runs, curve = [], []
    for arm in arms():
        for seed in SEEDS:
            key = {"arm": arm.name, "method": arm.method, "seed": seed}
            failed = (arm.name, seed) in fail
            size = 1_000 if arm.base == SMALL else 9_000
            runs.append(key | {"status": "diverged" if failed else "ok", "parameters": size})
            start, gain = LEVEL[arm.base], GAIN[arm.name]
            prompts += [] if failed else answers(key, start + gain)
            seen = validation.get((arm.name, seed), gain)
            points = {0.0: start, 1.0: start + seen}
            curve += [key | {"fraction": f, "family": "all", "gold": g} for f, g in points.items()]
    return fake_runs.by_hand(
        arms(),
        {"prompts": prompts, "runs": runs, "curve": curve},
        seeds=SEEDS,
        methods=list(METHODS),
        tuned_families=["review"],
        study="sizes",
        planned={arm.name: list(SEEDS) for arm in arms()},
    )


def test_sizes_go_from_small_to_large_and_rates_from_low_to_high():
    small, own = analysis.sizes(results())
    assert (small.base, small.parameters) == (SMALL, 1_000)
    assert (own.base, own.rates) == ("sft", {"ppo": {"ppo": 1.0}, "dpo": {"dpo": 1.0}})
    assert list(small.rates) == list(METHODS)
    assert list(small.rates["dpo"].values()) == [0.67, 2.0, 6.0]


def test_a_method_counts_at_its_best_rate_on_each_model():
    found = results()
    assert set(analysis.picked(found, SMALL, "dpo").values()) == {"dpo-small-lrx0.33"}
    assert set(analysis.picked(found, SMALL, "ppo").values()) == {"ppo-small"}
    for method, gain in (("dpo", 0.9), ("ppo", 0.5)):
        assert analysis.gain(found, SMALL, method).mean == pytest.approx(gain, abs=0.01)
    (row,) = analysis.family(found, SMALL)
    assert row.winner == "dpo" and row.interval.mean == pytest.approx(-0.4, abs=0.01)
    (row,) = analysis.family(found, "sft")
    assert row.winner == "ppo"


def test_no_seed_picks_its_own_rate():
    """The lucky run of seed 2 moves the rate of the other seeds, never that of seed 2."""
    lucky = results(validation={("dpo-small-lrx3", 2): 50.0})
    picked = analysis.picked(lucky, SMALL, "dpo")
    assert picked == {1: "dpo-small-lrx3", 2: "dpo-small-lrx0.33", 3: "dpo-small-lrx3"}


def test_a_failed_run_counts_as_no_gain():
    """A rate at which two of three runs fail is left, though the third gains most."""
    fail = {("dpo-small-lrx0.33", 1), ("dpo-small-lrx0.33", 2)}
    picked = analysis.picked(results(fail), SMALL, "dpo")
    assert picked == {1: "dpo-small-lrx0.33", 2: "dpo-small-lrx0.33", 3: "dpo-small"}
    side = analysis.side(results(fail), SMALL, "dpo")
    assert (side.ended.count, side.ended.n) == (1, 3)
    every = results({("dpo", seed) for seed in SEEDS})
    assert analysis.gain(every, "sft", "dpo").mean == 0
    assert page.headline(Study(every))
    gain = analysis.gain(results({("ppo", 1)}), "sft", "ppo")
    assert gain.mean == pytest.approx(2 / 3, abs=0.01) and gain.low < 0.5


def test_the_page_says_where_the_winner_changes():
    shown = Study(results())
    assert page.headline(shown) == [
        "With 0.001 M parameters DPO is better than every other method. "
        "With 0.009 M parameters PPO is better than every other method."
    ]
    assert page.lines(shown)[-1].startswith(
        "Most seeds picked the lowest or the highest rate tried for DPO at 0.001 M"
    )
    small, own = page.rates_table(shown).rows
    assert [cell.text for cell in small] == ["1,000", "×2 (3)", "×0.67 (3)"]
    assert [cell.text for cell in own] == ["9,000", "×1 (3)", "×1 (3)"]
    assert len(page.pairs_table(shown).rows) == len(page.results(shown)) == 2
    assert parameters(shown) == "0.001 to 0.009 million"
    assert sized(shown).startswith("Models of 1,000 and 9,000 parameters")


def test_one_size_is_said_as_one():
    one = results()
    one = replace(one, runs=one.runs.assign(parameters=9_000))
    assert parameters(Study(one)) == "0.009 million"
    assert sized(Study(one)).startswith("One model of 9,000 parameters")


SMALLER = "sizes={models: {small: {rate: 2, model: {hidden: 16}}}, lr: [1, 3], seeds: [1, 2]}"


def test_the_plan_multiplies_every_rate_and_changes_nothing_else():
    cfg = load("tiny", ["study=sizes", SMALLER])
    own = [f"{m}-small{end}" for m in cfg.compared for end in ("", "-lrx3")]
    assert [*dict.fromkeys(arm for arm, _ in cfg.study_runs)] == [*cfg.compared, *own]
    there, arm = cfg.of("ppo-small-lrx3"), cfg.arm("ppo-small-lrx3")
    assert there.model == cfg.model.model_copy(update={"hidden": 16})
    for section in ("base", "sft", "reward"):
        usual = getattr(cfg, section)
        twice = pytest.approx(2 * usual.lr, rel=0.01)
        assert getattr(there, section).lr == twice
        assert getattr(there, section).model_copy(update={"lr": usual.lr}) == usual
    assert arm.settings.lr == pytest.approx(6 * cfg.ppo.lr, rel=0.01)
    assert arm.settings.critic_lr == pytest.approx(2 * cfg.ppo.critic_lr, rel=0.01)
    changed = {"lr": cfg.ppo.lr, "critic_lr": cfg.ppo.critic_lr}
    assert arm.settings.model_copy(update=changed) == cfg.ppo
    assert len(cfg.sft_bases) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sizes.models={}"], "has no sizes.models: name some"),
        ([SMALLER, "sizes.seeds=[1]"], "holds one seed, and a rate is picked by the other seeds"),
        ([SMALLER, "sizes.seeds=[1, 1]"], "sizes.seeds must differ"),
        (["sizes.models={a/b: {model: {hidden: 16}}}"], "sizes.models.a/b: use letters"),
        (["sizes.models={a: {model: {hiden: 16}}}"], "hiden"),
        (["sizes.models={a: {model: {hub: x}}}"], "model.hub"),
        ([SMALLER, "sizes.seeds=[101, 1]"], "finals.seeds holds 101"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_trains(words, said):
    with pytest.raises(UserError, match=said):
        load("tiny", ["study=sizes", *words])
