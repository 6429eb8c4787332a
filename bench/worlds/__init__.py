"""The worlds: each makes texts, prompts, preferences and gold. `data.kind` names the package."""

from types import ModuleType

from bench.core import registry

WORLDS = registry.members(__name__, folders=True)


def world(kind: str) -> ModuleType:
    """Import a world: Settings, TASKS, TUNED_FAMILIES, GIVEN_PAIRS, write, Gold, preference.

    GIVEN_PAIRS: True if ``write`` makes the pool of pairs; else it is sampled from the SFT base.
    """
    return registry.member(__name__, kind)
