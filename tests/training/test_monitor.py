"""When a run has diverged: no number, or a KL that has grown by more than the limit."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from bench.training import monitor as module
from bench.training.ledger import Ledger
from bench.training.monitor import Diverged, Monitor


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Train for a step from a KL to another; limit 30."""
    monkeypatch.setattr(Monitor, "_sampled", lambda *a: [])

    def watched(kl_at_start: float, kl_at_end: float, **metrics) -> Monitor:
        kls = iter([kl_at_start, kl_at_end])
        table = lambda *a: pd.DataFrame({"family": ["all"], "kl": [next(kls)]})  # noqa: E731
        monkeypatch.setattr(module, "summarise", table)
        progress = SimpleNamespace(done=0, total=0, update=lambda *a, **k: None)
        watch = Monitor(lambda policy: None, (0.0, 1.0), (), Ledger(), progress, tmp_path)
        watch.begin(1, None)
        watch.step(1, {"loss": 1.0} | metrics, None)
        return watch

    return watched


def test_a_run_may_leave_its_start_by_so_much(run):
    assert len(run(0.0, 29.0).curve) == 2
    with pytest.raises(Diverged, match=r"is 31.0 nats at step 1, above 30.0"):
        run(0.0, 31.0)
    with pytest.raises(Diverged, match=r"is 40.0 nats at step 1"):
        run(0.0, 0.0, kl=40.0)  # as PPO measures it in each rollout


def test_a_run_from_another_model_than_the_sft_base_is_judged_from_its_start(run):
    assert run(33.2, 5.0).start == 33.2  # the pretrained base is far, and comes nearer
    with pytest.raises(Diverged, match=r"is 64.0 nats at step 1, above 63.2"):
        run(33.2, 64.0)


@pytest.mark.parametrize("key", ["loss", "grad_norm"])
def test_a_number_that_is_none_ends_the_run(run, key):
    with pytest.raises(Diverged, match=f"{key} is nan at step 1 of 1"):
        run(0.0, 0.0, **{key: math.nan})
