"""Finals: the best of the search on fresh seeds; the highest mean gain is picked."""

import fake_runs
import pytest
import yaml
from test_tune import FOUR, written

from bench.analysis.results import Arm
from bench.core.schema import UserError
from bench.report.study import Study
from bench.settings.overrides import flow
from bench.steps import tune
from bench.studies import load
from bench.studies.finals import analysis, page

PPO = {"lr": 1e-3, "beta": 0.1, "reward.lr": 2e-3}
CANDIDATES = {
    "ppo": [PPO, PPO | {"lr": 2e-3}],
    "dpo": [{"lr": 1e-3, "beta": 0.2, "epochs": 2}],
}
GAINS = {  # of three seeds; None: it diverged
    "ppo-final1-constant": (0.9, 0.9, None), "ppo-final1-decayed": (0.7, 0.7, 0.7),
    "ppo-final2-constant": (0.1, 0.2, 0.3), "ppo-final2-decayed": (None, None, None),
    "dpo-final1-constant": (0.5, 0.5, 0.5), "dpo-final1-decayed": (0.4, 0.4, 0.4),
}  # fmt: skip


def configured():
    candidates = f"finals.candidates={flow(CANDIDATES)}"
    return load("tiny", ["study=finals", candidates, "provenance={rule: any}"])


def study():
    """Results of finals with these gains; accuracy falls with the gain."""
    cfg, runs, curve, cost = configured(), [], [], []
    for arm, gains in GAINS.items():
        for seed, gain in zip(cfg.finals.seeds, gains, strict=True):
            key = {"arm": arm, "method": arm.split("-")[0], "seed": seed}
            runs.append(key | {"status": "ok" if gain is not None else "diverged", "reason": ""})
            curve += [
                key | {"family": "all", "fraction": f, "gold": 2 + f * gain, "accuracy": 1 - gain}
                for f in (0, 1)
                if gain is not None
            ]
            cost.append(
                key | {"step": "align", "phase": "align", "charged": True}
                | {"flops": 1e9, "cpu_s": 2.0, "wall_s": 2.0}
            )  # fmt: skip
    arms = [Arm(name, name.split("-")[0], sets=cfg.set_by(name)) for name in GAINS]
    tables = {"runs": runs, "curve": curve, "cost": cost}
    return fake_runs.by_hand(arms, tables, seeds=cfg.finals.seeds, study="finals")


def test_each_candidate_runs_with_a_constant_and_a_decaying_rate_on_fresh_seeds():
    cfg = configured()
    assert cfg.study_arms == tuple(GAINS)
    assert {seed for _, seed in cfg.study_runs} == {101, 102, 103}
    assert {101, 102, 103}.isdisjoint({*cfg.seeds, cfg.tune.seed})
    flat, down = (cfg.arm(f"ppo-final2-{rate}") for rate in ("constant", "decayed"))
    assert (flat.settings.lr, flat.settings.decay, down.settings.decay) == (2e-3, 0, 0.5)
    rewards = [cfg.of(arm.name).reward for arm in (flat, down)]
    assert [(reward.lr, reward.decay) for reward in rewards] == [(2e-3, 0), (2e-3, 0.5)]
    assert cfg.of("dpo-final1-decayed").reward == cfg.reward  # which it does not search
    assert not cfg.evaluated  # no test prompt is answered


def test_candidates_may_come_as_the_command_line_delivers_them():
    cfg = load("tiny", ["finals.candidates.dpo=[{lr: '1.e-3', beta: '0.2'}]"])
    assert cfg.finals.candidates["dpo"] == [{"lr": 1e-3, "beta": 0.2}]


def test_a_failed_run_counts_as_no_gain():
    found = analysis.candidates(study()).set_index("arm")
    assert found.gain["ppo-final1-constant"] == pytest.approx(0.6)
    assert (found.failed["ppo-final1-constant"], found.runs["ppo-final1-constant"]) == (1, 3)
    assert found.accuracy["ppo-final1-constant"] == pytest.approx(0.1)


def test_the_highest_mean_gain_is_picked_and_none_of_which_all_failed():
    top = analysis.picked(study())
    assert dict(top.arm) == {"ppo": "ppo-final1-decayed", "dpo": "dpo-final1-constant"}
    other = analysis.picked(study(), "accuracy")
    assert dict(other.arm) == {"ppo": "ppo-final2-constant", "dpo": "dpo-final1-decayed"}


def test_the_layer_holds_the_pick_with_its_reward_model_and_the_search_s_provenance(
    tmp_path, monkeypatch
):
    search = written(tmp_path, monkeypatch, FOUR)["provenance"]
    cfg = load(
        "tiny",
        ["study=finals", f"finals.candidates={flow(CANDIDATES)}", f"provenance={flow(search)}"],
    )
    study().write(cfg.layout.results)
    tune.run(cfg.slice("tune"), None)
    layer = yaml.safe_load(cfg.layout.tuned.read_text())
    assert layer["ppo"] == {"lr": 1e-3, "beta": 0.1, "decay": 0.5}
    assert layer["reward"] == {"lr": 2e-3, "decay": 0.5}
    assert layer["dpo"] == {"lr": 1e-3, "beta": 0.2, "epochs": 2, "decay": 0.0}
    assert layer["finals"]["candidates"] == CANDIDATES
    known = layer["provenance"]
    assert known["methods"]["ppo"]["trials"] == 3
    assert known["methods"]["ppo"]["settings"] == {**PPO, "decay": 0.5, "reward.decay": 0.5}
    assert known["confirmed"]["methods"]["ppo"]["flops"] == pytest.approx(12e9)
    assert "fresh seeds" in known["rule"]


def test_the_page_lists_every_candidate_and_which_rule_picks_it():
    shown = Study(study())
    assert "over 3 fresh seeds: PPO +0.70 (+0.70 to +0.70); DPO +0.50" in page.headline(shown)[0]
    rows = {row[0].text: row for row in page.table(shown).rows}
    assert len(rows) == len(GAINS)
    assert rows["PPO final1 decayed"][4].text == "gold"
    assert rows["DPO final1 decayed"][4].text == "held-out accuracy"
    assert rows["PPO final1 constant"][3].text == "1 of 3"


DPO = "finals.candidates={dpo: [{lr: 1e-3, beta: 0.2}]}"


@pytest.mark.parametrize(
    "overrides,said",
    [
        (["study=finals"], "has no finals.candidates: run the study `tune` first"),
        (["finals.seeds=[1]"], "finals.seeds holds 1, which is tune.seed or a seed of"),
        (["finals.seeds=[100]"], "finals.seeds holds 100"),
        (["finals.seeds=[101, 101]"], "finals.seeds: 101 stands there twice: drop one"),
        (["finals.seeds=[]"], "finals.seeds is empty: name a seed"),
        (["study=finals", DPO], "without provenance: copy the whole tuned.yaml"),
        (["study=finals", DPO, "provenance={testbed: micro}"], "are of testbed 'micro'"),
        (["finals.candidates={dqo: [{lr: 1}]}"], "unknown method 'dqo' in finals.candidates"),
    ],
)
def test_what_cannot_run_is_refused(overrides, said):
    with pytest.raises(UserError) as error:
        load("tiny", overrides)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("testbed", ["micro", "tiny", "reviews", "reviews-cpu"])
@pytest.mark.parametrize("study", ["tune", "finals"])
def test_nothing_is_picked_on_test_prompts_or_on_seeds_that_are_compared(testbed, study):
    cfg = load(testbed, [f"study={study}", DPO, "provenance={rule: any}"])
    assert not cfg.evaluated
    assert cfg.searched is None  # so that the contract compares no earlier search
    assert {seed for _, seed in cfg.study_runs}.isdisjoint({*cfg.seeds, *cfg.bases.seeds})
