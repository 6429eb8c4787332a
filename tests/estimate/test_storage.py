"""The disk that a study needs: against models that are written, and what is there already."""

import json

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from bench.core.schema import UserError
from bench.estimate import shapes, stand_ins, storage
from bench.studies import load


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return load("tiny")


def weights(folder) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def test_weights_are_as_large_as_a_model_that_is_saved(cfg, tmp_path):
    shape, tied, _ = shapes.of_policy(cfg)
    own = stand_ins.config(shape, tied, cfg.model.context)
    assert isinstance(own, LlamaConfig)
    LlamaForCausalLM(own).save_pretrained(tmp_path / "model")
    assert weights(tmp_path / "model") == pytest.approx(storage.Weights(cfg).run, rel=0.05)


def test_an_adapter_is_as_large_as_one_that_is_saved(tmp_path, monkeypatch):
    from peft import LoraConfig, get_peft_model

    monkeypatch.chdir(tmp_path)
    cfg = load("tiny", ["model.lora={r: 32}"])
    shape, tied, _ = shapes.of_policy(cfg)
    bare = LlamaForCausalLM(stand_ins.config(shape, tied, cfg.model.context))
    get_peft_model(bare, LoraConfig(r=32, target_modules="all-linear")).save_pretrained("adapter")
    found = weights(tmp_path / "adapter")
    assert found == pytest.approx(storage.Weights(cfg).run, rel=0.15)  # names weigh, so small


def test_what_is_made_needs_no_more_room(cfg):
    whole = storage.needed(cfg, 1)
    first, *_ = cfg.members
    first.files.record.parent.mkdir(parents=True)
    first.files.record.write_text("{}")
    saved = whole - storage.needed(cfg, 1)
    assert saved == pytest.approx(storage.ANSWERS + storage.Weights(cfg).run)
    for member in cfg.members:
        member.files.record.parent.mkdir(parents=True, exist_ok=True)
        member.files.record.write_text("{}")
        for label_set in member.reward_models(cfg.evaluated):
            member.layout.reward(label_set, member.seed).mkdir(parents=True, exist_ok=True)
    for path in (cfg.layout.base, cfg.layout.sft):
        path.mkdir(parents=True)
    assert storage.needed(cfg, 1) == 0


def test_jobs_at_once_have_checkpoints_at_once(cfg):
    kept = [storage.kept(member, storage.Weights(cfg)) for member in cfg.members]
    more = storage.needed(cfg, 2) - storage.needed(cfg, 1)
    assert more == sorted(kept)[-2]


def test_a_study_that_does_not_fit_is_one_line(cfg, monkeypatch):
    monkeypatch.setattr(storage, "ANSWERS", 1e15)
    with pytest.raises(UserError, match=r"^study 'compare' needs about 8e\+06 GB of disk in "):
        storage.check(cfg, 1)


def test_a_model_of_unknown_shape_is_not_guessed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage.check(load("smol-hub", ["model.hub={id: nobody/knows, revision: main}"]), 1)
    other = tmp_path / "gpt2"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"n_head": 12, "vocab_size": 9}))
    cfg = load("smol-hub", [f"model.hub={{id: {other}}}"])
    storage.check(cfg, 1)
    with pytest.raises(UserError, match=r"config\.json has no intermediate_size: only models of"):
        storage.needed(cfg, 1)


def test_what_is_not_written_takes_no_room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    usual = storage.Weights(load("smol-hub"))
    assert usual.sft and usual.reward
    lent = load("smol-hub", ["sft=skip", "reward.model={id: x/y}", "ppo.critic_init=base"])
    assert (storage.Weights(lent).sft, storage.Weights(lent).reward) == (0, 0)
