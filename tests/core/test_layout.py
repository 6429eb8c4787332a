"""Where artefacts lie under the testbed's own settings, and what a changed setting moves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.core.layout import Patterns
from bench.core.names import POOL
from bench.core.schema import UserError
from bench.steps import runner
from bench.studies import load

BASE2 = "arms.dpo-base2={method: dpo, sft: {seed: 2}}"
REWARD5 = "arms.ppo-reward5={method: ppo, reward: {epochs: 5}}"
ARMS = ("ppo", "dpo", "ipo", "orpo")
# As they lay at de1a664, but for `validation1.jsonl`, which was `heldout1.jsonl`.
PATHS = {
    "data": "data",
    "manifest": "data/manifest.json",
    "prompts": "data/prompts.jsonl",
    "base": "base",
    "sft": "sft",
    "pool": "pairs/pool.jsonl",
    "pool record": "pairs/step.json",
    "demonstrations": "pairs/demonstrations.jsonl",
    "demonstrations record": "pairs/demonstrations.json",
    "test pairs": "pairs/preference.jsonl",
    "pairs": "pairs/gold/seed1.jsonl",
    "pairs of fewer": "pairs/gold-n750/seed1.jsonl",
    "validation": "pairs/gold/validation1.jsonl",
    "reward": "reward/gold/seed1",
    "reference": "reference/pool/logps.csv",
    "run": "align/dpo/seed1/run.json",
    "log": "align/dpo/seed1/log.csv",
    "curve": "align/dpo/seed1/curve.csv",
    "run samples": "align/dpo/seed1/samples.jsonl",
    "model": "align/dpo/seed1/model",
    "evaluation": "evaluate/dpo/seed1/eval.json",
    "answers": "evaluate/dpo/seed1/prompts.csv",
    "tasks": "evaluate/dpo/seed1/tasks.csv",
    "evaluation samples": "evaluate/dpo/seed1/samples.jsonl",
    "evaluation of the base": "evaluate/sft/seed0/eval.json",
    "contract": "contract.json",
    "results": "results",
    "report": "report",
    "report record": "report.json",
    "blog": "blog",
    "tuned": "tuned.yaml",
}


def paths(cfg) -> dict[str, Path]:
    """Every artefact, with dpo's first seed for the runs."""
    layout, arm = cfg.layout, cfg.arm("dpo")
    run, evaluation = layout.run(arm, 1), layout.evaluation(arm, 1)
    return {
        "data": layout.data,
        "manifest": layout.manifest,
        "prompts": layout.prompts,
        "base": layout.base,
        "sft": layout.sft,
        "pool": layout.pool("pool"),
        "pool record": layout.pool_record("pool"),
        "demonstrations": layout.pool("demonstrations"),
        "demonstrations record": layout.pool_record("demonstrations"),
        "test pairs": layout.test_pairs,
        "pairs": layout.pairs("gold", 1),
        "pairs of fewer": layout.pairs("gold-n750", 1),
        "validation": layout.validation("gold", 1),
        "reward": layout.reward("gold", 1),
        "reference": layout.reference("pool"),
        "run": run.record,
        "log": run.log,
        "curve": run.curve,
        "run samples": run.samples,
        "model": run.model,
        "evaluation": evaluation.record,
        "answers": evaluation.prompts,
        "tasks": evaluation.tasks,
        "evaluation samples": evaluation.samples,
        "evaluation of the base": layout.evaluation(None).record,
        "contract": layout.contract,
        "results": layout.results,
        "report": layout.report,
        "report record": layout.report_record,
        "blog": layout.blog,
        "tuned": cfg.with_study("tune").layout.tuned,
    }


def artefacts(*overrides: str) -> dict[str, Path]:
    """Where the artefacts and the runs of all methods lie under some overrides."""
    cfg = load("tiny", overrides)
    layout = cfg.layout
    found = {
        "data": layout.data,
        "base": layout.base,
        "sft": layout.sft,
        "pairs": layout.pairs("gold", 1),
        "reward": layout.reward("gold", 1),
        "reference": layout.reference("pool"),
        "evaluate sft": layout.evaluation(None).folder,
    }
    for name in ARMS:
        found[f"align {name}"] = layout.run(cfg.arm(name), 1).folder
        found[f"evaluate {name}"] = layout.evaluation(cfg.arm(name), 1).folder
    return found


def moved(*overrides: str) -> set[str]:
    """What lies elsewhere under some overrides."""
    before, after = artefacts(), artefacts(*overrides)
    return {name for name in before if before[name] != after[name]}


EVALUATIONS = {f"evaluate {arm}" for arm in ARMS}
RUNS = {f"align {arm}" for arm in ARMS} | EVALUATIONS
FROM_SFT = {"sft", "pairs", "reward", "reference", "evaluate sft", *RUNS}


def test_artefacts_of_the_testbed_s_own_settings_lie_where_they_always_did():
    found = paths(load("micro"))
    assert {name: p.as_posix() for name, p in found.items()} == {
        name: f"runs/micro/{path}" for name, path in PATHS.items()
    }


@pytest.mark.parametrize("study", ["tune", "stability", "views", "origins"])
def test_a_study_beside_compare_has_a_folder_of_its_own(study):
    layout = load("micro", [f"study={study}"]).layout
    assert layout.study.as_posix() == f"runs/micro/study-{study}"
    assert layout.contract.as_posix() == f"runs/micro/study-{study}/contract.json"
    assert layout.results.as_posix() == f"runs/micro/study-{study}/results"


@pytest.mark.parametrize(
    "override,what",
    [
        ("data.demonstrations=900", {"data", "base", *FROM_SFT}),
        ("base.steps=41", {"base", *FROM_SFT}),
        ("sft.seed=2", FROM_SFT),
        ("pairs.temperature=0.9", FROM_SFT - {"sft"}),
        ("reward.epochs=5", {"reward", "align ppo", *EVALUATIONS}),
        ("dpo.beta=0.3", {"align dpo", "evaluate dpo"}),
        ("ppo.beta=0.3", {"align ppo", "evaluate ppo"}),
        ("curve.prompts=20", RUNS),
        ("eval.prompts=20", {"evaluate sft", *EVALUATIONS}),
        ("decode.temperature=0.9", FROM_SFT - {"sft"}),
    ],
)
def test_an_override_moves_what_is_made_from_it_and_nothing_else(override, what):
    assert moved(override) == what


@pytest.mark.parametrize(
    "override",
    [
        "price.hour=2",
        "threads.sft=2",
        "jobs.mem_mb=900",
        "launch.processes=2",
        "strict=true",
        "seeds=[1, 9]",
        "study=origins",
        "tune.trials=3",
        "views.shares=[0.5]",
        BASE2,
        "dpo.beta=0.1",
    ],
)
def test_what_changes_no_result_moves_no_run(override):
    assert moved(override) == set()


def test_where_the_seeds_or_a_setting_differ_the_study_lies_elsewhere():
    plain, seeds, beta = (
        load("tiny", overrides).layout.study for overrides in ([], ["seeds=[1]"], ["dpo.beta=0.3"])
    )
    assert plain.as_posix() == "runs/tiny" and len({plain, seeds, beta}) == 3
    assert seeds.name.startswith("study-compare@") and beta.name.startswith("study-compare@")


def test_the_order_of_overrides_is_no_matter():
    one, other = "sft.seed=2", "dpo={beta: 0.3, lr: 1e-3}"
    assert artefacts(one, other) == artefacts(other, one)
    assert artefacts(one, other) == artefacts("dpo.lr=0.001", "dpo.beta=3e-1", one)


def test_a_key_is_the_same_in_every_process():
    """Whatever Python's own hashes are there."""
    code = "from bench.studies import load; print(load('tiny', ['sft.seed=2']).layout.sft)"
    words, repo = [sys.executable, "-c", code], Path(__file__).parents[2]
    for seed in "12":
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(repo)}
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == load("tiny", ["sft.seed=2"]).layout.sft.as_posix()


def test_an_arm_with_its_own_base_lies_beside_the_others():
    cfg = load("tiny", [BASE2, REWARD5, "studies.mine=[dpo, dpo-base2, ppo, ppo-reward5]"])
    plain, base2, reward5 = (cfg.member(a, 1) for a in ("dpo", "dpo-base2", "ppo-reward5"))
    for what in ("start", "sft", "pairs", "validation", "reference"):
        assert base2.needed[what] != plain.needed[what]
    assert base2.files.folder.parent.name.startswith("dpo-base2@")
    assert reward5.needed["sft"] == plain.needed["sft"]
    assert reward5.needed["pairs"] == plain.needed["pairs"]
    assert reward5.needed["reward"] != cfg.member("ppo", 1).needed["reward"]
    assert plain.proxy == cfg.member("ppo", 1).proxy
    assert plain.files == load("tiny").member("dpo", 1).files


def test_pairs_of_another_writer_have_a_name_of_their_own_that_follows_its_settings():
    def pairs(steps: int):
        hasty = f"arms.hasty={{method: dpo, sft: {{steps: {steps}}}}}"
        cfg = load("tiny", [hasty, "arms.off={method: dpo, pairs: {writer: hasty}}"])
        own = cfg.of("off")
        assert own.layout.writer == cfg.of("hasty").layout.sft != own.layout.sft
        assert own.slice("pairs").values()["writer"][-1]["steps"] == steps
        return own.layout.pool(POOL)

    assert pairs(4) == pairs(4) != pairs(5)
    assert load("tiny").layout.pool(POOL) not in (pairs(4), pairs(5))


@pytest.mark.parametrize(
    "testbed,overrides,said",
    [
        ("tiny", ["pairs.writer=nobody"], "unknown arm 'nobody'"),
        ("reviews-cpu", ["pairs.writer=dpo"], "this testbed comes with pairs"),
    ],
)
def test_a_writer_is_refused(testbed, overrides, said):
    with pytest.raises(UserError, match=said):
        load(testbed, overrides)


def test_a_step_with_the_arm_s_settings_writes_where_the_arm_looks():
    arms = load("tiny", [BASE2, REWARD5])
    base2, reward5 = arms.of("dpo-base2").layout, arms.of("ppo-reward5").layout
    assert load("tiny", ["sft.seed=2"]).slice("sft").layout.sft == base2.sft
    assert load("tiny", ["sft.seed=2"]).layout.pairs("gold", 1) == base2.pairs("gold", 1)
    assert load("tiny", ["reward.epochs=5"]).layout.reward("gold", 1) == reward5.reward("gold", 1)
    for step in ("sft", "reward"):
        words = ["--testbed", "tiny", "--set", BASE2, "--set", REWARD5, "--of", "dpo-base2"]
        own = runner.settings_of(step, runner.arguments(step).parse_args(words))
        assert own.layout.sft == base2.sft
        assert own.layout.reward("gold", 1) == base2.reward("gold", 1)


def test_an_arm_may_have_fewer_pairs_than_another_learns_from():
    few = "arms.dpo-few={method: dpo, pairs: {n: 24}}"
    cfg = load(
        "tiny", [few, "arms.ppo-n40={method: ppo, n: 40}", "studies.mine=[dpo-few, ppo-n40]"]
    )
    assert cfg.of("dpo-few").pairs.n == 24 < cfg.arm("ppo-n40").n


def test_an_arm_of_the_same_settings_shares_what_it_is_made_from():
    cfg = load("tiny", [BASE2, "arms.ipo-base2={method: ipo, sft: {seed: 2}}"])
    dpo, ipo = cfg.member("dpo-base2", 1), cfg.member("ipo-base2", 1)
    assert dpo.needed == ipo.needed and dpo.files != ipo.files


def test_bases_are_named_by_what_they_are_made_from():
    mine = "studies.mine=[dpo, dpo-base2, ppo]"
    cfg = load("tiny", [BASE2, mine, "study=mine"])
    other = cfg.of("dpo-base2").layout
    assert cfg.sft_bases == {"sft": cfg.layout, other.evaluation_name(None): other}
    assert [cfg.base_of(arm) for arm in cfg.study_arms] == ["sft", [*cfg.sft_bases][1], "sft"]
    back = [BASE2, "arms.dpo-base0={method: dpo, sft: {seed: 0}}", "sft.seed=2"]
    cfg = load("tiny", [*back, "studies.mine=[dpo, dpo-base2, dpo-base0]", "study=mine"])
    assert [*cfg.sft_bases] == ["sft", "sft@tiny"]
    assert [cfg.base_of(arm) for arm in cfg.study_arms] == ["sft", "sft", "sft@tiny"]
    alone = load("tiny", [BASE2, "studies.mine=[dpo-base2]", "study=mine"])
    assert [at.sft for at in alone.sft_bases.values()] == [other.sft]


def test_pairs_of_one_s_own_come_with_an_evaluation_of_the_base_on_them():
    """lm-eval's task `preference` asks about pairs that the base answered."""
    own = "arms.dpo-cold={method: dpo, pairs: {temperature: 0.5}}"
    cfg = load("tiny", [own, "studies.mine=[dpo, dpo-cold]", "study=mine"])
    first, second = cfg.sft_bases.values()
    assert first.sft == second.sft
    assert first.evaluation(None).folder != second.evaluation(None).folder


@pytest.mark.parametrize(
    "arm,line",
    [
        (
            "{method: dpo, sft: {sed: 2}}",
            "unknown key 'arms.x.sft.sed'; did you mean 'arms.x.sft.seed'?",
        ),
        ("{method: dpo, sft: {seed: two}}", "arms.x.sft.seed='two' is not valid"),
        ("{method: dpo, sfd: {seed: 2}}", "unknown key 'arms.x.sfd'"),
    ],
)
def test_a_mistake_in_what_an_arm_starts_from_is_one_line(arm, line):
    with pytest.raises(UserError) as error:
        load("tiny", [f"arms.x={arm}", "studies.mine=[x]", "study=mine"])
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_what_a_rule_makes_is_where_a_layout_looks():
    """With its wildcards filled in a pattern is the path of the artefact."""
    cfg = load("tiny", ["sft.seed=2"])
    made, layout, arm = Patterns(cfg, None), cfg.layout, cfg.arm("dpo")
    known = {"label_set": "gold", "seed": 1, "pool": "pool", "arm": "dpo"}
    run, evaluation = made.run(arm, "{seed}").record, made.evaluation(arm, "{seed}").record
    keys = [layout.key("pairs"), layout.run_name(arm)[3:], layout.evaluation_name(arm)[3:]]
    patterns = [made.pairs("{label_set}", "{seed}"), run, evaluation]
    found = [str(p).format(**known, key=key) for p, key in zip(patterns, keys, strict=True)]
    files = layout.run(arm, 1), layout.evaluation(arm, 1)
    assert found == [str(layout.pairs("gold", 1)), *(str(each.record) for each in files)]
