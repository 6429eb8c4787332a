"""Only whole checkpoints are resumed."""

import os

import pytest

from bench.training import checkpoints


def checkpoint(root, step, text="weights"):
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "optimizer.pt").write_text(text)
    (folder / "model.safetensors").write_text(text)
    checkpoints.seal(folder)
    return folder


def test_the_newest_whole_one_is_taken(tmp_path):
    checkpoint(tmp_path, 9)
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-9"
    assert checkpoint(tmp_path, 10) == checkpoints.newest(tmp_path)


@pytest.mark.parametrize("damage", ["unsealed", "truncated", "lost"])
def test_a_damaged_one_falls_back_to_the_one_before(tmp_path, damage):
    good, bad = checkpoint(tmp_path, 1), checkpoint(tmp_path, 2)
    if damage == "unsealed":
        (bad / checkpoints.MANIFEST).unlink()
    elif damage == "truncated":
        (bad / "model.safetensors").write_text("weig")
    else:
        (bad / "optimizer.pt").unlink()
    assert checkpoints.newest(tmp_path) == good
    assert not bad.exists()


def test_a_manifest_appears_only_when_it_is_complete(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)  # what comes after its text is written
    with pytest.raises(KeyboardInterrupt):
        checkpoint(tmp_path, 1)
    assert not (tmp_path / "checkpoint-1" / checkpoints.MANIFEST).exists()


def test_none_is_none(tmp_path):
    assert checkpoints.newest(tmp_path) is None
