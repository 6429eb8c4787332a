"""What had another name once: {old: new}.

A YAML file or an override that uses an old setting gets a line with the new one. What older runs
and reports call otherwise is here for those who compare (``tests/same_runs.py``).
"""

RENAMED = {
    "grid": "stability",
    "tuning": "provenance",
    "pairs.held_out": "pairs.test",
    "views.labels": "views.shares",
}
OF_ARMS = {"labels": "preference"}
RECORDS = {  # fields of run.json, columns of the runs
    "labels": "preference",
    "data": "label_set",
    "origin": "start",
    "held_out_loss": "validation_loss",
}
REPORTS = {"labels": "label_set"}  # of an arm in results.json, of a reward model in the tables
FILES = {"pairs/*/heldout*.jsonl": "pairs/*/validation*.jsonl"}  # below runs/<testbed>/


def of(key: str) -> str | None:
    """The new name of a dotted key; None for a key that never had another."""
    of_arm = key.startswith("arms.")  # which may override a section: arms.dpo-few.pairs.test
    for old, new in (RENAMED | (OF_ARMS if of_arm else {})).items():
        if key == old or (of_arm and key.endswith(f".{old}")):
            return key.removesuffix(old) + new
    return None
