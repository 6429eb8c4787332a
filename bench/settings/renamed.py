"""Settings that had another name once: {old: new}.

A YAML file or an override that uses an old one gets a line with the new one.
"""

RENAMED = {
    "grid": "stability",
    "tuning": "provenance",
    "pairs.held_out": "pairs.test",
    "views.labels": "views.shares",
}
OF_ARMS = {"labels": "preference"}


def of(key: str) -> str | None:
    """The new name of a dotted key; None for a key that never had another."""
    of_arm = key.startswith("arms.")  # which may override a section: arms.dpo-few.pairs.test
    for old, new in (RENAMED | (OF_ARMS if of_arm else {})).items():
        if key == old or (of_arm and key.endswith(f".{old}")):
            return key.removesuffix(old) + new
    return None
