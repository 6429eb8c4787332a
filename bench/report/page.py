"""The page and the README: templates filled with sentences, tables, figures and samples."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.analysis.statistics import EQUIVALENCE_SEEDS
from bench.report import costs, figures, grid, samples, style, tables, tuning, verdict, views
from bench.report.sections import Kind

TEMPLATES = Path(__file__).parent / "templates"


def kind_of(study) -> Kind | None:
    """How a study's page is made; None: as a comparison of arms."""
    return KINDS.get(study.meta["study"])


def plates_of(study) -> tuple:
    """The figures of a study's page."""
    kind = kind_of(study)
    return kind.plates if kind else PLATES


def results(study):
    """The table that becomes results.csv."""
    kind = kind_of(study)
    return (kind.results if kind else tables.results)(study)


def context(study) -> dict:
    """All that the templates show; nothing in it is HTML."""
    kind = kind_of(study)
    own = of_kind(study, kind) if kind else of_comparison(study)
    return own | {
        "title": title(study),
        "meta": study.meta,
        "study": study,
        "breaches": tables.breaches(study),
        "plates": plates_of(study),
        "limitations": limitations(study),
        "command": command(study.meta),
        "version": own_version(),
    }


def of_kind(study, kind: Kind) -> dict:
    """What a page of sections shows."""
    return {
        "headline": kind.headline(study),
        "sections": kind.sections(study),
        "tables": {"runs": tables.runs(study), "glossary": tables.glossary(study)},
    }


def of_comparison(study) -> dict:
    """What the page of a comparison of arms shows."""
    verdicts = {
        "quality": verdict.quality(study),
        "cost": [*verdict.cost(study), *views.spent_lines(study)],
        "stability": verdict.stability(study),
        "certainty": verdict.certainty(study),
        "reward": verdict.reward(study),
        "views": views.matrix_lines(study),
    }
    return {
        "headline": verdict.headline(study),
        "verdict": verdicts,
        "tables": {f.__name__: f(study) for f in SHOWN},
        "matched": tables.matched(study),
        "samples": samples.chosen(study),
        "rule": samples.RULE.format(n=samples.PER_FAMILY),
    }


KINDS = {"stability": grid.KIND, "tune": tuning.KIND, "views": views.KIND}
PLATES = (*figures.PLATES, costs.WATERFALL, views.COMPUTE)
SHOWN = (
    tables.summary,
    tables.pairs,
    tables.stability,
    tables.tasks,
    tables.runs,
    tables.ledger,
    tables.glossary,
    costs.ledger_of_costs,
    views.matrix,
)


def title(study) -> str:
    """'PPO, DPO, IPO and ORPO on micro', or of a study by its name."""
    meta = study.meta
    if meta["study"] != "compare" or study.many:
        return f"Study {meta['study']} on {meta['testbed']}"
    return f"{verdict.joined(style.label(a) for a in study.arms)} on {meta['testbed']}"


def command(meta: dict) -> str:
    """What to type to make this report again."""
    import shlex

    config = [f"testbed={meta['testbed']}"] if meta["testbed"] != "micro" else []
    config += [f"study={meta['study']}"] if meta["study"] != "compare" else []
    config += [shlex.quote(item) for item in meta.get("overrides", [])]
    return " ".join(["snakemake --cores all", *(["--config", *config] if config else [])])


def limitations(study) -> list[str]:
    """What this result does not show, of this study and in general."""
    meta, runs = study.meta, study.tables["runs"]
    size = int(runs.parameters.max()) if "parameters" in runs and len(runs) else 0
    out = [
        f"One testbed ({meta['testbed']}) and one model"
        + (f" of {size:,} parameters" if size else "")
        + ": whether the order holds for larger models or other data is not shown here.",
        "Every run starts from one SFT base: its luck is in no interval.",
        searched(meta),
        "The last checkpoint is taken for all, declared beforehand: an earlier one may be better.",
        "beta means another thing in each method: arms are never compared at equal beta.",
        f"Seconds ({study.second_name}) depend on how well each method is implemented.",
        "The proxy and the gold reward are scores of texts, not of what people would say of them.",
    ]
    if study.seeds == 1:
        return [*out, "One seed decides nothing between methods."]
    few = f"{study.seeds} seeds are few: small differences stay inconclusive."
    return [*out, few] if study.seeds < EQUIVALENCE_SEEDS else out


def searched(meta: dict) -> str:
    """Where the settings come from."""
    found = (meta["tuning"] or {}).get("methods", {})
    if not found:
        return "The settings are not from a search on this testbed: a better one may move a method."
    moved = [m for m in found if any(o.startswith(f"{m}.") for o in meta["overrides"])]
    if moved:
        return (
            f"{verdict.joined(map(style.label, moved))} had settings changed by hand, which the "
            "search did not pick: the budget of tuning is not equal."
        )
    trials = verdict.joined(dict.fromkeys(str(method["trials"]) for method in found.values()))
    return (
        f"Each method is shown at the best of {trials} random settings of learning rate and "
        "strength, on one seed; a longer search may move it."
    )


def own_version() -> str:
    """The installed version of this package."""
    try:
        return version("prefbench")
    except PackageNotFoundError:
        return "not installed"


def environment(autoescape: bool):
    """Jinja with strict undefined names, and the filters of the templates."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"label": style.label, "md": markdown}
    return jinja


def markdown(text) -> str:
    """Text for a cell or a line of Markdown: nothing in it is markup, nor ends the cell."""
    from html import escape

    out = escape(str(text), quote=False).replace("\n", " ")
    for c in "\\`*_[]|~#":
        out = out.replace(c, f"&#{ord(c)};" if c in "|`" else f"\\{c}")
    return out


def html(study, light: dict[str, str], shared: dict) -> str:
    """The page; `light` are light SVGs by name."""
    from markupsafe import Markup

    drawn = {
        plate.name: Markup(style.inline(light[plate.name], plate.name, plate.alt(study)))
        for plate in shared["plates"]
    }
    palettes = {"light": style.variables(style.LIGHT), "dark": style.variables(style.DARK)}
    template = environment(True).get_template(f"{template_of(study)}.html")
    return clean(template.render(**shared, figures=drawn, palettes=palettes))


def readme(study, shared: dict) -> str:
    """The same story for a code host."""
    return clean(environment(False).get_template(f"{template_of(study)}.md").render(**shared))


def template_of(study) -> str:
    """Which template: a comparison of arms, or a list of sections."""
    return "study" if kind_of(study) else "compare"


def clean(text: str) -> str:
    """Text that UTF-8 can hold, without trailing blanks."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return "\n".join(line.rstrip() for line in text.split("\n")).rstrip("\n") + "\n"
