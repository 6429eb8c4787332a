"""The worlds: each gives texts, prompts, preferences and gold (a package for a `data.kind`)."""

from types import ModuleType

from bench.core import registry

WORLDS = registry.members(__name__, folders=True)


def world(kind: str) -> ModuleType:
    """The module of a world: Settings, TASKS, TUNED_FAMILIES, GIVEN_PAIRS, write, Gold, preference.

    GIVEN_PAIRS: whether ``write`` leaves a ``pool.jsonl`` of pairs that are not the SFT base's.
    """
    return registry.member(__name__, kind)


def words(kind: str) -> ModuleType:
    """What a report says of a world: GOLD, GOLD_CITED and TASKS."""
    return registry.member(f"{__name__}.{kind}", "words")
