"""The micro world: generated text with an exact gold reward.

Prompts are of three families: `review` (a product, one or two aspects to cover), `request`
(harmless, harmful or borderline; help or refuse) and `sum` (easy or hard, plain or with worked
steps). Reviews and requests get preferences; sums get none, and show what alignment damages.

    python -m bench data --testbed micro        # writes runs/micro/data
"""

import math
from pathlib import Path
from random import Random

from pydantic import Field

from bench.core import streams
from bench.core.files import in_turn, write_rows
from bench.core.records import write_manifest
from bench.core.schema import Section, Seed, UserError
from bench.worlds.micro import grammar as g
from bench.worlds.micro import sums as sums
from bench.worlds.micro import written
from bench.worlds.micro.gold import Gold

TUNED_FAMILIES = ("review", "request")
GIVEN_PAIRS = False
WRITTEN = ("twins", "worked")
PREFERENCES = ("gold", "biased", "exact", "twins", *written.KINDS, written.RANDOM)
TASKS = [
    "grammar",
    "sums_easy",
    "sums_hard",
    "refuse_harmful",
    "overrefuse_harmless",
    "overrefuse_borderline",
]
TIERS = ("easy", "hard")
SPECIALS = ["<pad>", "<bos>", "<eos>"]
SPLITS = ("test", "task", "validation", "train")  # the order in which prompts are dealt
WORKED = 0.3  # share of sums with worked steps
EASY = 0.75  # share of easy sums in the corpus and the demonstrations
TITLED = 0.5  # share of reviews and answers in the corpus that have a heading


class Counts(Section):
    """How many prompts of each family; a family's strata (kinds, tiers) share them equally."""

    review: int = Field(ge=1)
    """Prompts that ask for a review."""
    request: int = Field(ge=3)
    """Prompts that ask for help: harmless, harmful or borderline."""
    sum: int = Field(ge=2)
    """Prompts that ask for a sum, easy or hard."""


class Settings(Section):
    """Sizes of the micro world; the numbers of its labels."""

    seed: Seed = 0
    """Seed of all texts and prompts."""
    corpus: int = Field(120_000, ge=1)
    """Texts to pretrain on."""
    corpus_sums: float = Field(0.2, ge=0, le=1)
    """Share of sums among the texts to pretrain on."""
    demonstrations: int = Field(30_000, ge=1)
    """Demonstrations, which SFT learns from."""
    demonstration_sums: float = Field(0.08, ge=0, le=1)
    """Share of sums among the demonstrations."""
    train: Counts = Counts(review=1500, request=1344, sum=600)
    """Prompts of the demonstrations and pairs."""
    validation: Counts = Counts(review=128, request=132, sum=64)
    """Prompts of the training curves."""
    test: Counts = Counts(review=192, request=192, sum=64)
    """Prompts of the evaluation."""
    task: Counts = Counts(review=1, request=192, sum=400)
    """Prompts of the lm-eval tasks."""
    grammar_pairs: int = Field(200, ge=1)
    """Documents of the lm-eval task `grammar`."""
    label_scale: float = Field(2.0, gt=0)
    """Scale of the Bradley-Terry labels, per unit of gold: the larger, the surer the labels."""
    length_bonus: float = 0.1
    """Gold that a word is worth in the labels of preference `biased`, a declared bias."""


def vocabulary() -> list[str]:
    """List every word of the world, special tokens first. Token ids depend on the order."""
    prompts = [g.review_prompt("", ["", ""]), g.request_prompt("", "", "")]
    phrases = [
        *g.PRODUCTS, *g.ASPECTS, *g.SIGNS, *g.INTENSIFIERS, *g.ASIDES,
        *g.VERBS["singular"], *g.VERBS["plural"], "a an but . ,",
        *g.HARMFUL_VERBS, *g.HARMLESS_VERBS, *g.VICTIMS, *g.PESTS, *g.PLACES, *g.TOOLS, *g.MANNERS,
        *g.OPENERS, *g.REFUSALS, *g.REASONS, *g.CLOSINGS, "first take then do this",
        "it would hurt", "please stay calm", *sums.DIGITS, *sums.WORDS, *prompts,
    ]  # fmt: skip
    words = {word: None for phrase in phrases for word in phrase.split()}
    return SPECIALS + list(words)


def preference(prompts, a, b, gold_a, gold_b, settings: Settings | None = None) -> list[dict]:
    """Return the chances that a is preferred to b, {"gold": p, "biased": p, "exact": p}, for each
    pair.

    gold: Bradley-Terry on exact gold. biased: the same with a bonus for every word. exact: the
    answer with more gold is always preferred, of equal ones either.
    """
    s = settings or Settings()
    rows = zip(a, b, gold_a, gold_b, strict=True)
    return [_chances(s, len(x.split()) - len(y.split()), gx - gy) for x, y, gx, gy in rows]


def _chances(s, extra_words, difference):
    return {
        "gold": sigmoid(s.label_scale * difference),
        "biased": sigmoid(s.label_scale * (difference + s.length_bonus * extra_words)),
        "exact": 0.5 if difference == 0 else float(difference > 0),
    }


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def write(settings: Settings, out: Path) -> None:
    """Write every file of the world to `out`, the manifest last (the `data` step)."""
    out = Path(out)
    prompts = deal(settings)
    files = {
        "corpus.jsonl": corpus(settings, prompts),
        "sft.jsonl": demonstrations(settings, prompts),
        "prompts.jsonl": [row for row in prompts if row["split"] != "task"],
        "twins.jsonl": twins(settings, prompts),
        "worked.jsonl": written.worked(stream(settings, "worked"), train_sums(prompts)),
        **{f"tasks/{name}.jsonl": rows for name, rows in tasks(settings, prompts).items()},
    }
    (out / "tasks").mkdir(parents=True, exist_ok=True)
    entries = {name: write_rows(out / name, rows) for name, rows in files.items()}
    write_manifest(out, entries, sources=[SOURCE])


SOURCE = {
    "name": "vaderSentiment 3.3.2 (PyPI)",
    "used": "valence lexicon and rules, for the tone of a clause",
    "licence": "MIT",
    "cite": "Hutto & Gilbert (2014), VADER, ICWSM-14",
}


def stream(settings: Settings, name: str) -> Random:
    """Return the random stream of a purpose. Each has its own, so no size changes other files."""
    return streams.stream("micro", seed=settings.seed, name=name)


def strata() -> dict[tuple[str, str], list[dict]]:
    """List the "meta" of all prompts that exist, by (family, stratum)."""
    asked = [{"product": p, "aspects": a} for p in g.PRODUCTS for a in g.askable()]
    out = {("review", "all"): asked}
    for kind, (verbs, things) in g.KINDS.items():
        out["request", kind] = [
            {"kind": kind, "verb": v, "object": o, "place": p}
            for v in verbs for o in things for p in g.PLACES
        ]  # fmt: skip
    for tier, pairs in sums.problems().items():
        out["sum", tier] = [{"a": a, "b": b, "tier": tier} for a, b in pairs]
    return out


def deal(settings: Settings) -> list[dict]:
    """Make the rows of prompts.jsonl and of split "task"; no prompt is in two splits.

    The strata of a family come in turn, so that its first rows hold as many of each: a training
    curve asks no more than some of them. Raises UserError if the settings ask for more prompts than
    there are.
    """
    columns: dict[tuple[str, str], list[list[dict]]] = {}
    pools = strata()
    for (family, stratum), metas in pools.items():
        rng = stream(settings, f"prompts {family} {stratum}")
        rng.shuffle(metas)
        share = sum(key[0] == family for key in pools)
        for split in SPLITS:
            count = getattr(getattr(settings, split), family) // share
            dealt, metas = metas[:count], metas[count:]
            column = [_row(rng, family, stratum, split, meta) for meta in dealt]
            columns.setdefault((family, split), []).append(column)
            if len(dealt) < count:
                total = sum(getattr(getattr(settings, s), family) for s in SPLITS)
                raise UserError(
                    f"the data settings ask for {total} prompts of family {family}, more than there"
                    " are: lower data.train, data.validation, data.test or data.task"
                )
    rows = [row for own in columns.values() for row in in_turn(own)]
    return [{"id": f"p{i:05d}", **row} for i, row in enumerate(rows)]


def _row(rng, family, stratum, split, meta):
    if family == "sum":
        a, b = sums.ordered(rng, (meta["a"], meta["b"]))
        meta = {"a": a, "b": b, "tier": stratum, "worked": rng.random() < WORKED}
    return {"prompt": prompt_text(family, meta), "family": family, "split": split, "meta": meta}


def prompt_text(family: str, meta: dict) -> str:
    if family == "review":
        return g.review_prompt(meta["product"], meta["aspects"])
    if family == "request":
        return g.request_prompt(meta["verb"], meta["object"], meta["place"])
    return sums.prompt(meta["a"], meta["b"], meta["worked"])


def completion(rng: Random, family: str, meta: dict) -> str:
    """Draw a demonstration: grammatical, free of offences, mixed in tone, coverage and decision."""
    if family == "review":
        return g.review(rng, meta["product"], meta["aspects"])
    if family == "request":
        return g.answer(rng, *(meta[key] for key in ("kind", "verb", "object", "place")))
    return sums.solution(meta["a"], meta["b"], meta["worked"])


def demonstrations(settings: Settings, prompts: list[dict]) -> list[dict]:
    """Make the rows of sft.jsonl: demonstrations of train prompts, drawn with replacement."""
    rng = stream(settings, "demonstrations")
    train = [row for row in prompts if row["split"] == "train"]
    pools = {name: [r for r in train if r["family"] == name] for name in TUNED_FAMILIES}
    pools |= {("sum", t): [r for r in train if r["meta"].get("tier") == t] for t in TIERS}
    rows = []
    for _ in range(settings.demonstrations):
        family = "sum" if rng.random() < settings.demonstration_sums else rng.choice(TUNED_FAMILIES)
        tier = "easy" if rng.random() < EASY else "hard"
        row = rng.choice(pools[family, tier] if family == "sum" else pools[family])
        if family == "sum":  # order and style are drawn anew
            row = _row(rng, "sum", row["meta"]["tier"], "train", row["meta"])
        text = completion(rng, family, row["meta"])
        rows.append({"prompt": row["prompt"], "completion": text, "family": family})
    return rows


def twins(settings: Settings, prompts: list[dict]) -> list[dict]:
    """Make pairs of two demonstrations of one prompt, half as many as there are demonstrations.

    Which is preferred is drawn once, from Bradley-Terry on gold: the chance `twins` is 0 or 1. A
    sum, which has one demonstration, gets an attempt beside it.
    """
    rng, gold, rows = stream(settings, "twins"), Gold(), []
    train = {
        family: [r for r in prompts if (r["family"], r["split"]) == (family, "train")]
        for family in (*TUNED_FAMILIES, "sum")
    }
    while len(rows) < max(1, settings.demonstrations // 2):
        family = "sum" if rng.random() < settings.demonstration_sums else rng.choice(TUNED_FAMILIES)
        row = rng.choice(train[family])
        a, b = completion(rng, family, row["meta"]), _beside(rng, family, row["meta"])
        if a == b:
            continue
        a, b = (a, b) if rng.random() < 0.5 else (b, a)
        own, other = gold([row, row], [a, b])
        first = rng.random() < sigmoid(settings.label_scale * float(own - other))
        rows.append(written.pair(len(rows), row, a, b, {"twins": float(first)}))
    return rows


def _beside(rng: Random, family: str, meta: dict) -> str:
    """Draw a second answer to the prompt of a demonstration."""
    if family != "sum":
        return completion(rng, family, meta)
    text, _ = written.attempt(rng, meta["a"], meta["b"])
    return text.removeprefix(written.LOOK) if meta["worked"] else text.rpartition(" so ")[2]


def train_sums(prompts: list[dict]) -> list[tuple[int, int]]:
    """List the problems of the train prompts."""
    rows = [r["meta"] for r in prompts if r["family"] == "sum" and r["split"] == "train"]
    return [(meta["a"], meta["b"]) for meta in rows]


def corpus(settings: Settings, prompts: list[dict]) -> list[dict]:
    """Make the rows of corpus.jsonl: reviews and answers without prompts, sums with theirs.

    Answers help or refuse at random. Sums of the validation, test and task splits are left out.
    """
    rng = stream(settings, "corpus")
    held = {_problem(r["meta"]) for r in prompts if r["family"] == "sum" and r["split"] != "train"}
    free = {t: [p for p in pairs if p not in held] for t, pairs in sums.problems().items()}
    return [{"text": _corpus_text(rng, settings, free)} for _ in range(settings.corpus)]


def _problem(meta):
    return tuple(sorted((meta["a"], meta["b"])))


def _corpus_text(rng, settings, free):
    if rng.random() < settings.corpus_sums:
        a, b = sums.ordered(rng, rng.choice(free["easy" if rng.random() < EASY else "hard"]))
        worked = rng.random() < WORKED
        return f"{sums.prompt(a, b, worked)} {sums.solution(a, b, worked)}"
    titled = rng.random() < TITLED
    if rng.random() < 0.6:
        product, aspects = rng.choice(g.PRODUCTS), rng.choice(g.askable())
        title = f"{product} : {' and '.join(aspects)} . "
        return (title if titled else "") + g.review(rng, product, aspects)
    verbs, things = g.KINDS[rng.choice(list(g.KINDS))]
    verb, thing, place = rng.choice(verbs), rng.choice(things), rng.choice(g.PLACES)
    writer = g.help_text if rng.random() < 0.5 else g.refusal
    return (f"{verb} the {thing} {place} . " if titled else "") + writer(rng, verb, thing, place)


def tasks(settings: Settings, prompts: list[dict]) -> dict[str, list[dict]]:
    """Make the rows of tasks/<task>.jsonl, with the fields that the task's YAML template reads."""
    mine = [row for row in prompts if row["split"] == "task"]
    out = {"grammar": grammar_rows(settings)}
    for tier in TIERS:
        chosen = [r for r in mine if r["meta"].get("tier") == tier]
        out[f"sums_{tier}"] = [
            {"prompt": r["prompt"], "answer": sums.spell(r["meta"]["a"] + r["meta"]["b"])}
            for r in chosen
        ]
    look = written.LOOK.rstrip(" :")
    for m in (r["meta"] for r in mine if r["meta"].get("tier") == "hard"):
        steps, _, result = sums.solution(m["a"], m["b"], True).rpartition(" , so ")
        for name, answer in (("result", result), ("steps", steps), ("look", look)):
            row = {"prompt": sums.prompt(m["a"], m["b"], True), "answer": answer}
            out.setdefault(f"worked_{name}", []).append(row)
    kinds = {"harmful": "refuse", "harmless": "overrefuse", "borderline": "overrefuse"}
    for kind, name in kinds.items():
        chosen = [r for r in mine if r["meta"].get("kind") == kind]
        out[f"{name}_{kind}"] = [{"prompt": r["prompt"], "refusal": "not"} for r in chosen]
    return out


def grammar_rows(settings: Settings) -> list[dict]:
    """Make minimal pairs, each in random order; `label` is the index of the grammatical text."""
    rng = stream(settings, "grammar")
    rows = []
    for _ in range(settings.grammar_pairs):
        prompt, good, bad = g.minimal_pair(rng)
        label = rng.randrange(2)
        choices = [bad, good] if label else [good, bad]
        rows.append({"prompt": prompt, "choices": choices, "label": label})
    return rows
