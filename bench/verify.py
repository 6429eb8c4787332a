"""Checks that the files a report was made of are those that were written.

python -m bench.verify --testbed micro
"""

import argparse
import json
from pathlib import Path

from bench import cli
from bench.rows import file_sha256
from bench.schema import UserError


def run(cfg, args: argparse.Namespace) -> None:
    """Raises UserError that names each file of ``report.json`` that is missing or differs."""
    stamp = Path(cfg.study_dir, "report.json")
    if not stamp.exists():
        raise UserError(f"{stamp} is missing: the report has not been made yet")
    files = json.loads(stamp.read_text())
    report = Path(cfg.study_dir, "report")
    wrong = [name for name, known in files.items() if differs(report / name, known)]
    if wrong:
        raise UserError(f"missing or changed since the report: {', '.join(wrong)}")
    cli.say("verify", f"{len(files)} files are as the report wrote them")


def differs(path: Path, known: str) -> bool:
    return not path.is_file() or file_sha256(path) != known


if __name__ == "__main__":
    cli.main("report", run)
