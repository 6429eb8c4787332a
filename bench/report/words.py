"""Turn numbers, arms and verdicts into words. The words for verdicts are declared only here."""

import math
import re

from bench.analysis import statistics as st
from bench.analysis.comparisons import Comparison, Family, Kind
from bench.core.grouping import grouped
from bench.core.names import SFT
from bench.core.thresholds import MARGIN
from bench.methods import METHODS

# kind of verdict -> its name, and the rule that decides it
VERDICTS = {
    Kind.BETTER: (
        "better",
        "one of two arms is better if the difference of their gold on the same prompts, over "
        f"{st.VERDICT_SEEDS} seeds or more, has a Holm-corrected p below .05; the test covers the "
        "variation between seeds and between prompts; if runs failed, the difference that is "
        "tested counts each of them as no gain, and neither the gain of the runs that ended nor "
        "the share that failed may speak for the other arm",
    ),
    Kind.EQUIVALENT: (
        "equivalent",
        f"two arms are equivalent if, with ten seeds or more, two one-sided tests (Schuirmann "
        f"1987) place the difference of their gold within {MARGIN:g} SDs of the SFT base's gold; "
        "if runs failed, the interval that counts them must lie there too",
    ),
    Kind.INCONCLUSIVE: ("inconclusive", "neither arm is better, and they are not equivalent"),
}
BETTER, EQUIVALENT, INCONCLUSIVE = (name for name, _ in VERDICTS.values())
STATUS = {"diverged": "diverged", "oom": "out of memory"}
ARMS = (
    (r"\bcritic_lrx", "critic lr ×"), (r"\breward\.lrx", "reward lr ×"),
    (r"\bbetax", "β ×"), (r"\blrx", "lr ×"), (r"\bepochsx", "epochs ×"), (r"\bbeta(?=[\d.])", "β="),
    (r"\bn(?=\d)", "n="), (r"\btrial(?=\d)", "trial "), (r"×0\.33\b", "×⅓"),
)  # fmt: skip
SCALES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1.0, ""))


def label(arm: str) -> str:
    """Name an arm for readers: dpo-beta0.3 -> DPO β=0.3, orpo-from-base -> ORPO from base.

    A name that begins with no built-in method stays as its user wrote it.
    """
    arm, at, key = arm.partition("@")  # of an SFT base: sft@3f9a1c2e
    head, dash, rest = arm.partition("-")
    for pattern, words in ARMS:
        rest = re.sub(pattern, words, rest)
    known = head == SFT or head in METHODS
    title = getattr(METHODS.get(head), "TITLE", head.upper()) if known else head
    return f"{title} {rest.replace('-', ' ')}" if dash else title + at + key


def fixed(value: float, spec: str) -> str:
    """Format a number with a true minus sign, and no sign before a zero; a dash if it is none."""
    if not math.isfinite(value):
        return "–"
    text = format(value, spec)
    nothing = not text.strip("+-0.,")  # a sign before a zero would claim what digits do not show
    return (text.lstrip("+-") if nothing else text).replace("-", "−")


def parameters(study) -> str:
    """Return the size of the model, or of the smallest and the largest: '0.18 million'."""
    sizes = study.runs.parameters.dropna()
    ends = dict.fromkeys((sizes.min(), sizes.max()))
    words = [millions(size) for size in ends if size > 0]
    return f"{' to '.join(words)} million" if words else "unknown"


def scaled(value: float, like: float | None = None) -> str:
    """Format 1.23e12 as '1.23 T'; like: a number of three digits whose prefix is taken."""
    head = abs(value if like is None else like)
    size, prefix = next((pair for pair in SCALES if head >= pair[0]), SCALES[-1])
    digits = 3 if like is None else 2
    return f"{float(f'{value / size:.{digits}g}'):g} {prefix}".strip()


def said(interval: st.Interval, digits: int = 2, sign: str = "+", more: str = "") -> str:
    """Format '+0.71 (+0.55 to +0.87)'; the sentence around it says that this is a 95 % interval.

    more: stands before the closing bracket.
    """
    mean, low, high = (
        fixed(v, f"{sign}.{digits}f") for v in (interval.mean, interval.low, interval.high)
    )
    if not math.isfinite(interval.mean):
        return mean
    span = f"{low} to {high}" if math.isfinite(interval.half) else "no interval"
    return f"{mean} ({span}{more})"


def difference(row: Comparison) -> str:
    """Format the difference that is tested; '; failed runs counted' if some of the pair failed."""
    return said(row.decisive, more="; failed runs counted" * (row.expected is not None))


def bounds(interval: st.Interval) -> str:
    """Format '+0.55 to +0.87'; '' if there is no interval."""
    if not math.isfinite(interval.half):
        return ""
    return f"{fixed(interval.low, '+.2f')} to {fixed(interval.high, '+.2f')}"


def between(values) -> str:
    """Format the range of values, '0.10 to 0.15', or one number if they agree."""
    low, high = (f"{f(values):.2f}" for f in (min, max))
    return low if low == high else f"{low} to {high}"


def joined(words, last: str = "and") -> str:
    """Join words: 'a, b and c'."""
    *first, end = list(words) or [""]
    return f"{', '.join(first)} {last} {end}" if first else end


def named(arms) -> str:
    """Join the names of arms: 'PPO, DPO and IPO'."""
    return joined(map(label, arms))


def count(n: int, what: str) -> str:
    """Format a count: '1 seed', '5 seeds'."""
    return f"{n} {what}{'s' * (n != 1)}"


def p_words(p: float, equals: str = "") -> str:
    """Format p as '< 0.001' or '0.014'; equals: what stands before the latter."""
    if not math.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"


def verdict(row: Comparison) -> str:
    """Say a verdict in a table's cell: 'DPO better', 'equivalent within 0.1', 'inconclusive'."""
    words = {
        Kind.BETTER: f"{label(row.winner or '')} {BETTER}",
        Kind.EQUIVALENT: f"{EQUIVALENT} within {row.margin:.2g}",
        Kind.INCONCLUSIVE: f"{INCONCLUSIVE}{why_open(row)}",
    }
    return words[row.kind]


def why_open(row: Comparison) -> str:
    """Say ': 2 shared seeds' if failed runs alone, or too few seeds, leave a comparison open."""
    sides = zip((row.a, row.b), row.ended, strict=True)
    if failed := [some_ended(arm, share) for arm, share in sides if not share.count]:
        return f": {joined(failed)}"
    if row.interval.seeds < st.VERDICT_SEEDS:
        return f": {count(row.interval.seeds, 'shared seed')}"
    if not all(share.all for share in row.ended) and row.expected is None:
        return ": runs failed, and the arms have two SFT bases"
    return ": gain and failures disagree" * (row.p_holm < 1 - st.LEVEL)


def pair(row) -> str:
    """Return 'PPO − DPO': the difference that is meant."""
    return f"{label(row.a)} − {label(row.b)}"


def size(i: st.Interval, swap: bool = False, more: str = "") -> str:
    """Format a difference, a - b or if swapped b - a: '0.48 (0.30 to 0.66)'."""
    values = (-i.mean, -i.high, -i.low) if swap else (i.mean, i.low, i.high)
    mean, low, high = (fixed(value, ".2f") for value in values)
    return f"{mean} ({low} to {high}{more})"


def decided(row: Comparison) -> str:
    """Say 'PPO is better than IPO by 0.48 (0.30 to 0.66; Holm p = 0.014).'"""
    p, swap = f"; Holm p {p_words(row.p_holm, '= ')}", row.winner == row.b
    head = f"{label(row.winner)} is {BETTER} than {label(row.loser)} by"
    if row.expected is None:
        return f"{head} {size(row.interval, swap, p)}."
    counted = f"{size(row.expected, swap, p)} with failed runs counted as no gain"
    return f"{head} {counted}; by {size(row.interval, swap)} in the runs that ended."


def some_ended(arm: str, share: st.Share, what: str = "run", where: str = "") -> str:
    """Say '8 of 10 runs of DPO ended', 'every run of DPO failed'."""
    if not share.count and where:
        return f"no {what} of {label(arm)} ended{where}"
    if not share.count:
        return f"every {what} of {label(arm)} failed" if share.n else f"{label(arm)} has no {what}"
    return f"{share.count} of {count(share.n, what)} of {label(arm)} ended{where}"


def leader(family: Family) -> str:
    """Say 'PPO is better than every other method', or than whom none is better; '' if no arm is
    judged."""
    if sole := family.champion():
        return f"{label(sole)} is {BETTER} than every other method"
    top = family.unbeaten()
    return f"no method is {BETTER} than {joined(map(label, top), 'or')}" if top else ""


def decisions(family: Family) -> str:
    """Say 'DPO and IPO are better than PPO': what is decided, grouped by who is worse."""
    groups = grouped((row.loser, row.winner) for row in family if row.winner)
    return joined(
        f"{named(winners)} {'is' if len(winners) == 1 else 'are'} {BETTER} than {label(loser)}"
        for loser, winners in groups.items()
    )


def millions(parameters: float) -> str:
    """Format a number of parameters in millions: '0.18'."""
    return f"{float(f'{parameters / 1e6:.2g}'):g}"


def not_judged(family: Family, *of: str) -> list[str]:
    """Say what keeps arms or pairs from a verdict: 'every run of DPO failed'.

    of: what ended, and where, if not a run (`some_ended`).
    """
    few = {arm: share for arm, share in family.ended.items() if share.count < st.VERDICT_SEEDS}
    apart = [
        f"{label(row.a)} and {label(row.b)} share too few seeds that ended"
        for row in family
        if row.interval.seeds < st.VERDICT_SEEDS and not {row.a, row.b} & few.keys()
    ]
    return [*(some_ended(*item, *of) for item in few.items()), *apart]


def same(row: Comparison, other: str = "", where: str = "") -> str:
    """Say 'DPO and IPO are equivalent within 0.1.'; other: a name for the second arm."""
    both = f"{label(row.a)} and {other or label(row.b)}"
    return f"{both} are {EQUIVALENT} within {row.margin:.2g}{where}."


def open_pairs(rows: list[Comparison]) -> str:
    """Say 'Inconclusive: DPO against IPO.'; empty if there is none."""
    pairs = [f"{label(row.a)} against {label(row.b)}" for row in rows]
    return f"{INCONCLUSIVE.capitalize()}: {joined(pairs)}." if pairs else ""
