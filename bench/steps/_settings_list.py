"""List every setting with type, default and meaning: `python -m bench list settings [--markdown]`.

docs/settings.md is what `--markdown` prints.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic_core import PydanticUndefined

from bench.core.schema import Section
from bench.settings import layers
from bench.settings.described import (
    Setting,
    all_settings,
    default_of,
    settings_in,
    type_of,
    written,
)
from bench.steps._plain_text import heading
from bench.worlds import WORLDS, world

HEAD = """\
# Settings

Every setting of a testbed's YAML file and of the command line, where a section is written
`'dpo={beta: 0.3}'`: `snakemake --cores all --config 'dpo={beta: 0.3}' 'seeds=[1,2]'`.
The built-in testbeds set some of them otherwise: `python -m bench help pairs.n --testbed micro`
prints the value in a testbed, and where the code reads it. Write the braces, with a blank after
each colon: Snakemake does not take `dpo.beta=0.3`. A step does, as often as needed:
`--set dpo.beta=0.3`. Without `testbed=...` the testbed is
`micro`. Two keys are of files alone: `extends: NAME` takes all else from another testbed, and
`data.kind` names the world (`micro`, `reviews` or `hub`), which decides what `data` may hold.

This page is written by `python -m bench list settings --markdown > docs/settings.md`; a test fails
when it is stale.
"""
OF_AN_ARM = (
    "What an arm may set beside its method's settings, and beside `model`, `base`, `sft`, `pairs` "
    "and `reward`: see [studies](studies.md#declare-your-own-arms)."
)


@dataclass(frozen=True)
class Group:
    """Settings that stand together, and what their section is for."""

    title: str
    about: str
    settings: tuple[Setting, ...]


def plain(cfg) -> list[str]:
    """The list for a terminal: two lines for each setting."""
    lines = []
    for group in groups(cfg):
        lines += heading(group.title)
        for setting in group.settings:
            usual = default(setting)
            lines += [f"  {setting.key}: {kind(setting)}" + f"; default: {usual}" * bool(usual)]
            lines += [f"      {setting.description}"]
        lines.append("")
    return lines[:-1]


def markdown(cfg) -> list[str]:
    """The page docs/settings.md: a heading and a table for each section."""
    lines = HEAD.splitlines()
    for group in groups(cfg):
        lines += ["", f"## {group.title}", "", *([group.about, ""] if group.about else [])]
        lines += ["| setting | type | default | meaning |", "| :-- | :-- | :-- | :-- |"]
        lines += [row(setting) for setting in group.settings]
    return lines


def row(setting: Setting) -> str:
    """A setting as a row of a Markdown table."""
    usual = default(setting) and f"`{default(setting)}`"
    meaning = re.sub(r"[|<](?=\w)", r"\\\g<0>", setting.description)  # or a cell ends, HTML begins
    return f"| `{setting.key}` | {kind(setting)} | {usual} | {meaning} |"


def groups(cfg) -> Iterator[Group]:
    """All settings by section; `data`, which depends on the world, once for each world.

    So every built-in testbed gives the same list.
    """
    found = all_settings(cfg)
    alone = (s for s in found if "." not in s.key and not s.section)
    yield Group("Outside any section", "", tuple(alone))
    yield Group("arms.NAME", OF_AN_ARM, inside(found, "arms"))
    for section in found:
        if section.section and "." not in section.key and section.key != "data":
            yield Group(section.key, section.description, inside(found, section.key))
    for name in WORLDS:
        own = world(name).Settings
        about = " ".join((own.__doc__ or "").split())
        yield Group(f"data of the world {name}", about, tuple(settings_in(own, "data.")))


def inside(found: list[Setting], section: str) -> tuple[Setting, ...]:
    """The settings below a section."""
    return tuple(setting for setting in found if setting.key.startswith(f"{section}."))


def kind(setting: Setting) -> str:
    """The type of a setting in words."""
    if not setting.section:
        return type_of(setting.schema)
    return "section or null" if "anyOf" in setting.schema else "section"


def default(setting: Setting) -> str:
    """The default in YAML, base.yaml's where no class has one; empty for a section with values."""
    if isinstance(setting.default, Section):
        return ""
    usual = layers.read(layers.TESTBEDS / "base.yaml")
    if setting.default is PydanticUndefined and setting.key in usual:
        return written(usual[setting.key])
    return default_of(setting)
