"""Group values by a key, in the order in which the keys first come."""

from collections.abc import Iterable
from typing import TypeVar

K, V = TypeVar("K"), TypeVar("V")


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Return {key: its values} of pairs of (key, value)."""
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found
