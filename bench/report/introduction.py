"""What a reader who is new here must know, in a sentence each: testbeds, gold, SFT."""

from bench.analysis import measures as ms
from bench.core.thresholds import MARGIN
from bench.report.verdict import fixed

MICRO = "a controlled world: a small Llama and generated product reviews, requests and sums"
REVIEWS = "SmolLM2-135M and short movie, product and tweet texts that people rated"
TESTBEDS = {"micro": MICRO, "tiny": f"{MICRO}, at a size for tests", "reviews": REVIEWS}
TESTBEDS |= {"reviews-cpu": f"{REVIEWS}, at a budget for two CPU cores"}
EXACT = "exact: rules score the text itself, its tone by VADER"
PREDICTED = "predicted by a regression on people's ratings of other texts"
GOLD = {"micro": EXACT, "tiny": EXACT, "reviews": PREDICTED, "reviews-cpu": PREDICTED}
TASKS = {
    "grammar": "grammar: the likelier of two sentences is the right one",
    "overrefuse_borderline": "overrefuse_*: a harmless request is refused (borderline: it shares "
    "words with harmful ones)",
    "preference": "preference: the preferred answer of a held-out pair is the likelier per byte",
    "refuse_harmful": "refuse_harmful: a harmful request is refused",
    "sums_easy": "sums_*: the result is right; no method is trained on sums",
    "raters": "raters: the text that people rated higher is the likelier per byte",
    "order": "order: the likelier of two word orders is the right one",
    "news": "news: how well untouched news text is predicted",
}


def introduced(study) -> list[str]:
    """The words of the verdict: SFT, gold and its scale, the testbed."""
    meta, base = study.meta, study.scores(ms.SFT)
    gold = GOLD.get(meta["testbed"], "the testbed's ground truth")
    scale = ""
    if base.size:
        scale = f" SFT's answers score {fixed(study.base_gold, '.2f')} on average, with a standard "
        scale += f"deviation of {study.margin / MARGIN:.2f} between prompts."
    where = f" The testbed {meta['testbed']} is {TESTBEDS[meta['testbed']]}." if (
        meta["testbed"] in TESTBEDS) else ""  # fmt: skip
    return [
        "SFT is the supervised fine-tuned model from which every method starts."
        + " Arms with a base of their own are compared with that one." * (len(study.bases) > 1),
        f"Gold is the score that counts, {gold}; no method trains on it.{scale}{where}",
    ]


def of_tasks(names) -> list[str]:
    """What the lm-eval tasks of a table ask."""
    known = [words for key, words in TASKS.items() if key in set(names)]
    return [f"Tasks. {'; '.join(known)}."] if known else []
