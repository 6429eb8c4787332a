"""Sets two folders of finished runs side by side: is anything but seconds and memory different?

    python tests/same_runs.py OLD/runs/micro NEW/runs/micro

For a change that must change no result. Names each difference; the exit code is the number of kinds
of them.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

# {old name: new name} of fields of run.json, and of fields of arms in results.json
RECORDS = {
    "labels": "preference",
    "data": "label_set",
    "origin": "start",
    "held_out_loss": "validation_loss",
}
REPORTS = {"labels": "label_set"}

KEY = ["arm", "seed"]
TIMED = {"wall_s", "cpu_s", "joules", "peak_mb", "peak_reserved_mb"}  # columns
MEASURED = {"cost", "memory", "reserved", "joules", "money"}  # measures of seconds and memory
TABLES = ("runs", "cost", "curve", "log", "prompts", "tasks", "reward")
PARTS = ("results", "comparisons", "tasks", "runs", "arms")  # of results.json


def finished(folder: Path) -> Path:
    """Return a folder of finished runs; ends with one line if it is none."""
    if not (folder / "results" / "runs.csv").is_file():
        sys.exit(f"error: {folder} holds no finished study: name a folder such as runs/micro")
    return folder


def same_runs(old: Path, new: Path) -> Iterator[str]:
    """The runs whose weights, trajectory, inputs or status differ, one by one."""
    records = sorted(old.glob("align/*/seed*/run.json"))
    for path in records:
        both = (json.loads((root / path.relative_to(old)).read_text()) for root in (old, new))
        a, b = ({RECORDS.get(key, key): value for key, value in run.items()} for run in both)
        fields = ("model_sha256", "trajectory_sha256", "hashes", "status", *RECORDS.values())
        for run in (a, b):
            run["hashes"].pop("code", None)  # which may be another, that is the question
        for field in fields:
            if a[field] != b[field]:
                yield f"{path.parent.relative_to(old)}: {field}"
    print(f"{len(records)} runs: weights, trajectories, hashes of inputs")


def same_tables(old: Path, new: Path) -> Iterator[str]:
    """Columns of the collected tables that differ; new ones do not count."""
    for name in TABLES:
        names = REPORTS if name == "reward" else RECORDS
        a, b = (pd.read_csv(r / f"results/{name}.csv").rename(columns=names) for r in (old, new))
        columns = [column for column in a if column not in TIMED]
        for column in columns:
            if column not in b or not a[column].equals(b[column]):
                yield f"results/{name}.csv: {column}"
        print(f"{name}.csv: {len(a)} rows, {len(columns)} columns")


def same_numbers(old: Path, new: Path) -> Iterator[str]:
    """Parts of results.json that differ, seconds and memory apart."""
    a, b = (json.loads((root / "report/results.json").read_text()) for root in (old, new))
    for part in PARTS:
        first, second = ([_shown(row) for row in found[part]] for found in (a, b))
        wrong = sum(x != y for x, y in zip(first, second, strict=True))
        if wrong:
            yield f"results.json: {wrong} of {len(first)} rows of {part}"
        print(f"results.json: {len(first)} rows of {part}")


def _shown(row: dict) -> dict:
    """A row without what is measured in seconds or memory, under today's names."""
    if row.get("measure") in MEASURED:
        return {}
    row = {REPORTS.get(key, key): value for key, value in row.items()}
    values = {k: v for k, v in row.get("values", {}).items() if k not in MEASURED}
    return row | ({"values": values} if values else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    args = parser.parse_args()
    compare = (same_runs, same_tables, same_numbers)
    found = [line for check in compare for line in check(finished(args.old), finished(args.new))]
    print("\n".join(found) or "nothing differs")
    sys.exit(min(len(found), 100))


if __name__ == "__main__":
    main()
