"""What a lab brings: conversations, an SFT model and a reward model of its own, all as folders."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import hub_folders as folders
import numpy as np
import pandas as pd
import pytest
from walk import step

from bench.core.files import read_json
from bench.core.hub import Source
from bench.core.schema import UserError
from bench.core.turns import joined, turns
from bench.models.hub_model import TEMPLATES
from bench.models.judge import Judge
from bench.models.loading import load_policy, load_tokenizer, merged, weights_sha256
from bench.models.tokens import prompt_ids
from bench.settings.overrides import flatten, merge
from bench.steps import align, export, prefetch
from bench.studies import load

SMALL = {
    "data": {"pool": 40, "validation": 6, "test": 12, "preference": 6},
    "sft": "skip",
    "pairs": {"n": 16},
    "decode": {"max_new_tokens": 6},
    "curve": {"prompts": 4, "draws": 1, "fractions": [0, 1]},
    "eval": {"prompts": 4, "draws": 1, "base_draws": 1, "tasks": []},
    "ppo": {"batch": 8, "minibatch": 8, "micro_batch": 4, "warmup": 1, "critic_init": "base"},
    "dpo": {"batch": 8, "warmup": 1},
    "ipo": {"batch": 8, "warmup": 1},
    "orpo": {"batch": 8, "warmup": 1},
    "model": {"device": "cpu", "micro_batch": 2, "dtype": "float32", "lora": None},
}
STEPS = [
    ("data", {}),
    ("base", {}),
    ("sft", {}),
    ("pairs", {"what": "pool"}),
    ("pairs", {"what": "draw", "label_set": "gold", "seed": 1}),
    ("reference", {"pool": "pool"}),
    ("reward", {"label_set": "gold", "seed": 1}),
    ("align", {"arm": "dpo", "seed": 1}),
    ("align", {"arm": "ppo", "seed": 1}),
    ("evaluate", {"arm": "ppo", "seed": 1}),
]


def talk(i: int) -> dict:
    """A pair of conversations of three turns after a system message."""
    say = folders.message
    before = [say("system", "Be brief."), say("user", folders.ask(i)),
              say("assistant", folders.answer(i, "first")), say("user", "And more?")]  # fmt: skip
    ends = {"chosen": "good", "rejected": "poor"}
    return {k: [*before, say("assistant", folders.answer(i, kind))] for k, kind in ends.items()}


def brought(where, **more):
    """The settings of a testbed that has all of it."""
    judges = (folders.judge(where / name, TEMPLATES["chatml"]) for name in ("gold", "reward"))
    gold, reward = ({"id": judge} for judge in judges)
    pairs = {"id": folders.lines(where / "talks.jsonl", [talk(i) for i in range(80)])}
    asked = [{"prompt": [folders.message("user", f"Ask {i}: say it.")]} for i in range(30)]
    asked += [{"prompt": talk(i)["chosen"][:-1]} for i in range(80)]  # some are held out
    alone = {"id": folders.lines(where / "asked.jsonl", asked)}
    model = {"hub": {"id": folders.causal(where / "model"), "template": "zephyr"}}
    own = {"data": {"pairs": pairs, "sft": None, "gold": gold, "prompts": alone}, "model": model}
    own = merge(merge(SMALL, own), {"reward": {"model": reward}}) | {"extends": "smol-hub"}
    (where / "lab.yaml").write_text(json.dumps(own))
    return load(str(where / "lab.yaml"), flatten(more))


def walked(where, patch, **more):
    cfg = brought(where, **more)
    patch.chdir(where)
    for name, options in STEPS:
        step(cfg, name, **options)
    return cfg


@pytest.fixture(scope="module", params=["whole weights", "LoRA"])
def lab(request, tmp_path_factory):
    lora = {"r": 4, "alpha": 8} if request.param == "LoRA" else None
    with pytest.MonkeyPatch.context() as patch:
        yield walked(tmp_path_factory.mktemp("lab"), patch, **{"model.lora": lora})


def test_the_given_model_is_the_sft_base(lab):
    layout = lab.layout
    assert weights_sha256(layout.sft) == weights_sha256(layout.base)
    run = read_json(layout.run(lab.arm("dpo"), 1).record)
    assert run["hashes"]["start"] == weights_sha256(layout.base)
    assert not any(
        row["charged"] and row["flops"] for row in read_json(layout.sft / "step.json")["cost"]
    )


def test_both_methods_train_on_conversations(lab):
    pairs = [json.loads(line) for line in lab.layout.pairs("gold", 1).read_text().splitlines()]
    roles = ["system", "user", "assistant", "user"]
    assert all([turn["role"] for turn in turns(row["prompt"])] == roles for row in pairs)
    for arm in ("dpo", "ppo"):
        run = read_json(lab.layout.run(lab.arm(arm), 1).record)
        assert run["status"] == "ok" and run["model_sha256"] != run["hashes"]["start"]
        log = pd.read_csv(lab.layout.run(lab.arm(arm), 1).log)
        assert np.isfinite(log.loss).all() and (log.grad_norm > 0).all()


def test_ppo_asks_the_prompts_that_have_no_pair_and_none_that_is_held_out(lab):
    rows = [json.loads(line) for line in lab.layout.prompts.read_text().splitlines()]
    alone, held_out = (
        {row["prompt"] for row in rows if row["split"] in splits}
        for splits in (["alone"], ["validation", "test"])
    )
    assert len(alone) == 40 and held_out and not alone & held_out
    assert any("Ask 3: say it." in prompt for prompt in alone)
    drawn = [align.asked(lab, lab.arm("ppo"), seed, 16) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 16 and set(drawn[0]) <= alone
    counts = {arm: read_json(lab.layout.run(lab.arm(arm), 1).record) for arm in ("ppo", "dpo")}
    assert {arm: run["asked_alone"] for arm, run in counts.items()} == {"ppo": 16, "dpo": 0}


def test_the_given_reward_model_scores_the_texts_that_ppo_wrote(lab):
    files = lab.layout.evaluation(lab.arm("ppo"), 1)
    numbers = pd.read_csv(files.prompts)
    texts = [json.loads(line) for line in files.samples.read_text().splitlines()]
    judge = Judge(Source(id=lab.reward.model.id), 4)
    expected = judge([t["prompt"] for t in texts], [t["completion"] for t in texts])
    assert list(numbers.proxy) == pytest.approx(list(expected), abs=1e-4)
    assert np.std(expected) > 0


def test_the_given_reward_model_is_charged_to_no_run_and_its_order_is_known(lab):
    folder = lab.layout.reward("gold", 1)
    record = read_json(folder / "step.json")
    assert not any(row["charged"] for row in record["cost"])
    assert record["metrics"]["external"] == f"'{lab.reward.model.id}'"
    assert 0 <= record["metrics"]["gold_order_accuracy"] <= 1
    assert read_json(folder / "external.json")["sha256"] == weights_sha256(
        Path(lab.reward.model.id)
    )


@pytest.mark.parametrize("pad", [None, "<unk>"])
def test_a_reward_model_reads_a_text_to_its_end_whatever_pads_it(tmp_path, pad):
    """EOS ends these texts; as padding it would hide that end from transformers' classifiers."""
    import torch

    folder = Path(folders.judge(tmp_path / "judge", TEMPLATES["zephyr"]))
    if pad == "<unk>":
        words = folders.tokenizer(pad_token=pad)
        words.chat_template = TEMPLATES["zephyr"]
        words.save_pretrained(folder)
    judge = Judge(Source(id=str(folder)), 4)
    asked, said = ["Tell me.", "Tell me about the river."], ["No.", "It runs north to the sea."]
    with torch.no_grad():
        whole = [
            judge.model.score(judge.model.model(torch.tensor([ids])).last_hidden_state[0, -1])
            for ids in (judge.encoded(*both)["input_ids"] for both in zip(asked, said, strict=True))
        ]
    assert list(judge(asked, said)) == pytest.approx([w.item() for w in whole], abs=1e-5)


def test_a_template_that_refuses_a_system_message_is_named(lab):
    tokenizer = load_tokenizer(lab.layout.sft)
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    )
    said = joined([folders.message("system", "Be brief."), folders.message("user", "Hello")])
    with pytest.raises(UserError, match=r"turns system, user \(no system here\): set model\.hub"):
        prompt_ids(tokenizer, said)


def test_a_critic_cannot_start_from_anothers_reward_model(tmp_path):
    with pytest.raises(UserError, match=r"arm ppo cannot start .* set ppo.critic_init=base"):
        brought(tmp_path, **{"ppo.critic_init": "reward"})


def test_skipping_sft_leaves_one_base_to_cross(tmp_path):
    with pytest.raises(UserError, match=r"bases\.n: with sft: skip there is one SFT base"):
        brought(tmp_path, study="bases")
    assert load("micro", ["sft=skip", "sft.seed=3"]).sft.model_dump() | {"steps": 0, "seed": 3} == (
        load("micro", ["sft.steps=0", "sft.seed=3"]).sft.model_dump()
    )


def test_a_reward_model_of_the_hub_is_downloaded_beforehand():
    cfg = load("zephyr-7b", ["reward.model.id=someone/judge", "ppo.critic_init=base"])
    assert "someone/judge" in [source.id for source in prefetch.needed(cfg)[0]]


# --- models that travel ---------------------------------------------------------------------------

LOADED = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
model, words = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForCausalLM, AutoTokenizer))
ids = words.apply_chat_template([{"role": "user", "content": "Hello"}], return_tensors="pt")
print(float(model(ids["input_ids"] if hasattr(ids, "keys") else ids).logits.double().sum()))
"""


def exported(lab, out, **more):
    options = {"arm": "dpo", "seed": 1, "out": out, "adapter": False, "push": None} | more
    export.run(lab.slice("export", "dpo"), Namespace(**options))


def test_an_exported_model_loads_from_another_folder_and_says_the_same(lab, tmp_path):
    import torch

    exported(lab, tmp_path / "dpo")
    words = [sys.executable, "-c", LOADED, tmp_path / "dpo"]
    done = subprocess.run(words, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = lab.layout.run(lab.arm("dpo"), 1)
    policy = merged(load_policy(files.model, lab.model), lab.model)
    tokenizer = load_tokenizer(files.model)
    ids = tokenizer.apply_chat_template([folders.message("user", "Hello")], return_dict=False)
    with torch.no_grad():
        own = policy(torch.tensor([ids])).logits.double().sum().item()
    assert float(done.stdout) == pytest.approx(own, rel=1e-4)
    card = (tmp_path / "dpo/README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers") and "16 pairs" in card
    with pytest.raises(UserError, match="exists: name a new folder"):
        exported(lab, tmp_path / "dpo")


def test_an_adapter_names_the_model_of_the_hub(lab, tmp_path):
    with pytest.raises(UserError, match="leave out --adapter"):
        exported(lab, tmp_path / "adapter", adapter=True)  # this model is a local folder
    if lab.model.lora:
        (tmp_path / "adapter").mkdir()
        folder = lab.layout.run(lab.arm("dpo"), 1).model
        export.adapter(lab, folder, tmp_path / "adapter", "someone/model")
        config = read_json(tmp_path / "adapter/adapter_config.json")
        assert config["base_model_name_or_path"] == "someone/model"
        assert (tmp_path / "adapter/adapter_model.safetensors").exists()


def test_a_run_that_failed_has_nothing_to_export(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "read_json", lambda *args, **more: {"status": "diverged"})
    with pytest.raises(UserError, match="dpo seed 1 has no model: it ended as diverged"):
        exported(lab, tmp_path / "dpo")
