"""The configuration: layers, coercion, overrides, and what a user's mistake looks like."""

import pytest

from bench.core.schema import UserError
from bench.methods import FIRST, METHODS
from bench.settings.config import READS
from bench.settings.overrides import flatten
from bench.steps.fingerprint import fingerprint
from bench.studies import load
from bench.studies.tune import check_space


def refused(testbed, *overrides) -> str:
    with pytest.raises(UserError) as error:
        load(testbed, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("testbed", ["micro", "tiny", "reviews", "reviews-cpu"])
def test_every_testbed_loads(testbed):
    cfg = load(testbed)
    assert cfg.testbed == testbed
    assert cfg.study_arms == cfg.compared == FIRST
    assert {*cfg.known_methods} == {*METHODS} > {*FIRST}


@pytest.mark.parametrize("testbed", ["micro", "reviews", "zephyr-7b"])
def test_every_step_has_a_fingerprint(testbed):
    """`prefetch`, which no study runs, had none: `snakemake prefetch` ended in a KeyError."""
    cfg = load(testbed)
    found = {step: fingerprint(cfg, step, "dpo") for step in READS}
    assert len({*found.values()}) == len(found)


def test_strings_are_coerced_as_yaml_and_snakemake_deliver_them():
    cfg = load("tiny", ["dpo.lr=1e-5", "dpo.batch='4'", "seeds=[7]"])
    assert (cfg.dpo.lr, cfg.dpo.batch, cfg.seeds) == (1e-5, 4, (7,))
    nested = load("tiny", flatten({"dpo": "{lr: 2e-5}", "seeds": "[7]"}))
    assert (nested.dpo.lr, nested.seeds) == (2e-5, (7,))


def test_an_override_that_changes_nothing_is_none():
    assert load("tiny", [f"dpo.beta={load('tiny').dpo.beta}"]).overrides == ()
    assert load("tiny", ["dpo.beta=0.37"]).overrides == ("dpo.beta=0.37",)


def test_what_jobs_ask_for_is_no_override_and_changes_no_hash():
    plain, large = load("tiny"), load("tiny", ["jobs={mem_mb: 9000, minutes: {align: 600}}"])
    assert (large.jobs.mem_mb, large.jobs.minutes.align) == (9000, 600)
    assert large.overrides == ()
    for step, arm in (("align", "dpo"), ("collect", None)):
        assert fingerprint(large, step, arm) == fingerprint(plain, step, arm)


@pytest.mark.parametrize(
    "testbed,override,hint",
    [
        ("mikro", "seeds=[1]", "did you mean 'micro'"),
        ("tiny", "dpo.bta=3", "did you mean 'dpo.beta'"),
        ("tiny", "seed=[1]", "did you mean 'seeds'"),
        ("tiny", "dpo.lr=fast", "dpo.lr='fast' is not valid"),
        ("tiny", "dpo=3", "dpo=3 is not valid"),
        ("tiny", "dpo.lr=.inf", "dpo.lr=inf is not valid"),
        ("tiny", "ppo={minibatch: 8, batch: 4}", "ppo: minibatch 8 is larger than batch 4"),
        ("tiny", "ppo={beta: 0, target_kl: 4}", "ppo: target_kl scales beta"),
        ("tiny", "model.lora={layers: 0}", "model.lora.layers=0 is not valid"),
        ("tiny", "dpo.lr=-1", "greater than 0"),
        ("tiny", "study=compere", "did you mean 'compare'"),
        ("tiny", "studies.compare=[dpq]", "unknown arm 'dpq'"),
        ("tiny", "arms.x.method=dqo", "unknown method 'dqo'"),
        ("tiny", "arms.x={metod: dpo}", "arms.x names no method: add `method: dpo`"),
        ("tiny", "seeds=[1, 1]", "seeds: 1 stands there twice"),
        ("tiny", "seeds=[1, 100]", "seed 100 is tune.seed, on which the settings were picked"),
        ("tiny", "seeds_of.orgins=1", "unknown study 'orgins' in seeds_of; did you mean 'origins'"),
        ("tiny", "seeds_of.bases=1", "seeds_of.bases: that study has seeds of its own"),
        ("tiny", "nonsense", "write key=value"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_remedy(testbed, override, hint):
    assert hint in refused(testbed, override)


def test_a_study_uses_all_seeds_or_the_first_few():
    cfg = load("tiny", ["seeds=[4, 2, 7]", "seeds_of={origins: 2}"])
    assert {seed for _, seed in cfg.runs_of("origins")} == {4, 2}
    assert {seed for _, seed in cfg.runs_of("compare")} == {4, 2, 7}
    assert {seed for _, seed in cfg.runs_of("bases")} == {*cfg.bases.seeds}


def test_an_arm_is_its_method_with_named_overrides():
    cfg = load("tiny", ["arms={dpo-beta0.3: {method: dpo, beta: 0.3}}", "dpo.lr=7e-4"])
    arm = cfg.arm("dpo-beta0.3")
    assert (arm.method, arm.preference) == ("dpo", "gold")
    assert (arm.settings.beta, arm.settings.lr) == (0.3, 7e-4)


def test_a_step_sees_only_what_its_hash_covers():
    step = load("tiny").slice("reference")
    with pytest.raises(AttributeError, match="RECIPES"):
        _ = step.dpo
    assert "dpo" not in step.values()


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load("tiny").dpo.lr = 1.0


def test_importing_the_methods_imports_no_torch():
    import subprocess
    import sys

    code = "import sys, bench.methods, bench.studies; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "overrides,hint",
    [
        (["tune.spaces.dpo.lr=[1e-2, 1e-4]"], "tune.spaces.dpo.lr=[0.01, 0.0001] is empty"),
        (["tune.spaces.dpo.lr=[1e-3, 1e-3]"], "tune.spaces.dpo.lr=[0.001, 0.001] is empty"),
        (["views.longer={dqo: 5}"], "unknown method 'dqo' in views.longer; did you mean 'dpo'?"),
        (["views.shares=[2]"], "views.shares.0=2 is not valid"),
        (["stability.lr=[0]"], "stability.lr.0=0 is not valid"),
        (["study=stability", "ppo.beta=0"], "ppo.beta is 0: study 'stability'"),
        (["curve.fractions=[1.0]"], "curve.fractions must hold 0:"),
        (["arms={dpo: {method: ppo}}"], "'dpo' is the name of a method or of a computed"),
        (["arms={dpo-lrx3: {method: ppo}}"], "'dpo-lrx3' is the name of a method or of a computed"),
        (["studies={tune: [dpo]}"], "'tune' is the name of a method or of a computed"),
        (["arms={x: {method: dpo, preference: a/b}}"], "arms.x.preference='a/b' is no valid name"),
        (["arms={x: {method: dpo, preference: demonstrations}}"], "dpo needs reference log-prob"),
        (
            ["pairs.pool=1000", "arms={x: {method: dpo, n: 745}}"],
            "arms.x.n=745 is more than the pool leaves beside its validation pairs, 744",
        ),
    ],
)
def test_settings_of_the_computed_studies_that_cannot_work_are_one_line(overrides, hint):
    with pytest.raises(UserError) as error:
        load("tiny", overrides)
    assert hint in str(error.value) and "\n" not in str(error.value)


def test_a_space_holds_what_the_search_draws():
    with pytest.raises(UserError, match=r"tune\.spaces\.dpo must hold lr and beta"):
        check_space(load("tiny"), "dpo", {"lr": (1e-4, 1e-2)})


def test_a_lone_factor_is_a_list_of_one():
    cfg = load("tiny", ["stability.lr=3", "views.shares=0.5"])
    assert (cfg.stability.lr, cfg.views.shares) == ((3,), (0.5,))


def test_further_methods_inherit_the_testbeds_sizes():
    more = ["pairs.n=240", "pairs.pool=500"]
    cfg = load(
        "tiny", [*more, "dpo={batch: 6, warmup: 3}", "ppo={batch: 24, minibatch: 12, warmup: 4}"]
    )
    assert (cfg.kto.batch, cfg.kto.warmup) == (6, 3)
    assert (cfg.grpo.batch, cfg.grpo.minibatch, cfg.grpo.warmup) == (24, 12, 4)
    own = load("tiny", ["dpo.batch=6", "kto.batch=10"])
    assert (own.kto.batch, own.kto.lr) == (10, type(own.kto)().lr)


def test_sizes_that_a_method_cannot_have_are_not_inherited():
    cfg = load("tiny", ["ppo={batch: 10, minibatch: 10}"])  # no multiple of GRPO's four answers
    assert (cfg.grpo.batch, cfg.grpo.minibatch, cfg.online_dpo.batch) == (8, 8, 10)
    cfg = load("tiny", ["ppo={batch: 3, minibatch: 3}"])
    assert cfg.grpo.batch == type(cfg.grpo)().batch


def test_a_file_named_on_the_command_line_keeps_nothing_of_the_former_source(tmp_path):
    usual, path = load("zephyr-7b").data.pairs, str(tmp_path / "my.jsonl")
    (tmp_path / "my.jsonl").write_text("{}\n")
    assert usual.train != "train" and usual.test
    for items in ([f"data.pairs.id={path}"], [f"data.pairs={{id: {path}}}"]):
        mine = load("zephyr-7b", items).data.pairs
        assert (mine.train, mine.test, mine.left_out) == ("train", None, 0.1)
    both = load("zephyr-7b", ["data.pairs.test=held", f"data.pairs.id={path}"]).data.pairs
    assert (both.id, both.test) == (path, "held")


def test_a_copy_of_a_source_keeps_its_splits():
    usual = load("zephyr-7b").data.pairs
    for name in (usual.id, "some/mirror"):
        found = load("zephyr-7b", [f"data.pairs.id={name}"]).data.pairs
        assert (found.train, found.test) == (usual.train, usual.test)
