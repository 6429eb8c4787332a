"""The worlds: each gives texts, prompts, preferences and a gold reward (a module a `data.kind`)."""

from importlib import import_module
from types import ModuleType

WORLDS = {"micro": "bench.data.micro", "reviews": "bench.data.reviews", "hub": "bench.data.hub"}


def world(kind: str) -> ModuleType:
    """The module of a world: Settings, TASKS, TUNED_FAMILIES, GIVEN_PAIRS, write, Gold, preference.

    GIVEN_PAIRS: whether ``write`` leaves a ``pool.jsonl`` of pairs that are not the SFT base's.
    """
    return import_module(WORLDS[kind])
