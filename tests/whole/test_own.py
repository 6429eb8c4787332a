"""Adding one's own data, model, gold, method: the files that docs/own.md shows, read from it."""

import gzip
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fake_runs
import hub_folders as folders
import numpy as np
import pytest
import torch
from test_losses import PAIRS, first_loss, ratios, stepped

from bench import methods
from bench.core import registry
from bench.core.schema import Section, UserError
from bench.methods import dpo
from bench.models.hub_model import TEMPLATES
from bench.steps import data, runner
from bench.steps import report as report
from bench.steps.fingerprint import fingerprint
from bench.studies import load
from bench.training.pair_engine import train_own_loss
from bench.worlds import hub as world
from bench.worlds.hub import gold as hub_gold

REPO = Path(__file__).parents[2]
PAIRS_FILE, LAB, GOLD, HINGE = SHOWN = (
    "my/pairs.jsonl",
    "my/lab.yaml",
    "my/gold.py",
    "my/hinge.py",
)
OWN = f"methods=[{HINGE}]"


def shown(name: str) -> str:
    """The block below the line of docs/own.md that begins with a file's name."""
    text = (REPO / "docs/own.md").read_text(encoding="utf-8")
    block = text.partition(f"\n`{name}`")[2].partition("```")[2].partition("```")[0]
    return block.partition("\n")[2]


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def pair(i: int) -> dict:
    return {
        "prompt": folders.ask(i),
        "chosen": folders.answer(i, "good"),
        "rejected": folders.answer(i, "poor"),
    }


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- the files of docs/own.md, from data to evaluation --------------------------------------------

SMALL = """
extends: my/lab.yaml
jobs: {gpu: 0}
data: {pool: 40, validation: 6, test: 12, preference: 6}
sft: {steps: 60, batch: 8, lr: 1e-2, warmup: 1}
pairs: {n: 16, pool: 20, validation: 4}
reward: {batch: 4, warmup: 1}
decode: {max_new_tokens: 24}
curve: {prompts: 4, fractions: [0, 1]}
eval: {prompts: 4}
ppo: {batch: 16, minibatch: 8, micro_batch: 4, warmup: 1}
dpo: {batch: 8, warmup: 1}
ipo: {batch: 8, warmup: 1}
orpo: {batch: 8, warmup: 1}
hinge: {batch: 8, warmup: 1}
model: {device: cpu, context: 512, lora: null}
"""
STEPS = [
    "data",
    "base",
    "sft",
    "pairs pool",
    "pairs draw --label-set gold --seed 1",
    "pairs on-policy",
    "pairs draw --label-set on-policy --seed 1",
    "reference --pool pool",
    "reference --pool on-policy",
    "reward --label-set gold --seed 1",
    "align --arm dpo --seed 1",
    "align --arm ppo --seed 1",
    "align --arm hinge --seed 1",
    "align --arm dpo-on-policy --seed 1",
    "evaluate --arm hinge --seed 1",
]
# each as `python -m bench STEP` runs it, in one process that imports torch once
WALK = """
import json, runpy, sys
for words in json.loads(sys.argv[1]):
    sys.argv = ["bench", *words]
    runpy.run_module("bench", run_name="__main__", alter_sys=True)
"""


def python(where: Path, *words: str) -> subprocess.CompletedProcess:
    """In a copy of the repository."""
    env = os.environ | {"PYTHONPATH": str(where), "HF_HOME": str(where / "hf")}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=where, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A copy of the repository with the four files of docs/own.md, a model, and more pairs."""
    where = tmp_path_factory.mktemp("own")
    shutil.copytree(REPO / "bench", where / "bench")
    shutil.copy(REPO / "Snakefile", where)
    for name in SHOWN:
        put(where / name, shown(name))
    put(where / "my/small.yaml", SMALL)
    with open(where / "my/pairs.jsonl", "a", encoding="utf-8") as file:
        file.write(lines([pair(i) for i in range(60)]))
    folders.causal(where / "my/model")
    words = folders.tokenizer()
    words.chat_template = TEMPLATES["chatml"]
    words.save_pretrained(where / "my/model")
    return where


@pytest.fixture(scope="module")
def walked(own):
    """What every step left."""
    options = ["--testbed", "my/small.yaml"]
    done = python(own, "-c", WALK, json.dumps([[*s.split(), *options] for s in STEPS]))
    assert done.returncode == 0, done.stderr[-3000:]
    return own / "runs/small"


def test_the_readme_s_pairs_are_pairs():
    found = [json.loads(line) for line in shown("my/pairs.jsonl").splitlines()]
    assert len(found) == 3 and all(world.preference_of(row) for row in found)


def test_twenty_pairs_have_a_plan(own, monkeypatch):
    """The settings for few rows of docs/own.md, with twenty pairs of one's own."""
    text = (REPO / "docs/own.md").read_text(encoding="utf-8").partition("**Few rows.**")[2]
    few = text.partition("```yaml")[2].partition("```")[0].replace("pairs.jsonl", "twenty.jsonl")
    put(own / "my/few.yaml", few)
    put(own / "my/twenty.jsonl", lines([pair(i) for i in range(20)]))
    monkeypatch.chdir(own)
    cfg = load("my/few.yaml")
    assert len(cfg.study_runs) == 4 * len(cfg.seeds)
    runner.main("data", data.run, argv=["--testbed", "my/few.yaml"])
    assert len(rows(cfg.layout.data / "pool.jsonl")) >= cfg.pairs.n + cfg.pairs.validation


def test_every_method_trains_on_one_s_own_files(walked):
    for arm in ("dpo", "ppo", "hinge", "dpo-on-policy"):
        run = json.loads((walked / f"align/{arm}/seed1/run.json").read_text())
        assert run["status"] == "ok" and run["steps"] > 0, run["reason"]
    assert json.loads((walked / "evaluate/hinge/seed1/eval.json").read_text())["status"] == "ok"


def test_without_demonstrations_sft_is_on_the_preferred_answers_of_the_pool(walked):
    pool = rows(walked / "data/pool.jsonl")
    better = {row["a"] if row["p"]["gold"] else row["b"] for row in pool}
    assert {row["completion"] for row in rows(walked / "data/sft.jsonl")} == better


def test_without_a_test_split_what_the_pool_leaves_is_held_out(walked):
    found = rows(walked / "data/prompts.jsonl")
    train, *held_out = (
        {row["prompt"] for row in found if row["split"] == split}
        for split in ("train", "validation", "test")
    )
    assert (len(train), *map(len, held_out)) == (40, 6, 12)
    assert not train & set.union(*held_out)


def test_gold_is_the_function_of_the_file(walked):
    space = {}
    exec(shown("my/gold.py"), space)
    for row in rows(walked / "pairs/pool.jsonl"):
        assert row["gold_a"] == pytest.approx(space["score"](row["prompt"], row["a"]))
    said = rows(walked / "evaluate/hinge/seed1/samples.jsonl")
    again = space["gold"](said, [row["completion"] for row in said])
    assert [row["gold"] for row in said] == pytest.approx(again)
    assert (walked / "data/gold.py").read_text() == shown("my/gold.py")


def test_on_policy_labels_are_gold_s_and_given_ones_are_not(walked):
    given, drawn = (rows(walked / f"pairs/{name}.jsonl") for name in ("pool", "on-policy"))
    assert {row["p"]["gold"] for row in given} == {0.0, 1.0}
    for row in drawn:
        odds = math.exp(row["gold_a"] - row["gold_b"])
        assert row["p"] == {"on-policy": pytest.approx(odds / (1 + odds))}
    assert len({row["gold_a"] - row["gold_b"] for row in drawn}) > 1


def test_the_plan_holds_the_new_method_and_arms(own):
    plan = python(own, "-m", "snakemake", "-npF", "--cores", "1", "--config", f"testbed={LAB}")
    assert plan.returncode == 0, plan.stderr
    assert "--pool on-policy" in plan.stdout
    for arm in ("hinge", "dpo-on-policy", "ppo-on-policy"):
        assert f"runs/lab/align/{arm}/seed5/run.json" in plan.stdout
    words = ["--config", OWN, "study=mine", "studies={mine: [dpo, hinge]}"]
    plan = python(own, "-m", "snakemake", "-n", "--cores", "1", *words)
    assert "runs/micro/align/dpo/seed1/run.json" in plan.stdout, plan.stderr
    assert re.search(r"runs/micro/align/hinge@[0-9a-f]{8}/seed1/run\.json", plan.stdout)


# --- a method -------------------------------------------------------------------------------------


@pytest.fixture
def hinge(tmp_path):
    return registry.from_file(put(tmp_path / HINGE, shown(HINGE)))


def test_the_readme_s_method_is_short():
    assert len(shown(HINGE).splitlines()) <= 40


def test_the_readme_s_method_is_the_hinge_loss(policy, tokenizer, tmp_path, hinge):
    loss, tokens = first_loss(hinge, policy, tokenizer, tmp_path, beta=0.3, margin=0.7)
    by_hand = []
    for (own, _), (other, _) in ratios(policy, tokens):
        by_hand.append(max(0.0, 0.7 - 0.3 * (own - other)))
    assert any(by_hand)
    assert loss == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-4)


def test_a_loss_of_one_s_own_is_trained_as_dpo_is(policy, tokenizer, tmp_path):
    def loss(chosen, rejected):
        ratios = (chosen.logps - chosen.reference) - (rejected.logps - rejected.reference)
        return -torch.nn.functional.logsigmoid(0.3 * ratios)

    mine = type("mine", (), {"Settings": dpo.Settings, "train": lambda r: train_own_loss(r, loss)})
    found = [stepped(m, policy, tokenizer, tmp_path, beta=0.3).monitor.rows[0] for m in (dpo, mine)]
    assert found[0].keys() == found[1].keys()
    for key in ("loss", "grad_norm", "logps_chosen", "rewards_margins"):
        assert found[1][key] == pytest.approx(found[0][key], rel=1e-5), key
    assert found[0]["grad_norm"] > 0 and len(PAIRS) == 2


def test_the_four_come_first_and_others_by_name(own):
    for name, text in (("_shared", "X = 1\n"), ("alpha", shown(HINGE))):
        put(own / f"bench/methods/{name}.py", text)
    show = f"from bench.methods import known; print(*known(['{HINGE}']))"
    found = python(own, "-c", show).stdout.split()
    (own / "bench/methods/alpha.py").unlink()
    others = sorted({"alpha", *methods.METHODS} - {*methods.FIRST})
    assert found == ["ppo", "dpo", "ipo", "orpo", *others, "hinge"]


class Whole(Section):
    lr: float = 1.0
    beta: float = 1.0


class Unnamed(Section):
    lr: float = 1.0


class Open(Whole):
    gamma: float


@pytest.mark.parametrize(
    "parts,line",
    [
        ({"NEEDS": (), "train": print}, "there/mine.py lacks Settings, a class"),
        ({"Settings": Unnamed, "NEEDS": (), "train": print}, "lacks beta in Settings"),
        ({"Settings": Open, "NEEDS": (), "train": print}, "lacks a default of Settings.gamma"),
        ({"Settings": Whole, "train": print}, "lacks NEEDS, a tuple"),
        ({"Settings": Whole, "NEEDS": ("gold",), "train": print}, "lacks NEEDS, a tuple"),
        ({"Settings": Whole, "NEEDS": ()}, "lacks train(run)"),
    ],
)
def test_a_file_that_is_no_method_is_one_line(parts, line):
    module = type("module", (), parts | {"__file__": "there/mine.py"})
    with pytest.raises(UserError) as error:
        methods.check("mine", module, set())
    assert line in str(error.value) and "\n" not in str(error.value)


def test_a_method_has_a_name_of_its_own(hinge):
    methods.check("hinge", hinge, {"reward"})
    with pytest.raises(UserError, match="cannot be called 'reward'"):
        methods.check("reward", hinge, {"reward"})


def test_the_command_line_refuses_what_is_no_method(own):
    line = "zeta.py of bench/methods lacks Settings"
    file = put(own / "bench/methods/zeta.py", "NEEDS = ()\n")
    done = python(own, "-m", "bench", "align", "--testbed", "tiny", "--arm", "dpo", "--seed", "1")
    file.unlink()
    put(own / "my/zeta.py", "NEEDS = ()\n")
    words = ("testbed=tiny", "methods=[my/zeta.py]")
    plan = python(own, "-m", "snakemake", "-n", "--config", *words)
    assert done.stderr.startswith(f"error: {line}")
    assert "error: my/zeta.py lacks Settings" in plan.stderr + plan.stdout
    assert "Traceback" not in done.stderr + plan.stderr


def test_every_study_takes_a_fifth_method(tmp_path):
    file = put(tmp_path / HINGE, shown(HINGE))
    cfg = load("tiny", [f"methods=[{file}]", "study=tune", "hinge={lr: 1e-3, beta: 2}"])
    arms = [cfg.arm(name) for name in cfg.study_arms]
    mine = [arm.settings for arm in arms if arm.method == "hinge"]
    assert len(mine) == cfg.tune.trials == len(arms) / 5
    for settings in mine:
        assert 1e-4 <= settings.lr <= 1e-2 and 0.2 <= settings.beta <= 20
    for study in ("stability", "views"):
        counts = [cfg.arm(name).method for name in cfg.known_studies[study]]
        assert counts.count("hinge") == counts.count("dpo") > 1
    assert cfg.tune.spaces["dpo"] == load("tiny", ["dpo.lr=9"]).tune.spaces["dpo"]


def test_a_report_of_five_methods(tmp_path, monkeypatch):
    for table, value in ((fake_runs.GAIN, 0.6), (fake_runs.REACH, 7.0), (fake_runs.NEEDS, ())):
        monkeypatch.setitem(table, "hinge", value)
    arms = fake_runs.ARMS | {"hinge": "hinge"}
    found = fake_runs.study(tmp_path / "runs", arms=arms, seeds=(1, 2, 3), prompts=30)
    study = fake_runs.changed(found, own_methods={"hinge": HINGE})
    report.build(study, tmp_path / "report")
    for part in ("colour", "marker"):
        assert len({getattr(look, part) for look in study.looks.values()}) == 5
    text = (tmp_path / "report/README.md").read_text(encoding="utf-8")
    assert text.startswith("# PPO, DPO, IPO, ORPO and hinge on micro")
    assert f"hinge by {HINGE}" in text
    assert "hinge" in (tmp_path / "report/figures/scorecard.svg").read_text()


# --- data -----------------------------------------------------------------------------------------


def settings(tmp_path, pairs: dict, **more) -> world.Settings:
    rule = put(tmp_path / "gold.py", shown("my/gold.py"))
    small = {"validation": 3, "test": 6, "preference": 5, "pool": 30}
    return world.Settings(pairs=pairs, gold={"file": str(rule)}, **small | more)


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.csv", "pairs.parquet", "pairs.jsonl.gz"])
def test_one_file_is_a_data_set(tmp_path, name):
    import pandas as pd

    table, path = [pair(i) for i in range(50)], tmp_path / name
    if name.endswith(".gz"):
        with gzip.open(path, "wt") as file:
            file.write(lines(table))
    else:
        writers = {"csv": "to_csv", "parquet": "to_parquet"}
        kind = writers.get(path.suffix[1:])
        getattr(pd.DataFrame(table), kind)(path, index=False) if kind else put(path, lines(table))
    world.write(settings(tmp_path, {"id": str(path)}), tmp_path / "data")
    pool = rows(tmp_path / "data/pool.jsonl")
    better = {row["a"] if row["p"]["gold"] else row["b"] for row in pool}
    assert len(pool) == 30 and better <= {row["chosen"] for row in table}


def test_of_few_pairs_a_fifth_is_held_out(tmp_path):
    path = put(tmp_path / "pairs.jsonl", lines([pair(i) for i in range(25)]))
    world.write(settings(tmp_path, {"id": str(path)}, pool=1000), tmp_path / "data")
    splits = [row["split"] for row in rows(tmp_path / "data/prompts.jsonl")]
    assert (splits.count("train"), len(splits)) == (20, 25)


def test_a_folder_of_files_has_their_splits(tmp_path):
    for split, numbers in (("train", range(40)), ("test", range(40, 60))):
        put(tmp_path / f"own/{split}.jsonl", lines([pair(i) for i in numbers]))
    pairs = {"id": str(tmp_path / "own"), "test": "test"}
    world.write(settings(tmp_path, pairs, pool=40), tmp_path / "data")
    held_out = [r["prompt"] for r in rows(tmp_path / "data/prompts.jsonl") if r["split"] != "train"]
    assert len(held_out) == 9 and set(held_out) <= {folders.ask(i) for i in range(40, 60)}


@pytest.mark.parametrize(
    "name,text,line",
    [
        ("pairs.jsonl", '{"prompt": "a", "chos', "line 1 is no valid JSON"),
        ("pairs.csv", "question,good,bad\na,b,c\n", "columns bad, good, question; needed: chosen"),
        ("pairs.txt", "a", "is not a data file: its name must end in jsonl, json, csv, parquet"),
        ("pairs.jsonl", None, "there is no file "),
        (
            "pairs.jsonl",
            lines([{"prompt": "a", "chosen": "b", "rejected": None}] * 3),
            "data: 3 of 3 rows of train cannot be used: 3 neither a text nor a list of messages ",
        ),
        ("pairs.jsonl", lines([pair(0)] * 9), "would be empty"),
    ],
)
def test_a_file_that_will_not_do_is_one_line(tmp_path, name, text, line):
    path = put(tmp_path / name, text) if text else tmp_path / name
    with pytest.raises(UserError) as error:
        world.write(settings(tmp_path, {"id": str(path)}), tmp_path / "data")
    assert line in str(error.value) and "\n" not in str(error.value)


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A folder with the files of docs/own.md, in which one runs."""
    for name in SHOWN:
        put(tmp_path / name, shown(name))
    monkeypatch.chdir(tmp_path)


def test_another_id_takes_nothing_of_the_one_it_replaces(beside):
    cfg = load(LAB)
    assert (cfg.data.pairs.train, cfg.data.pairs.test) == ("train", None)
    assert cfg.model.hub.eos is None and cfg.data.gold.id is None
    assert cfg.model.lora.r == 16 and cfg.sft.steps == load("smol-hub").sft.steps
    elsewhere = load("smol-hub", ["data.pairs.id=some/copy"])  # the same data set, in another place
    assert elsewhere.data.pairs.test == load("smol-hub").data.pairs.test


@pytest.mark.parametrize(
    "name,more,again",
    [(PAIRS_FILE, "\n", True), (GOLD, "X = 1\n", True), (GOLD, "# a comment\n", False)],
)
def test_another_content_of_a_file_reruns_what_was_made_of_it(beside, name, more, again):
    def hashes():
        cfg = load(LAB)
        return [fingerprint(cfg, "data"), fingerprint(cfg, "align", "dpo")]

    before = hashes()
    os.utime(name, (1, 1))
    assert hashes() == before
    with open(name, "a") as file:
        file.write(more)
    assert [old != new for old, new in zip(before, hashes(), strict=True)] == [again, again]


# --- gold -----------------------------------------------------------------------------------------


def gold_of(tmp_path, text: str) -> hub_gold.Gold:
    file, data = put(tmp_path / "my.py", text), tmp_path / "data"
    data.mkdir(exist_ok=True)
    hub_gold.keep(hub_gold.GoldModel(file=str(file)), data)
    return hub_gold.Gold(data)


@pytest.mark.parametrize(
    "body,line",
    [
        ("[1.0]", "returned scores of shape (1,) for 2 completions"),
        ("0.5", "returned scores of shape () for 2 completions"),
        ("[1.0, float('nan')]", "returned nan for the completion 'second'"),
        ("[None, 1]", "returned nan for the completion 'first'"),
    ],
)
def test_scores_that_are_none_are_one_line(tmp_path, body, line):
    gold = gold_of(tmp_path, f"def gold(prompts, completions):\n    return {body}\n")
    with pytest.raises(UserError) as error:
        gold([{"prompt": "p"}] * 2, ["first", "second"])
    assert line in str(error.value) and "\n" not in str(error.value)


def test_a_file_without_the_function_is_refused_when_the_data_are_made(tmp_path):
    with pytest.raises(UserError, match=r"my\.py defines no function gold\(prompts, completions\)"):
        gold_of(tmp_path, "def score(text):\n    return 1\n")


def test_the_kept_copy_judges_whatever_becomes_of_the_file(tmp_path):
    gold_of(tmp_path, "def gold(prompts, completions):\n    return [len(c) for c in completions]\n")
    (tmp_path / "my.py").unlink()
    again = hub_gold.Gold(tmp_path / "data")
    assert again([{"prompt": "p"}] * 2, ["a", "abc"]) == pytest.approx(np.array([1, 3]))
    assert again.parts([{}], ["a"]) == [{}]


def test_a_model_that_replaces_a_file_leaves_no_trace_of_it(tmp_path):
    gold_of(tmp_path, "def gold(prompts, completions):\n    return [0.0]\n")
    hub_gold.keep(hub_gold.GoldModel(id="owner/judge"), tmp_path / "data")
    assert hub_gold.Gold(tmp_path / "data").judge.source.id == "owner/judge"


@pytest.mark.parametrize(
    "gold,line",
    [
        ("{id: null, file: my/none.py}", "data.gold: there is no file 'my/none.py'"),
        ("{file: README.md}", "data.gold: name a reward model as id, or a Python file"),
        ("{id: null}", "data.gold: name a reward model as id, or a Python file"),
    ],
)
def test_gold_is_a_model_or_a_file_that_exists(gold, line):
    with pytest.raises(UserError) as error:
        load("smol-hub", [f"data.gold={gold}"])
    assert line in str(error.value)


def test_scale_is_how_surely_gold_labels():
    judge = {"file": str(REPO / "tests/whole/test_own.py"), "scale": 10}
    plain = world.Settings(pairs={"id": "x"}, gold=judge)
    chance = world.preference([], [], [], [0.2], [0.1], plain)[0]["on-policy"]
    assert chance == pytest.approx(1 / (1 + math.exp(-1)))
