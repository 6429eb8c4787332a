"""The study `sizes`: which method is best on each model, each run at the rate of its pick."""

from dataclasses import replace

import fake_runs
import numpy as np
import pytest

from bench.analysis.results import Arm, Pick
from bench.core.schema import UserError
from bench.report.page import sized
from bench.report.study import Study
from bench.report.words import parameters
from bench.studies import load
from bench.studies.sizes import analysis, page

SEEDS, PROMPTS = (1, 2, 3), 40
METHODS = ("ppo", "dpo")
SMALL = "sft@1"
RATES = {"own": 2.0, "lrx0.33": 0.67, "lrx3": 6.0}  # on the tuned rate; the size's factor is 2
LEVEL = {"sft": 0.0, SMALL: 3.0}
# gold above the own SFT base: on the small model DPO leads, at the lowest rate that was tried
GAIN = {"ppo": 1.0, "dpo": 0.5, "ppo-small": 0.5, "dpo-small": 0.9}
TRIED = {"ppo": (0.5, 0.2, 0.1), "dpo": (0.4, 0.9, 0.0)}
RATE = {"ppo": 2.0, "dpo": 0.67}


def arms() -> list[Arm]:
    small = {"base": SMALL, "varies": ("lr", "model.hidden")}
    return [Arm(method, method) for method in METHODS] + [
        Arm(f"{m}-small", m, factors={"lr": RATE[m]}, **small) for m in METHODS
    ]


def results(fail=()):
    rng = np.random.default_rng(0)
    ease = rng.normal(0, 1, PROMPTS)

    def answers(key, level):
        gold = level + ease + rng.normal(0, 0.02, PROMPTS)
        at = {"draw": 0, "family": "review"}
        return [key | at | {"prompt_id": p, "gold": gold[p]} for p in range(PROMPTS)]

    prompts = [row for base, level in LEVEL.items()
               for row in answers({"arm": base, "seed": 0}, level)]  # fmt: skip
    runs = []
    for arm in arms():
        for seed in SEEDS:
            key = {"arm": arm.name, "method": arm.method, "seed": seed}
            failed = (arm.name, seed) in fail
            size = 1_000 if arm.base == SMALL else 9_000
            runs.append(key | {"status": "diverged" if failed else "ok", "parameters": size})
            prompts += [] if failed else answers(key, LEVEL[arm.base] + GAIN[arm.name])
    return fake_runs.by_hand(
        arms(),
        {"prompts": prompts, "runs": runs},
        seeds=SEEDS,
        methods=list(METHODS),
        tuned_families=["review"],
        study="sizes",
        planned={arm.name: list(SEEDS) for arm in arms()},
        picks={f"{m}-small": pick(m) for m in METHODS},
    )


def pick(method: str) -> Pick:
    """Three rates around one that is twice the tuned rate, 0.01, tried on two seeds."""
    tried = {
        name: {"settings": {"lr": 0.01 * rate}, "gains": [gain - 0.1, gain + 0.1]}
        for (name, rate), gain in zip(RATES.items(), TRIED[method], strict=True)
    }
    (best,) = (name for name, rate in RATES.items() if rate == RATE[method])
    return Pick(best, [111, 112], tried)


def test_sizes_go_from_small_to_large_and_rates_from_low_to_high():
    found = results()
    small, own = analysis.sizes(found)
    assert (small.base, small.parameters, own.parameters) == (SMALL, 1_000, 9_000)
    assert own.arms == {"ppo": "ppo", "dpo": "dpo"}
    assert small.arms == {"ppo": "ppo-small", "dpo": "dpo-small"}
    rates = analysis.rates(found, "dpo-small")
    assert rates == pytest.approx({0.67: 0.9, 2.0: 0.4, 6.0: 0.0}) and [*rates] == sorted(rates)
    assert analysis.picked(found, "dpo-small") == 0.67
    assert analysis.picked(found, "dpo") == 1.0 and analysis.rates(found, "dpo") == {}


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
        "The lowest or the highest rate tried was picked for DPO at 0.001 M"
    )
    small, own = page.rates_table(shown).rows
    assert [cell.text for cell in small] == ["1,000", "×2", "×0.67"]
    assert [cell.text for cell in own] == ["9,000", "×1", "×1"]
    assert len(page.pairs_table(shown).rows) == len(page.results(shown)) == 2
    assert parameters(shown) == "0.001 to 0.009 million"
    assert sized(shown).startswith("Models of 1,000 and 9,000 parameters")


def test_one_size_is_said_as_one():
    one = results()
    one = replace(one, runs=one.runs.assign(parameters=9_000))
    assert parameters(Study(one)) == "0.009 million"
    assert sized(Study(one)).startswith("One model of 9,000 parameters")


SMALLER = "sizes={models: {small: {rate: 2, model: {hidden: 16}}}, lr: [1, 3], seeds: [1, 2]}"


def test_a_part_of_the_study_trains_its_models_alone():
    whole, part = load("micro", ["study=sizes"]), load("micro", ["study=sizes", "sizes.only=[w32]"])
    own = [arm for arm in whole.study_arms if arm.endswith("-w32")]
    assert part.study_arms == (*whole.compared, *own) and len(own) == 4
    assert len(whole.study_arms) == 4 * (1 + len(whole.sizes.models))
    assert part.of(own[0]).layout.sft == whole.of(own[0]).layout.sft
    with pytest.raises(UserError, match=r"^unknown model 'w3' in sizes\.only; did you mean 'w32'"):
        load("micro", ["sizes.only=[w3]"])


def test_the_plan_multiplies_every_rate_and_changes_nothing_else():
    cfg = load("tiny", ["study=sizes", SMALLER])
    own = [f"{m}-small" for m in cfg.compared]
    assert [*dict.fromkeys(arm for arm, _ in cfg.study_runs)] == [*cfg.compared, *own]
    tries = cfg.tries("ppo-small")
    assert tries == {name: f"ppo-small-try-{name}" for name in ("own", "lrx3")}
    assert {(m.arm.name, m.seed) for m in cfg.tried} >= {(t, 111) for t in tries.values()}
    there, arm = cfg.of("ppo-small-try-lrx3"), cfg.arm("ppo-small-try-lrx3")
    assert there.layout.sft == cfg.of("ppo-small").layout.sft != cfg.layout.sft
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
        ([SMALLER, "pick_seeds=[1]"], "pick_seeds holds 1, which a study compares"),
        (["sizes.models={sft2: {model: {hidden: 16}}}"], "ppo-sft2 is an arm of study 'bases'"),
        (["sizes.models={a: {model: {hidden: 32}}}"], "sizes.models.a makes the same SFT base"),
        (
            ["sizes.models={a: {model: {hidden: 30, heads: 4}}}"],
            "model.hidden=30 is no multiple of twice model.heads=4",
        ),
        ([SMALLER, "sizes.seeds=[1, 1]"], "sizes.seeds: 1 stands there twice"),
        (["sizes.models={a/b: {model: {hidden: 16}}}"], "sizes.models.a/b: use letters"),
        (["sizes.models={a: {model: {hiden: 16}}}"], "hiden"),
        (["sizes.models={a: {model: {hub: x}}}"], "model.hub"),
        ([SMALLER, "sizes.seeds=[101, 1]"], "finals.seeds holds 101"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_trains(words, said):
    with pytest.raises(UserError, match=said):
        load("tiny", ["study=sizes", *words])


def test_the_change_of_a_difference_from_small_to_large_is_tested():
    """PPO - DPO is -0.4 on the small model, +0.5 on the large one; a failed run leaves no test."""
    found = results()
    (row,) = analysis.changes(found)
    assert (row.a, row.b) == METHODS and row.interval.mean == pytest.approx(0.9, abs=0.03)
    tables = {arm: found.scores(arm).to_numpy() for arm in GAIN}
    change = tables["ppo"] - tables["dpo"] - tables["ppo-small"] + tables["dpo-small"]
    assert row.interval.mean == pytest.approx(change.mean()) and row.p_holm < 0.001
    (line,) = page.change_lines(Study(found))
    assert line.startswith(
        "From 0.001 M to 0.009 M parameters these differences change: PPO − DPO by +0.9"
    )
    assert page.changes_table(Study(found)).rows[0][0].text == "PPO − DPO"
    lost = results(fail={("ppo-small", 2)})
    assert not np.isfinite(analysis.changes(lost)[0].p_holm)
    assert page.change_lines(Study(lost)) == []
    assert page.changes_table(Study(lost)).rows[0][1].text == "–"
