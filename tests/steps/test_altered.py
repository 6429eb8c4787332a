"""Files that numbers come from, edited or damaged after they were written, are named."""

import json
import shutil

import fake_runs
import pytest

from bench.analysis import fairness
from bench.analysis.results import Results
from bench.core.files import read_json
from bench.core.records import sealed
from bench.core.schema import UserError
from bench.report.study import Study
from bench.steps import contract, report
from bench.steps._altered import altered, evidence

ARMS, SEEDS = {"ppo": "ppo", "dpo": "dpo"}, (1, 2, 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return fake_runs.make(tmp_path_factory.mktemp("altered") / "runs/micro", SEEDS, ARMS, 12)


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs/micro")


def cut(path):
    """Lose the second half of a table's lines."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: max(1, len(lines) // 2)]))


def swap_digit(path):
    """Change one digit."""
    text = path.read_text()
    at = next(i for i in range(len(text) - 1, 0, -1) if text[i].isdigit())
    path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])


def cheaper(path):
    """Divide all costs by ten."""
    record = json.loads(path.read_text())
    record["cost"] = [c | {"flops": c["flops"] / 10} for c in record["cost"]]
    path.write_text(json.dumps(record))


def lighter(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"peak_mb": 1.0}))


def of_another_seed(path):
    """Put the same file of another seed in its place."""
    shutil.copy(path.parents[1] / "seed2" / path.name, path)


def remove(path):
    path.unlink()


RUN, AT = "align/dpo/seed1", "evaluate/dpo/seed1"
EDITS = [
    *((f"{RUN}/{name}", edit) for name in ("log.csv", "curve.csv") for edit in (cut, swap_digit)),
    *((f"{AT}/{name}", cut) for name in fake_runs.EVALUATED),
    *((f"{AT}/{name}", of_another_seed) for name in ("prompts.csv", "samples.jsonl")),
    *((f"{AT}/{name}", remove) for name in fake_runs.EVALUATED),
    *((f"{AT}/{name}", swap_digit) for name in ("prompts.csv", "tasks.csv", "items.csv")),
    ("evaluate/sft/seed0/prompts.csv", cut),
    *((f"{place}", cheaper) for place in (f"{RUN}/run.json", f"{AT}/eval.json")),
    ("reward/gold/seed2/step.json", cheaper),
    ("reference/pool/step.json", cheaper),
    ("sft/step.json", cheaper),
    (f"{RUN}/run.json", lighter),
    ("reward/gold/seed2/step.json", lighter),
    ("reward/gold/seed2/step.json", remove),
    ("reference/pool/logps.csv", cut),
    ("pairs/pool.jsonl", swap_digit),
    ("pairs/step.json", swap_digit),
    ("data/prompts.jsonl", remove),
    ("ledger/reward-gold-seed1.json", remove),
    ("ledger/align-dpo-seed1.json", swap_digit),
]  # fmt: skip


def of(root):
    return fake_runs.members(root, ARMS, SEEDS), {"sft": fake_runs.layout(root)}


def test_files_as_they_were_written_are_not_named(root):
    assert evidence(*of(root)) == {}
    assert contract.check(*of(root))["breaches"] == []


@pytest.mark.parametrize("name,edit", EDITS, ids=lambda x: getattr(x, "__name__", x))
def test_an_edited_file_is_named_and_the_study_is_not_published(root, name, edit):
    if name == "pairs/pool.jsonl":
        (root / name).write_text('{"p": 0.5}')
    else:
        edit(root / name)
    assert list(evidence(*of(root))) == [(root / name).as_posix()]
    (breach,) = (b for b in contract.check(*of(root))["breaches"] if b["field"] == "evidence")
    assert name in fairness.sentence(breach)
    tables, samples, facts = fake_runs.gathered(root, ARMS, SEEDS)
    assert not facts["complete"] and breach in facts["breaches"]
    study = Study(Results.of(tables, samples, fake_runs.meta(facts, ARMS, SEEDS)))
    assert report.unfit(study.meta, root) == "runs are missing or were changed"


def test_a_record_without_hashes_is_named(root):
    path = root / AT / "eval.json"
    path.write_text(json.dumps({k: v for k, v in read_json(path).items() if k != "written"}))
    assert altered(path) == {path.as_posix(): "without hashes"}
    for damaged in ("[]", "{", "5", "", "null"):
        path.write_text(damaged)
        assert altered(path) == {path.as_posix(): "no JSON object"}
    path.write_text('{"written": 5, "sha256": 3}')
    assert altered(path) == {path.as_posix(): "without hashes"}


def test_a_record_must_list_what_numbers_come_from(root):
    path = root / AT / "eval.json"
    path.write_text(json.dumps(sealed(read_json(path) | {"written": {}})))
    assert set(evidence(*of(root))) == {(root / AT / n).as_posix() for n in fake_runs.EVALUATED}


def test_a_collected_table_that_was_edited_is_refused_by_name(root, tmp_path):
    results = fake_runs.collected(tmp_path / "study", ARMS, SEEDS)
    for name, edit in (("cost.csv", swap_digit), ("prompts.csv", cut), ("meta.json", swap_digit),
                       ("samples.jsonl", cut), ("variety.csv", remove)):  # fmt: skip
        results.write(tmp_path / "results")
        assert len(Results.read(tmp_path / "results").runs) == 6
        edit(tmp_path / "results" / name)
        with pytest.raises(UserError, match=f"{name} (is missing or )?was changed"):
            Results.read(tmp_path / "results")


def test_a_run_that_is_missing_still_counts_among_the_planned(root):
    shutil.rmtree(root / "align/dpo/seed2")
    tables, samples, facts = fake_runs.gathered(root, ARMS, SEEDS)
    results = Results.of(tables, samples, fake_runs.meta(facts, ARMS, SEEDS))
    assert results.meta.planned == {"ppo": [1, 2, 3], "dpo": [1, 2, 3]}
    assert (results.share_ended("dpo").count, results.share_ended("dpo").n) == (2, 3)
    assert not results.meta.complete
