"""What a study's page and README show: sentences, tables, figures and samples, no HTML."""

import re

from bench.analysis.statistics import EQUIVALENCE_SEEDS
from bench.report import introduction, render, style, tables, verdict
from bench.report.sections import Kind
from bench.settings.overrides import flow, merge, parse


def context(study, kind: Kind) -> dict:
    """All that the templates show; nothing in it is HTML."""
    return kind.more(study) | {
        "headline": kind.headline(study),
        "sections": kind.sections(study),
        "title": title(study),
        "kicker": kicker(study.meta),
        "meta": study.meta,
        "study": study,
        "breaches": tables.breaches(study),
        "plates": {plate.name: plate for plate in kind.plates(study)},
        "limitations": limitations(study),
        "reference": reference(study),
        "glossary": tables.glossary(study),
        "words": introduction.introduced(study) if kind.card else [],
        "command": command(study.meta),
    }


def reference(study) -> list:
    """The tables at the end: every run, its lm-eval scores, its settings."""
    found = [tables.runs(study), tables.task_runs(study), tables.settings(study)]
    return [table for table in found if table.rows]


def kicker(meta: dict) -> str:
    """The line above the title."""
    place = f"testbed {meta['testbed']} · study {meta['study']}"
    return f"prefbench · {place} · commit {meta['commit'][:12]}"


def title(study) -> str:
    """'PPO, DPO, IPO and ORPO on micro', or of a study by its name."""
    meta = study.meta
    if meta["study"] != "compare" or study.many:
        return f"Study {meta['study']} on {meta['testbed']}"
    return f"{verdict.joined(style.label(a) for a in study.arms)} on {meta['testbed']}"


def command(meta: dict) -> str:
    """What to type to make this report again."""
    import shlex

    config = [shlex.quote(f"testbed={meta['source']}")] if meta["source"] != "micro" else []
    config += [f"study={meta['study']}"] if meta["study"] != "compare" else []
    changed = {}
    for item in meta.get("overrides", []):
        changed = merge(changed, parse(item, changed))
    config += [shlex.quote(f"{key}={flow(value)}") for key, value in changed.items()]
    return " ".join(["snakemake --cores all", *(["--config", *config] if config else [])])


def limitations(study) -> list[str]:
    """What this result does not show, of this study and in general."""
    meta, runs = study.meta, study.runs
    size = int(runs.parameters.max()) if "parameters" in runs and len(runs) else 0
    out = [
        f"One testbed ({meta['testbed']}) and one model"
        + (f" of {size:,} parameters" if size else "")
        + ": whether the order holds for larger models or other data is not shown here.",
        bases(study),
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


def bases(study) -> str:
    """What the SFT bases leave out of the intervals."""
    if len(study.bases) == 1:
        return "Every run starts from one SFT base: its luck is in no interval."
    own = [f"{style.label(arm)} from {style.label(study.base[arm])}" for arm in study.arms]
    return (
        f"Runs start from {len(study.bases)} SFT bases ({', '.join(own)}): gains are from the "
        "arm's own base, differences between arms of two bases are of plain gold."
    )


def searched(meta: dict) -> str:
    """Where the settings come from."""
    found = (meta["provenance"] or {}).get("methods", {})
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


def linker(study):
    """A filter: text in which the name of an arm leads to the list of its runs."""
    from markupsafe import Markup, escape

    names = {style.label(arm): arm for arm in study.runs.arm.unique()} if len(study.runs) else {}
    longest_first = "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])({longest_first})(?![\w-])") if names else None

    def linked(text) -> Markup:
        parts = pattern.split(str(text)) if pattern else [str(text)]
        link = Markup('<a href="#runs-{}">{}</a>').format
        return Markup("").join(
            link(names[part], part) if i % 2 else escape(part) for i, part in enumerate(parts)
        )

    return linked


def html(study, drawn: dict[str, str], shared: dict) -> str:
    """The page; drawn: SVGs by name."""
    return render.html("study.html", shared, drawn, linker(study))


def readme(study, shared: dict) -> str:
    """The same story for a code host."""
    return render.text("study.md", shared)
