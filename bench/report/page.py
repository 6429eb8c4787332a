"""Build what a study's page and README show: sentences, tables, figures and samples, no HTML."""

import re

from bench.analysis.fairness import as_many_flops
from bench.analysis.measures import MEASURES
from bench.analysis.statistics import EQUIVALENCE_SEEDS, VERDICT_SEEDS
from bench.core.grouping import grouped
from bench.core.names import DEFAULT_STUDY
from bench.core.thresholds import MARGIN
from bench.report import reference, render
from bench.report.reference import RUNS
from bench.report.reproduce import command
from bench.report.sections import Kind
from bench.report.study import MANY
from bench.report.words import INCONCLUSIVE, count, fixed, joined, label, named, scaled
from bench.worlds import words as words_of


def context(study, kind: Kind) -> dict:
    """Return all that the templates show; nothing in it is HTML."""
    return kind.more(study) | {
        "lead": kind.headline(study),
        "sections": kind.sections(study),
        "title": title(study),
        "kicker": kicker(study.meta),
        "meta": study.meta,
        "study": study,
        "breaches": reference.breaches(study),
        "figures": {figure.name: figure for figure in kind.figures(study)},
        "limitations": limitations(study, kind.units(study)),
        "reference": reference.of_runs(study, kind.each_arm),
        "glossary": reference.glossary(study, [*MEASURES, *kind.measures()]),
        "words": introduction(study) if kind.post else [],
        "command": command(study.meta),
    }


def kicker(meta) -> str:
    """Return the line above the title."""
    return f"prefbench · testbed {meta.testbed} · study {meta.study} · commit {meta.commit[:12]}"


def title(study) -> str:
    """Return 'PPO, DPO, IPO and ORPO on micro', or for other studies their name."""
    meta = study.meta
    if meta.study != DEFAULT_STUDY or study.many:
        return f"Study {meta.study} on {meta.testbed}"
    return f"{named(study.arms)} on {meta.testbed}"


def introduction(study) -> list[str]:
    """Explain SFT, gold and its scale, and the testbed to a new reader."""
    meta, scale = study.meta, ""
    if study.prompts:
        scale = (
            f" The SFT base's answers score {fixed(study.base_gold, '.2f')} on average, with a "
            f"standard deviation of {study.margin / MARGIN:.2f} between answers."
        )
    own = " An arm with an SFT base of its own is compared with that base." * (len(study.bases) > 1)
    return [
        f"SFT is the supervised fine-tuned model from which every method starts.{own}",
        f"Gold is the score that counts. Here it is {words_of(meta.world).GOLD}. "
        f"{words_of(meta.world).LABELS}.{scale}",
        *([f"Testbed {meta.testbed}: {meta.about}"] if meta.about else []),
    ]


def conditions(study) -> list[str]:
    """Say under which conditions the result holds, and which side they favour."""
    return [
        f"{sized(study)}: other sizes may order the methods otherwise.",
        *words_of(study.meta.world).CONDITIONS,
        bases(study),
        by_hand(study),
    ]


def sized(study) -> str:
    """Say 'One model of 175,744 parameters, from 3,000 pairs a run'."""
    sizes = sorted({*study.runs.parameters.dropna().astype(int)} - {0})
    model = f" of {joined(f'{size:,}' for size in sizes)} parameters" * bool(sizes)
    one = "Models" if len(sizes) > 1 else "One model"
    return f"{one}{model}, from {study.meta.pairs:,} pairs a run"


def by_hand(study) -> str:
    """Say which settings a search picked; all others were set by hand."""
    known, methods = study.meta.provenance or {}, dict.fromkeys(study.method.values())
    groups = grouped((picked_by_search(known, method), method) for method in methods)
    groups.pop((), None)
    if not groups:
        return "All settings of the methods were set by hand."
    items = [f"{joined(keys)} of {named(methods)}" for keys, methods in groups.items()]
    return (
        f"A search picked {'; '.join(items)}. All other settings (batches, warm-ups, the reward "
        "model's and lengths where they are not named) were set by hand."
    )


def picked_by_search(provenance: dict, method: str) -> tuple[str, ...]:
    """Return the settings of a method that a search picked."""
    found = provenance.get("methods", {}).get(method, {}).get("settings", {})
    return tuple(found or provenance.get("spaces", {}).get(method, ()))


def limitations(study, units: tuple[int, str]) -> list[str]:
    """Say what this result does not show: in this study, and in general.

    units: how many of what an interval covers: seeds, or SFT bases.
    """
    n, what = units
    sizes = study.runs.parameters.dropna().nunique()
    out = [
        f"One testbed ({study.meta.testbed}): nothing here shows whether the order of the methods "
        f"holds for {'other models' if sizes > 1 else 'larger models'} or other data.",
        *searched(study),
        "Every run is judged at its last checkpoint, as declared beforehand; an earlier one may "
        "score higher.",
        "beta means another thing in each method, so methods are never compared at equal beta.",
        "Seconds depend on how well each method is implemented.",
        "The proxy and the gold reward score texts; neither is the judgement of people.",
    ]
    if n < VERDICT_SEEDS:
        return [*out, f"{count(n, what)}: too few to decide between methods."]
    few = f"{count(n, what)} are few: small differences between methods stay {INCONCLUSIVE}."
    return [*out, few] if n < EQUIVALENCE_SEEDS else out


def bases(study) -> str:
    """Say what the intervals do not cover about the SFT bases."""
    if len(study.bases) == 1:
        return (
            "Every run starts from one SFT base: no interval covers the variation between SFT "
            "bases."
        )
    own = [f"{label(arm)} from {label(study.base[arm])}" for arm in study.arms]
    which = f" ({', '.join(own)})" * (len(own) <= MANY)
    return (
        f"Runs start from {len(study.bases)} SFT bases{which}: an arm's gain is over "
        "its own base, and arms of two bases are compared in gold itself, not in gain."
    )


def searched(study) -> list[str]:
    """Say where the settings come from; nothing where each arm sets its own, as in a search."""
    if all({"lr", "beta"} <= {*arm.sets} for arm in study.meta.arms):
        return []
    return [origin_of_settings(study)]


def origin_of_settings(study) -> str:
    """Say which search found the settings, and for whom there was none."""
    found, overrides = (study.meta.provenance or {}).get("methods", {}), study.meta.overrides
    if not found:
        return (
            "No search on this testbed found the settings: a search may find settings that change "
            "the results."
        )
    used = dict.fromkeys(study.method.values())
    if by_hand := [m for m in used if any(o.startswith(f"{m}.") for o in overrides)]:
        return (
            f"{named(by_hand)} had settings changed by hand, which the search did not pick, so the "
            "methods did not have the same tuning budget."
        )
    if unsearched := [m for m in used if m not in found]:
        return (
            f"{named(unsearched)} had no search, others had: the methods did not have the same "
            "tuning budget."
        )
    again = (study.meta.provenance or {}).get("confirmed")
    how = f"; the best ran again on {count(len(again['seeds']), 'further seed')}" if again else ""
    return (
        f"{of_trials({method: found[method] for method in used})}{how}. A longer search may find "
        "settings that change the results."
    )


def of_trials(found: dict[str, dict]) -> str:
    """Say 'Tuning tried 24 random settings of PPO, 44 of DPO and 44 of IPO, in about as many
    FLOPs'; found: {method: its search}."""
    trials = {own["trials"] for own in found.values()}
    if len(trials) == 1:
        return f"Tuning tried {trials.pop()} random settings of each method, on one seed"
    tried = joined(f"{own['trials']} of {label(m)}" for m, own in found.items())
    start = f"Tuning tried, on one seed, random settings: {tried}"
    if not as_many_flops(found):
        return start
    spent = joined(f"{label(m)} {scaled(own['flops']).strip()}" for m, own in found.items())
    return f"{start}, in about as many FLOPs ({spent})"


def linker(study):
    """Return a filter that links the names of arms in a text to the lists of their runs."""
    from markupsafe import Markup, escape

    names = {label(arm): arm for arm in study.runs.arm.unique()}
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
    """Return the page; drawn: SVGs by name."""
    listed = any(table.title == RUNS for table in shared["reference"])
    return render.html("study.html", shared, drawn, linker(study) if listed else None)


def readme(shared: dict) -> str:
    """Return the same content as Markdown, for a code host."""
    return render.text("study.md", shared)
