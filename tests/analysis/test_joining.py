"""Parts of a study join to the whole that one run would have given, or one line says why not."""

from dataclasses import replace

import fake_runs
import pandas as pd
import pytest

from bench.analysis import comparisons, joining
from bench.analysis.results import COLUMNS, Results
from bench.core.schema import UserError
from bench.report import evidence
from bench.report.study import Study
from bench.steps import join, runner

SEEDS = (1, 2, 3, 4, 5)
ASKED = "seeds=[1, 2, 3, 4, 5]"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Five seeds of four methods, one run failed."""
    return fake_runs.collected(
        tmp_path_factory.mktemp("study"), seeds=SEEDS, fail={("ipo", 2): "diverged"}
    )


def part(whole: Results, arms, seeds=SEEDS, **more) -> Results:
    """What a part of a study would have collected; more: fields of its meta."""
    kept = {*arms, "sft", "shared"}
    tables = {name: getattr(whole, name) for name in COLUMNS}
    for name, table in tables.items():
        if "arm" in table:
            table = table[table.arm.isin(kept) & table.seed.isin([0, *seeds])]
        elif "seed" in table:
            table = table[table.seed.isin(seeds)]
        tables[name] = table.reset_index(drop=True)
    samples = [r for r in whole.samples if r["arm"] in kept and r["seed"] in (0, *seeds)]
    own = {"arms": [arm for arm in whole.meta.arms if arm.name in arms], "seeds": list(seeds)}
    own |= {"planned": {arm: list(seeds) for arm in arms}, "complete": True}
    return Results.of(tables, samples, replace(whole.meta, **own | more))


def rows(table: pd.DataFrame) -> list[tuple]:
    """A table's rows, in any order."""
    return sorted(map(tuple, table.astype(str).itertuples(index=False)))


@pytest.mark.parametrize(
    "pieces",
    [
        [(("ppo", "dpo"), SEEDS), (("dpo", "ipo", "orpo"), SEEDS)],
        [(("ppo", "dpo", "ipo", "orpo"), (1, 2)), (("ppo", "dpo", "ipo", "orpo"), (2, 3, 4, 5))],
        [(("orpo",), SEEDS), (("ppo", "ipo"), (5, 1)), (("dpo", "ppo", "ipo"), SEEDS)],
    ],
)
def test_the_whole_is_as_if_it_had_run_at_once(whole, pieces):
    parts = {f"p{i}": part(whole, *piece) for i, piece in enumerate(pieces)}
    found = joining.joined(parts, whole.meta.planned)
    for name in (name for name in COLUMNS if name != "ledger"):
        assert rows(getattr(found, name)) == rows(getattr(whole, name)), name
    assert [(row.arm, row.seed) for row in found.runs.itertuples()] == [
        (row.arm, row.seed) for row in whole.runs.itertuples()
    ]
    assert replace(found.meta, breaches=[]) == replace(whole.meta, breaches=[])
    assert {tuple(sorted(map(str, s.items()))) for s in found.samples} == {
        tuple(sorted(map(str, s.items()))) for s in whole.samples
    }
    assert repr(comparisons.between_methods(found)) == repr(comparisons.between_methods(whole))


def test_seconds_of_all_processes_are_summed(whole):
    parts = {"a": part(whole, ("ppo", "dpo")), "b": part(whole, ("ipo", "orpo"))}
    found = joining.joined(parts, whole.meta.planned).ledger.set_index("step").cpu_s
    for step, seconds in whole.ledger.set_index("step").cpu_s.items():
        assert found[step] == pytest.approx(2 * seconds)


def spoiled(results: Results, **columns) -> Results:
    """Results whose runs have other values in these columns."""
    return replace(results, runs=results.runs.assign(**columns))


WRONG = {
    "commit": (lambda p: replace(p, meta=replace(p.meta, commit="1" * 40)), "commit is another"),
    "settings": (
        lambda p: replace(
            p, meta=replace(p.meta, arms=[replace(a, sets={"lr": 1}) for a in p.meta.arms])
        ),
        "arm dpo has other settings",
    ),
    "weights": (lambda p: spoiled(p, model_sha256="x"), "dpo seed 1 ended in other weights"),
    "start": (lambda p: spoiled(p, hash_start="x"), "hash_start of sft sft is another"),
    "pairs": (lambda p: spoiled(p, hash_pairs="x"), "hash_pairs of gold sft pairs 1 is another"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_parts_of_different_studies_are_refused(whole, wrong):
    spoil, said = WRONG[wrong]
    parts = {"one": part(whole, ("ppo", "dpo")), "two": spoil(part(whole, ("dpo", "ipo", "orpo")))}
    with pytest.raises(UserError, match=f"^two is no part of the study of one: {said}$"):
        joining.joined(parts, whole.meta.planned)


def test_a_run_that_is_in_no_part_is_named(whole):
    parts = {"a": part(whole, ("ppo", "dpo")), "b": part(whole, ("ipo",))}
    with pytest.raises(UserError, match=r"^no part holds 5 of 20 runs, such as orpo seed 1: "):
        joining.joined(parts, whole.meta.planned)


def test_a_part_that_did_not_end_is_refused(whole):
    parts = {"a": part(whole, ("ppo", "dpo")), "b": part(whole, ("ipo", "orpo"), complete=False)}
    with pytest.raises(UserError, match=r"^b is incomplete: run it to its end first"):
        joining.joined(parts, whole.meta.planned)


def test_other_machines_are_a_breach(whole):
    other = part(whole, ("ipo", "orpo"), machine={"cpu": "another"})
    parts = {"a": part(whole, ("ppo", "dpo")), "b": other}
    (breach,) = [
        b for b in joining.joined(parts, whole.meta.planned).meta.breaches
        if b not in whole.meta.breaches
    ]  # fmt: skip
    assert breach["field"] == "machine" and breach["values"]["part 2"] == {"cpu": "another"}


def test_a_part_with_changes_that_no_commit_has_is_refused(whole):
    other = part(whole, ("ipo", "orpo"), commit="0" * 40 + "+changes")
    with pytest.raises(UserError, match=r"^b ran with changes that no commit has: commit them"):
        joining.joined({"a": part(whole, ("ppo", "dpo")), "b": other}, whole.meta.planned)


@pytest.fixture
def folders(whole, tmp_path, monkeypatch):
    """Two parts on the disk, one as results and one as evidence."""
    monkeypatch.chdir(tmp_path)
    asked = {"overrides": [ASKED], "default_settings": False}
    part(whole, ("ppo", "dpo"), **asked).write(tmp_path / "one")
    part(whole, ("dpo", "ipo", "orpo"), **asked).write(tmp_path / "two")
    evidence.pack(Study.read(tmp_path / "two"), tmp_path / "report" / "evidence")
    return ["one", "report"]


def command(*words: str) -> None:
    runner.main("join", join.run, join.options, ["--testbed", "micro", *words])


def test_the_command_joins_results_and_evidence(whole, folders):
    from bench.studies import load

    command("--set", ASKED, *folders)
    found = Results.read(load("micro", [ASKED]).layout.results)
    assert rows(found.prompts) == rows(whole.prompts)
    assert (found.meta.overrides, found.meta.default_settings) == ([ASKED], False)


@pytest.mark.parametrize(
    "words,said",
    [
        (("one",), "error: one part is no whole: name two or more folders"),
        (("one", "nowhere"), "error: nowhere holds neither results nor a report with evidence"),
        (("one", "one"), "error: one part is no whole: name two or more folders"),
        (("one", "report"), "error: one and this command differ in seeds="),
        (("--testbed", "tiny", "one", "report"), "error: one is of study 'compare' on micro: give"),
    ],
)
def test_the_command_refuses_in_one_line(folders, capsys, words, said):
    with pytest.raises(SystemExit):
        command(*words)
    err = capsys.readouterr().err
    assert err.startswith(said) and err.count("\n") == 1


def test_what_decides_in_a_study_is_no_part_of_it():
    asked = ["sizes.lr=[1]", "sizes.only=[w32]", "study=sizes", "strict=true"]
    assert join.settled(asked, "sizes") == ["sizes.lr=[1]"]
