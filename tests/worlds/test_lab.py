"""What a lab brings: conversations, an SFT model and a reward model of its own, all as folders."""

import json
import subprocess
import sys
from argparse import Namespace
from importlib import import_module
from pathlib import Path

import hub_folders as folders
import numpy as np
import pandas as pd
import pytest

from bench.core.files import read_json
from bench.core.hub import Source
from bench.core.schema import UserError
from bench.core.turns import turns
from bench.models.hub_model import TEMPLATES
from bench.models.judge import Judge
from bench.models.loading import load_policy, load_tokenizer, merged, weights_sha256
from bench.settings.overrides import flatten, merge
from bench.steps import export, prefetch
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
    model = {"hub": {"id": folders.causal(where / "model"), "template": "zephyr"}}
    own = {"data": {"pairs": pairs, "sft": None, "gold": gold}, "model": model}
    own = merge(merge(SMALL, own), {"reward": {"model": reward}}) | {"extends": "smol-hub"}
    (where / "lab.yaml").write_text(json.dumps(own))
    return load(str(where / "lab.yaml"), flatten(more))


def walked(where, patch, **more):
    cfg = brought(where, **more)
    patch.chdir(where)
    for name, options in STEPS:
        module = import_module(f"bench.steps.{name}")
        module.run(cfg.slice(name, options.get("arm")), Namespace(**options))
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
