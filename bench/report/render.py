"""Turn the content of a page into bytes: templates, escaping, inlined figures, one script."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from bench.report import style, svg, typeface
from bench.report.figure import tall
from bench.report.samples import seen
from bench.report.terms import TERMS
from bench.report.words import fixed

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = "page.js", "figures.js"
UNUSUAL = re.compile(r"[^\n -~]")


def html(template: str, shared: dict, drawn: dict[str, str], linked=None) -> str:
    """Return a self-contained page.

    drawn: SVGs by name; linked: the filter that turns names of arms in sentences into links to
    their runs, if the page lists them.
    """
    from markupsafe import Markup, escape

    figures, study = shared["figures"], shared["study"]
    inlined = {
        form: Markup(svg.inline(drawn[form], form, figure.alt(study)))
        for name, figure in figures.items()
        for form in (name, tall(name))
    }
    script = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    palettes = {"light": style.variables(style.LIGHT), "dark": style.variables(style.DARK)}
    jinja = environment(True)
    jinja.filters["linked"] = linked or escape
    rows = shared["glossary"].rows if "glossary" in shared else []
    terms = {measure.text: formula.text for measure, _, _, formula, *_ in rows}
    more = {
        "inlined": inlined,
        "terms": terms,
        "palettes": palettes,
        "vocabulary": TERMS,
        "faces": Markup(typeface.faces()),
        "families": Markup(typeface.FAMILIES),
        "script": Markup(script),
        "digest": digest,
    }
    return clean(jinja.get_template(template).render(**shared, **more))


def text(template: str, shared: dict) -> str:
    """Return the same content as Markdown."""
    return clean(environment(False).get_template(template).render(**shared))


def table(found, escape) -> str:
    """Return a `bench.report.tables.Table` in Markdown, without its notes; escape: for cells."""
    jinja = environment(False)
    jinja.filters["md"] = escape
    return clean(jinja.get_template("macros.md").module.rows(found))


def environment(autoescape: bool, *folders: Path):
    """Return Jinja with strict undefined names and the filters of the templates.

    folders: more folders with templates, which are searched first.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    jinja = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"md": markdown}
    jinja.filters |= {"signless": lambda v: fixed(v, ".2f"), "signed": lambda v: fixed(v, "+.2f")}
    return jinja


# What begins a mention, an emoji, a formula, a link.
LIVE = re.compile(r"@|:(?=[\w+-]+:)|\$|[a-z]+:(?=//)|www(?=\.)", re.I)
DEAD = {"$": "<span>$</span>"}  # GitHub's own advice; a comment shows nothing, and ends a word


def markdown(text) -> str:
    """Escape text for a cell or a line of Markdown: nothing in it is markup, nor ends the cell, and
    a code host makes no mention, link or formula of it."""
    from html import escape

    out = escape(str(text), quote=False).replace("\n", " ")
    for c in "\\#*_[]~|`":
        out = out.replace(c, f"&#{ord(c)};" if c in "|`" else f"\\{c}")
    return LIVE.sub(lambda live: DEAD.get(live[0], f"{live[0]}<!-- -->"), out)


def clean(text: str) -> str:
    """Drop trailing blanks, and make invisible characters visible."""
    text = UNUSUAL.sub(lambda c: seen(c[0]), text)
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n") + "\n"
