"""Explain a setting or a section of settings: type, default, value, and where code reads it."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from bench.settings.described import Setting, all_settings, default_of, type_of, value_of
from bench.settings.sections import Arm
from bench.steps._plain_text import ROOT, WIDTH, columns, heading, shown

CELL = 22  # characters of a value in a table of settings


def about_setting(cfg, setting: Setting) -> list[str]:
    """Explain a setting: type, default, value, files; of a section, list its settings."""
    if setting.section or setting.key == "arms":
        return about_section(cfg, setting)
    rows = [("type", type_of(setting.schema)), ("default", default_of(setting))]
    if setting.owner is not Arm:
        rows += [(f"in {cfg.testbed}", value_of(cfg, setting.key))]
    rows += [("file", shown(setting.path)), ("read by", ", ".join(readers(setting)))]
    about = textwrap.wrap(setting.description, WIDTH)
    return [*heading(f"Setting {setting.key}"), *about, "", *columns(r for r in rows if r[1])]


def about_section(cfg, section: Setting) -> list[str]:
    """Explain a section, and list its settings with value and default."""
    inside = re.compile(re.escape(section.key) + r"\.[^.]+")
    rows = [("", cfg.testbed, "default", "")]
    for setting in all_settings(cfg):
        if inside.fullmatch(setting.key):
            rows.append((setting.name, *in_table(cfg, setting), setting.description))
    about = textwrap.wrap(section.description, WIDTH)
    place = columns([("file", shown(section.path))]) if section.section else []
    return [*heading(f"Settings {section.key}"), *about, "", *columns(rows), "", *place]


def in_table(cfg, setting: Setting) -> tuple[str, str]:
    """Return value and default of a setting, shortened; an inner section has a table of its own."""
    if setting.section:
        return "section", ""
    value = "" if setting.owner is Arm else value_of(cfg, setting.key)
    return clipped(value), clipped(default_of(setting))


def clipped(text: str) -> str:
    """Shorten a value so that it fits its column."""
    return text if len(text) <= CELL else text[: CELL - 3] + "..."


def readers(setting: Setting) -> list[str]:
    """Find where code reads a setting: the first place in each file, as file:line.

    Search the folder of the world or method that owns the setting; bench/training for a method of
    one file; all code for other settings. Look for an attribute of the settings or of a section.
    """
    path = setting.path
    inside = path.relative_to(ROOT).parts if path.is_relative_to(ROOT) else ()
    if inside[:1] == ("worlds",) or (inside[:1] == ("methods",) and len(inside) > 2):
        files, pattern = path.parent.glob("*.py"), rf"\b(\w*settings|s|self)\.{setting.name}\b"
    elif inside[:1] == ("methods",):
        files, pattern = (ROOT / "training").glob("*.py"), rf"settings\.{setting.name}\b"
    else:
        last = r"\.".join(setting.key.split(".")[-2:])
        whose = r"\w" if "." in setting.key else "cfg"
        files, pattern = [*ROOT.rglob("*.py"), *ROOT.rglob("*.smk")], rf"\b\w*{whose}\.{last}\b"
    return [place for file in sorted(files) for place in first_hit(file, pattern)]


def first_hit(path: Path, pattern: str) -> Iterator[str]:
    """Find the first line of a file that matches: 'bench/steps/pairs.py:48'."""
    text = path.read_text(encoding="utf-8")
    if found := re.search(pattern, text):
        yield f"{shown(path)}:{text.count(chr(10), 0, found.start()) + 1}"
