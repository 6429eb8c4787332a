"""The worlds: each makes texts, prompts, preferences and gold. `data.kind` names the package."""

from types import ModuleType

from bench.core import registry

WORLDS = registry.members(__name__, folders=True)


def world(kind: str) -> ModuleType:
    """Import a world: its Settings, names, write, Gold and preference.

    GIVEN_PAIRS: True if ``write`` makes the pool of pairs; else it is sampled from the SFT base.
    WRITTEN: further pools that ``write`` makes. PREFERENCES: whose labels its pairs may have.
    """
    return registry.member(__name__, kind)


def words(name: str) -> ModuleType:
    """What a report says of a world: GOLD, GOLD_CITED and TASKS."""
    return registry.member(f"{__name__}.{name}", "words")
