"""Check that a study's files are still those that its steps wrote, or train a run again.

    python -m bench verify --testbed micro
    python -m bench verify --testbed micro --rerun dpo/seed1

It checks weights, pairs, records, logs, curves, evaluations, the collected tables, the report and
the published copy. What depends on the clock alone (seconds, joules) cannot be made again.
"""

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from bench.analysis.results import AGAIN, COLUMNS, Results
from bench.core.files import file_sha256, plain, read_csv, read_json
from bench.core.layout import Layout, Member, RunFiles
from bench.core.progress import say
from bench.core.records import OWN, WRITTEN, sealed
from bench.core.schema import UserError
from bench.report import evidence as packed
from bench.steps import collect, report
from bench.steps._altered import CHANGED, MISSING, evidence
from bench.steps.pairs import drawn

PAGE = "index.html"
OF_CODE = ("commit", "version")  # what the code that collects says of itself
CLOCK = ("wall_s", "cpu_s", "joules")  # columns that no second training repeats
# fields of run.json that a second training must repeat
REPEATED = ("status", "reason", "hashes", "pairs", "episodes", "steps", "generated_tokens",
            "validation_loss", "trajectory_sha256", "model_sha256")  # fmt: skip


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rerun", metavar="ARM/seedK", help="train this run again, and compare")


def run(cfg, args: argparse.Namespace) -> None:
    """Check the study; raises UserError that names each file that is missing or differs."""
    if args.rerun is not None:
        return rerun(cfg, args.rerun)
    stamp = stamped(cfg.layout.report_record)
    found = dict(wrong(cfg, stamp))
    if found:
        named = "; ".join(f"{name}: {what}" for name, what in found.items())
        raise UserError(f"{count(found)} not as written: {named}")
    say("verify", f"{len(stamp)} files of the report and all that its numbers come from are as "
                  "they were written")  # fmt: skip
    return None


def count(found: dict) -> str:
    return "1 file is" if len(found) == 1 else f"{len(found)} files are"


def stamped(path: Path) -> dict[str, str]:
    """Read {file of the report: sha256}; raises UserError if it does not list a page."""
    if not path.exists():
        raise UserError(f"{path} is missing: run snakemake, which makes the report")
    files = read_json(path)
    if PAGE not in files or sealed(files) != files:
        raise UserError(f"{path} was changed, or does not list the files of a report: {AGAIN}")
    return {name: sha for name, sha in files.items() if name != OWN}


def wrong(cfg, stamp: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (file, what is wrong with it)."""
    damaged = evidence(cfg.members, cfg.sft_bases, cfg.evaluated)
    yield from damaged.items()
    for member in cfg.members:
        yield from of_run(cfg, member)
    yield from of_pairs(cfg)
    yield from of_bases(cfg)
    if not damaged:
        yield from of_tables(cfg)
    yield from of_report(cfg.layout.report, stamp)
    yield from of_evidence(cfg.layout)
    yield from of_copy(cfg, stamp)


def of_pairs(cfg) -> Iterator[tuple[str, str]]:
    """Draw each seed's pairs from the pool again, and compare."""
    asked = {}
    for member in cfg.members:
        label_set = member.arm.label_set
        asked[member.layout.pairs(label_set, member.seed)] = member, label_set
    for path, (member, label_set) in asked.items():
        own, layout = cfg.of(member.arm.name), member.layout
        again = drawn(own, label_set, member.seed)
        for file, rows in zip(
            (path, layout.validation(label_set, member.seed)), again, strict=True
        ):
            lines = [json.dumps(row, ensure_ascii=False) for row in rows]
            if not file.is_file() or file.read_text(encoding="utf-8").splitlines() != lines:
                yield file.as_posix(), "not what its seed draws from the pool"


def of_run(cfg, member: Member) -> Iterator[tuple[str, str]]:
    """Compare a run's weights, and what it started from, with the hashes in its record."""
    from bench.models.loading import weights_sha256
    from bench.steps.align import hashes

    record = read_json(member.files.record)
    if not record:
        yield member.files.record.as_posix(), MISSING
        return
    known = record.get("hashes", {})
    try:
        inputs = hashes(cfg.of(member.arm.name), member.arm, member.seed)
    except FileNotFoundError as error:
        yield str(error.filename), MISSING
        inputs = {}
    for name, sha in inputs.items():
        if known.get(name) != sha:
            yield member.needed[name].as_posix(), f"not what {member.files.record} started from"
    ended, weights = record.get("status") == "ok", member.files.model
    if ended and weights_sha256(weights) != record["model_sha256"]:
        yield weights.as_posix(), CHANGED


def of_bases(cfg) -> Iterator[tuple[str, str]]:
    """Compare the SFT bases' weights with those that were evaluated."""
    from bench.models.loading import weights_sha256

    for layout in cfg.sft_bases.values() if cfg.evaluated else ():
        known = read_json(layout.evaluation(None).record).get("model_sha256")
        if known != weights_sha256(layout.sft):
            yield layout.sft.as_posix(), CHANGED


def of_tables(cfg) -> Iterator[tuple[str, str]]:
    """Collect the runs' files again, and compare the tables with those in the results folder.

    Seconds of Snakemake itself grow with each call of it, so the ledger is left out.
    """
    folder = cfg.layout.results
    try:
        kept = Results.read(folder)
    except UserError as error:
        yield folder.as_posix(), str(error)
        return
    again = collect.collected(cfg)
    for name in sorted({*COLUMNS} - {"ledger"}):
        text = getattr(again, name).to_csv(index=False, lineterminator="\n")
        if text != (folder / f"{name}.csv").read_text(encoding="utf-8"):
            yield (folder / f"{name}.csv").as_posix(), "not what the runs' files say"
    if again.samples != kept.samples:
        yield (folder / "samples.jsonl").as_posix(), "not what the runs' files say"
    old, new = (plain(asdict(results.meta)) for results in (kept, again))
    odd = [key for key in old if old[key] != new[key] and key not in OF_CODE]
    if odd or not kept.meta.complete:
        why = f"not what the runs' files say ({', '.join(odd)})" if odd else "of a study in parts"
        yield (folder / "meta.json").as_posix(), why


def of_report(folder: Path, stamp: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Compare the files of a report, by their hashes."""
    here = report.hashes(folder)
    for name in sorted({*here, *stamp}):
        if name not in here:
            yield (folder / name).as_posix(), MISSING
        elif name not in stamp:
            yield (folder / name).as_posix(), "not a file of this report"
        elif here[name] != stamp[name]:
            yield (folder / name).as_posix(), CHANGED


def of_evidence(layout: Layout) -> Iterator[tuple[str, str]]:
    """Tell whether the tables that the report was made of are those in the results folder."""
    place = layout.report / packed.FOLDER
    known = read_json(layout.results / "meta.json").get(WRITTEN, {})
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = packed.unpack(place, Path(folder)).results.folder
        except UserError as error:
            yield place.as_posix(), str(error)
            return
        whole = [name for name in known if name not in packed.CUT]
        for name in whole:
            if file_sha256(found / name) != known[name]:
                yield (place / name).as_posix(), f"of other tables than {layout.results}"


def of_copy(cfg, stamp: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Compare the published copy, if these results were published."""
    try:
        meta = Results.read(cfg.layout.results).meta
    except UserError:  # `of_tables` says so
        return
    folder = report.published(meta)
    if report.unfit(meta, cfg.layout.report) or not folder.exists():
        return
    for name in report.travels(cfg.layout.report):
        if not (folder / name).is_file():
            yield (folder / name).as_posix(), MISSING
        elif file_sha256(folder / name) != stamp.get(name):
            yield (folder / name).as_posix(), f"not the report of {cfg.layout.report}"


# --- train a run again


class Elsewhere(Layout):
    """A layout whose runs and checkpoints lie in another folder, and all else where it is."""

    def __init__(self, cfg, plain, folder: Path):
        super().__init__(cfg, plain)
        self.folder = folder

    def run(self, arm, seed) -> RunFiles:
        return RunFiles(self.folder / "run")

    def checkpoints(self, name: str) -> Path:
        return self.folder / "checkpoints"


def rerun(cfg, name: str) -> None:
    """Train a run again, and compare; raises UserError that names what is not the same."""
    member = asked(cfg, name)
    if not (old := read_json(member.files.record)):
        raise UserError(f"{member.files.record} is missing: there is nothing to compare with")
    with tempfile.TemporaryDirectory(prefix="prefbench-rerun-") as folder:
        files = trained_again(cfg, member, Path(folder))
        found = unlike(old, read_json(files.record), member.files, files)
    if found:
        raise UserError(f"{name} trained again is not the same in {', '.join(found)}{reasons(old)}")
    weights = str(old["model_sha256"])[:12]
    say("verify", f"{name} trained again is the same: {old['status']}, weights {weights}")


def asked(cfg, name: str) -> Member:
    """Return the run that `dpo/seed1` names; raises UserError if the study has no such run."""
    found = re.fullmatch(r"(.+)/seed(\d+)", name)
    for member in cfg.members:
        if found and (member.arm.name, str(member.seed)) == found.groups():
            return member
    known = [f"{member.arm.name}/seed{member.seed}" for member in cfg.members]
    raise UserError(f"--rerun {name}: no run of the study {cfg.study}; its first is {known[0]}")


def trained_again(cfg, member: Member, folder: Path) -> RunFiles:
    """Train a run into a folder, as the step `align` does; return its files."""
    from bench.steps import align

    name, real = member.arm.name, member.layout
    layout = Elsewhere(real.cfg, real.plain, folder)
    own = cfg.of(name).model_copy(update={"layout": layout}).slice("align", name)
    align.run(own, argparse.Namespace(arm=name, seed=member.seed))
    return layout.run(member.arm, member.seed)


def unlike(old: dict, new: dict, before: RunFiles, after: RunFiles) -> list[str]:
    """Name what two trainings of a run differ in, the clock apart."""
    found = [key for key in REPEATED if old.get(key) != new.get(key)]
    flops = [[(c["phase"], c["flops"]) for c in run["cost"]] for run in (old, new)]
    found += ["flops"] * (flops[0] != flops[1])
    curves = [read_csv(f.curve).drop(columns=[*CLOCK], errors="ignore") for f in (before, after)]
    found += ["curve.csv"] * (not curves[0].equals(curves[1]))
    same = file_sha256(before.samples) == file_sha256(after.samples)
    return found + ["samples.jsonl"] * (not same)


def reasons(old: dict) -> str:
    """Say what may explain a difference: other libraries or another machine."""
    from bench.training.ledger import machine, versions

    here = {"versions": versions(), "machine": machine()}
    other = [
        f"{key} {was} there, {here[kind].get(key)} here"
        for kind in here
        for key, was in old.get(kind, {}).items()
        if was != here[kind].get(key)
    ]
    return f" (it was trained with {'; '.join(other)})" if other else ""
