"""The reviews world: human texts that raters scored one by one (Hutto & Gilbert 2014).

A prompt names a domain and a word, as in "movie review: plot"; a completion is a text with that
word. Raters scored texts, not pairs. So the preference between two texts compares one rater's score
of each, drawn independently, with ties split; its probability is computed exactly from all scores.
Texts are divided into gold, test and train by parent document. Each word is asked for in prompts of
one split only. News texts serve to measure the alignment tax only.

    python -m bench data --testbed reviews        # writes runs/reviews/data; fetches 2.5 MB
"""

import tempfile
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path
from random import Random

from pydantic import Field

from bench.core import streams
from bench.core.files import in_turn, write_rows
from bench.core.records import write_manifest
from bench.core.schema import Section, Seed, UserError
from bench.worlds.bradley_terry import on_policy
from bench.worlds.reviews.gold import FILE, MENTION, REPETITION, Gold, Regressor
from bench.worlds.reviews.texts import PACKAGE, Text, askable, fetch_texts, keywords, tokens

TUNED_FAMILIES = ("movie", "product", "tweet")
GIVEN_PAIRS = True
WRITTEN = ()
PREFERENCES = ("gold",)
TASKS = ["raters", "order", "news"]
TITLES = {"movie": "movie review", "product": "product review", "tweet": "tweet", "news": "news"}
SCORES = range(-4, 5)


class Settings(Section):
    """How texts are divided, and how many pairs and documents there are."""

    seed: Seed = 0
    """Seed of how texts are divided and paired."""
    gold_share: float = Field(0.3, gt=0, lt=1)
    """Share of the documents to which gold is fitted."""
    test_share: float = Field(0.15, gt=0, lt=1)
    """Share of the documents that are held out for gold's correlation with raters and for tasks."""
    test_words: float = Field(0.2, gt=0, lt=1)
    """Share of the words that prompts ask for which goes to test prompts."""
    validation_words: float = Field(0.1, gt=0, lt=1)
    """Share of the words that prompts ask for which goes to validation prompts."""
    min_words: int = Field(4, ge=1)
    """Fewest words of a text that is a demonstration or in a pair."""
    max_words: int = Field(18, ge=2)
    """Most words of a text that is a demonstration or in a pair."""
    max_chars: int = Field(120, ge=10)
    """Most characters of a text that is a demonstration or in a pair."""
    pool: int = Field(2400, ge=1)
    """Preference pairs, shared by all seeds."""
    uses: int = Field(4, ge=1)
    """Most pairs of the pool that one text may be in."""
    label_scale: float = Field(2.2, gt=0)
    """Scale of the Bradley-Terry labels of on-policy pairs, per unit of gold: the default makes
    them about as sure as the raters."""
    alpha: float = Field(2.0, gt=0)
    """Penalty of gold's ridge regression."""
    raters: int = Field(100, ge=3)
    """Documents of the lm-eval task `raters`."""
    order: int = Field(100, ge=1)
    """Documents of the lm-eval task `order`."""
    news: int = Field(40, ge=1)
    """Documents of the lm-eval task `news`."""


def write(settings: Settings, out: Path) -> None:
    """Write every file of the world to `out`, the manifest last (the `data` step).

    Raises UserError if the texts cannot be downloaded, or a file would be empty.
    """
    out = Path(out)
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        texts = fetch_texts(Path(scratch) / "fetched")
    build(settings, texts, out)


def build(settings: Settings, texts: list[Text], out: Path) -> None:
    """Write all files, made from the texts."""
    parts = deal(settings, texts)
    regressor, quality = fit_gold(settings, parts)
    regressor.save(out / FILE)
    short = {name: [t for t in part if usable(settings, t)] for name, part in parts.items()}
    charged = valence_words()
    words = {d: deal_words(settings, d, short, charged) for d in TUNED_FAMILIES}
    prompts = prompt_rows(words)
    pool = pool_rows(settings, words, short["train"], prompts, Gold(out))
    files = {
        "sft.jsonl": demonstrations(settings, short["train"], words, charged),
        "prompts.jsonl": prompts,
        "pool.jsonl": pool,
        **{
            f"tasks/{name}.jsonl": rows
            for name, rows in tasks(settings, parts, short, charged).items()
        },
    }
    quality["pairs_in_raters_order"] = agreement(pool)
    write_files(files, quality | {"texts": sizes(parts, short)}, out)


def write_files(files: dict[str, list[dict]], found: dict, out: Path) -> None:
    """Write rows as JSON lines, then the manifest: their hashes, the sources, gold's quality."""
    (out / "tasks").mkdir(parents=True, exist_ok=True)
    entries = {}
    for name, rows in files.items():
        if not rows:
            raise UserError(f"data: {name} would be empty: raise data.max_words or data.*_share")
        entries[name] = write_rows(out / name, rows)
    write_manifest(out, entries, sources=[SOURCE], gold=found)


SOURCE = {
    "name": "vaderSentiment 3.3.2 (PyPI), hutto_ICWSM_2014",
    "used": "texts with every rater's score",
    "sha256": PACKAGE.sha256,
    "licence": "MIT (the package)",
    "cite": "Hutto & Gilbert (2014), VADER, ICWSM-14",
}


def stream(settings: Settings, name: str) -> Random:
    """Return the random stream of a purpose. Each has its own, so no size changes other files."""
    return streams.stream("reviews", seed=settings.seed, name=name)


def deal(settings: Settings, texts: list[Text]) -> dict[str, list[Text]]:
    """Divide texts into the parts gold, test and train; a parent document lies in one part."""
    parts = {"gold": [], "test": [], "train": []}
    for domain in TITLES:
        documents = sorted({t.document for t in texts if t.domain == domain})
        stream(settings, f"documents {domain}").shuffle(documents)
        n_gold = round(settings.gold_share * len(documents))
        n_test = round(settings.test_share * len(documents))
        part_of = {
            name: "gold" if i < n_gold else "test" if i < n_gold + n_test else "train"
            for i, name in enumerate(documents)
        }
        for text in texts:
            if text.domain == domain:
                parts[part_of[text.document]].append(text)
    return parts


def usable(settings: Settings, text: Text) -> bool:
    """True if a text is short enough (about 30 tokens) and holds no link."""
    fits = settings.min_words <= text.words <= settings.max_words
    return fits and len(text.text) <= settings.max_chars and "http" not in text.text


def valence_words() -> set[str]:
    """List the words of VADER's lexicon, which all have a valence."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return set(SentimentIntensityAnalyzer().lexicon)


def fit_gold(settings: Settings, parts: dict[str, list[Text]]) -> tuple[Regressor, dict]:
    """Fit gold to the texts of its part; also returns its correlation with raters on test texts."""
    own, held = (
        [t for t in parts[name] if t.domain in TUNED_FAMILIES] for name in ("gold", "test")
    )
    columns = [t.domain for t in own], [t.text for t in own], [t.mean for t in own]
    regressor = Regressor.fit(*columns, settings.alpha)
    regressor.calibrate([t.domain for t in held], [t.text for t in held])
    found = {d: correlation(settings, regressor, [t for t in held if t.domain == d])
             for d in TUNED_FAMILIES}  # fmt: skip
    definition = f"rating / {regressor.sd:.3f} + {MENTION} mention - {REPETITION} repetition"
    return regressor, {"definition": definition, "fitted_on": len(own), "with_raters": found}


def correlation(settings: Settings, regressor: Regressor, texts: list[Text]) -> dict:
    """Correlate predicted and rated means (Pearson's r).

    The 95 % interval is a bootstrap of parent documents.
    """
    import numpy as np

    predicted = regressor.predict([t.domain for t in texts], [t.text for t in texts])
    rated = np.array([t.mean for t in texts])
    groups = defaultdict(list)
    for i, text in enumerate(texts):
        groups[text.document].append(i)
    rows, rng = list(groups.values()), np.random.default_rng(settings.seed)
    draws = [np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])
             for _ in range(500)]  # fmt: skip
    spread = [np.corrcoef(predicted[d], rated[d])[0, 1] for d in draws]
    low, high = np.nanpercentile(spread, [2.5, 97.5])
    r = float(np.corrcoef(predicted, rated)[0, 1])
    return {"r": round(r, 4), "ci95": [round(float(x), 4) for x in (low, high)], "n": len(texts)}


def deal_words(settings: Settings, domain: str, short: dict, charged: set[str]) -> dict:
    """Divide a domain's words, which its prompts ask for, among the splits."""
    texts = [t for part in ("train", "test") for t in short[part] if t.domain == domain]
    words = list(keywords(texts, charged))
    stream(settings, f"words {domain}").shuffle(words)
    n_test = round(settings.test_words * len(words))
    n_validation = round(settings.validation_words * len(words))
    bounds = [0, n_test, n_test + n_validation, len(words)]
    names = ("test", "validation", "train")
    return {n: sorted(words[bounds[i] : bounds[i + 1]]) for i, n in enumerate(names)}


def prompt_text(domain: str, keyword: str) -> str:
    return f"{TITLES[domain]}: {keyword}"


def prompt_rows(words: dict[str, dict]) -> list[dict]:
    """Make the rows of prompts.jsonl: each word of each domain, shuffled within its split."""
    rows = [
        {
            "prompt": prompt_text(domain, word),
            "family": domain,
            "split": split,
            "meta": {"domain": domain, "keyword": word},
        }
        for domain, splits in words.items()
        for split, members in splits.items()
        for word in streams.stream("reviews-words", domain=domain, split=split).sample(
            members, len(members)
        )
    ]
    return [{"id": f"p{i:05d}", **row} for i, row in enumerate(rows)]


def demonstrations(settings: Settings, texts: list[Text], words: dict, charged) -> list[dict]:
    """Make the rows of sft.jsonl: each training text, prompted with one of its words.

    The word is never a held-out one, and if possible one that other texts share. Texts without such
    words are left out.
    """
    rng = stream(settings, "demonstrations")
    rows = []
    for text in texts:
        if text.domain in TUNED_FAMILIES and (word := own_word(rng, text, words, charged)):
            prompt = prompt_text(text.domain, word)
            rows.append({"prompt": prompt, "completion": text.text, "family": text.domain})
    return rows


def own_word(rng: Random, text: Text, words: dict, charged: set[str]) -> str | None:
    """Draw a word of a text for its prompt: one that texts share, else its longest, else None."""
    splits = words[text.domain]
    held = {*splits["test"], *splits["validation"]}
    mine = sorted({w for w in tokens(text.text) if askable(w, charged) and w not in held})
    shared = sorted(set(mine) & set(splits["train"]))
    if shared:
        return rng.choice(shared)
    return max(mine, key=len, default=None)


def prefers(a: Text, b: Text) -> float:
    """Return the exact chance that a random rater's score of `a` beats one of `b`, ties split."""
    first, second = Counter(a.scores), Counter(b.scores)
    wins = sum(
        first[x] * second[y] * (1.0 if x > y else 0.5)
        for x in SCORES for y in SCORES if x >= y
    )  # fmt: skip
    return wins / (len(a.scores) * len(b.scores))


def pairs_of(rng: Random, words: dict[str, list[int]], texts: list[Text], uses: int):
    """Yield (word, a, b) in random order; no pair comes twice, no text in more than `uses` pairs.

    words: {word: indices of texts}. The two texts of a pair come from different documents, and
    their order is random.
    """
    found = [(w, *rng.sample(pair, 2)) for w, held in words.items()
             for pair in combinations(held, 2)]  # fmt: skip
    rng.shuffle(found)
    used, seen = Counter(), set()
    for word, i, j in found:
        a, b = texts[i], texts[j]
        new = frozenset((i, j)) not in seen and a.document != b.document
        if new and used[i] < uses and used[j] < uses:
            seen.add(frozenset((i, j)))
            used.update((i, j))
            yield word, a, b


def pool_rows(settings: Settings, words: dict, texts: list[Text], prompts, gold) -> list[dict]:
    """Make the rows of pool.jsonl: pairs of training texts that share a train word.

    Families are taken in turn, so that each has about as many pairs.
    """
    by_prompt = {row["prompt"]: row for row in prompts}
    columns = []
    for domain in TUNED_FAMILIES:
        mine = [t for t in texts if t.domain == domain]
        holders = holders_of(set(words[domain]["train"]), mine)
        columns.append(pairs_of(stream(settings, f"pool {domain}"), holders, mine, settings.uses))
    found = in_turn([[*column] for column in columns])[: settings.pool]
    asked = [by_prompt[prompt_text(a.domain, word)] for word, a, _ in found]
    gold_a, gold_b = (gold(asked, [row[k].text for row in found]) for k in (1, 2))
    return [
        {
            "id": i,
            "prompt_id": prompt["id"],
            "prompt": prompt["prompt"],
            "family": prompt["family"],
            "a": a.text,
            "b": b.text,
            "gold_a": round(float(gold_a[i]), 4),
            "gold_b": round(float(gold_b[i]), 4),
            "p": {"gold": round(prefers(a, b), 6)},
        }
        for i, ((_, a, b), prompt) in enumerate(zip(found, asked, strict=True))
    ]


def preference(prompts, a, b, gold_a, gold_b, settings: Settings) -> list[dict]:
    """Return the chance that a is preferred to b, from gold, for pairs of SFT-base samples."""
    return on_policy(gold_a, gold_b, scale=settings.label_scale)


def holders_of(words: set[str], texts: list[Text]) -> dict[str, list[int]]:
    """Map each word to the indices of the texts that hold it."""
    found = defaultdict(list)
    for i, text in enumerate(texts):
        for word in sorted(words & set(tokens(text.text))):
            found[word].append(i)
    return dict(sorted(found.items()))


def agreement(pool: list[dict]) -> dict[str, float]:
    """Return, by family, the share of pairs in which gold prefers the text that raters prefer."""
    right = defaultdict(list)
    for row in pool:
        if row["p"]["gold"] != 0.5:
            right[row["family"]].append((row["gold_a"] > row["gold_b"]) == (row["p"]["gold"] > 0.5))
    return {family: round(sum(hits) / len(hits), 4) for family, hits in right.items()}


def sizes(parts: dict, short: dict) -> dict[str, dict[str, int]]:
    """Count the texts by part and domain, and those short enough to use."""
    return {
        name: {d: sum(t.domain == d for t in held[part]) for d in TITLES}
        for part in parts
        for name, held in ((part, parts), (f"{part}_short", short))
    }


def tasks(settings: Settings, parts: dict, short: dict, charged: set[str]) -> dict:
    """Make the rows of tasks/<task>.jsonl, texts that neither a model nor gold was trained on."""
    return {
        "raters": raters_rows(settings, short["test"], charged),
        "order": order_rows(settings, [t for t in short["train"] if t.domain == "news"]),
        "news": news_rows(settings, parts["test"]),
    }


DECISIVE = 0.7  # a preference with at least this chance counts as the raters'


def raters_rows(settings: Settings, texts: list[Text], charged: set[str]) -> list[dict]:
    """Make pairs of test texts that share a word; `label` is the one that raters clearly prefer."""
    columns = []
    for domain in TUNED_FAMILIES:
        mine = [t for t in texts if t.domain == domain]
        rng = stream(settings, f"raters {domain}")
        pairs = pairs_of(rng, keywords(mine, charged), mine, settings.uses)
        rows = [(word, a, b, prefers(a, b)) for word, a, b in pairs]
        columns.append([row for row in rows if max(row[3], 1 - row[3]) >= DECISIVE])
    return [
        {
            "prompt": prompt_text(a.domain, word),
            "choices": [a.text, b.text],
            "label": int(p < 0.5),
            "family": a.domain,
        }
        for word, a, b, p in in_turn(columns)[: settings.raters]
    ]


def order_rows(settings: Settings, texts: list[Text]) -> list[dict]:
    """Make pairs of a news sentence and the same with two words swapped; `label`: the original.

    No model trains on news, so the sentences can come from the `train` part; the perplexity task
    uses the `test` part.
    """
    rng = stream(settings, "order")
    rows = []
    for text in rng.sample(texts, min(settings.order, len(texts))):
        good, bad = text.text, swapped(rng, text.text)
        label = rng.randrange(2)
        rows.append({"prompt": TITLES["news"], "choices": [bad, good] if label else [good, bad],
                     "label": label})  # fmt: skip
    return rows


PASSAGE = 60  # words after which a passage of news takes no further sentence


def news_rows(settings: Settings, texts: list[Text]) -> list[dict]:
    """Make passages of test editorials, a few sentences each.

    In a single sentence the first words, which nothing announces, would dominate the perplexity.
    """
    passages = defaultdict(str)
    for text in texts:
        if text.domain == "news" and len(passages[text.document].split()) < PASSAGE:
            passages[text.document] = f"{passages[text.document]} {text.text}".strip()
    rows = [{"text": passage} for passage in passages.values()]
    return stream(settings, "news").sample(rows, min(settings.news, len(rows)))


def swapped(rng: Random, text: str) -> str:
    """Swap two neighbouring words of a text, if possible neither the first nor the last."""
    words = text.split()
    places = [i for i in range(1, len(words) - 2) if words[i].lower() != words[i + 1].lower()]
    i = rng.choice(places) if places else 0
    words[i], words[i + 1] = words[i + 1], words[i]
    return " ".join(words)
