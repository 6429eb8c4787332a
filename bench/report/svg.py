"""Save a figure as an SVG: small, in light and dark, its marks telling their values."""

import io
import re
from collections import Counter
from pathlib import Path

from bench.report import typeface
from bench.report.style import PALETTE
from bench.report.told import Told

TWINS = dict(PALETTE.values())  # {light: dark}
ON_DARK = "@media screen and (prefers-color-scheme:dark)"  # paper is always light
COLOUR = re.compile("#[0-9a-f]{6}")
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


def save(figure, path: Path, told: Told | None = None) -> Path:
    """Save the figure as an SVG; told: its marks that tell their values."""
    for ax in figure.axes:
        for line in (*ax.get_xgridlines(), *ax.get_ygridlines()):
            line.set_clip_on(False)  # grid lines end with the axes; clip paths would fill the SVG
    raw, nothing = io.StringIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(raw, format="svg", metadata=nothing)
    path.write_text(lean(raw.getvalue(), told), encoding="utf-8")
    return path


def lean(svg: str, told: Told | None = None) -> str:
    """Return the SVG without metadata, empty groups, repeated styles and needless decimals, with
    what its marks tell as their titles."""
    from xml.etree import ElementTree

    for prefix, uri in (("", SVG), ("xlink", XLINK)):
        ElementTree.register_namespace(prefix, uri)
    root = ElementTree.fromstring(svg)
    root.set("font-family", typeface.FAMILIES)
    if told:
        _entitle(root, told)
    _tidy(root)
    _share_sheet(root)
    text = ElementTree.tostring(root, encoding="unicode") + "\n"
    for number, name in enumerate(re.findall(r'\bid="(\w+)"', text)):
        text = text.replace(name, f"i{number}")
    return text


def _entitle(root, told: Told) -> None:
    """Give each mark its words, which a browser shows when it is hovered; raises ValueError if a
    group has not as many marks as words."""
    from xml.etree.ElementTree import SubElement

    titles, seeds = told.titles(), told.seeds()
    for group in [g for g in root.iter(f"{{{SVG}}}g") if g.get("id") in titles]:
        words = titles[group.get("id")]
        marks = list(group.iter(f"{{{SVG}}}use")) or list(group.iter(f"{{{SVG}}}path"))
        if len(marks) != len(words):
            raise ValueError(f"{len(words)} values for {len(marks)} marks: {words[:1]}")
        for mark, said in zip(marks, words, strict=True):
            SubElement(mark, f"{{{SVG}}}title").text = said
        if group.get("id") in seeds:
            group.set("data-seed", "")


def _tidy(element) -> None:
    """Clean an element of an SVG and all below it, as `lean` says."""
    group, kept = f"{{{SVG}}}g", []
    if element.tag == group:
        element.attrib.pop("id", None)
    for child in element:
        _tidy(child)
        if child.tag != f"{{{SVG}}}metadata":
            kept += [child] if child.attrib or child.tag != group else list(child)
    element[:] = kept
    for key in {"d", "x", "y", "transform", "style"}.intersection(element.keys()):
        element.set(key, _short(element.get(key)))
        if element.get(key).startswith("rotate(-0 "):
            del element.attrib[key]
    for key in {"fill", "stroke"}.intersection(element.keys()):
        said = [f"{key}:{element.attrib.pop(key)}", element.get("style")]
        element.set("style", ";".join(filter(None, said)))
    if element.tag == group and element.attrib:
        _share_style(element)
    if not (element.text or "").strip():
        element.text = None
    element.tail = "\n"


def _share_style(group) -> None:
    """Move a style that all parts of a group have (a line's markers) to the group."""
    styles = {part.get("style") for part in group}
    if len(styles) == 1 and None not in styles and group.get("style") is None:
        group.set("style", styles.pop())
        for part in group:
            del part.attrib["style"]


def _share_sheet(root) -> None:
    """Turn styles that several elements share, or that hold a colour, into classes of the style
    sheet.

    The style sheet ends with the dark twin of each colour.
    """
    uses = Counter(element.get("style") for element in root.iter() if element.get("style"))
    several = [style for style, times in uses.items() if times > 1 or COLOUR.search(style)]
    names = {style: f"c{number}" for number, style in enumerate(several)}
    for element in root.iter():
        if element.get("style") in names:
            element.set("class", names[element.attrib.pop("style")])
    sheet = next(root.iter(f"{{{SVG}}}style"))
    sheet.text += typeface.faces()
    sheet.text += "".join(f".{name}{{{style}}}" for style, name in names.items())
    coloured = {name: dark for style, name in names.items() if (dark := _dark(style))}
    sheet.text += f"{ON_DARK}{{{''.join(f'.{c}{{{dark}}}' for c, dark in coloured.items())}}}"


def _dark(style: str) -> str:
    """Return the colours of a style as they are on a reader's dark screen."""
    coloured = ";".join(part for part in style.split(";") if COLOUR.search(part))
    return COLOUR.sub(lambda light: TWINS[light[0]], coloured)


DEFAULTS = {f"font-family: {typeface.FAMILIES}", "text-anchor: start", "stroke-dashoffset: 0"}


def _short(value: str) -> str:
    """Return an attribute with three digits in its numbers, and a style without defaults."""
    value = ";".join(part for part in value.split("; ") if part not in DEFAULTS)
    value = re.sub(r"(\d\d\.\d|\d\.\d\d)\d+", r"\1", " ".join(value.split()))
    value = re.sub(r"\.0+(?!\d)", "", value).replace(": ", ":")
    return re.sub(r" ?([MLCQz]) ?", r"\1", value)


def inline(svg: str, name: str, alt: str) -> str:
    """Prepare an SVG for the page, which has the typeface and the colours as CSS variables; ids and
    classes become unique, and `alt` its name."""
    from html import escape

    body = svg[svg.index("<svg") :]
    body = body.replace(typeface.faces(), "")  # the page has them
    body = re.sub(rf"{re.escape(ON_DARK)}\{{.*?\}}\}}", "", body)  # its variables do this
    for key, (light, _) in PALETTE.items():
        body = body.replace(light, f"var(--{key})")
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    body = re.sub(r"(?<=\})(?=\.c\d+\{)", f".figure-{name} ", body)
    head = f'<svg class="figure-{name}" role="img" aria-label="{escape(alt, quote=True)}"'
    return body.replace("<svg", head, 1)
