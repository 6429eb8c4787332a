"""Results: declared columns, files that survive the disk, and what is computed once."""

import json
from dataclasses import asdict, replace

import fake_runs
import pandas as pd
import pytest

from bench.analysis.results import COLUMNS, RUN, SCHEMA, Arm, Meta, Results, once
from bench.core.schema import UserError


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return fake_runs.collected(
        tmp_path_factory.mktemp("study"),
        seeds=(1, 2, 3),
        fail={("ipo", 2): "diverged"},
        text=fake_runs.HOSTILE,
    )


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- tables


def test_every_table_has_its_declared_columns(results):
    for name, columns in COLUMNS.items():
        assert set(columns) <= set(getattr(results, name).columns), name


def test_a_table_that_is_missing_is_empty_with_its_columns():
    nothing = fake_runs.by_hand([], {})
    for name, columns in COLUMNS.items():
        assert tuple(getattr(nothing, name).columns) == columns and not len(getattr(nothing, name))


def test_a_column_that_is_missing_is_unknown_and_one_more_is_kept():
    rows = [{"arm": "dpo", "method": "dpo", "seed": 1, "status": "ok", "extra": 7}]
    runs = fake_runs.by_hand([Arm("dpo", "dpo")], {"runs": rows}).runs
    assert list(runs.columns) == [*rows[0], *(c for c in COLUMNS["runs"] if c not in rows[0])]
    assert runs.extra[0] == 7 and runs.peak_mb.isna().all()


def test_scores_are_seeds_by_prompts_of_the_tuned_families(results):
    scores = results.scores("dpo")
    rows = results.prompts[results.prompts.family.isin(fake_runs.TUNED)]
    one = rows[(rows.arm == "dpo") & (rows.seed == 2)]
    assert list(scores.index) == [1, 2, 3] and scores.shape == (3, 80)
    means = one.groupby("prompt_id").gold.mean()
    pd.testing.assert_series_equal(scores.loc[2], means, check_names=False)
    assert (results.draws("dpo"), results.draws("sft")) == (2, 4)
    drawn = results.answers("dpo")
    assert drawn.shape == (3 * 2, 80)
    second = one[one.draw == 1].set_index("prompt_id").gold.sort_index()
    pd.testing.assert_series_equal(drawn.loc[(2, 1)], second, check_names=False)
    assert list(results.scores("ipo").index) == [1, 3]  # seed 2 diverged
    assert results.scores("nobody").empty


def test_a_prompt_that_a_seed_did_not_answer_is_left_out(results):
    prompts = results.prompts
    gone = prompts[(prompts.arm != "dpo") | (prompts.seed != 1) | (prompts.prompt_id != "p0000")]
    scores = replace(results, prompts=gone).scores("dpo")
    assert scores.shape == (3, 79) and "p0000" not in scores


def test_runs_that_ended_are_those_whose_status_is_ok(results):
    ended = {*results.ended().itertuples(index=False, name=None)}
    assert len(ended) == 11 and ("ipo", 2) not in ended and ("ipo", 1) in ended


# --- files


def test_results_are_written_again_byte_for_byte(results, tmp_path):
    results.write(tmp_path / "first")
    read = Results.read(tmp_path / "first")
    read.write(tmp_path / "second")
    first, second = contents(tmp_path / "first"), contents(tmp_path / "second")
    assert set(first) == {*(f"{name}.csv" for name in COLUMNS), "samples.jsonl", "meta.json"}
    assert first == second
    assert read.meta == results.meta and read.samples == results.samples
    assert read.folder == tmp_path / "first"
    for name in COLUMNS:
        assert list(getattr(read, name).columns) == list(getattr(results, name).columns)
        assert len(getattr(read, name)) == len(getattr(results, name))


def test_an_empty_study_survives_the_disk(tmp_path):
    fake_runs.by_hand([], {}).write(tmp_path)
    again = Results.read(tmp_path)
    assert again.arms == [] and again.samples == []
    assert all(tuple(getattr(again, name).columns) == columns for name, columns in COLUMNS.items())


def test_meta_survives_the_disk_with_all_that_an_arm_says(tmp_path):
    arm = Arm("ppo-n9", "ppo", "gold-n9", 9, "base", "sft@1", "gold-n9", ("beta",), {"beta": 3.0})
    written = fake_runs.by_hand([arm], {}, overrides=["ppo.beta=3"], provenance={"seed": 7})
    written.write(tmp_path)
    meta = Results.read(tmp_path).meta
    assert meta == written.meta and meta.arms == [arm] and not arm.tuned
    assert Arm("ppo", "ppo").tuned


@pytest.mark.parametrize("other", ["prefbench.tables/1", "prefbench.tables/99", None])
def test_a_meta_of_another_schema_is_refused_by_name(results, tmp_path, other):
    results.write(tmp_path)
    path = tmp_path / "meta.json"
    known = json.loads(path.read_text()) | {"schema": other}
    path.write_text(json.dumps(known))
    with pytest.raises(UserError) as error:
        Results.read(tmp_path)
    line = str(error.value)
    assert str(other) in line and SCHEMA in line and "collect the study again" in line
    assert "\n" not in line


def test_a_meta_without_a_field_is_refused_and_one_more_field_is_no_matter(results):
    known = asdict(results.meta)
    with pytest.raises(UserError, match="collect the study again"):
        Meta.of({key: value for key, value in known.items() if key != "tuned_families"})
    assert Meta.of(known | {"of_a_later_version": 1}) == results.meta


def test_what_a_run_leads_with_is_declared_for_every_table_of_runs():
    of_runs = {name for name, columns in COLUMNS.items() if columns[:3] == RUN}
    assert of_runs == {*COLUMNS} - {"reward", "ledger"}


# --- once


@pytest.fixture
def counted():
    """A function of results that is computed once, and the arguments that it was called with."""
    calls = []

    @once
    def lengths(results, arm="all", *more):
        """Count answers."""
        calls.append((arm, *more))
        return len(results.prompts)

    return lengths, calls


def test_a_function_is_computed_once_for_each_results_and_arguments(results, counted):
    lengths, calls = counted
    fresh = replace(results)
    assert lengths(fresh) == lengths(fresh) == len(results.prompts)
    assert lengths(fresh, "dpo", 1) == lengths(fresh, "dpo", 1)
    assert calls == [("all",), ("dpo", 1)]


def test_a_changed_copy_is_computed_anew(results, counted):
    lengths, calls = counted
    whole, empty = replace(results), replace(results, prompts=results.prompts[:0])
    assert (lengths(whole), lengths(empty), lengths(whole)) == (len(results.prompts), 0, 3120)
    assert len(calls) == 2
    assert replace(whole).known == {} != whole.known


def test_two_functions_do_not_share_what_they_computed(results):
    one, other = (once(lambda results, value=value: value) for value in (1, 2))
    fresh = replace(results)
    assert (one(fresh), other(fresh)) == (1, 2)


def test_none_is_remembered_too(results):
    calls = []
    nothing = once(lambda results: calls.append(1))
    fresh = replace(results)
    assert nothing(fresh) is nothing(fresh) is None and len(calls) == 1


def test_what_is_computed_once_keeps_its_name_and_docstring(counted):
    assert counted[0].__name__ == "lengths" and counted[0].__doc__ == "Count answers."
