"""Build the page of the study `finals`: every candidate on fresh seeds, and the pick."""

import pandas as pd

from bench.report.sections import Kind, Section
from bench.report.tables import Cell, Table
from bench.report.words import count, fixed, joined, label, said
from bench.studies.finals import analysis
from bench.studies.tune.page import set_to


def headline(study) -> list[str]:
    """Say how far the best candidate of each method came."""
    top = analysis.picked(study.results).iterrows()
    items = [f"{label(method)} {said(row.interval)}" for method, row in top]
    if not items:
        return ["Every run failed."]
    head = "The picked candidates' gold above SFT, on validation prompts over"
    return [f"{head} {count(study.seeds, 'fresh seed')}: {'; '.join(items)}."]


def lines(study) -> list[str]:
    """Say what ran, by which rule the pick was made, and what its gain does not show."""
    found = analysis.candidates(study.results)
    n = found.groupby("method", sort=False).size()
    items = [f"{label(method)} {number}" for method, number in n.items()]
    return [
        f"Candidates: {joined(items)}, each on {count(study.seeds, 'seed')} that neither the "
        "search nor a comparison uses. They are the best trials of the study 'tune', each at a "
        "constant learning rate and at one that falls to 0 at the end.",
        f"The pick of a method is the candidate with the {analysis.RULE}.",
        "The gain of a pick is the highest of several noisy numbers, so it tends to be too high. A "
        "comparison measures it on other seeds and other prompts.",
    ]


def table(study) -> Table:
    """Tabulate every candidate, the best first within a method."""
    header = [("Candidate", ""), ("Gold above SFT", "validation ↑"),
              ("Accuracy", "held-out pairs ↑"), ("Failed", "runs ↓"), ("Picked by", ""),
              ("Settings", "")]  # fmt: skip
    best = {"gold": analysis.picked(study.results)}
    best["held-out accuracy"] = analysis.picked(study.results, "accuracy")
    rows = []
    found = analysis.candidates(study.results).sort_values("gain", ascending=False, kind="stable")
    for method in dict.fromkeys(analysis.candidates(study.results).method):
        for row in found[found.method == method].itertuples():
            by = [rule for rule, top in best.items() if row.arm in set(top.arm)]
            rows.append([
                Cell(label(row.arm), mark=study.looks[row.arm].colour),
                Cell(said(row.interval), value=row.gain),
                Cell(fixed(row.accuracy, ".3f")),
                Cell(f"{row.failed} of {row.runs}"),
                Cell(", ".join(by)),
                Cell(set_to(row.sets)),
            ])  # fmt: skip
    note = (
        "Means with 95 % t intervals over seeds; a failed run counts as no gain. Accuracy: how "
        "often a policy raised the chosen answer of a held-out pair more than the rejected one."
    )
    return Table("Every candidate", header, rows, [note])


def sections(study) -> list[Section]:
    """Return the sections of the page."""
    return [
        Section("how", "How the settings were picked", lines(study)),
        Section("candidates", "Candidates", tables=[table(study)]),
    ]


def results(study) -> pd.DataFrame:
    """Return results.csv: a row per run."""
    return analysis.runs(study.results).round(6)


KIND = Kind(headline, sections, lambda study: [], results)
