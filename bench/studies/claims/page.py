"""Say of each claim whether it holds here, how sure that is, and at which scale."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from bench.analysis.statistics import LEVEL, Interval
from bench.report.facts import parameters
from bench.report.sections import Kind, Section
from bench.report.tables import Cell, Table
from bench.report.words import count, fixed, joined, p_words, said
from bench.studies.claims import analysis
from bench.studies.claims import map as cells_map
from bench.studies.claims.analysis import Outcome, Word
from bench.studies.claims.claim import Part, Rule
from bench.studies.claims.figures import ALL, MAP, border, figures, name_of, of_claim
from bench.studies.claims.tested import every

MARK = {Word.SUPPORTED: "good", Word.CONTRADICTED: "bad", Word.UNDECIDED: ""}


def headline(study) -> list[str]:
    """Say how many claims hold, and at which scale."""
    rows = analysis.outcomes(study.results)
    if not rows:
        return [border(study)]
    words = Counter(row.word for row in rows)
    items = [f"{words[word]} {'is' if words[word] == 1 else 'are'} {word}" for word in Word]
    tested = len(analysis.by_claim(study.results))
    return [
        f"With a model of {parameters(study)} parameters on {study.meta.testbed}, of "
        f"{count(len(rows), 'statement')} of {count(tested, 'claim')} {joined(items)}."
    ]


def lines(study) -> list[str]:
    """Say how a claim is decided."""
    declared = sum(len(claim.parts) for claim in every().values())
    left = [key for key in every() if key not in analysis.by_claim(study.results)]
    return [
        "Each claim is an experiment with a margin and a rule, declared in the code before it ran. "
        "'More': supported if the 95 % interval leaves out 0 and the effect reaches the margin, "
        "contradicted if the interval ends below the margin. 'Matches or beats': supported if the "
        "interval lies above minus the margin, contradicted if below. 'Always': one reversal "
        "contradicts. All else is undecided.",
        f"Verdicts are corrected by Holm's method over all {declared} declared statements: one "
        "that holds alone and not after the correction counts as undecided.",
        "An interval covers SFT bases and test prompts: how an effect would vary with another base "
        "of this world and this size. Nothing here says that a large model behaves alike.",
        *([f"Not tested in this run: {joined(left)}."] if left else []),
    ]  # fmt: skip


def verdict_table(study) -> Table:
    """Tabulate every statement: verdict, effect, margin, and what could have been found."""
    header = [("", ""), ("Statement", ""), ("Verdict", ""), ("Effect", "for the claim"),
              ("Margin", ""), ("Unit", ""), ("Holm p", ""),
              ("Could find", "4 times in 5")]  # fmt: skip
    rows = [
        [
            Cell(name_of(row), link=f"#{row.claim.key.lower()}"),
            Cell(row.part.sentence),
            Cell(row.word, mark=MARK[row.word]),
            Cell(in_words(row.part, row.effect)),
            Cell(margin_of(row.part)),
            Cell(row.part.unit),
            Cell(p_words(row.p_holm)),
            Cell(fixed(math.exp(row.detectable) if row.part.logarithm else row.detectable, ".2g")),
        ]
        for row in analysis.outcomes(study.results)
    ]
    note = (
        "Effect: positive speaks for the claim; with its 95 % interval. Of a claim that says "
        "'always', the least of its effects. Could find: the smallest true effect that an "
        "experiment of this size tells from 0 in four of five cases."
    )
    return Table("Verdicts", header, rows, [note])


def in_words(part: Part, effect: Interval) -> str:
    """Format an effect with its interval; that of a log as the ratio."""
    if not part.logarithm:
        return said(effect)
    ends = {key: math.exp(getattr(effect, key)) for key in ("mean", "low", "high")}
    return said(replace(effect, **ends), sign="")


def margin_of(part: Part) -> str:
    """Format a margin; that of a log as the ratio."""
    return fixed(math.exp(part.margin) if part.logarithm else part.margin, ".3g")


def of_part(row: Outcome) -> str:
    """Say the verdict on a statement, with its numbers."""
    alone = f" ({row.alone} alone, not after the correction)" * (row.alone is not row.word)
    effects = "; ".join(in_words(row.part, effect) for effect in row.effects)
    rule = "" if row.part.rule is Rule.ALWAYS else f", margin {margin_of(row.part)}"
    found = f"{row.part.endpoint}: {effects} {row.part.unit}{rule}"
    return f"{row.part.sentence} {row.word.capitalize()}{alone}. Measured: {found}."


def of_claims(study) -> list[Section]:
    """Return a section for each claim that was tested."""
    found = []
    for key, rows in analysis.by_claim(study.results).items():
        claim = every()[key]
        others = "; ".join(f"{p.paper}: {p.finding}" for p in claim.published)
        text = [
            *map(of_part, rows),
            f"Experiment: {claim.experiment}",
            f"What others found: {others}." if others else "No publication tests this directly.",
            f"Undecided if {claim.open_if}.",
            *written_down(study, key),
            f"Mind: {claim.caveat}",
            "Run it alone: `snakemake --cores all --config testbed="
            f"{study.meta.source} study=claims 'claims={{only: [{key}]}}'`.",
        ]
        title = f"{key}. {claim.sentence}"
        found.append(Section(key.lower(), title, text, figures=[of_claim(claim)]))
    return found


def written_down(study, key: str) -> list[str]:
    """Say when an experiment was written down, and whether it changed after that."""
    if not (noted := study.meta.noted.get(key)):
        return []
    changed = "It has CHANGED since" if noted["changed"] else "It has not changed since"
    return [f"Arms, endpoint, margin and rule were written down on {noted['time']}, before the "
            f"study's first run. {changed}."]  # fmt: skip


def sections(study) -> list[Section]:
    """Return the sections of the page."""
    table = verdict_table(study)
    found = [Section("verdicts", "Which claims hold here?", lines(study), [table], [ALL])]
    return [*(found if table.rows else []), *of_map(study), *of_claims(study)]


def of_map(study) -> list[Section]:
    """Return the section of the map, if its cells were run."""
    rows, fit = cells_map.cells(study.results), cells_map.fitted(study.results)
    if not len(rows):
        return []
    lines = [border(study)]
    if fit:
        lines.append(
            "PPO's lead over DPO, in gold, by a linear model of labels (each doubling), flips (per "
            "100 %), origin and their interactions, with a level for each SFT base: "
            + "; ".join(coefficients(fit))
            + f". A cell that the model has not seen it misses by {fit.left_out:.2f} (root mean "
            f"square); single pairs of runs scatter by {fit.noise:.2f}."
        )
    return [Section("map", "Where does which method win?", lines, figures=[MAP])]


def coefficients(fit) -> list[str]:
    """Say each term of the fit with its 95 % interval."""
    half = stats.t.ppf((1 + LEVEL) / 2, fit.df) * np.sqrt(np.diag(fit.covariance))
    both = zip(cells_map.TERMS, fit.coefficients, half, strict=True)
    names = {"1": "with all labels, none turned round, of the own base"}
    return [
        f"{names.get(t, t)} {fixed(c, '+.2f')} ({fixed(c - h, '+.2f')} to {fixed(c + h, '+.2f')})"
        for t, c, h in both
    ]


def results(study) -> pd.DataFrame:
    """Return results.csv: a row for each statement."""
    return pd.DataFrame(
        {"claim": name_of(row), "statement": row.part.sentence, "verdict": str(row.word)}
        | {"alone": str(row.alone), "effect": row.effect.mean, "low": row.effect.low}
        | {"high": row.effect.high, "margin": row.part.margin, "unit": row.part.unit}
        | {"p_holm": row.p_holm, "detectable": row.detectable, "units": row.effect.seeds}
        for row in analysis.outcomes(study.results)
    )


KIND = Kind(headline, sections, figures, results)
