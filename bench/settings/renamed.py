"""List what has been renamed: {old name: new name}.

If a YAML file or an override uses an old setting, the error names the new one. The old names in
records, reports and files are for comparing old runs with new ones (``tests/same_runs.py``).
"""

RENAMED = {
    "grid": "stability",
    "tuning": "provenance",
    "pairs.held_out": "pairs.test",
    "stability.centre_seeds": "stability.seeds",
    "views.labels": "views.shares",
}
OF_ARMS = {"labels": "preference"}
RECORDS = {  # fields of run.json, columns of the runs
    "labels": "preference",
    "data": "label_set",
    "origin": "start",
    "held_out_loss": "validation_loss",
}
REPORTS = {"labels": "label_set"}  # fields of arms in results.json, columns of reward models
FILES = {"pairs/*/heldout*.jsonl": "pairs/*/validation*.jsonl"}  # below runs/<testbed>/


def of(key: str) -> str | None:
    """Return the new name of a dotted key; None if the key was never renamed."""
    of_arm = key.startswith("arms.")  # an arm may override a section: arms.dpo-few.pairs.test
    for old, new in (RENAMED | (OF_ARMS if of_arm else {})).items():
        if key == old or (of_arm and key.endswith(f".{old}")):
            return key.removesuffix(old) + new
    return None
