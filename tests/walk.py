"""Runs steps in this process, as the command line does."""

from argparse import Namespace
from importlib import import_module

from bench.core.names import SFT


def step(cfg, name: str, **options) -> None:
    """One step, with the settings that it may read."""
    arm = options.get("arm")
    own = cfg.slice(name, None if arm == SFT else arm)
    import_module(f"bench.steps.{name}").run(own, Namespace(**options))
