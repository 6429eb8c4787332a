"""Draw a study's report from its results, and publish it if it is complete; or draw it again.

    python -m bench report --testbed micro [--set key=value ...] [--beside REPORT ...]
    python -m bench report --from reports/micro [--out DIR | --renew]

The first writes index.html, README.md, results.csv, results.json, facts.json, figures.json,
figures/ and evidence/ into report/ below the study's folder and, last, report.json with the sha256
of each file. Only a complete study with default settings is copied to reports/<testbed>/ (a study
other than `compare` to reports/<testbed>/<study>/). The page of `compare` also shows other studies
of the same runs: those in runs/, and with --beside those of which only a report is left.

The second makes a report again from its evidence, without any run: into runs/again/<testbed>/, with
the tables as results/*.csv. It names the files that are not the same, byte for byte, and exits with
1 if there are any. With --renew it replaces those files, as after a change of the page's code.
"""

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.analysis.measures import MEASURES
from bench.analysis.results import Meta
from bench.core.files import atomic, file_sha256, write_json
from bench.core.names import DEFAULT_STUDY
from bench.core.progress import say
from bench.core.records import sealed
from bench.core.schema import UserError
from bench.report import evidence, facts, figure, page, results
from bench.report.study import Study
from bench.steps import runner
from bench.studies import PLANS, kind_of

LARGEST = 2_500_000  # bytes of a published report, its evidence apart; each figure has its fonts


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FOLDER", help="make this report again"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="with --from: where to write it")
    parser.add_argument(
        "--beside", type=Path, nargs="+", default=[], metavar="REPORT", help="show these too"
    )
    parser.add_argument("--renew", action="store_true", help="with --from: replace its files")


def main(argv: list[str]) -> None:
    """Run the command; with --from it reads no testbed. Raises UserError."""
    parser = argparse.ArgumentParser(prog="python -m bench report", add_help=False)
    options(parser)
    args, others = parser.parse_known_args(argv)
    if args.source is None and not (args.out or args.renew):
        runner.main("report", run, options, argv)
    elif args.source is None:
        raise UserError("--out and --renew need --from: name the report to make again")
    elif others or args.beside:
        out = " ".join(others) or "--beside"
        raise UserError(f"--from allows only --out or --renew: leave out '{out}'")
    else:
        again(args.source, args.out, args.renew)


def build(study: Study, out: Path) -> None:
    """Write the report's files into a folder."""
    kind = kind_of(study.meta.study)
    figures = kind.figures(study)
    drawn = figure.draw_all(study, out / "figures", figures)
    write_json(out / "figures.json", figure.described(study, figures))
    shared = page.context(study, kind)
    if kind.card:
        kind.card(study, out / "figures", shared["title"], shared["lead"])
    (out / "index.html").write_text(page.html(study, drawn, shared), encoding="utf-8")
    (out / "README.md").write_text(page.readme(shared), encoding="utf-8")
    write_json(out / "facts.json", facts.of(study, kind, shared))
    kind.results(study).to_csv(out / "results.csv", index=False, lineterminator="\n")
    measures = [*MEASURES, *kind.measures()]
    write_json(out / "results.json", results.document(study, measures, kind.each_arm))


def load(cfg, beside: list[Path]) -> Study:
    """Read the configured study from its results, with its companions; beside: reports of others.

    Raises UserError if such a report cannot stand beside the study.
    """
    study = Study.read(cfg.layout.results)
    study.companions.update(companions(cfg, study))
    shown = [name for name, plan in PLANS.items() if getattr(plan, "COMPANION", False)]
    for i, path in enumerate(beside):
        other = evidence.read(path, cfg.layout.study / "beside" / str(i))
        if study.meta.study != DEFAULT_STUDY or other.meta.study not in shown:
            raise UserError(f"{path}: only `compare` shows others beside it: {', '.join(shown)}")
        if not fits(study, other):
            raise UserError(f"{path} cannot stand beside this study: it is of other runs")
        study.companions[other.meta.study] = other
    return study


def companions(cfg, study: Study) -> dict[str, Study]:
    """Return the complete studies to show beside `compare`, which start from the same weights.

    Runs that both studies have must be the same: after a change of settings, the others hold
    methods as they were before.
    """
    found = {}
    for path in cfg.companions:
        try:
            other = Study.read(path)
        except UserError as error:
            say("report", f"left out: {error}")
            continue
        if fits(study, other):
            found[other.meta.study] = other
        else:
            say("report", f"left out: {path} is incomplete, or of another SFT base or settings")
    return found


def fits(study: Study, other: Study) -> bool:
    """Return whether a companion is complete, and has the same start and runs."""
    return other.meta.complete and same_start(study, other) and same_runs(study, other)


def same_start(a: Study, b: Study) -> bool:
    """Return whether all runs of two studies started from the same weights."""
    return len({h for s in (a, b) for h in s.runs.get("hash_start", [None])}) == 1


def same_runs(a: Study, b: Study) -> bool:
    """Return whether runs that two studies share, by arm and seed, ended in the same weights."""
    first, second = (s.runs[["arm", "seed", "model_sha256"]] for s in (a, b))
    both = first.merge(second, on=["arm", "seed"]).drop(columns=["arm", "seed"]).fillna("failed")
    return bool((both.model_sha256_x == both.model_sha256_y).all())


def hashes(out: Path) -> dict[str, str]:
    """Return {file: sha256} of every file of a report, by its path within the report."""
    files = sorted(p for p in out.rglob("[!.]*") if p.is_file())
    return {p.relative_to(out).as_posix(): file_sha256(p) for p in files}


def travels(out: Path) -> dict[str, str]:
    """Return the hashes of what is published: no PNG if there is an SVG of its name."""
    return {name: sha for name, sha in hashes(out).items() if not _drawn(out / name)}


def _drawn(path: Path) -> bool:
    return path.suffix == ".png" and path.with_suffix(".svg").exists()


def unfit(meta: Meta, out: Path) -> str:
    """Say why a report is not published; empty if it is."""
    proof = evidence.size(out / evidence.FOLDER)
    size = sum((out / name).stat().st_size for name in travels(out)) - proof
    if not meta.complete:
        return "runs are missing or were changed"
    if not meta.default_settings:
        return "settings were overridden: " + " ".join(meta.overrides)
    if proof > evidence.MOST:
        return f"its evidence has {proof:,} bytes, more than {evidence.MOST:,}"
    return f"it has {size:,} bytes, more than {LARGEST:,}" if size > LARGEST else ""


def publish(out: Path, target: Path) -> None:
    """Replace the published files by those of a report; other studies in the folder stay."""
    for folder in out.iterdir():
        if folder.is_dir():
            shutil.rmtree(target / folder.name, ignore_errors=True)
    for name in travels(out):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(out / name, target / name)


def published(meta: Meta) -> Path:
    """Return where a study's report is published, from the working directory."""
    place = Path("reports", meta.testbed)
    return place if meta.study == DEFAULT_STUDY else place / meta.study


def run(cfg, args) -> None:
    """Make the report of the configured study."""
    out, study = cfg.layout.report, load(cfg, args.beside)
    with atomic(out) as part:
        part.mkdir()
        build(study, part)
        evidence.pack(study, part / evidence.FOLDER)
    files, reason = hashes(out), unfit(study.meta, out)
    if not reason:
        publish(out, published(study.meta))
    write_json(cfg.layout.report_record, sealed(files))
    where = f"not published: {reason}" if reason else f"published in {published(study.meta)}"
    say("report", f"{out / 'index.html'}; {where}")


def again(place: Path, out: Path | None = None, renew: bool = False) -> None:
    """Make a report again from its evidence, and compare it with the published one.

    Raises UserError if a file is not the same; with `renew`, replaces those files instead.
    """
    if out and out.exists() and not (out / "results").is_dir():
        raise UserError(f"{out} exists and holds no report made again: name another folder")
    with TemporaryDirectory() as made:
        made = Path(made)
        study = evidence.unpack(place / evidence.FOLDER, made / "results")
        build(study, made)
        out = out or Path("runs/again") / again_in(place, study.meta)
        names, different = compared(made, place)
        if renew:
            shutil.rmtree(made / "results")
            publish(made, place)
            say("report", f"{place}: {len(different)} of {len(names)} files are new")
            return
        publish(made, out)
    for name in different:
        say("report", f"{name} is not the same")
    if different:
        count = f"{len(different)} of {len(names)}"
        made_at = evidence.made_with(place / evidence.FOLDER, study)
        raise UserError(f"{count} files differ from those of {place}, which was made at {made_at}")
    say("report", f"{out / 'index.html'}; all {len(names)} files are those of {place}")


def again_in(place: Path, meta: Meta) -> Path:
    """Return where a report that is made again goes, below runs/again/."""
    folder = (place.parent if place.name == "report" else place).resolve().name
    return Path(meta.testbed, *([] if folder == meta.testbed else [folder]))


def compared(made: Path, place: Path) -> tuple[list[str], list[str]]:
    """Return the files of a report in either of two folders, and which of them are not the same."""
    first, second = (
        {n: sha for n, sha in travels(at).items() if "/" not in n or n.startswith("figures/")}
        for at in (made, place)
    )
    names = sorted(first | second)
    return names, [name for name in names if first.get(name) != second.get(name)]
