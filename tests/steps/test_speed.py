"""python -m bench speed: how races are timed and told; a short race of each kind that runs here."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench.__main__ import main
from bench.steps.speed import pairs, ppo, racing, starts, suite
from bench.steps.speed.stock import EACH, ONCE
from bench.steps.speed.suite import Spent
from bench.steps.speed.work import WORKS


def test_ratios_alternate_and_leave_the_first_round_out():
    now, order = [0.0], []

    def side(name, cost):
        def work():
            order.append(name)
            now[0] += cost * (100 if len(order) <= 2 else 1)

        return work

    sides = {"ours": side("ours", 2.0), "theirs": side("theirs", 5.0)}
    assert racing.ratios(sides, 3, lambda: now[0]) == ([2.5] * 3, [2.0] * 3)
    assert order == ["ours", "theirs"] * 4


def test_race_of_pairs(monkeypatch, capsys):
    monkeypatch.setitem(WORKS, "micro", replace(WORKS["micro"], steps=1))
    pairs.race(SimpleNamespace(work=["micro"], rounds=1, threads=1))
    found = re.findall(
        r"(\w+), micro, (\w+) against TRL 1.16's: [\d.]+ \(", capsys.readouterr().out
    )
    assert found == [(m, w) for m in ("dpo", "ipo", "orpo") for w in ("steps", "passes")]


def test_race_of_starts(monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", "")
    starts.race(SimpleNamespace(rounds=1))
    assert re.match(r"starts, warm against cold: [\d.]+ \(", capsys.readouterr().out)


def side(start, curves, *rows) -> Spent:
    found = Spent(start=start, curves=curves)
    for row in rows:
        found.add(*row)
    return found


def test_suite_s_table(capsys):
    rows = ("sft", None, 5.0), ("evaluate", 1, 1.0), ("evaluate", 2, 1.0), ("reference", None, 1.0)
    stock = ("sft", None, 10.0), ("evaluate", 1, 4.0), ("evaluate", 2, 6.0)
    suite.tell(side(1.0, 0.5, *rows), side(6.0, 0.0, *stock))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["sft", "10.0", "5.0"] in lines and ["reference", "0.0", "1.0"] in lines
    assert ["all", "20.0", "8.0"] in lines and ["of", "it", "curves", "0.0", "0.5"] in lines
    assert lines[-2][-5:] == ["5.00", "(4.00", "to", "6.00)", "times"]
    assert lines[-1][-2:] == ["2.50", "times"]


@pytest.mark.parametrize("study", ["", "study-compare/"])
def test_the_suite_s_records_are_read_by_stage_and_seed(tmp_path, study):
    def write(name, value):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))

    write("ledger/base.json", {"step": "base", "arm": "", "cpu_s": 100})
    write("ledger/sft.json", {"step": "sft", "arm": "", "cpu_s": 8})
    write("ledger/evaluate-sft-seed0.json", {"step": "evaluate", "arm": "sft", "cpu_s": 1})
    for seed in (1, 12):
        write(f"ledger/align-dpo-seed{seed}.json", {"step": "align", "arm": "dpo", "cpu_s": seed})
    phases = [{"phase": "start", "cpu_s": 0.5}, {"phase": "curve", "cpu_s": 0.2}]
    write("align/dpo/seed12/run.json", {"cost": phases})
    write(f"{study}overhead.json", [{"step": "imports", "arm": "", "cpu_s": 3}])
    found = suite.suite(tmp_path)
    assert found.stages == {"sft": 8, "evaluate": 1, "dpo": 13, "snakemake and imports": 3}
    assert found.seeds == {1: 1, 12: 12} and (found.start, found.curves) == (3.5, 0.2)


def test_stock_scripts_make_what_the_suite_makes():
    names = {stage.removeprefix("align-").split("-")[0] for stage in (*ONCE, *EACH)}
    assert names == {"sft", "pairs", "reward", "dpo", "ipo", "orpo", "ppo", "evaluate"}


@pytest.mark.parametrize("word", ["pair", "--work=big"])
def test_unknown_words_are_refused(word):
    words = [sys.executable, "-m", "bench", "speed", word]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2 and "invalid choice" in done.stderr


def test_races_without_trl_112_say_so(capsys):
    for name in ("ppo", "suite"):
        main(["speed", name])
        assert "give --trl112" in capsys.readouterr().out


@pytest.mark.parametrize("work", ["micro", "1M-ends"])
def test_our_side_of_the_race_of_ppo_updates(work):
    """TRL's side needs TRL 1.12. Answers end early only where the work lets them."""
    update = ppo.ours(replace(WORKS[work], episodes=8))
    metrics = update()
    assert metrics["inner_steps"] == ppo.PASSES
    assert (metrics["ended"] > 0) == (WORKS[work].eos_bias is not None)
