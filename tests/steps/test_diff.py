"""Two results side by side: what moved beyond noise, what did not, and what cannot be compared."""

import copy
import json

import fake_runs
import numpy as np
import pytest
from scipy import stats

from bench.__main__ import main
from bench.analysis import differences as two
from bench.analysis.comparisons import Kind
from bench.analysis.measures import MEASURES
from bench.report import results
from bench.report.differences import Two, headline, moved_table
from bench.steps import diff


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """results.json of an invented study, as it is read from a file."""
    study = fake_runs.study(tmp_path_factory.mktemp("first"))
    return json.loads(json.dumps(results.document(study, list(MEASURES))))


@pytest.fixture
def second(first):
    """A copy to change."""
    return copy.deepcopy(first)


def runs_of(document, arm):
    return [run["values"] for run in document["runs"] if run["arm"] == arm]


def row(table, arm, measure):
    return table[(table.arm == arm) & (table.measure == measure)].iloc[0]


def test_the_same_result_is_identical_in_every_number(first, second):
    table = two.moved(first, second)
    assert len(table) and set(table.verdict) == {two.IDENTICAL}
    assert two.differences(first, second) == []
    assert {r["agreement"] for r in two.verdicts(first, second)} == {"same"}


def test_paired_numbers_have_the_interval_of_a_paired_t_test(first, second):
    moves = [0.1, -0.02, 0.05, 0.08, 0.03]
    for values, move in zip(runs_of(second, "dpo"), moves, strict=True):
        values["gold"] += move
    found = row(two.moved(first, second), "dpo", "gold")
    expected = stats.ttest_1samp(moves, 0)
    span = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((span.low, span.high), abs=1e-6)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-4) and found.paired
    assert found.verdict == two.NOISE  # p is .07 alone


def test_other_seeds_are_compared_without_pairing(first, second):
    for run in second["runs"]:
        run["seed"] += 10
    table = two.moved(first, second)
    assert not table.paired.any() and set(table[table.measure == "gold"].verdict) == {two.NOISE}
    found = row(table, "ppo", "cost")
    values = [[v["cost"] for v in runs_of(d, "ppo")] for d in (first, second)]
    expected = stats.ttest_ind(values[1], values[0], equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)


def test_what_only_the_correction_takes_away_has_not_moved(first, second):
    for values, move in zip(runs_of(second, "dpo"), [0.1, 0.02, 0.05, 0.08, 0.03], strict=True):
        values["gold"] += move
    found = row(two.moved(first, second), "dpo", "gold")
    assert found.p < 0.05 < found.p_holm and found.verdict == two.NOISE


def test_one_seed_in_common_makes_no_pairs(first, second):
    for run in second["runs"]:
        run["seed"] += 4
    assert not two.moved(first, second).paired.any()


def test_numbers_in_two_units_are_not_compared(first, second):
    next(m for m in second["measures"] if m["key"] == "cost")["unit"] = "GPU-seconds"
    found = set(two.moved(first, second).measure)
    assert "cost" not in found and "flops" in found


def test_what_moved_stands_first_and_only_costs_have_a_ratio(first, second):
    runs_of(second, "ppo")[0]["gold"] += 0.01
    for values in runs_of(second, "orpo"):
        values["flops"] = 2 * values["flops"]
    moved, noise = moved_table(Two(first, second, ("a", "b"))).rows
    assert moved[0].text == "ORPO · Compute" and moved[4].text == "+100.0"
    assert noise[0].text == "PPO · Gold reward" and noise[4].text == "–"


def test_what_moved_alike_in_every_run_moved(first, second):
    for values in runs_of(second, "ppo"):
        values["flops"] = 2 * values["flops"]
    table = two.moved(first, second)
    assert row(table, "ppo", "flops").verdict == two.MOVED
    assert row(table, "dpo", "flops").verdict == two.IDENTICAL
    both = Two(first, second, ("a", "b"))
    assert "1 moved beyond noise" in " ".join(headline(both))
    assert "PPO · Compute" in moved_table(both).rows[0][0].text


def test_holm_is_over_the_arms_of_a_measure(first, second):
    noise = np.random.default_rng(0).normal(0.06, 0.05, (4, 5))
    for arm, moves in zip(fake_runs.ARMS, noise, strict=True):
        for values, move in zip(runs_of(second, arm), moves, strict=True):
            values["gold"] += move
    rows = two.moved(first, second).query("measure == 'gold'")
    least = rows.p.idxmin()
    assert rows.p_holm[least] == pytest.approx(min(4 * rows.p[least], 1))


def test_one_run_each_tells_nothing(first, second):
    one = first | {"runs": [r for r in first["runs"] if r["seed"] == 1]}
    second["runs"] = [r for r in second["runs"] if r["seed"] == 1]
    runs_of(second, "dpo")[0]["gold"] += 1
    assert row(two.moved(one, second), "dpo", "gold").verdict == two.ALONE
    assert row(two.moved(one, second), "ppo", "gold").verdict == two.IDENTICAL


def test_one_run_against_several_tells_nothing_however_little_they_vary(first, second):
    second["runs"] = [r for r in second["runs"] if r["seed"] == 1]
    runs_of(second, "dpo")[0]["resident"] += 1
    assert row(two.moved(first, second), "dpo", "resident").verdict == two.ALONE


def test_what_one_calls_equivalent_and_the_other_leaves_open_is_not_called_decided(first, second):
    pair = next(
        r
        for r in second["comparisons"]
        if r["verdict"] == Kind.INCONCLUSIVE and r["family"] == "methods"
    )
    assert pair["winner"] is None
    pair["verdict"] = Kind.EQUIVALENT
    words = " ".join(headline(Two(first, second, ("a", "b"))))
    assert "equivalent in one and inconclusive in the other" in words and "decided" not in words


def test_numbers_of_two_testbeds_are_not_compared_but_verdicts_are(first, second):
    second["about"]["testbed"] = "reviews"
    pair = next(r for r in second["comparisons"] if (r["a"], r["b"]) == ("ppo", "orpo"))
    assert (pair["verdict"], pair["winner"]) == (Kind.BETTER, "ppo")
    pair["winner"] = "orpo"
    both = Two(first, second, ("a", "b"))
    assert not len(both.moved) and "turned round" in " ".join(headline(both))


def test_a_pair_is_the_same_pair_the_other_way_round(first, second):
    pair = next(r for r in second["comparisons"] if (r["a"], r["b"]) == ("ppo", "orpo"))
    pair |= {"a": "orpo", "b": "ppo", "mean": -0.8, "low": -0.9, "high": None}
    rows = two.verdicts(first, second)
    found = next(r for r in rows if (r["a"], r["b"]) == ("ppo", "orpo"))
    assert len(rows) == 6 and found["agreement"] == "same"
    assert [found["second"][key] for key in ("mean", "low", "high")] == [0.8, None, 0.9]


PPO, DPO = (Kind.BETTER, "ppo"), (Kind.BETTER, "dpo")
EQUIVALENT, INCONCLUSIVE = (Kind.EQUIVALENT, None), (Kind.INCONCLUSIVE, None)


@pytest.mark.parametrize(
    "one,other,expected",
    [
        (PPO, PPO, two.SAME),
        (PPO, DPO, two.OPPOSITE),
        (PPO, INCONCLUSIVE, two.ONE_ONLY),
        (PPO, EQUIVALENT, two.ONE_ONLY),
        (INCONCLUSIVE, EQUIVALENT, two.OPEN),
        (EQUIVALENT, EQUIVALENT, two.SAME),  # whatever the margins
    ],
)
def test_how_two_verdicts_stand_to_each_other(one, other, expected):
    rows = [dict(zip(("verdict", "winner"), found, strict=True)) for found in (one, other)]
    rows[0]["margin"], rows[1]["margin"] = 0.12, 0.1
    assert two.agreement(*rows) == two.agreement(*reversed(rows)) == expected


def test_what_was_made_otherwise_is_named(first, second):
    second["about"]["machine"]["cpu"] = "Another CPU"
    second["arms"][1]["settings"]["lr"] = 1.0
    assert {name for name, *_ in two.differences(first, second)} == {"machine.cpu", "dpo.lr"}


def test_the_command_writes_a_page(first, second, tmp_path, capsys):
    for name, document in (("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(document))
    for values in runs_of(second, "orpo"):
        values["cost"] *= 1.5
    (tmp_path / "b/results.json").write_text(json.dumps(second))
    diff.main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "out")])
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert "ORPO · Cost of a run" in page and "moved" in page
    assert (tmp_path / "out/README.md").exists() and (tmp_path / "out/results.csv").exists()
    assert "1 moved beyond noise" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text,words",
    [(None, "is missing"), ("{", "no valid JSON"), ("{}", "not of the schema"), ("[]", "schema")],
)
def test_a_wrong_file_is_one_clear_line(text, words, tmp_path, capsys):
    path = tmp_path / "results.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["diff", str(path), str(path)])
    error = capsys.readouterr().err
    assert stop.value.code == 1 and words in error and "\n" not in error.strip()


def test_runs_that_failed_in_one_of_two_are_said(first, second):
    assert "failed" not in " ".join(headline(Two(first, second, ("a", "b"))))
    for run in second["runs"]:
        if run["arm"] == "dpo" and run["seed"] < 4:
            run |= {"status": "diverged", "values": {}}
    told = headline(Two(first, second, ("a", "b")))
    assert "Runs that failed, in the first and the second: DPO 0 of 5 and 3 of 5." in told
