"""Say which variants of a method differ from the method as tuned."""

import math

from bench.analysis.comparisons import Comparison
from bench.core.grouping import grouped
from bench.report.words import BETTER, count, difference, joined, label, named, why_open

WORSE, OPEN, UNTESTED = "worse", "not told apart", "not tested"


def headline(study) -> str:
    """Say which variants differ from their method as tuned; nothing if none was tested."""
    found = groups(study)
    found.pop(UNTESTED, None)
    tested = [row for rows in found.values() for row in rows]
    if not tested:
        return ""
    tuned = [*dict.fromkeys(row.b for row in tested)]
    than = f"{label(tuned[0]) if len(tuned) == 1 else 'its method'} as tuned"
    parts = [
        f"{named([row.a for row in rows])} {'is' if len(rows) == 1 else 'are'} {word} than {than}"
        for word, rows in found.items()
        if word != OPEN
    ]
    return (
        joined(parts) or f"none of {count(len(tested), 'tested variant')} can be told from {than}"
    )


def groups(study) -> dict[str, list[Comparison]]:
    """Return {WORSE, BETTER, OPEN or UNTESTED: comparisons of variants with their method as tuned},
    in this order, those that there are."""
    found = grouped((word(row), row) for row in study.versus_tuned)
    return {key: found[key] for key in (WORSE, BETTER, OPEN, UNTESTED) if key in found}


def word(row: Comparison) -> str:
    """Return what a comparison says of its variant."""
    words = {row.a: BETTER, row.b: WORSE, None: OPEN if is_tested(row) else UNTESTED}
    return words[row.winner]


def is_tested(row: Comparison) -> bool:
    """Return whether enough runs of both arms ended for a test."""
    return math.isfinite(row.p)


def lines(study) -> list[str]:
    """Say what each variant of a method gains or loses against the method as tuned."""
    found = groups(study)
    if not found:
        return []
    untested = found.pop(UNTESTED, [])
    listed = [
        f"{word.capitalize()}: {', '.join(f'{label(r.a)} {difference(r)}' for r in rows)}."
        for word, rows in found.items()
    ]
    head = (
        "Variants are compared with their method as tuned: differences in gold with 95 % "
        "intervals, decided after Holm's correction."
    )
    open_ = [f"{label(r.a)}{why_open(r)}" for r in untested]
    return [head, *listed, *([f"Not tested: {'; '.join(open_)}."] if open_ else [])]
