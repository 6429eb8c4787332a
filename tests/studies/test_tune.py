"""Equal tuning: the same number of trials for each method, one rule, provenance in the layer."""

import json
import math
import shutil
from dataclasses import replace

import fake_runs
import pytest
import yaml

from bench.analysis.results import Arm
from bench.core.schema import UserError
from bench.methods import METHODS
from bench.report.words import label
from bench.settings import layers
from bench.settings.overrides import flow
from bench.steps import tune
from bench.studies import load
from bench.studies.tune import analysis, page

READ = {"dpo": [0.5, 1, 2]}
GAINS = {"ppo": (0.2, None, 0.9), "dpo": (-0.5, 0.4, 0.1)}


def rise(fraction):
    """Share of a trial's gain at a share of its training: all of it at half already."""
    return {0: 0, 0.25: 0.5, 0.5: 1, 1: 1}[fraction]


def study(gains=GAINS):
    """Results of a search with three trials for each method; None: it diverged."""
    runs, curve, cost = [], [], []
    for method, values in gains.items():
        for number, gain in enumerate(values, 1):
            key = {"arm": f"{method}-trial{number:02d}", "method": method, "seed": 100}
            settings = {"lr": number * 1e-4, "beta": 0.1 * number}
            status = "ok" if gain is not None else "diverged"
            runs.append(key | {"status": status, "reason": "", "settings": json.dumps(settings)})
            shares = [0, *(e / 2 for e in READ.get(method, [2]))]
            curve += [
                key
                | {"family": "all", "fraction": f, "gold": 2 + rise(f) * gain, "kl": f}
                | {"accuracy": 0.5 + number / 10 - f / 100, "cpu_s": f * 10, "wall_s": f * 10}
                | {"flops": f * 1e10}
                for f in shares
                if gain is not None
            ]
            steps = {"align": 10.0} | ({"reward": 5.0} if method == "ppo" else {})
            cost += [
                key | {"step": s, "phase": s, "charged": True, "cpu_s": v, "wall_s": v}
                | {"flops": v * 1e9}
                for s, v in steps.items()
            ]  # fmt: skip
    tables = {"runs": runs, "curve": curve, "cost": cost}
    tune = {"spaces": {m: {"lr": [1e-4, 1], "beta": [0.1, 1]} for m in gains}, "epochs": READ}
    arms = [Arm(run["arm"], run["method"], sets=json.loads(run["settings"])) for run in runs]
    return fake_runs.by_hand(
        arms, tables, seeds=[100], methods=list(gains), tune=tune, study="tune",
        decode={"max_new_tokens": 28},
    )  # fmt: skip


def test_every_method_has_as_many_trials_each_in_its_own_space():
    cfg = load("micro", ["study=tune"])
    arms = [cfg.arm(name) for name, _ in cfg.study_runs]
    counts = {m: sum(arm.method == m for arm in arms) for m in METHODS}
    counts = {m: n for m, n in counts.items() if n}
    assert {*counts} >= {"ppo", "dpo", "ipo", "orpo"}
    assert counts == {m: cfg.tune.trials + cfg.tune.more.get(m, 0) for m in counts}
    assert counts["ppo"] == cfg.tune.trials
    for arm in arms:
        sets = cfg.set_by(arm.name)
        for key, (low, high) in cfg.tune.spaces[arm.method].items():
            assert low <= sets[key] <= high
            section, _, name = key.rpartition(".")
            own = cfg.of(arm.name).reward if section else arm.settings
            assert getattr(own, name) == sets[key]
        assert arm.settings.decay == 0
        assert arm.settings.epochs == max(cfg.tune.epochs.get(arm.method, [arm.settings.epochs]))
    inner = {arm.settings.inner_epochs for arm in arms if arm.method == "ppo"}
    assert inner <= {1, 2, 3, 4} and len(inner) > 1
    lrs = [math.log(arm.settings.lr) for arm in arms if arm.method == "dpo"]
    low, high = map(math.log, cfg.tune.spaces["dpo"]["lr"])
    assert low + 0.3 * (high - low) < sum(lrs) / len(lrs) < high - 0.3 * (high - low)
    assert {seed for _, seed in cfg.study_runs}.isdisjoint(cfg.seeds)


def test_trials_are_the_same_draws_each_time_and_others_with_another_seed():
    first, again = (load("micro").arm("dpo-trial03") for _ in range(2))
    assert first == again
    assert load("micro", ["tune.seed=77"]).arm("dpo-trial03") != first


def test_a_trial_does_not_move_when_the_defaults_do():
    moved = load("micro", ["dpo.lr=1e-9", "dpo.beta=7"]).arm("dpo-trial03")
    assert moved == load("micro").arm("dpo-trial03")


def test_the_best_on_validation_prompts_is_picked_and_failures_never():
    table = analysis.trials(study())
    best = analysis.picked(table)
    assert (best.arm["ppo"], best.arm["dpo"]) == ("ppo-trial03", "dpo-trial02")
    assert best.drawn["dpo"] == {"lr": pytest.approx(2e-4), "beta": pytest.approx(0.2)}


def test_a_trial_pays_for_its_reward_model_and_all_its_epochs():
    table = analysis.trials(study()).set_index("arm")
    assert (table.cpu_s["ppo-trial01"], table.cpu_s["dpo-trial01"]) == (15, 10)


def test_a_trial_is_read_at_several_lengths_and_counts_with_its_best():
    """DPO's second trial reaches 0.4 after one epoch and stays there for two: the first counts."""
    read = analysis.readings(study())
    mine = read[read.arm == "dpo-trial02"].sort_values("epochs")
    assert list(mine.epochs) == [0.5, 1, 2]
    assert list(mine.gain) == pytest.approx([0.2, 0.4, 0.4])
    assert list(mine.cpu_s) == pytest.approx([2.5, 5, 10])
    best = analysis.trials(study()).set_index("arm")
    assert analysis.settings(best.loc["dpo-trial02"])["epochs"] == 1
    assert "epochs" not in analysis.settings(best.loc["ppo-trial03"])
    assert best.gain["dpo-trial01"] == pytest.approx(-0.25)  # it had fallen by half as much


def test_a_reading_costs_its_share_of_training_and_all_of_its_preparation():
    read = analysis.readings(study())
    assert list(read[read.arm == "ppo-trial01"].cpu_s) == [15]


def test_a_trial_that_failed_late_was_read_before():
    found = study()
    far = found.curve.copy()
    far.loc[(far.arm == "dpo-trial02") & (far.fraction == 1), "kl"] = 31
    runs = found.runs.copy()
    runs.loc[runs.arm == "dpo-trial02", "status"] = "diverged"
    read = analysis.readings(replace(found, curve=far, runs=runs))
    assert list(read[read.arm == "dpo-trial02"].epochs) == [0.5, 1]


def test_held_out_accuracy_may_pick_another_and_fewer_trials_too():
    found = study()
    other = analysis.picked(analysis.readings(found), "accuracy")
    assert (other.arm["dpo"], other.epochs["dpo"]) == ("dpo-trial03", 0.5)
    assert other.gain["dpo"] == pytest.approx(0.05)
    first = analysis.picked(analysis.within(analysis.trials(found), 2))
    assert first.arm["ppo"] == "ppo-trial01"
    assert list(analysis.best(analysis.trials(found), "dpo", 2).arm) == [
        "dpo-trial02",
        "dpo-trial03",
    ]


def test_best_of_k_rises_to_the_best_and_costs_k_trials():
    curve = analysis.best_of(analysis.trials(study()), "ppo")
    values = [0.2, 0.0, 0.9]  # a failed trial leaves the SFT base
    two = sum(max(a, b) for a in values for b in values) / 9
    assert curve.gain.iloc[0] == pytest.approx(sum(values) / 3)
    assert curve.gain.iloc[1] == pytest.approx(two)
    assert list(curve.flops) == pytest.approx([15e9, 30e9, 45e9])
    worse = analysis.best_of(analysis.trials(study()), "dpo")  # below: one keeps the SFT base
    assert worse.gain.iloc[0] == pytest.approx((0.0 + 0.4 + 0.1) / 3)


def written(tmp_path, monkeypatch, gains):
    """The step on an invented search, in a folder of its own; returns tuned.yaml as data."""
    monkeypatch.chdir(tmp_path)
    cfg = load("tiny", ["study=tune", "tune.trials=3"])
    study(gains).write(cfg.layout.results)
    tune.run(cfg.slice("tune"), None)
    return yaml.safe_load(cfg.layout.tuned.read_text())


FOUR = GAINS | {"ipo": (0.1, 0.2, 0.3), "orpo": (0.3, 0.2, 0.1)}


def test_the_layer_it_writes_becomes_the_default_with_its_provenance(tmp_path, monkeypatch):
    layer = written(tmp_path, monkeypatch, FOUR)
    assert layer["dpo"] == {"lr": pytest.approx(2e-4), "beta": pytest.approx(0.2), "epochs": 1}
    assert layer["finals"]["candidates"]["dpo"][0] == layer["dpo"]
    assert len(layer["finals"]["candidates"]["ppo"]) == 2  # the third failed
    assert layer["provenance"]["methods"]["dpo"]["settings"] == layer["dpo"]
    assert layer["provenance"]["methods"]["ppo"]["trials"] == 3
    assert layer["provenance"]["methods"]["ppo"]["failed"] == 1
    assert layer["provenance"]["methods"]["ppo"]["cpu_s"] == pytest.approx(45)
    assert layer["provenance"]["methods"]["ppo"]["flops"] == pytest.approx(45e9)
    beds = tmp_path / "testbeds"
    shutil.copytree(layers.TESTBEDS, beds)
    found = next(tmp_path.rglob("tuned.yaml"))
    shutil.copy(found, beds / "tiny.tuned.yaml")
    monkeypatch.setattr(layers, "TESTBEDS", beds)
    cfg = load("tiny")
    assert (cfg.dpo.lr, cfg.dpo.beta) == (pytest.approx(2e-4), pytest.approx(0.2))
    assert cfg.provenance["rule"] == analysis.RULE and cfg.overrides == ()
    assert "tiny.tuned" not in layers.testbeds()


def test_a_search_of_some_methods_keeps_what_was_found_for_the_others(tmp_path, monkeypatch):
    usual = load("micro")
    only = [f"tune.only={['kto', 'rloo']}", "study=tune"]
    cfg = load("micro", only)
    assert {name.split("-")[0] for name in cfg.study_arms} == {"kto", "rloo"}
    assert set(cfg.study_arms) < set(load("micro", ["study=tune"]).study_arms)
    monkeypatch.chdir(tmp_path)
    study({"kto": GAINS["ppo"], "rloo": GAINS["dpo"]}).write(cfg.layout.results)
    tune.run(cfg.slice("tune"), None)
    layer = yaml.safe_load(cfg.layout.tuned.read_text())
    assert layer["kto"]["lr"] == pytest.approx(3e-4)
    assert layer["ppo"]["lr"] == usual.ppo.lr and layer["reward"]["lr"] == usual.reward.lr
    known, before = layer["provenance"], usual.provenance
    assert known["commit"] == before["commit"] and known["confirmed"] == before["confirmed"]
    assert known["methods"]["ppo"] == before["methods"]["ppo"]
    assert {"commit", "machine"} <= known["methods"]["kto"].keys()
    assert "kto" in known["spaces"] and known["spaces"]["ppo"] == before["spaces"]["ppo"]
    finals = layer["finals"]["candidates"]
    assert len(finals["kto"]) == 2 and finals["ppo"] == usual.finals.candidates["ppo"]
    arms = load("micro", [*only[:1], "study=finals", f"finals.candidates={flow(finals)}"])
    assert {name.split("-")[0] for name in arms.study_arms} == {"kto", "rloo"}


@pytest.mark.parametrize("file", sorted(layers.TESTBEDS.glob("*.tuned.yaml")), ids=lambda f: f.stem)
def test_the_page_shows_every_shipped_search_and_the_gain_on_further_seeds(file, tmp_path):
    shown = fake_runs.study(tmp_path)
    known = yaml.safe_load(file.read_text())["provenance"]
    (table,) = page.tables(fake_runs.changed(shown, provenance=known))
    assert [row[0].text for row in table.rows] == [label(m) for m in known["methods"]][:4]
    assert all(row[1].text.startswith("lr ") and row[4].text[0] == "+" for row in table.rows)
    again = {"seeds": [101], "methods": {m: {"gain": 0.07} for m in known["methods"]}}
    (table,) = page.tables(fake_runs.changed(shown, provenance=known | {"confirmed": again}))
    assert {row[4].text for row in table.rows} == {"+0.07"}


def test_a_method_whose_every_trial_failed_is_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"every run of dpo failed: move its tune\.spaces"):
        written(tmp_path, monkeypatch, FOUR | {"dpo": (None, None, None)})


@pytest.mark.parametrize(
    "override,hint",
    [
        ("tune.spaces.dpo.bta=[1, 2]", "unknown key 'tune.spaces.dpo.bta'; did you mean 'beta'"),
        ("tune.spaces.dqo={lr: [1, 2]}", "unknown method 'dqo' in tune.spaces"),
        ("tune.spaces.dpo={sft.lr: [1, 2]}", "unknown key 'tune.spaces.dpo.sft.lr'"),
        ("tune.more={simpo: 2}", "tune.more.simpo: simpo has no space"),
        ("tune.only=[simpo]", "tune.only.simpo: simpo has no space"),
        ("tune.only=[kot]", "unknown method 'kot' in tune.only; did you mean 'kto'"),
    ],
)
def test_a_space_of_nothing_known_is_refused(override, hint):
    with pytest.raises(UserError) as error:
        load("tiny", [override])
    assert hint in str(error.value)
