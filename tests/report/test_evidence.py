"""Evidence travels: a report is made again from the tables beside it, byte for byte, or refused."""

import json
import lzma
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fake_runs
import numpy as np
import pytest

from bench.__main__ import main
from bench.core.files import read_csv
from bench.core.schema import UserError
from bench.report import evidence, samples
from bench.report.study import Study
from bench.steps import report

REPORTS = Path(__file__).parents[2] / "reports"
COMMITTED = sorted(path.parent for path in REPORTS.rglob(evidence.FOLDER))
FOUR = fake_runs.ARMS
CELLS = {f"{m}{end}": lr for m in FOUR for end, lr in (("", 1), ("-lrx3", 3), ("-lrx0.33", 1 / 3))}
VIEWS = {f"{m}{end}": m for m in ("ppo", "dpo") for end in ("", "-n750", "-betax3")}


def collected(place: Path, study: str, arms: dict, seeds, changed=lambda name: {}, **more) -> Path:
    """The results of an invented study; changed: what else its arms are, by name. Scores of the
    reward model are of single precision, as a model's are."""
    found = fake_runs.collected(place, arms, seeds, **more)
    found.prompts["proxy"] = found.prompts.proxy.astype(np.float32).astype(float)
    changed_arms = [replace(arm, **changed(arm.name)) for arm in found.meta.arms]
    found.meta = replace(found.meta, study=study, arms=changed_arms)
    found.write(place / "results")
    return place / "results"


def factors(name: str) -> dict:
    """What a cell of the grid is beside its method."""
    return {"factors": {"lr": CELLS[name]} if CELLS[name] != 1 else {}}


def few(name: str) -> dict:
    """What an arm with few pairs is."""
    return {"n": 750, "label_set": "gold-n750"} if name.endswith("-n750") else {}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in which the report of four methods was published, with two studies beside it."""
    root = tmp_path_factory.mktemp("made")
    fail, text = {("ipo", 2): "diverged"}, fake_runs.HOSTILE
    collected(root / "runs/micro", "compare", FOUR, (1, 2, 3), fail=fail, text=text)
    cfg = fake_runs.config(root / "runs/micro")
    cells = {name: name.partition("-")[0] for name in CELLS}
    cfg.companions += [
        collected(root / "grid", "stability", cells, (1,), factors, prompts=12),
        collected(root / "views", "views", VIEWS, (1, 2, 3), few, prompts=30),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        report.run(cfg, SimpleNamespace(beside=[]))
    return root


@pytest.fixture
def travelled(made, tmp_path, monkeypatch):
    """The published report alone, in a working directory with nothing else."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(made / "reports/micro", "reports/micro"))


def refused(capsys, *words: str) -> str:
    """What the command says when it fails."""
    with pytest.raises(SystemExit) as ended:
        main(["report", *words])
    assert ended.value.code == 1
    return capsys.readouterr().err.strip()


def test_a_report_is_made_again_from_its_evidence_alone(travelled, capsys):
    main(["report", "--from", "reports/micro"])
    again = Path("runs/again/micro")
    own = {n: s for n, s in report.hashes(travelled).items() if not n.startswith("evidence/")}
    made = {n: s for n, s in report.hashes(again).items() if not n.startswith("results/")}
    assert made == own and {"index.html", "figures/grid.svg", "figures/card.png"} <= {*own}
    assert f"all {len(own)} files are those of reports/micro" in capsys.readouterr().err


def test_a_report_is_renewed_in_its_place(travelled, capsys):
    """As after a change of the page's code; what it was made of stays."""
    before = report.hashes(travelled)
    (travelled / "README.md").write_text("as an older page said it")
    assert "1 of" in refused(capsys, "--from", "reports/micro")
    main(["report", "--from", "reports/micro", "--renew"])
    assert report.hashes(travelled) == before and "files are new" in capsys.readouterr().err


def test_the_studies_beside_it_are_on_the_page_made_again(travelled):
    study = evidence.unpack(travelled / "evidence", Path("tables"))
    assert set(study.companions) == {"stability", "views"}
    assert len(study.companions["stability"].runs) == len(CELLS)


def test_reports_stand_beside_a_study_as_its_neighbours_in_runs_do(made, tmp_path, monkeypatch):
    """The runs of `stability` and `views` are gone; their reports, or results, are left."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made / "runs/micro", "runs/micro", ignore=shutil.ignore_patterns("report*"))
    evidence.pack(Study.read(made / "grid/results"), Path("grid/evidence"))
    cfg = fake_runs.config(tmp_path / "runs/micro")
    report.run(cfg, SimpleNamespace(beside=[Path("grid"), made / "views/results"]))
    for name in ("index.html", "README.md", "facts.json"):
        assert (
            Path("reports/micro", name).read_bytes() == (made / "reports/micro" / name).read_bytes()
        ), name


def test_a_report_of_other_runs_cannot_stand_beside(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made / "runs/micro", "runs/micro", ignore=shutil.ignore_patterns("report*"))
    other = Study.read(made / "views/results").results
    wrong = replace(other, runs=other.runs.assign(model_sha256="x"))
    wrong.write(tmp_path / "views")
    cfg = fake_runs.config(tmp_path / "runs/micro")
    with pytest.raises(UserError, match=r"^views cannot stand beside this study: it is of"):
        report.run(cfg, SimpleNamespace(beside=[Path("views")]))


def test_tables_come_back_byte_for_byte(made, travelled):
    evidence.unpack(travelled / "evidence", Path("tables"))
    cut = {"log.csv"}  # and samples, of which the page shows all that this study has
    for path in (made / "runs/micro/results").glob("[!m]*"):  # meta.json has hashes of the cut ones
        same = Path("tables", path.name).read_bytes() == path.read_bytes()
        assert same != (path.name in cut), path.name
    about = evidence.manifest(travelled / "evidence")["files"]
    assert "proxy" in about["prompts.columns.xz"]["single"]
    assert "gold" not in about["prompts.columns.xz"]["single"]


def test_what_is_left_out_is_what_no_page_reads(made, travelled):
    evidence.unpack(travelled / "evidence", Path("tables"))
    for folder, full in (("tables", made / "runs/micro"), ("tables/stability", made / "grid")):
        few, all_of = read_csv(Path(folder, "log.csv")), read_csv(full / "results/log.csv")
        assert few.equals(all_of[[c for c in all_of if c in evidence.LOG["log.csv"]]])
    assert {*read_csv(Path("tables/views/prompts.csv"))} == {*evidence.SCORES["prompts.csv"]}


def test_the_answers_kept_are_those_that_the_page_shows(made, monkeypatch):
    monkeypatch.setattr(samples, "RANDOM", 1)
    monkeypatch.setattr(samples, "EXTREME", 1)
    study = Study.read(made / "runs/micro/results")
    kept = samples.shown(study)
    assert 0 < len(kept) < len(study.results.samples)
    few = Study(replace(study.results, samples=kept))
    assert samples.chosen(few) == samples.chosen(study)


def test_evidence_is_the_same_bytes_for_the_same_tables(made, tmp_path):
    study = Study.read(made / "runs/micro/results")
    for name in ("one", "two"):
        evidence.pack(study, tmp_path / name)
    assert report.hashes(tmp_path / "one") == report.hashes(tmp_path / "two")


def changed(place: Path) -> str:
    """A number of a table, and the table packed again."""
    path = place / "prompts.columns.xz"
    text = lzma.decompress(path.read_bytes()).decode()
    path.write_bytes(lzma.compress(text.replace("1", "2", 1).encode()))
    return path.name


def broken(place: Path) -> str:
    path = place / "views/curve.columns.xz"
    path.write_bytes(path.read_bytes()[:-1])
    return "views/curve.columns.xz"


def missing(place: Path) -> str:
    (place / "meta.json.xz").unlink()
    return "meta.json.xz"


def added(place: Path) -> str:
    (place / "more.columns.xz").write_bytes(b"")
    return "more.columns.xz"


@pytest.mark.parametrize("tamper", [changed, broken, missing, added])
def test_evidence_that_is_not_what_its_manifest_says_is_refused_by_name(travelled, capsys, tamper):
    name = tamper(travelled / "evidence")
    said = refused(capsys, "--from", "reports/micro")
    assert said.startswith(f"error: reports/micro/evidence/{name} ") and "\n" not in said
    assert not Path("runs").exists()


def test_a_folder_without_evidence_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "nowhere/evidence/manifest.json is missing" in refused(capsys, "--from", "nowhere")


def test_from_reads_no_testbed(capsys):
    assert "--testbed" in refused(capsys, "--from", "reports/micro", "--testbed", "micro")


def test_what_is_not_the_same_is_named(travelled, capsys):
    text = (travelled / "results.csv").read_text()
    (travelled / "results.csv").write_text(text.replace("1", "2", 1))
    (travelled / "figures/old.svg").write_text("<svg/>")
    about = evidence.manifest(travelled / "evidence")
    about["drawn_with"]["matplotlib"] = "0.1"
    (travelled / "evidence/manifest.json").write_text(json.dumps(about))
    said = refused(capsys, "--from", "reports/micro", "--out", "here")
    assert "figures/old.svg is not the same" in said and "results.csv is not the same" in said
    assert "error: 2 of " in said and "matplotlib 0.1 (here " in said
    assert Path("here/results.csv").read_text() == text


def test_a_report_with_too_much_evidence_is_not_published(made, tmp_path):
    (tmp_path / "evidence").mkdir()
    packed, fit = tmp_path / "evidence/a.xz", Study.read(made / "runs/micro/results").meta
    packed.write_bytes(b"x" * evidence.MOST)
    assert not report.unfit(fit, tmp_path)
    packed.write_bytes(b"x" * (evidence.MOST + 1))
    assert report.unfit(fit, tmp_path) == "its evidence has 9,000,001 bytes, more than 9,000,000"


@pytest.mark.parametrize("place", COMMITTED, ids=lambda p: p.relative_to(REPORTS).as_posix())
def test_every_committed_report_with_evidence_can_be_made_again(place, tmp_path):
    report.again(place, tmp_path / "again")
