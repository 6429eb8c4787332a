"""A run's rows are on disk as they happen, and go to a tracker if one is asked for."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trainings

from bench.core.schema import UserError
from bench.training.live import CURVE, LOG, Live, started

ROOT = Path(__file__).parents[2]


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_step_is_on_disk_before_the_next(tmp_path):
    live = Live(tmp_path)
    live.begin([{"step": 1, "loss": 2.0}], [])
    live.step({"step": 2, "loss": 1.5})
    assert rows(tmp_path / LOG) == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}]
    live.point([{"fraction": 0.5, "step": 2, "family": "all", "gold": 0.1}])
    assert rows(tmp_path / CURVE)[0]["gold"] == 0.1


@pytest.mark.parametrize("name", ["dpo", "rloo"])
def test_a_training_leaves_the_rows_of_its_log(name, sft_and_reward, tmp_path):
    run = trainings.aligned(name, sft_and_reward, tmp_path)
    assert rows(tmp_path / LOG) == json.loads(json.dumps(run.monitor.log))


def test_a_killed_training_has_all_rows_up_to_its_last_step(sft_and_reward, tmp_path):
    """Killed without warning in the middle; what goes on later drops what was not saved."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "TRAININGS_EPOCHS": "400"}
    words = [sys.executable, ROOT / "tests/trainings.py", sft_and_reward, tmp_path, "dpo"]
    process = subprocess.Popen(words, env=env, stderr=subprocess.DEVNULL)
    log = tmp_path / "checkpoints/dpo" / LOG
    until = time.time() + 120
    while time.time() < until and not (log.exists() and len(log.read_text().splitlines()) > 5):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = rows(log)
    assert [row["step"] for row in found] == list(range(1, len(found) + 1)) and len(found) > 5


def test_a_tracker_gets_every_step(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    live = Live(
        tmp_path, started("tensorboard", "lab", "dpo seed 1", tmp_path / "track", {"lr": 1})
    )
    for step in (1, 2):
        live.step({"step": step, "loss": 1.0 / step})
    live.end()
    folder = next(path.parent for path in (tmp_path / "track").rglob("events*") if path.is_file())
    found = EventAccumulator(str(folder)).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in found] == [(1, 1.0), (2, 0.5)]


def test_a_tracker_that_is_not_installed_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("bench.core.registry.is_installed", lambda name: False)
    with pytest.raises(UserError, match=r"track=wandb needs the package wandb: run `pip install"):
        started("wandb", "lab", "dpo", tmp_path, {})
