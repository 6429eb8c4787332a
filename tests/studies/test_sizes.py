"""The study `sizes`: which method is best on each model, each run at the rate of its pick."""

from dataclasses import replace

import fake_runs
import numpy as np
import pytest

from bench.analysis import picks
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
        if not end
        else Arm(f"{m}-small{end}", m, factors={"lr": rate}, candidate_of=f"{m}-small", **more)
        for m in METHODS
        for end, rate in RATES.items()
    ]


def results(fail=()):
    """Gains on validation prompts are those on test prompts."""
    rng = np.random.default_rng(0)
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
            points = {0.0: start, 1.0: start + gain}
            curve += [key | {"fraction": f, "family": "all", "gold": g} for f, g in points.items()]
    made = fake_runs.by_hand(
        arms(),
        {"prompts": prompts, "runs": runs, "curve": curve},
        seeds=SEEDS,
        methods=list(METHODS),
        tuned_families=["review"],
        study="sizes",
        planned={arm.name: list(SEEDS) for arm in arms()},
    )
    return picks.reduced(made)


def test_sizes_go_from_small_to_large_and_rates_from_low_to_high():
    found = results()
    small, own = analysis.sizes(found)
    assert (small.base, small.parameters, own.parameters) == (SMALL, 1_000, 9_000)
    assert own.arms == {"ppo": "ppo", "dpo": "dpo"}
    assert small.arms == {"ppo": "ppo-small", "dpo": "dpo-small"}
    assert analysis.rates(found, "dpo-small") == pytest.approx({0.67: 0.9, 2.0: 0.4, 6.0: 0.0})
    assert analysis.picked(found, "dpo-small") == [0.67] * 3
    assert analysis.picked(found, "dpo") == [1.0] * 3 and analysis.rates(found, "dpo") == {}


def test_the_winner_of_each_model_is_at_the_best_rate_of_each_method():
    found = results()
    small, own = analysis.sizes(found)
    for method, gain in (("dpo", 0.9), ("ppo", 0.5)):
        assert analysis.gain(found, small.arms[method]).mean == pytest.approx(gain, abs=0.01)
    (row,) = analysis.family(found, small)
    assert row.winner == "dpo" and row.interval.mean == pytest.approx(-0.4, abs=0.01)
    (row,) = analysis.family(found, own)
    assert row.winner == "ppo"


def test_a_failed_run_counts_as_no_gain():
    every = results({("dpo", seed) for seed in SEEDS})
    assert analysis.gain(every, "dpo").mean == 0
    assert page.headline(Study(every))
    gain = analysis.gain(results({("ppo", 1)}), "ppo")
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
        (
            [SMALLER, "sizes.seeds=[1]"],
            "other seeds pick the candidate: give the study two or more",
        ),
        ([SMALLER, "sizes.seeds=[1, 1]"], "sizes.seeds must differ"),
        ([SMALLER, "sizes.lr=[3]"], "sizes.lr lacks 1"),
        (["sizes.models={a/b: {model: {hidden: 16}}}"], "sizes.models.a/b: use letters"),
        (["sizes.models={a: {model: {hiden: 16}}}"], "hiden"),
        (["sizes.models={a: {model: {hub: x}}}"], "model.hub"),
        ([SMALLER, "sizes.seeds=[101, 1]"], "finals.seeds holds 101"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_trains(words, said):
    with pytest.raises(UserError, match=said):
        load("tiny", ["study=sizes", *words])
