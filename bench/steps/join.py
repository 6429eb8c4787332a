"""Join the results of a study that ran in parts, on several machines or days.

    python -m bench join --testbed micro --set study=claims FIRST SECOND ...
    python -m bench report --testbed micro --set study=claims

A part is a folder `results` of the study, a report with its evidence, or the evidence alone. Parts
come from one commit, with the same settings but those that pick the part: `claims.only`,
`sizes.only`. Writes the results of the whole study, from which `report` makes its page. Seconds of
parts from other machines do not compare: the page says so.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.analysis import joining
from bench.core.progress import say
from bench.core.schema import UserError
from bench.report import evidence
from bench.steps.collect import changed, planned


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", nargs="+", type=Path, metavar="PART", help="a part's folder")


def run(cfg, args) -> None:
    """Write the results of the whole study."""
    if len({path.resolve() for path in args.parts}) < 2:
        raise UserError("one part is no whole: name two or more folders")
    with TemporaryDirectory() as made:
        found = [(path, Path(made, str(i))) for i, path in enumerate(args.parts)]
        parts = {str(path): evidence.read(path, out).results for path, out in found}
    mine = settled(cfg.overrides, cfg.study)
    for name, part in parts.items():
        if (part.meta.testbed, part.meta.study) != (cfg.testbed, cfg.study):
            raise UserError(
                f"{name} is of study '{part.meta.study}' on {part.meta.testbed}: give these by "
                "--set study=... and --testbed"
            )
        if other := {*settled(part.meta.overrides, cfg.study)} ^ {*mine}:
            raise UserError(f"{name} and this command differ in {min(other)}: use --set for both")
    whole = joining.joined(parts, planned(cfg.members))
    asked = changed(cfg.overrides)
    whole.meta = replace(whole.meta, overrides=asked, default_settings=not asked)
    whole.write(cfg.layout.results)
    say("join", f"{len(whole.runs)} runs of {len(parts)} parts -> {cfg.layout.results}")


def settled(overrides, study: str) -> list[str]:
    """Return the overrides but those that pick a part of the study."""
    return [item for item in changed(overrides) if not item.startswith(f"{study}.only=")]
