"""The claims, a module each, which is found. Its `CLAIM` says all: sentence, arms, parts, rules."""

from functools import cache

from bench.core import registry


@cache
def every() -> dict:
    """Return {key: `Claim`} of all claims, in the order of their files."""
    modules = (registry.member(__name__, name) for name in registry.members(__name__))
    return {module.CLAIM.key: module.CLAIM for module in modules}
