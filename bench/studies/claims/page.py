"""Say of each claim whether it holds here, how sure that is, and at which scale."""

from collections import Counter

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis.statistics import LEVEL
from bench.report.sections import Kind, Section
from bench.report.tables import Cell, Table
from bench.report.words import count, fixed, joined, p_words, parameters
from bench.studies.claims import analysis, post, units
from bench.studies.claims import map as cells_map
from bench.studies.claims.analysis import Word
from bench.studies.claims.claim import Claim
from bench.studies.claims.figures import ALL, MAP, border, drawn, figures, of_claim
from bench.studies.claims.tested import every
from bench.studies.claims.words import findable, in_words, margin_of, name_of, of_part, open_if

MARK = {Word.SUPPORTED: "good", Word.CONTRADICTED: "bad", Word.UNDECIDED: ""}


def headline(study) -> list[str]:
    """Say how many claims hold, and at which scale."""
    rows = analysis.outcomes(study.results)
    if not rows:
        return [border(study)]
    found = {word: [name_of(row) for row in rows if row.word is word] for word in Word}
    tested = len(analysis.by_claim(study.results))
    items = [
        f"{len(names)} {'is' if len(names) == 1 else 'are'} {word} ({', '.join(names)})"
        for word, names in found.items()
        if names
    ]
    return [
        f"With a model of {parameters(study)} parameters on {study.meta.testbed}, of "
        f"{count(len(rows), 'statement')} of {count(tested, 'claim')} {joined(items)}.",
        *([border(study)] if cells_map.fitted(study.results) else []),
    ]


def lines(study) -> list[str]:
    """Say how a claim is decided, and which were not tested."""
    noted = study.meta.noted
    left = [key for key in every() if key not in noted]
    cannot = [f"{key} ({own['cannot']})" for key, own in noted.items() if "cannot" in own]
    return [
        "Each claim is an experiment with a margin and a rule, declared in the code before it ran. "
        "'More': supported if the 95 % interval is above 0 and the effect reaches the margin, "
        "contradicted if the interval ends below the margin. 'Matches or beats': supported if the "
        "interval lies above minus the margin, contradicted if below. 'Always': one reversal "
        "contradicts, at a level divided by the number of effects. All else is undecided.",
        f"Verdicts are corrected by Holm's method over all {len(every())} claims, each of which "
        "weighs the same and divides its weight among its parts: one that holds alone and not "
        "after the correction counts as undecided. A fact, such as a number of models, is no test.",
        "Units are SFT bases; runs from one base are averaged. An interval covers units and test "
        "prompts, or units alone where it says so: how an effect would vary with another base of "
        "this world and this size. Nothing here says that a large model behaves alike. A failed "
        "run counts as no gain.",
        *([f"Not tested in this run: {joined(left)}."] if left else []),
        *([f"This testbed cannot test {joined(cannot)}."] if cannot else []),
    ]  # fmt: skip


def verdict_table(study) -> Table:
    """Tabulate every statement: verdict, effect, margin, and what could have been found."""
    header = [("", ""), ("Statement", ""), ("Verdict", ""), ("Effect", "for the claim"),
              ("Margin", ""), ("Unit", ""), ("n", "units"), ("Holm p", ""),
              ("Could find", "4 times in 5")]  # fmt: skip
    rows = [
        [
            Cell(name_of(row), link=f"#{row.claim.key.lower()}"),
            Cell(row.part.sentence),
            Cell(row.word, mark=MARK[row.word]),
            Cell(in_words(row.part, row.least)),
            Cell(margin_of(row.part)),
            Cell(row.part.unit),
            Cell(str(row.effect.seeds)),
            Cell(p_words(row.p_holm)),
            Cell(findable(row)),
        ]
        for row in analysis.outcomes(study.results)
    ]
    note = (
        "Effect, with its 95 % interval: positive, or for a ratio above 1, speaks for the claim. "
        "Of a claim that says 'always', the least of its effects. Could find: the smallest "
        "distance from what decides that an experiment of this size finds in four of five cases, "
        "at the level of the correction's first step; empty for intervals without standard error."
    )
    return Table("Verdicts", header, rows, [note])


def of_claims(study) -> list[Section]:
    """Return a section for each claim that was tested."""
    found = []
    for key, rows in analysis.by_claim(study.results).items():
        claim = every()[key]
        text = [
            *map(of_part, rows),
            f"Experiment: {claim.experiment}",
            *(claim.notes(study.results) if claim.notes else []),
            others(claim),
            f"Undecided if {'; '.join(filter(None, dict.fromkeys(map(open_if, claim.parts))))}.",
            *written_down(study, key),
            *([f"Seen before it was declared: {claim.seen}."] if claim.seen else []),
            *failures(study, claim),
            f"Mind: {claim.caveat}",
            "Run it alone: `snakemake --cores all claims --config testbed="
            f"{study.meta.source} 'claims=[{key}]'`.",
        ]
        title = f"{key}. {claim.sentence}"
        found.append(Section(key.lower(), title, text, figures=[of_claim(claim)]))
    return found


def others(claim: Claim) -> str:
    """Say what others found, and what differs there."""
    items = [
        f"{p.paper}: {p.finding}" + f" (there: {p.differs})" * bool(p.differs)
        for p in claim.published
    ]
    return f"What others found: {'; '.join(items)}." if items else "No publication tests this."


def failures(study, claim: Claim) -> list[str]:
    """Say how many runs failed, where some did."""
    failed, every_ = units.failed(study.results, claim.conditions)
    some = f"{failed} of {count(every_, 'run')} failed; {claim.failed}."
    return [some] if failed else []


def written_down(study, key: str) -> list[str]:
    """Say when an experiment was written down, and what changed after that."""
    noted = study.meta.noted.get(key, {})
    if not noted.get("time"):
        return ["This experiment was not written down before its first run."]
    runs, later = noted.get("runs", 0), noted["later"]
    before = f"when {count(runs, 'run')} of it existed" if runs else "before its first run here"
    changed = f"CHANGED after that: {joined(later)}." if later else "Nothing has changed since."
    return [f"Arms, endpoint, margin and rule were written down on {noted['time']}, {before}. "
            f"{changed}"]  # fmt: skip


def sections(study) -> list[Section]:
    """Return the sections of the page."""
    table = verdict_table(study)
    figures_ = [ALL] * bool(drawn(study))
    found = [Section("verdicts", "Which claims hold here?", lines(study), [table], figures_)]
    return [*(found if table.rows else []), *of_map(study), *of_claims(study)]


def of_map(study) -> list[Section]:
    """Return the section of the map, if its cells were run."""
    fit = cells_map.fitted(study.results)
    if not fit:
        return []
    lines = [
        border(study),
        "PPO's lead over DPO, in gold, by a linear model of labels (each doubling), flips (per "
        "100 %), origin and their interactions, with a level for each SFT base: "
        + "; ".join(coefficients(fit))
        + f". A cell that the model has not seen it misses by {fit.left_out:.2f} (root mean "
        f"square); single pairs of runs scatter by {fit.noise:.2f}.",
        "The dashed line, where there is one, is what the information in labels predicts: where "
        "N (1 - 2e)² with e of them turned round is as large as at the border without flips.",
        "The intervals are for these SFT bases and test prompts: another base moves the level.",
    ]
    return [Section("map", "Where does which method win?", lines, figures=[MAP])]


def coefficients(fit) -> list[str]:
    """Say each term of the fit with its 95 % interval."""
    half = stats.t.ppf((1 + LEVEL) / 2, fit.df) * np.sqrt(np.diag(fit.covariance))
    both = zip(cells_map.TERMS, fit.coefficients, half, strict=True)
    names = {
        "1": "with all labels, none turned round, of the own base",
        "labels": "more with each doubling of the labels",
        "flips": "more with 100 % turned round",
        "foreign": "more where another model wrote the pairs",
        "labels x flips": "labels and flips together",
        "labels x foreign": "labels and origin together",
        "flips x foreign": "flips and origin together",
    }
    return [
        f"{names.get(t, t)} {fixed(c, '+.2f')} ({fixed(c - h, '+.2f')} to {fixed(c + h, '+.2f')})"
        for t, c, h in both
    ]


def results(study) -> pd.DataFrame:
    """Return results.csv: a row for each statement. The effect of a ratio is its natural
    logarithm, as its unit says."""
    return pd.DataFrame(
        {"claim": name_of(row), "statement": row.part.sentence, "verdict": str(row.word)}
        | {"alone": str(row.alone), "effect": row.effect.mean, "low": row.effect.low}
        | {"high": row.effect.high, "margin": row.part.margin}
        | {"unit": "log " * row.part.logarithm + row.part.unit}
        | {"p_holm": row.p_holm, "detectable": row.detectable, "units": row.effect.seeds}
        for row in analysis.outcomes(study.results)
    )


def bases_of(study) -> tuple[int, str]:
    """Return how many SFT bases the intervals of most conditions cover."""
    counts = Counter(len(own) for own in units.arms_of(study.results).values() if len(own) > 1)
    return (counts.most_common(1)[0][0] if counts else 1), "SFT base"


KIND = Kind(headline, sections, figures, results, post=post.draft, units=bases_of, each_arm=False)
