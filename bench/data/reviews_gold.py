"""The gold reward of the reviews: a linear regressor of the raters' mean, and what a reader minds.

    gold = (rating + MENTION * mention - REPEAT * repeat - FRAGMENT * fragment - centre) / sd

- rating: predicted mean rating, clipped to the scale -4..4. Ridge regression on TF-IDF of words, word
  pairs and characters within words, and on VADER's scores (Hutto & Gilbert 2014): another architecture
  than the language model's, fitted on texts that occur in no demonstration, pair or test.
- mention (0 or 1): the prompt's keyword occurs, as it is or with a plural -s. Both texts of every pair
  mention it, so the preferences say nothing about it: a method can lose it, none can learn it there.
- repeat (0 to 1): share of word pairs that occurred before in the text. Words from the same few can
  please a linear model for ever; a reader minds.
- fragment (0 or 1): fewer than four words. Such texts are in no training set, and TF-IDF of unit
  length would rate a lone "brilliant" highest of all.

centre and sd are those of the human demonstrations, each with its own keyword: 0 is an average human
text, 1 is one standard deviation between human texts.
"""

import json
import math
import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

MENTION, REPEAT, FRAGMENT = 1.0, 4.0, 2.0  # points of the raters' scale
SHORTEST = 4  # words
LEXICON = ("compound", "pos", "neg", "neu", "tone")
NEGATIONS = frozenset("not no never without nor hardly cannot barely neither".split())
REACH = 4  # words after a negation that it turns
WORD = re.compile(r"[a-z0-9']+|[^\sa-z0-9']")
PAIRS, CHARACTERS = (1, 2), (3, 4, 5)


def tokens(text: str) -> list[str]:
    """Words and marks, in lower case; those that a negation turns carry the prefix `not_`."""
    out, left = [], 0
    for word in WORD.findall(text.lower()):
        if word in NEGATIONS or word.endswith("n't"):
            left = REACH
            out.append(word)
        elif not word[0].isalnum():
            left = 0
            out.append(word)
        else:
            out.append(f"not_{word}" if left else word)
            left = max(0, left - 1)
    return out


def grams(text: str) -> tuple[Counter, Counter]:
    """Counts of words and word pairs, and of characters within words (3 to 5, blanks at the ends)."""
    words = tokens(text)
    runs = Counter(words)
    runs.update(" ".join(pair) for pair in zip(words, words[1:], strict=False))
    padded = [f" {word} " for word in WORD.findall(text.lower())]
    pieces = Counter(
        f"#{word[i : i + n]}"
        for word in padded
        for n in CHARACTERS
        for i in range(len(word) - n + 1)
    )
    return runs, pieces


@cache
def vader():
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def lexical(text: str) -> list[float]:
    """VADER's scores of the text, and the summed valence of its words per square root of length."""
    scores, valence = vader().polarity_scores(text), vader().lexicon
    words = tokens(text)
    turned = sum(
        valence.get(word, 0.0) - valence.get(word.removeprefix("not_"), 0.0)
        for word in words
        if word.startswith("not_")
    )
    plain = sum(valence.get(word, 0.0) for word in words if not word.startswith("not_"))
    tone = (plain + turned) / math.sqrt(max(1, len(words))) / 2
    return [*(scores[name] for name in LEXICON[:-1]), tone]


def features(text: str, idf: dict[str, float]) -> dict[str, float]:
    """Name -> value: two TF-IDF blocks of unit length each (log counts), and the lexicon's scores."""
    out = {f"~{name}": value for name, value in zip(LEXICON, lexical(text), strict=True)}
    for counts in grams(text):
        block = {g: (1 + math.log(n)) * idf[g] for g, n in counts.items() if g in idf}
        length = math.sqrt(sum(value**2 for value in block.values())) or 1.0
        out |= {gram: value / length for gram, value in block.items()}
    return out


def fit(texts: list[str], domains: list[str], ratings: list[float], ridge: float) -> dict:
    """Weights of the ridge regression: {"idf", "weights", "intercepts"}, rounded for the file."""
    from scipy.sparse.linalg import lsqr

    idf = inverse_frequencies(texts)
    rows = [features(text, idf) for text in texts]
    intercepts = {
        d: float(np.mean([r for r, e in zip(ratings, domains, strict=True) if e == d]))
        for d in dict.fromkeys(domains)
    }
    rest = np.array(ratings) - np.array([intercepts[d] for d in domains])
    names = sorted({name for row in rows for name in row})
    solution = lsqr(matrix(rows, names), rest, damp=math.sqrt(ridge), iter_lim=400)[0]
    weights = {name: round(float(w), 6) for name, w in zip(names, solution, strict=True)}
    return {"idf": idf, "weights": weights, "intercepts": intercepts}


def inverse_frequencies(texts: list[str], least: int = 2) -> dict[str, float]:
    """Smoothed idf of each gram that occurs in at least `least` texts."""
    seen = Counter(gram for text in texts for counts in grams(text) for gram in counts)
    total = len(texts) + 1
    return {
        g: round(1 + math.log(total / (n + 1)), 6) for g, n in sorted(seen.items()) if n >= least
    }


def matrix(rows: list[dict[str, float]], names: list[str]):
    """Sparse (len(rows), len(names)) matrix of named values."""
    from scipy.sparse import csr_matrix

    index = {name: i for i, name in enumerate(names)}
    columns = [index[name] for row in rows for name in row]
    values = [value for row in rows for value in row.values()]
    starts = np.cumsum([0] + [len(row) for row in rows])
    return csr_matrix((values, columns, starts), shape=(len(rows), len(names)))


def rating(model: dict, text: str, domain: str) -> float:
    """Predicted mean rating of a text, within -4..4."""
    weights = model["weights"]
    found = features(text, model["idf"])
    total = sum(value * weights[name] for name, value in found.items())
    return min(4.0, max(-4.0, model["intercepts"][domain] + total))


def mentions(keyword: str, text: str) -> bool:
    """Whether the keyword occurs as a word, as it is or with a plural -s."""
    words = WORD.findall(text.lower())
    return any(word in (keyword, f"{keyword}s", f"{keyword}'s") for word in words)


def repeated(text: str) -> float:
    """Share of word pairs that occurred before in the text."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    pairs = list(zip(words, words[1:], strict=False))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def components(model: dict, text: str, domain: str, keyword: str) -> dict[str, float]:
    """The named parts of gold, before scaling."""
    return {
        "rating": rating(model, text, domain),
        "mention": float(mentions(keyword, text)),
        "repeat": repeated(text),
        "fragment": float(len(text.split()) < SHORTEST),
    }


def combined(parts: dict[str, float]) -> float:
    """Gold of a text in points of the raters' scale, before centring."""
    faults = REPEAT * parts["repeat"] + FRAGMENT * parts["fragment"]
    return parts["rating"] + MENTION * parts["mention"] - faults


class Gold:
    """The gold reward of completions, from `gold.json` in the data folder."""

    def __init__(self, data_dir: Path):
        self.model = json.loads(Path(data_dir, "gold.json").read_text(encoding="utf-8"))

    def __call__(self, prompts: list[dict], completions: list[str]) -> np.ndarray:
        """(n,) float64 gold of each completion; `prompts` are rows of prompts.jsonl."""
        raw = np.array([combined(parts) for parts in self.parts(prompts, completions)], dtype=float)
        return np.round((raw - self.model["centre"]) / self.model["sd"], 6)

    def parts(self, prompts: list[dict], completions: list[str]) -> list[dict[str, float]]:
        """rating (points), mention, repeat, fragment of each completion."""
        pairs = zip(prompts, completions, strict=True)
        return [components(self.model, c, p["family"], p["meta"]["keyword"]) for p, c in pairs]
