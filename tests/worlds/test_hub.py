"""Models and data sets of the hub, on local folders of the same layout and by the same code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import hub_folders as folders
import numpy as np
import pytest
from walk import step

from bench.core import hub, turns
from bench.core.files import read_json
from bench.core.hub import Rows
from bench.core.schema import UserError
from bench.models import hub_model
from bench.models.flops import Shape
from bench.models.hub_model import TEMPLATES, HubModel
from bench.models.loading import adapt, load_policy, merged, parameters
from bench.models.tokens import completion_ids, prompt_ids
from bench.settings import layers
from bench.settings.overrides import flatten
from bench.settings.sections import Lora, Model
from bench.steps import prefetch
from bench.studies import load
from bench.worlds import hub as world
from bench.worlds.hub import gold as hub_gold


def rows(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def feedback(folder, train=range(60), test=range(50, 90)) -> str:
    """UltraFeedback whose test split has ten prompts of the train split too."""
    splits = {"train_prefs": train, "test_prefs": test}
    return folders.parquet(
        folder, {k: [folders.feedback_row(i) for i in v] for k, v in splits.items()}
    )


def settings(pairs, sft, gold, **sizes) -> world.Settings:
    small = {"validation": 6, "test": 12, "preference": 10, "pool": 40} | sizes
    return world.Settings(sft=sft, pairs=pairs, gold={"id": gold}, **small)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The world out of UltraChat and UltraFeedback, as `zephyr-7b` has it."""
    where = tmp_path_factory.mktemp("hub")
    chat = [folders.chat_row(i) for i in range(100)]
    sft = {"id": folders.parquet(where / "ultrachat", {"train_sft": chat}), "split": "train_sft"}
    pairs = {"id": feedback(where / "feedback"), "train": "train_prefs", "test": "test_prefs"}
    world.write(settings(pairs, sft, "nobody/judge"), where / "data")
    return where / "data"


def test_pool_is_the_data_sets_pairs_with_its_labels(made):
    pool = rows(made / "pool.jsonl")
    assert len(pool) == 40
    for row in pool:
        better, worse = ("a", "b") if row["p"]["gold"] == 1.0 else ("b", "a")
        assert "good" in row[better] and "poor" in row[worse]
    assert 5 < sum(row["p"]["gold"] for row in pool) < 35


def test_pool_refers_to_the_train_prompts(made):
    prompts = {row["id"]: row for row in rows(made / "prompts.jsonl")}
    for row in rows(made / "pool.jsonl"):
        assert prompts[row["prompt_id"]]["prompt"] == row["prompt"]
        assert prompts[row["prompt_id"]]["split"] == "train"


def test_no_held_out_prompt_is_trained_on(made):
    prompts = rows(made / "prompts.jsonl")
    trained = {row["prompt"] for row in rows(made / "pool.jsonl") + rows(made / "sft.jsonl")}
    held_out = [row["prompt"] for row in prompts if row["split"] != "train"]
    assert len(held_out) == len(set(held_out)) == 18
    assert not trained & set(held_out)
    asked = {row["prompt"] for row in rows(made / "tasks/preference.jsonl")}
    assert len(asked) == 10 and not asked & trained


def test_preference_documents_name_the_preferred_answer(made):
    documents = rows(made / "tasks/preference.jsonl")
    assert all("good" in row["choices"][row["label"]] for row in documents)
    assert {row["label"] for row in documents} == {0, 1}


def test_a_demonstration_is_the_last_exchange_after_all_others(made):
    for row in rows(made / "sft.jsonl"):
        assert "second answer" in row["completion"]
        assert "first answer" in turns.turns(row["prompt"])[1]["content"]


def test_what_is_too_long_is_left_out_and_counted(tmp_path):
    source = {"id": feedback(tmp_path / "feedback"), "left_out": 1}
    sft = source | {"split": "train_prefs"}
    source |= {"train": "train_prefs", "test": "test_prefs"}
    longest = max(len(folders.ask(i)) for i in range(60))
    small = settings(source, sft, "nobody/judge", max_prompt=longest - 1, pool=60)
    world.write(small, tmp_path / "data")
    left_out = json.loads((tmp_path / "data/manifest.json").read_text())["left_out"]
    longer = sum(len(folders.ask(i)) == longest for i in range(60))
    found = left_out["train_prefs"]["a prompt that is too long"]
    assert 0 < found["rows"] == longer and len(folders.ask(found["first"])) == longest
    assert all(len(row["prompt"]) < longest for row in rows(tmp_path / "data/pool.jsonl"))


def test_files_repeat_bit_by_bit(tmp_path):
    source = {"id": feedback(tmp_path / "feedback"), "train": "train_prefs", "test": "test_prefs"}
    same = settings(source, {"id": source["id"], "split": "train_prefs"}, "nobody/judge")
    for name in ("one", "two"):
        world.write(same, tmp_path / name)
    first, second = ((tmp_path / n / "manifest.json").read_bytes() for n in ("one", "two"))
    assert first == second


def test_dialogues_keep_all_turns_before_the_last_answer(tmp_path):
    made = {s: [folders.dialogue_row(i) for i in r]
            for s, r in {"train": range(50), "test": range(50, 80)}.items()}  # fmt: skip
    source = {"id": folders.json_lines(tmp_path / "hh", made), "folder": "helpful-base"}
    world.write(settings(source, source, "nobody/judge"), tmp_path / "data")
    for row in rows(tmp_path / "data/pool.jsonl"):
        said = [turn["role"] for turn in turns.turns(row["prompt"])]
        assert said == ["user", "assistant", "user"]
        assert re.fullmatch(
            r"\n\nHuman: Hello .+\n\nAssistant: Hi.\n\nHuman: .+\n\nAssistant:",
            turns.plain(row["prompt"]),
        )
        assert row["a"].startswith("A ") and row["a"] != row["b"]
    assert {row["completion"].split()[1] for row in rows(tmp_path / "data/sft.jsonl")} == {"good"}


# --- the hub out of reach -------------------------------------------------------------------------


def test_what_is_not_in_the_cache_is_one_line_with_a_remedy():
    for get in (
        lambda: hub.load_rows(Rows(id="HuggingFaceH4/ultrachat_200k"), "train_sft"),
        lambda: hub_model.load_tokenizer(HubModel(id="mistralai/Mistral-7B-v0.1")),
    ):
        with pytest.raises(
            UserError, match=r"HF_HUB_OFFLINE is set: run .*bench prefetch"
        ) as error:
            get()
        assert "\n" not in str(error.value)


def test_an_unknown_split_is_named(tmp_path):
    with pytest.raises(UserError, match=r"has no split 'train'.*train_prefs"):
        hub.load_rows(Rows(id=feedback(tmp_path / "feedback")), "train")


def test_an_error_of_another_kind_passes():
    with pytest.raises(ValueError, match="mine"), hub.reaching("x"):
        raise ValueError("mine")


@pytest.mark.parametrize("testbed", ["zephyr-7b", "llama2-7b", "smol-hub"])
def test_hub_testbed_loads_without_the_hub(testbed):
    cfg = load(testbed)
    assert cfg.data.pool >= 2 * cfg.pairs.n
    assert cfg.model.kind == "hub" and cfg.model.hub.id
    assert cfg.eval.prompts <= cfg.data.test and cfg.curve.prompts <= cfg.data.validation


def test_a_hub_model_must_be_named():
    with pytest.raises(UserError, match=r"model\.hub names the model"):
        load("smol-hub", ["model.hub=null"])


# --- the model ------------------------------------------------------------------------------------


def test_zephyrs_template_is_the_published_text(tmp_path):
    found = hub_model.load_tokenizer(HubModel(id=folders.causal(tmp_path), template="zephyr"))
    text = found.decode(prompt_ids(found, "Hello"))
    assert text == "<s><|user|>\nHello</s>\n<|assistant|>\n"
    assert found.pad_token == "<unk>" != found.eos_token


def test_chatml_ends_an_answer_with_its_own_token(tmp_path):
    named = {"template": "chatml", "eos": "<|im_end|>", "pad": "</s>"}
    found = hub_model.load_tokenizer(HubModel(id=folders.causal(tmp_path), **named))
    text = found.decode(prompt_ids(found, "Hello"))
    assert text == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    assert found.decode(completion_ids(found, "Hi"))[-10:] == "<|im_end|>"


def test_without_a_template_a_prompt_follows_bos(tmp_path):
    found = hub_model.load_tokenizer(HubModel(id=folders.causal(tmp_path), template="none"))
    assert found.decode(prompt_ids(found, "Hello")) == "<s>Hello"


@pytest.mark.parametrize(
    "options,line",
    [
        ({"template": "own"}, "no chat template of its own"),
        ({"template": "none", "eos": "<eos>"}, "model.hub.eos='<eos>' is not in the vocabulary"),
        ({"template": "none", "pad": "</s>"}, "another token as PAD"),
    ],
)
def test_a_tokenizer_that_will_not_do_is_refused(tmp_path, options, line):
    with pytest.raises(UserError) as error:
        hub_model.load_tokenizer(HubModel(id=folders.causal(tmp_path), **options))
    assert line in str(error.value)


@pytest.mark.parametrize("lora", [None, Lora(r=4, alpha=8)])
def test_checkpointing_changes_no_gradient(tmp_path, lora):
    import torch
    from transformers import AutoModelForCausalLM

    where, found = folders.causal(tmp_path), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_pretrained(where)
        model = adapt(model, Model(lora=lora, checkpointing=checkpointing)).train()
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.1)
        model(input_ids=torch.arange(20)[None]).logits.square().mean().backward()
        found.append([p.grad for p in model.parameters() if p.requires_grad])
        assert Shape.of(model).again == checkpointing
    assert found[0] and all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_qlora_trains_on_four_bits_and_ends_in_whole_weights(tmp_path):
    import torch

    pytest.importorskip("bitsandbytes", reason="pip install -e '.[quantise]'")
    where = Path(folders.causal(tmp_path, hidden_size=64))  # a block of 4-bit weights has 64
    settings = Model(lora=Lora(r=4, alpha=8), quantise="nf4", device="cpu")
    model, plain = adapt(load_policy(where, settings), settings), load_policy(where, Model())
    assert parameters(model)[1] - parameters(model)[0] == parameters(plain)[1]
    for name, weight in model.named_parameters():
        assert weight.requires_grad == ("lora_" in name)
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    whole, ids = merged(model, settings), torch.arange(20)[None]
    before, four, after = (m(input_ids=ids).logits for m in (plain, model, whole))
    assert type(whole) is type(plain)
    rounding, learnt = (four - after).norm(), (after - before).norm()
    assert 0 < rounding < 0.5 * learnt


@pytest.mark.parametrize("other", ["model.lora=null", "model.dtype=float32"])
def test_quantised_weights_need_an_adapter_in_bfloat16(other):
    with pytest.raises(UserError, match=r"model\.quantise .*" + other.partition("=")[0]):
        load("zephyr-7b", ["model.quantise=nf4", other])


# --- gold -----------------------------------------------------------------------------------------


def gold_of(folder, judge) -> hub_gold.Gold:
    folder.mkdir()
    hub_gold.keep(hub_gold.GoldModel(id=judge, batch=3), folder)
    return hub_gold.Gold(folder)


@pytest.mark.parametrize("template", [None, TEMPLATES["chatml"]])
def test_gold_is_the_judges_score_of_each_answer_alone(tmp_path, template):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    where = folders.judge(tmp_path / "judge", template)
    gold = gold_of(tmp_path / "data", where)
    prompts = [{"prompt": folders.ask(i)} for i in range(7)]
    said = [folders.answer(i, "good " * (i % 3)) for i in range(7)]
    model = AutoModelForSequenceClassification.from_pretrained(where)
    words = AutoTokenizer.from_pretrained(where)
    for row, text, score in zip(prompts, said, gold(prompts, said), strict=True):
        turns = [("user", row["prompt"]), ("assistant", text)]
        chat = "".join(f"<|im_start|>{role}\n{said}<|im_end|>\n" for role, said in turns)
        given = words(chat if template else row["prompt"] + text, return_tensors="pt")
        assert score == pytest.approx(model(**given).logits.item(), abs=1e-4)
    assert np.std(gold(prompts, said)) > 0.01


def test_a_model_without_a_head_is_no_judge(tmp_path):
    gold = gold_of(tmp_path / "data", folders.causal(tmp_path / "model"))
    with pytest.raises(UserError, match="not a reward model with one output"):
        gold([{"prompt": "p"}], ["a"])


# --- the whole way --------------------------------------------------------------------------------

COUNT_TASK = """
task: counted
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["Question:"], do_sample: false, max_gen_toks: 4}
filter_list:
  - name: strict-match
    filter: [{function: regex, regex_pattern: "#### (-?[0-9]+)"}, {function: take_first}]
  - name: flexible-extract
    filter: [{function: regex, regex_pattern: "(-?[0-9]+)"}, {function: take_first}]
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""


def own_task(folder) -> str:
    """A task of one's own as a YAML file, scored strictly and flexibly, as gsm8k is."""
    documents = folder / "documents.jsonl"
    asked = [{"question": f"{i}?", "answer": str(i)} for i in range(4)]
    documents.write_text("".join(json.dumps(row) + "\n" for row in asked))
    (folder / "counted.yaml").write_text(COUNT_TASK.replace("FILE", str(documents)))
    return str(folder / "counted.yaml")


SMALL = {
    "data": {"demonstrations": 30, "pool": 40, "validation": 6, "test": 12, "preference": 6},
    "sft": {"steps": 2, "batch": 4, "warmup": 1},
    "ipo": {"batch": 8, "warmup": 1},
    "orpo": {"batch": 8, "warmup": 1},
    "pairs": {"n": 16},
    "reward": {"batch": 4, "warmup": 1},
    "decode": {"max_new_tokens": 6},
    "curve": {"prompts": 4, "fractions": [0, 1]},
    "eval": {"prompts": 4, "limit": 3},
    "ppo": {"batch": 16, "minibatch": 8, "micro_batch": 4, "warmup": 1},
    "dpo": {"batch": 8, "warmup": 1},
    "model": {"device": "cpu", "dtype": "float32", "micro_batch": 2, "checkpointing": True},
}
STEPS = [
    ("prefetch", {}),
    ("data", {}),
    ("base", {}),
    ("sft", {}),
    ("pairs", {"what": "pool"}),
    ("pairs", {"what": "draw", "label_set": "gold", "seed": 1}),
    ("reference", {"pool": "pool"}),
    ("reward", {"label_set": "gold", "seed": 1}),
    ("align", {"arm": "dpo", "seed": 1}),
    ("align", {"arm": "ppo", "seed": 1}),
    ("evaluate", {"arm": "dpo", "seed": 1}),
]


def on_folders(where, **sizes):
    """The settings of `zephyr-7b`, small, with a folder for each of its ids."""
    chat = {"train_sft": [folders.chat_row(i) for i in range(100)]}
    ids = {
        "data.sft.id": folders.parquet(where / "ultrachat", chat),
        "data.pairs.id": feedback(where / "feedback"),
        "data.gold.id": folders.judge(where / "judge", TEMPLATES["chatml"]),
        "model.hub.id": folders.causal(where / "mistral", "Mistral", **sizes),
        "eval.tasks": [own_task(where)],
    }
    return flatten(SMALL) + flatten(ids)


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The settings of a run of every step up to the evaluation, from folders alone."""
    where = tmp_path_factory.mktemp("walk")
    cfg = load("zephyr-7b", on_folders(where))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        for name, options in STEPS:
            step(cfg, name, **options)
        yield cfg


def test_methods_train_on_the_data_sets_labels(walked):
    for row in rows(walked.layout.pairs("gold", 1)):
        assert "good" in row["chosen"] and "poor" in row["rejected"]
    for arm in ("dpo", "ppo"):
        assert read_json(walked.member(arm, 1).files.record)["status"] == "ok"


def test_the_pool_has_the_judges_scores(walked):
    gold = hub_gold.Gold(walked.layout.data)
    pool = rows(walked.layout.pool("pool"))
    again = gold(pool, [row["b"] for row in pool])
    assert [row["gold_b"] for row in pool] == pytest.approx(list(again))
    metrics = read_json(walked.layout.pool_record("pool"))["metrics"]
    assert metrics == {"pairs": 40}  # how noisy given labels are is not known


def test_prefetch_downloads_the_model_that_an_arm_has_of_its_own():
    mine = "arms={mine: {method: dpo, model: {hub: {id: someone/other}}}}"
    cfg = load("zephyr-7b", [mine, "studies={one: [dpo, mine]}", "study=one"])
    own, other = (hub.id for hub in prefetch.needed(cfg)[0] if hub.id != cfg.data.gold.id)
    assert (own, other) == (cfg.model.hub.id, "someone/other")


def test_prefetch_lists_all_that_the_settings_name(walked):
    fetched = read_json(walked.layout.root / "prefetch.json")["fetched"]
    assert [line.split()[0] for line in fetched] == ["model"] * 2 + ["data"] * 3 + ["task"]


def test_strict_and_flexible_scores_are_both_there(walked):
    import pandas as pd

    found = pd.read_csv(walked.member("dpo", 1).evaluation.tasks).set_index(["task", "metric"])
    names = {"exact_match (strict-match)", "exact_match (flexible-extract)"}
    assert set(found.loc["counted"].index) == names
    assert set(found.loc["counted"].n) == {3}
    assert found.loc[("preference", "acc_norm")].n == 6  # the limit is on eval.tasks alone


def test_the_plan_of_a_hub_testbed_needs_no_network_and_no_gpu(tmp_path):
    repo = layers.TESTBEDS.parents[2]
    command = [sys.executable, "-m", "snakemake", "-s", repo / "Snakefile", "-n", "--cores", "1"]
    done = subprocess.run(
        [str(word) for word in [*command, "--config", "testbed=zephyr-7b"]],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(repo)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    plan = done.stdout + done.stderr
    assert re.search(r"^align +40$", plan, re.M) and re.search(r"^evaluate +41$", plan, re.M)
