"""Draw a study's report from its results, and publish it if it is complete.

    python -m bench report --testbed micro [--set key=value ...]

Writes report/{index.html,README.md,results.csv,results.json,figures.json,figures/} below the
study's folder and, last, report.json with the sha256 of each file. A copy goes to
reports/<testbed>/ (a study other than `compare`: reports/<testbed>/<study>/) only from a complete
study with default settings.
"""

import hashlib
import shutil
from pathlib import Path

from bench.analysis import tables
from bench.core.files import atomic, write_json
from bench.core.progress import say
from bench.report import figures, page, results, scorecard
from bench.report.study import Study
from bench.studies import kind_of

LARGEST = 1_500_000  # bytes of a published report


def build(study: Study, out: Path) -> None:
    """Write the report's files into a folder."""
    kind = kind_of(study.meta["study"])
    plates = kind.plates(study)
    drawn = figures.draw_all(study, out / "figures", plates)
    write_json(out / "figures.json", figures.described(study, plates))
    shared = page.context(study, kind)
    if kind.card:
        scorecard.write_card(study, out / "figures", shared["title"], shared["headline"])
    (out / "index.html").write_text(page.html(study, drawn, shared), encoding="utf-8")
    (out / "README.md").write_text(page.readme(study, shared), encoding="utf-8")
    kind.results(study).to_csv(out / "results.csv", index=False, lineterminator="\n")
    write_json(out / "results.json", results.document(study))


def load(cfg) -> Study:
    """The configured study from its results, with its companions."""
    study = Study(*tables.read(cfg.layout.results))
    study.companions.update(companions(cfg, study))
    return study


def companions(cfg, study: Study) -> dict[str, Study]:
    """The complete studies beside `compare` of the same start, whose runs are the same wherever
    both have them: after a change of settings the others are of methods as they were."""
    found = {}
    for path in cfg.companions:
        other = Study(*tables.read(path))
        if other.meta["complete"] and same_start(study, other) and same_runs(study, other):
            found[other.meta["study"]] = other
        else:
            say("report", f"{path} is incomplete, or of another SFT base or settings: left out")
    return found


def same_start(a: Study, b: Study) -> bool:
    """Whether all runs of two studies started from the same weights."""
    return len({h for s in (a, b) for h in s.runs.get("hash_start", [None])}) == 1


def same_runs(a: Study, b: Study) -> bool:
    """Whether the runs that two studies share, by arm and seed, ended in the same weights."""
    first, second = (s.runs[["arm", "seed", "model_sha256"]] for s in (a, b))
    both = first.merge(second, on=["arm", "seed"]).drop(columns=["arm", "seed"]).fillna("failed")
    return bool((both.model_sha256_x == both.model_sha256_y).all())


def record(out: Path) -> dict[str, str]:
    """{file: sha256} of every file of a report, by its path within the report."""
    files = sorted(p for p in out.rglob("*") if p.is_file())
    return {
        p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def unfit(meta: dict, out: Path) -> str:
    """Why a report is not published; empty if it is."""
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    if not meta["complete"]:
        return "runs are missing"
    if not meta["default_settings"]:
        return "settings were overridden: " + " ".join(meta["overrides"])
    return f"it has {size:,} bytes, more than {LARGEST:,}" if size > LARGEST else ""


def publish(out: Path, target: Path) -> None:
    """Replace the published files by those of a report; other studies in the folder stay."""
    target.mkdir(parents=True, exist_ok=True)
    for source in out.iterdir():
        if source.is_dir():
            shutil.rmtree(target / source.name, ignore_errors=True)
            shutil.copytree(source, target / source.name)
        else:
            shutil.copyfile(source, target / source.name)


def published(meta: dict) -> Path:
    """Where a study's report is published, from the working directory."""
    place = Path("reports", meta["testbed"])
    return place if meta["study"] == "compare" else place / meta["study"]


def run(cfg, args) -> None:
    """Report of the configured study."""
    out, study = cfg.layout.report, load(cfg)
    with atomic(out) as part:
        part.mkdir()
        build(study, part)
    files, reason = record(out), unfit(study.meta, out)
    if not reason:
        publish(out, published(study.meta))
    write_json(cfg.layout.report_record, files)
    where = f"not published: {reason}" if reason else f"published in {published(study.meta)}"
    say("report", f"{out / 'index.html'}; {where}")
