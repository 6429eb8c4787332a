"""List what has been renamed: {old name: new name}.

If a YAML file or an override uses an old setting, the error names the new one.
"""

RENAMED = {
    "grid": "stability",
    "tuning": "provenance",
    "pairs.held_out": "pairs.test",
    "stability.centre_seeds": "stability.seeds",
    "views.labels": "views.shares",
}
OF_ARMS = {"labels": "preference"}


def of(key: str) -> str | None:
    """Return the new name of a dotted key; None if the key was never renamed."""
    of_arm = key.startswith("arms.")  # an arm may override a section: arms.dpo-few.pairs.test
    for old, new in (RENAMED | (OF_ARMS if of_arm else {})).items():
        if key == old or (of_arm and key.endswith(f".{old}")):
            return key.removesuffix(old) + new
    return None
