"""Check that the files of a report are still those that were written.

python -m bench verify --testbed micro
"""

import argparse
import json
from pathlib import Path

from bench.core.files import file_sha256
from bench.core.progress import say
from bench.core.schema import UserError


def run(cfg, args: argparse.Namespace) -> None:
    """Check the report; raises UserError that names each file that is missing or differs."""
    stamp = cfg.layout.report_record
    if not stamp.exists():
        raise UserError(f"{stamp} is missing: the report has not been made yet")
    files = json.loads(stamp.read_text())
    report = cfg.layout.report
    wrong = [name for name, known in files.items() if differs(report / name, known)]
    if wrong:
        raise UserError(f"missing or changed since the report: {', '.join(wrong)}")
    say("verify", f"{len(files)} files are as the report wrote them")


def differs(path: Path, known: str) -> bool:
    return not path.is_file() or file_sha256(path) != known
