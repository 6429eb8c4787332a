"""The facts of a comparison: each number and each finding that a post may quote, by its key.

`ppo.gold_delta`, `ppo-dpo.verdict`, `ppo.sums_hard.exact_match`, `headline`. Whatever depends on
the results is a fact, words too, so that the prose around facts stays true when results change.
"""

import math
import re

from bench.analysis import measures as ms
from bench.analysis import statistics as st
from bench.analysis.catalogue import BY_KEY
from bench.analysis.health import stability as runs_by_arm
from bench.report import page, samples, tables, verdict
from bench.report.style import SFT
from bench.report.verdict import fixed, said
from bench.studies.compare import page as compare_page
from bench.studies.compare.findings import FINDINGS
from bench.studies.compare.marked_text import Fact, digest, inert


def stamp(study, arms) -> str:
    """8 hex digits over the weights of all runs of these arms; a failed run has its status."""
    runs = study.runs.to_dict("records")
    lines = [
        f"{run['arm']} {run['seed']} {run.get('model_sha256')} {run['status']}"
        for run in runs
        if run["arm"] in arms
    ]
    return digest("\n".join(sorted(lines)))


def every(study) -> dict[str, Fact]:
    """{key: Fact} of a comparison of arms; the keys do not depend on how it went."""
    groups = (of_arms, of_pairs, of_tasks, of_plates, of_samples, of_limitations, of_study)
    return {
        key: Fact(key, text, stamp(study, arms))
        for group in groups
        for key, text, arms in group(study)
    }


NUMBERS = ("gold", "gold_delta", "win", "win_lc", "kl", "length", "proxy", "preference", "cost",
           "memory", "resident", "generated")  # fmt: skip


def of_arms(study):
    """Each measure of each arm, with its interval."""
    shape = runs_by_arm(study.tables, study.meta).set_index("arm")
    for arm in study.arms:
        for key in NUMBERS:
            found = study.interval(arm, key)
            yield f"{arm}.{key}", number(found, BY_KEY[key].digits, key == "gold_delta"), [arm]
        yield f"{arm}.flops", flops(study.interval(arm, "flops")), [arm]
        yield f"{arm}.failed", tables.failed(study, arm).text, [arm]
        for key in ("spread", "worst", "drawdown"):
            yield f"{arm}.{key}", tables.plain(key, shape[key][arm]).text, [arm]


def number(found: st.Interval | None, digits: int = 2, sign: bool = False) -> str:
    """'29.4 (28.1 to 30.7)'; says if it has no interval; what never varies needs none."""
    if found is None or not math.isfinite(found.mean):
        return "–"
    digits += digits == 0 and abs(found.mean) < 10 and found.half != 0
    spec = f"{'+' if sign else ','}.{digits}f"
    mean, low, high = (fixed(v, spec) for v in (found.mean, found.low, found.high))
    if not math.isfinite(found.half):
        return f"{mean} (no interval)"
    return f"{mean} ({low} to {high})" if found.half else mean


def flops(found: st.Interval | None) -> str:
    """'901 G (895 G to 907 G)'; the mean alone where three digits show no difference."""
    if found is None:
        return "–"
    if not math.isfinite(found.half):
        return f"{tables.scaled(found.mean)} (no interval)"
    mean, low, high = (tables.scaled(v) for v in (found.mean, found.low, found.high))
    return mean if low == high else f"{mean} ({low} to {high})"


def families(study) -> list[tuple]:
    """(declared pairs, their comparisons) of each family of questions."""
    against_sft = [(arm, SFT) for arm in study.arms]
    return [
        (against_sft, study.versus_sft),
        (study.pairs, study.versus),
        (study.variants, study.versus_tuned),
    ]


def of_pairs(study):
    """Each declared comparison in gold: difference, Holm's p, verdict."""
    for pairs, table in families(study):
        known = {(row.a, row.b): row for row in table.itertuples()}
        for pair in pairs:
            for name, text in compared(known.get(pair)).items():
                yield f"{'-'.join(pair)}.{name}", text, pair


def compared(row) -> dict[str, str]:
    """What is said of a pair; row: its comparison, None where a method has no finished run."""
    if row is None:
        return {"difference": "–", "p": "–", "verdict": "not compared"}
    p = verdict.p_words(row.p_holm).removeprefix("= ") if row.p_holm >= 0 else "–"
    words = inert(verdict.in_words(row))
    return {"difference": said(row.interval), "p": inert(p), "verdict": words}


def of_tasks(study):
    """lm-eval: the base's score, each arm's change from it with the interval over seeds."""
    table = ms.tax(study.tables["tasks"], study.meta)
    for (task, metric), group in table.groupby(["task", "metric"]):
        known, key = {row.arm: row for row in group.itertuples()}, f"{task}.{metric}"
        base = f"{known[SFT].mean:.3f}" if SFT in known else "–"
        yield f"{SFT}.{key}", base, study.arms
        yield f"{key}.n", f"{group.n.max():,.0f}", study.arms
        for arm in study.arms:
            yield f"{arm}.{key}", verdict.change(known[arm]) if arm in known else "–", [arm]


def of_plates(study):
    """The caption of each figure."""
    for plate in compare_page.plates(study):
        yield f"caption.{plate.name}", inert(plate.caption(study)), study.arms


def of_samples(study):
    """Of each family one prompt, by the page's rule, with every arm's answer and its gold."""
    for family, sample in one_a_family(study).items():
        yield f"{family}.prompt", inert(sample["prompt"]), study.arms
        for arm, answer in zip((*study.bases, *study.arms), sample["answers"], strict=True):
            text = answer["text"]
            runs = study.arms if arm in study.bases else [arm]
            words = "no answer: its runs failed" if text is None else inert(text) or "(nothing)"
            gold = "–" if text is None else fixed(answer["gold"], ".2f")
            yield f"{family}.{arm}.answer", words, runs
            yield f"{family}.{arm}.gold", gold, runs


def one_a_family(study) -> dict[str, dict]:
    """{family: the first of its samples that the page shows}."""
    found = {}
    for sample in samples.chosen(study):
        found.setdefault(sample["family"], sample)
    return found


def of_limitations(study):
    """Each limitation, by its first words."""
    for line in page.limitations(study):
        words = re.findall(r"[a-z]+", line.lower())[:4]
        yield f"limitation.{'-'.join(words)}", inert(line), study.arms


def of_study(study):
    """What is said of the study as a whole."""
    for key, words in FINDINGS.items():
        yield key, words(study), study.arms
