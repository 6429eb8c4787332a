"""Settings that had another name once: {old: new}, both dotted; `*` stands for any one name.

A YAML file or an override that uses an old one gets a line with the new one.
"""

import re

RENAMED = {
    "grid": "stability",
    "tuning": "provenance",
    "pairs.held_out": "pairs.test",
    "views.labels": "views.shares",
    "arms.*.labels": "arms.*.preference",
    "arms.*.data": "arms.*.preference",
}


def of(key: str) -> str | None:
    """The new name of a dotted key; None for a key that never had another."""
    for old, new in RENAMED.items():
        pattern = re.escape(old).replace(r"\*", "(.+)")
        if found := re.fullmatch(pattern, key):
            return new.replace("*", *found.groups()) if found.groups() else new
    return None
