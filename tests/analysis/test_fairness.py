"""The fairness contract: every tampered ledger is caught, an honest one is left alone."""

import ast
import inspect
import json
import os
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import fake_runs
import pytest

from bench.analysis.fairness import DIFFER, MATCH, MAY_DIFFER, RULES, breaches, fields, sentence
from bench.core.files import read_json
from bench.core.records import sealed, write_json
from bench.steps import align, contract
from bench.studies import load

REPO = Path(__file__).parents[2]
RUNS = [(method, seed) for method in ("dpo", "ppo") for seed in (1, 2)]
SFT = fake_runs.eval_json("sft", 0)
START = {"sft": SFT}
# where a study of two seeds lies
STUDY = load("micro", ["seeds=[1,2]"]).layout.study
KNOWN = {rule.field for rule in RULES}


def entry(arm: str, seed: int, method: str = "", status: str = "ok") -> dict:
    """A run of the ledger as it should be."""
    beside = {"folder_arm": arm, "folder_seed": seed}
    run = fake_runs.run_json(arm, method or arm, seed, status)
    beside["evaluation"] = fake_runs.eval_json(arm, seed, status)
    beside["declared"] = {key: run[key] for key in ("method", "label_set", "start", "settings")}
    return run | beside


@pytest.fixture
def ledger() -> list[dict]:
    """dpo seed 1 and 2, ppo seed 1 and 2."""
    return deepcopy([entry(arm, seed) for arm, seed in RUNS])


def named(ledger, sft=SFT) -> set[str]:
    return {breach["field"] for breach in breaches(ledger, sft and {"sft": sft})}


def put(run: dict, field: str, value) -> None:
    """Set a dotted field."""
    *path, last = field.split(".")
    for key in path:
        run = run[key]
    run[last] = value


def returned_keys(function) -> set[str]:
    """The literal keys of the dict that a function returns."""
    tree = ast.parse(inspect.getsource(function))
    dicts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Return)]
    return {k.value for d in dicts if isinstance(d, ast.Dict) for k in d.keys if k is not None}


def test_every_field_of_a_run_is_declared_once_as_one_of_three_kinds():
    from bench.models.tokens import policy_of

    assert len(KNOWN) == len(RULES)
    assert {rule.kind for rule in RULES} == {MATCH, MAY_DIFFER, DIFFER}
    assert all(rule.why for rule in RULES)
    written = returned_keys(align.run_record) | returned_keys(policy_of)
    assert {"arm", "template", "curve_prompts_sha256"} <= written
    assert written - {"hashes"} <= KNOWN
    assert set(fields(fake_runs.run_json("ppo", "ppo", 1))) <= KNOWN


def test_an_honest_ledger_has_no_breach(ledger):
    assert breaches(ledger, START) == []
    assert breaches([entry(a, s) for a in fake_runs.ARMS for s in (1, 2, 3)], START) == []


def test_seconds_that_neighbours_may_have_slowed_are_named(ledger):
    for run in ledger:
        run["gpu_slots"] = 1
    assert breaches(ledger, START) == []
    ledger[1]["gpu_slots"] = ledger[2]["gpu_slots"] = 4
    (found,) = breaches(ledger, START)
    assert found["field"] == "gpu_slots" and set(found["values"].values()) == {4}
    assert sentence(found).startswith("fairness contract: gpu_slots must be 1 (neighbours")
    assert len(found["values"]) == 2


def test_a_run_answers_for_the_steps_that_it_is_charged_for(tmp_path):
    for name, slots in (("run", 1), ("reward/step", 4)):
        write_json(tmp_path / f"{name}.json", {"gpu_slots": slots})
    member = SimpleNamespace(
        arm=load("tiny").arm("ppo"),
        seed=1,
        files=SimpleNamespace(record=tmp_path / "run.json"),
        evaluation=SimpleNamespace(record=tmp_path / "eval.json"),
        needed={"reward": tmp_path / "reward"},
        layout=SimpleNamespace(cfg=None),
    )
    assert contract.ledger([member])[0]["gpu_slots"] == 4


def test_a_failed_run_is_no_breach(ledger):
    for status in ("diverged", "oom"):
        ledger[0] = entry("dpo", 1, status=status)
        assert breaches(ledger, START) == []


def test_runs_that_failed_before_their_first_step_have_no_trajectory(ledger):
    empty = {"steps": 0, "trajectory_sha256": "of an empty log"}
    ledger[:2] = [entry("dpo", seed, status="oom") | empty for seed in (1, 2)]
    assert breaches(ledger, START) == []


TAMPERED = {
    "hashes.start": "other",
    "hashes.pairs": "others",
    "hashes.reward": "another",
    "pairs": 1400,
    "template": "chat",
    "eos": "none",
    "decode": {"max_new_tokens": 32, "temperature": 0.7},
    "trainable_parameters": 1000,
    "parameters": 1000,
    "search": "40 trials",
    "curve_prompts_sha256": "c1",
    "versions": {"python": "3.11.9", "torch": "2.12.0"},
    "machine": {"cpu": "another"},
    "settings": {"lr": 3e-4},
    "overrides": ["dpo.lr=3e-4"],
    "evaluation.prompts_sha256": "t1",
    "evaluation.decode": {"max_new_tokens": 8, "temperature": 1.0},
    "evaluation.versions": {"python": "3.12.0"},
    "evaluation.status": "diverged",
    "evaluation.model_sha256": "of an earlier run",
    "evaluation.seed": 7,
}


@pytest.mark.parametrize("field", TAMPERED)
def test_one_field_of_one_run_is_caught_by_name_and_nothing_else(ledger, field):
    put(ledger[3], field, TAMPERED[field])
    if field == "hashes.reward":  # that of a seed is compared between arms
        ledger.append(entry("ppo-beta1", 2, "ppo"))
    found = breaches(ledger, START)
    assert [b["field"] for b in found] == [field]
    assert len({json.dumps(v) for v in found[0]["values"].values()}) == 2
    assert any("ppo seed 2" in run for run in found[0]["values"])


MUST_HAVE = ("pairs", "template", "decode", "hashes.start", "versions", "evaluation.prompts_sha256")


@pytest.mark.parametrize("field", MUST_HAVE)
def test_a_field_that_was_taken_out_is_caught(ledger, field):
    put(ledger[0], field, None)
    found = breaches(ledger, START)
    assert [b["field"] for b in found] == [field]
    assert found[0]["values"]["dpo seed 1"] == "missing"


TAKEN_OUT = ("hashes.pairs", "hashes.reward", "trajectory_sha256", "search", "cost", "steps")


@pytest.mark.parametrize("field", TAKEN_OUT)
def test_a_field_that_other_seeds_of_the_arm_have_is_missed(ledger, field):
    put(ledger[2], field, None)
    found = {breach["field"]: breach["values"] for breach in breaches(ledger, START)}
    assert found[field] == {"ppo seed 1": "missing"}


@pytest.mark.parametrize("field,value", [("status", "diverged"), ("arm", "dpo"), ("seed", 3)])
def test_the_evaluation_of_the_sft_base_is_its_own(ledger, field, value):
    assert named(ledger, SFT | {field: value}) == {f"evaluation.{field}"}


def test_an_evaluation_of_unknown_weights_is_not_of_the_sft_base(ledger):
    assert named(ledger, SFT | {"model_sha256": None}) == {"hashes.start"}


def test_a_copied_run_is_a_repeated_seed(ledger):
    beside = {key: ledger[1][key] for key in ("folder_arm", "folder_seed", "evaluation")}
    ledger[1] = deepcopy(ledger[0]) | beside
    follows = {"hashes.pairs", "model_sha256", "trajectory_sha256", "evaluation.model_sha256"}
    assert named(ledger) == {"seed"} | follows
    seed = next(b for b in breaches(ledger, START) if b["field"] == "seed")
    assert seed["values"] == {"dpo seed 2": 1, "folder of dpo seed 2": 2}


def test_a_copied_run_is_caught_with_its_copied_evaluation(ledger):
    ledger[1] = deepcopy(ledger[0]) | {"folder_seed": 2}
    follows = {"hashes.pairs", "model_sha256", "trajectory_sha256", "evaluation.seed"}
    assert named(ledger) == {"seed"} | follows


def test_a_run_of_another_arm_is_caught(ledger):
    ledger[0]["arm"] = "ipo"
    assert named(ledger) == {"arm"}


def test_seeds_with_the_same_weights_are_caught(ledger):
    for run in ledger[:2]:
        run["model_sha256"] = run["evaluation"]["model_sha256"] = "same"
    found = breaches(ledger, START)
    assert [(b["field"], b["expect"]) for b in found] == [("model_sha256", DIFFER)]
    assert found[0]["values"] == {"dpo seed 1": "same", "dpo seed 2": "same"}


@pytest.mark.parametrize("status", ["ok", "diverged"])
def test_seeds_with_the_same_trajectory_are_caught_diverged_ones_too(ledger, status):
    same = {"trajectory_sha256": "same"}
    ledger[:2] = [entry("dpo", seed, status=status) | same for seed in (1, 2)]
    assert named(ledger) == {"trajectory_sha256"}


def test_seeds_with_the_same_pairs_are_caught(ledger):
    for run in ledger:
        run["hashes"]["pairs"] = "same"
    found = breaches(ledger, START)
    assert [(b["field"], b["expect"]) for b in found] == [("hashes.pairs", DIFFER)] * 2


def test_a_missing_run_is_named(ledger):
    place = {"folder_arm": "ppo", "folder_seed": 2, "evaluation": None}
    found = breaches([*ledger[:3], place], START)
    assert [b["field"] for b in found] == ["run"]
    assert found[0]["values"] == {"ppo seed 2": "missing"}


def test_a_missing_evaluation_is_named(ledger):
    ledger[0]["evaluation"] = None
    found = breaches(ledger, None)
    assert [b["field"] for b in found] == ["evaluation"]
    assert set(found[0]["values"]) == {"dpo seed 1", "sft seed 0"}
    assert breaches(ledger, None, evaluations_expected=False) == []


@pytest.mark.parametrize(
    "field,named_field",
    [("prompts_sha256", "evaluation.prompts_sha256"), ("model_sha256", "hashes.start")],
)
def test_the_base_is_evaluated_on_the_same_prompts_and_is_what_runs_start_from(
    ledger, field, named_field
):
    assert named(ledger, SFT | {field: "other"}) == {named_field}


def test_an_undeclared_field_is_named(ledger):
    ledger[0]["secret"] = 1
    ledger[0]["hashes"]["extra"] = "x"
    found = breaches(ledger, START)
    assert [b["field"] for b in found] == ["undeclared field"]
    assert found[0]["values"] == {"dpo seed 1": "hashes.extra, secret"}


def from_base(seed: int, origin: dict) -> dict:
    """ORPO on demonstrations from the untuned base."""
    run = entry("orpo-from-base", seed, "orpo") | {"pairs": 900} | origin
    run["declared"] = run["declared"] | origin
    return run | {"hashes": {"start": "base", "pairs": f"demonstrations{seed}"}}


def test_an_arm_that_starts_elsewhere_may_differ_where_designed(ledger):
    arms = [from_base(seed, {"start": "base"}) for seed in (1, 2)]
    assert breaches([*ledger, *arms], START) == []
    undeclared = [from_base(seed, {}) for seed in (1, 2)]
    assert named([*ledger, *undeclared]) == {"hashes.start", "hashes.pairs", "pairs"}


def test_another_set_of_labels_has_pairs_of_its_own(ledger):
    few = {"label_set": "gold-n750", "reward_model": "gold-n750", "pairs": 750}
    arms = [entry("dpo-n750", seed, "dpo") | few for seed in (1, 2)]
    for run in arms:
        run["hashes"] = {"start": "sft-0", "pairs": f"few{run['seed']}"}
        run["declared"] = run["declared"] | {"label_set": "gold-n750"}
    assert breaches([*ledger, *arms], START) == []


def test_reference_log_probs_are_one_set_a_pool():
    names = {"dpo": "gold", "dpo-n750": "gold-n750", "dpo-on-policy": "on-policy"}
    ledger = [entry(arm, seed, "dpo") for arm in names for seed in (1, 2)]
    for run in ledger:
        run["preference"] = names[run["arm"]].partition("-n7")[0]
        run["label_set"] = run["declared"]["label_set"] = names[run["arm"]]
        run["hashes"] |= {"reference": "own" if run["label_set"] == "on-policy" else "pool"}
        run["hashes"]["pairs"] += run["label_set"]
    assert breaches(ledger, START) == []
    ledger[2]["hashes"]["reference"] = "another"  # of dpo-n750 alone
    assert named(ledger) == {"hashes.reference"}


def test_a_sentence_names_the_field_and_both_values():
    values = {"dpo seed 1": 1400, "ipo seed 1": 1500}
    breach = {"field": "pairs", "expect": MATCH, "why": "the same number of labels"}
    assert sentence(breach | {"values": values}) == (
        "fairness contract: pairs must match (the same number of labels): "
        "dpo seed 1: 1400; ipo seed 1: 1500"
    )


def test_a_sentence_is_one_line_with_the_odd_value_first(ledger):
    ledger[3]["template"] = "{% for turn in turns %}\n" * 40
    line = sentence(breaches(ledger, START)[0])
    assert "\n" not in line and len(line) < 300
    assert line.index("ppo seed 2: {% for") < line.index("dpo seed 1: plain")
    assert line.endswith("; and 2 more")


def test_a_long_value_is_shown_where_it_differs(ledger):
    ledger[0]["versions"] = fake_runs.VERSIONS | {"torch": "2.12.0"}
    assert breaches(ledger, START)[0]["values"]["dpo seed 1"] == {"torch": "2.12.0"}


# The step's own command


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    where = tmp_path_factory.mktemp("contract")
    root = fake_runs.make(where / "runs/micro", (1, 2), prompts=6)
    cfg = load("micro")
    for path in root.glob("align/*/*/run.json"):  # as the testbed configures its arms
        run = json.loads(path.read_text())
        settings = cfg.arm(run["arm"]).settings.model_dump(mode="json")
        path.write_text(json.dumps(sealed(run | {"settings": settings})))
    for path in root.glob("evaluate/*/*/eval.json"):
        found = json.loads(path.read_text())
        own = {key: getattr(cfg.eval, key) for key in ("draws", "base_draws") if key in found}
        path.write_text(json.dumps(sealed(found | own)))
    return where


@pytest.fixture
def folder(made, tmp_path) -> Path:
    shutil.copytree(made / "runs", tmp_path / "runs")
    return tmp_path


def step(where: Path, *words: str, name: str = "contract"):
    """(exit code, lines of stderr) of the command."""
    command = [sys.executable, "-m", "bench", name, "--testbed", "micro"]
    for word in ("seeds=[1,2]", *words):
        command += ["--set", word]
    env = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True)
    head = "[contract] with "
    return done.returncode, [x for x in done.stderr.splitlines() if not x.startswith(head)]


def tamper(where: Path, **more) -> None:
    """Let a run say otherwise, as if its step had written so."""
    path = where / "runs/micro/align/dpo/seed1/run.json"
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | more)))


def written(where: Path) -> dict:
    return json.loads((where / STUDY / "contract.json").read_text())


def test_the_step_says_that_all_is_well(folder):
    assert step(folder, "strict=true") == (0, ["[contract] 8 runs, no breach"])
    found = written(folder)
    assert (found["runs"], found["breaches"]) == (8, [])
    assert {rule["field"] for rule in found["rules"]} == KNOWN


def test_the_step_says_a_breach_a_line_and_strict_refuses(folder):
    tamper(folder, pairs=1400, template="chat")
    code, lines = step(folder)
    assert code == 0 and len(lines) == 2
    assert lines[0].startswith("[contract] fairness contract: pairs must match")
    assert [b["field"] for b in written(folder)["breaches"]] == ["pairs", "template"]
    code, lines = step(folder, "strict=true")
    assert code == 1 and len(lines) == 1 and lines[0].startswith("error: fairness contract: ")
    told = ("pairs must match", "dpo seed 1: 1400", "ppo seed 1: 1500", "chat", "plain", "strict")
    assert all(word in lines[0] for word in told)


def test_a_missing_run_is_named_by_the_step(folder):
    shutil.rmtree(folder / "runs/micro/align/dpo/seed2")
    shutil.rmtree(folder / "runs/micro/evaluate/dpo/seed2")
    line = step(folder)[1][0]
    assert line.startswith("[contract] fairness contract: run must be present")
    assert line.endswith("dpo seed 2: missing")


def test_collect_checks_the_contract_itself(folder):
    """An edited contract.json changes nothing."""
    code, lines = step(folder, name="collect")
    assert code == 1 and "contract.json is missing: run snakemake" in lines[-1]
    tamper(folder, pairs=1400)
    step(folder)
    known = written(folder)["breaches"]
    (folder / STUDY / "contract.json").write_text(json.dumps({"breaches": []}))
    assert step(folder, name="collect")[0] == 0
    meta = read_json(folder / STUDY / "results/meta.json")
    assert meta["breaches"] == known != [] and meta["complete"]


def test_an_evaluation_of_another_run_makes_a_study_incomplete(folder):
    at = folder / "runs/micro/evaluate"
    for seed in ("seed1", "seed2"):
        shutil.rmtree(at / "ipo" / seed)
        shutil.copytree(at / "dpo" / seed, at / "ipo" / seed)
    step(folder)
    assert step(folder, name="collect")[0] == 0
    meta = read_json(folder / STUDY / "results/meta.json")
    assert "evaluation.arm" in {b["field"] for b in meta["breaches"]} and not meta["complete"]


def test_evaluations_have_as_many_answers_as_is_configured(folder):
    for name, key in (("dpo/seed1", "draws"), ("sft/seed0", "base_draws")):
        path = folder / f"runs/micro/evaluate/{name}/eval.json"
        path.write_text(json.dumps(sealed(json.loads(path.read_text()) | {key: 1})))
    step(folder)
    assert [b["field"] for b in written(folder)["breaches"]] == [
        "evaluation.draws", "evaluation.base_draws",
    ]  # fmt: skip


def test_no_run_or_half_a_run_is_one_line(folder, tmp_path_factory):
    code, lines = step(tmp_path_factory.mktemp("empty"))
    assert code == 1 and len(lines) == 1 and "holds no run of this study" in lines[0]
    (folder / "runs/micro/align/dpo/seed1/run.json").write_text("{")
    code, lines = step(folder)
    assert code == 1 and len(lines) == 1 and "is not valid JSON" in lines[0]


def test_trials_of_tuning_are_compared_by_method(made, monkeypatch):
    monkeypatch.chdir(made)
    cfg = load("micro")
    study, bases = [cfg.member("ppo", 1), cfg.member("dpo", 1)], cfg.sft_bases
    equal = {"methods": {"ppo": {"trials": 16}, "dpo": {"trials": 16}}}
    assert contract.check(study, bases, equal)["breaches"] == []
    for dpo in ({"dpo": {"trials": 4}}, {}):
        unequal = {"methods": {"ppo": {"trials": 16}} | dpo}
        found = contract.check(study, bases, unequal)["breaches"]
        assert [b["field"] for b in found] == ["search"]
        assert found[0]["values"]["ppo seed 1"] == "16 trials"


@pytest.mark.parametrize("flops,fair", [(1.4e12, True), (1.6e12, False), (0.0, False)])
def test_unlike_numbers_of_trials_are_fair_if_they_cost_as_much(made, monkeypatch, flops, fair):
    monkeypatch.chdir(made)
    cfg = load("micro")
    study, bases = [cfg.member("ppo", 1), cfg.member("dpo", 1)], cfg.sft_bases
    known = {"ppo": {"trials": 24, "flops": 1e12}, "dpo": {"trials": 32, "flops": flops}}
    known["simpo"] = {"trials": 3, "flops": 9e12}  # which the study does not compare
    found = contract.check(study, bases, {"methods": known})["breaches"]
    assert [b["field"] for b in found] == ([] if fair else ["search"])


@pytest.mark.parametrize(
    "field,other",
    [("method", "ipo"), ("label_set", "gold-n750"), ("start", "base"), ("settings", {"lr": 9.0})],
)
def test_a_whole_arm_that_is_not_what_it_is_configured_to_be_is_caught(tmp_path, field, other):
    """Both seeds agree with each other, but not with the arm."""
    fake_runs.make(tmp_path, seeds=(1, 2), arms={"dpo": "dpo"})
    runs = fake_runs.members(tmp_path, {"dpo": "dpo"}, (1, 2))
    bases = {"sft": fake_runs.layout(tmp_path)}
    assert contract.check(runs, bases)["breaches"] == []
    for seed in (1, 2):
        path = tmp_path / f"align/dpo/seed{seed}/run.json"
        path.write_text(json.dumps(sealed(json.loads(path.read_text()) | {field: other})))
    found = contract.check(runs, bases)["breaches"]
    assert field in {breach["field"] for breach in found}
    breach = next(b for b in found if b["field"] == field)
    assert "declared of dpo seed 1" in breach["values"]


@pytest.mark.parametrize("warmup,cold", [(99, False), (100, True), (250, True)])
def test_a_warm_up_that_takes_the_whole_training_is_a_breach(ledger, warmup, cold):
    own = fake_runs.SETTINGS | {"warmup": warmup, "batch": 30, "epochs": 2}  # 1,500 pairs
    for run in ledger:
        run |= {"settings": own, "declared": None}
    found = breaches(ledger, START)
    assert [b["field"] for b in found] == ["settings.warmup"] * cold
    if cold:
        assert found[0]["values"]["dpo seed 1"] == f"{warmup} of 100 steps"


def test_the_rollouts_of_a_warm_up_hold_several_answers_to_a_prompt(ledger):
    """1,500 prompts in batches of 64, four answers to each: 94 rollouts, not 24."""
    own = fake_runs.SETTINGS | {"batch": 64, "minibatch": 64, "answers": 4, "epochs": 1}
    for run in ledger:
        run |= {"settings": own | {"warmup": 93}, "declared": None}
    assert not breaches(ledger, START)
    ledger[0]["settings"] = own | {"warmup": 94}
    ledger[1]["settings"] = own | {"warmup": 94}
    found = [b for b in breaches(ledger, START) if b["field"] == "settings.warmup"]
    assert "94 of 94 steps" in found[0]["values"].values()


def test_a_warm_up_that_takes_the_whole_training_of_a_reward_model_is_a_breach(ledger):
    ledger[2]["declared"]["reward"] = {"warmup": 24, "batch": 64, "epochs": 1.0}
    ledger[3]["declared"]["reward"] = {"warmup": 23, "batch": 64, "epochs": 1.0}
    (found,) = breaches(ledger, START)
    assert found["values"] == {"ppo seed 1": "24 of 24 steps of the reward model"}
