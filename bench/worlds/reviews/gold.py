"""Gold of the reviews: a prediction of raters' scores, by a regressor unlike the trained models.

The regressor is a ridge regression. Its features are TF-IDF of words (with negation marked) and of
letters, and VADER's rules and valences. It is fitted to the raters' mean scores of texts that are
used for nothing else (no pair, demonstration or test). VADER alone correlates with the raters of
movie reviews at .44.

    gold = rating / sd + 0.5 mention - 2 repetition

rating      the predicted mean score, clipped to [-4, 4]
sd          standard deviation of the predictions on held-out texts
mention     1 if a word of the text begins with the word that the prompt asks for, else 0
repetition  share of word pairs that occurred before in the text (0 in nearly all human texts)
"""

import json
import re
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from bench.worlds.reviews.texts import tokens

FILE = "gold.npz"
MENTION, REPETITION = 0.5, 2.0
DOMAINS = ("movie", "product", "tweet")
NEGATIONS = {"not", "no", "never", "without", "nor", "hardly", "cannot"}
SCOPE = 3  # words after a negation that it marks
WORD_OPTIONS = {"ngram_range": (1, 2), "token_pattern": r"\S+", "sublinear_tf": True}
LETTER_OPTIONS = {"analyzer": "char_wb", "ngram_range": (2, 5), "sublinear_tf": True}


class Gold:
    """Scores completions; `data_dir` is the testbed's data folder."""

    def __init__(self, data_dir: Path):
        self.model = Regressor.load(Path(data_dir, FILE))

    def __call__(self, prompts: list[dict], completions: list[str]) -> np.ndarray:
        """Return the (n,) gold of completions; prompts: rows with "meta": {"domain", "keyword"}."""
        rows = self.parts(prompts, completions)
        sd = self.model.sd
        gold = [r["rating"] / sd + MENTION * r["mention"] - REPETITION * r["repetition"]
                for r in rows]  # fmt: skip
        return np.array(gold, dtype=np.float64)

    def parts(self, prompts: list[dict], completions: list[str]) -> list[dict[str, float]]:
        """Return each completion's rating on the raters' scale, mention (0 or 1) and repetition."""
        domains = [row["meta"]["domain"] for row in prompts]
        ratings = self.model.predict(domains, completions)
        return [
            {
                "rating": float(rating),
                "mention": mention(row["meta"]["keyword"], text),
                "repetition": repetition(text),
            }
            for row, text, rating in zip(prompts, completions, ratings, strict=True)
        ]


def mention(keyword: str, text: str) -> float:
    """Return 1 if a word of the text begins with the keyword ("price", "prices"), else 0."""
    return float(any(word.lstrip("@#").startswith(keyword) for word in tokens(text)))


def repetition(text: str) -> float:
    """Return 1 - distinct word pairs / word pairs; 0 for a text of fewer than two words."""
    words = re.findall(r"[\w']+", text.lower())
    pairs = list(pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


class Regressor:
    """Predicts the raters' mean score of a text in a domain, by ridge regression."""

    def __init__(self, words: dict, letters: dict, coef: np.ndarray, intercept: float, sd: float):
        """words, letters: {"terms": [...], "idf": (n,)}; coef: (features,), as features() orders
        them; sd: the unit of gold."""
        self.words, self.letters, self.coef = words, letters, coef
        self.intercept, self.sd = intercept, sd

    @classmethod
    def fit(cls, domains: list[str], texts: list[str], means: list[float], alpha: float):
        """Fit to (n,) mean scores; alpha: ridge penalty. `sd` is 1 until calibrate()."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import Ridge

        marked, low = [marked_negation(t) for t in texts], [t.lower() for t in texts]
        words = TfidfVectorizer(min_df=2, **WORD_OPTIONS).fit(marked)
        letters = TfidfVectorizer(min_df=3, **LETTER_OPTIONS).fit(low)
        tables = [{"terms": list(v.get_feature_names_out()), "idf": v.idf_}
                  for v in (words, letters)]  # fmt: skip
        new = cls(*tables, np.zeros(0), 0.0, 1.0)
        ridge = Ridge(alpha=alpha, solver="sparse_cg", tol=1e-6).fit(
            new.features(domains, texts), np.asarray(means)
        )
        new.coef, new.intercept = ridge.coef_, float(ridge.intercept_)
        return new

    def predict(self, domains: list[str], texts: list[str]) -> np.ndarray:
        """Predict the (n,) mean scores, in [-4, 4]."""
        if not texts:
            return np.zeros(0)
        return np.clip(self.features(domains, texts) @ self.coef + self.intercept, -4, 4)

    def calibrate(self, domains: list[str], texts: list[str]) -> None:
        """Set `sd`, the unit of gold, to the predictions' standard deviation on held-out texts."""
        self.sd = float(self.predict(domains, texts).std())

    def features(self, domains: list[str], texts: list[str]):
        """Compute a sparse matrix (n, features): TF-IDF of words and letters, domain, VADER."""
        from scipy import sparse

        words, letters = self.vectorizers
        where = np.array([[0.5 * (d == name) for name in DOMAINS] for d in domains])
        rules = np.array([self.rules(text) for text in texts])
        blocks = [
            words.transform([marked_negation(text) for text in texts]),
            letters.transform([text.lower() for text in texts]),
            sparse.csr_matrix(where),
            sparse.csr_matrix(rules),
        ]
        return sparse.hstack(blocks).tocsr()

    @cached_property
    def vectorizers(self):
        options = zip((self.words, self.letters), (WORD_OPTIONS, LETTER_OPTIONS), strict=True)
        return [vectorizer(table, option) for table, option in options]

    @cached_property
    def analyzer(self):
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        return SentimentIntensityAnalyzer()

    def rules(self, text: str) -> list[float]:
        """Compute VADER's four scores, sums and extremes of the words' valences, and three flags.

        All are scaled to a range of about 1.
        """
        scores = self.analyzer.polarity_scores(text)
        words = re.findall(r"[a-z']+", text.lower())
        valences = [self.analyzer.lexicon.get(word, 0.0) for word in words]
        turned = [-v if negated(words, i) else v for i, v in enumerate(valences)]
        n = max(1, len(words))
        return [
            *(scores[key] for key in ("compound", "pos", "neg", "neu")),
            sum(turned) / n**0.5 / 2,
            sum(valences) / n,
            max([0.0, *valences]) / 4,
            min([0.0, *valences]) / 4,
            float("!" in text),
            float(any(map(is_negation, words))),
            float("but" in words),
        ]

    def save(self, path: Path) -> None:
        """Save as one npz of numbers and UTF-8 bytes, without pickle."""
        tables = {"words": self.words, "letters": self.letters}
        terms = {f"{k}_terms": as_bytes(t["terms"]) for k, t in tables.items()}
        idf = {f"{k}_idf": t["idf"] for k, t in tables.items()}
        numbers = np.array([self.intercept, self.sd])
        np.savez(path, coef=self.coef, numbers=numbers, **terms, **idf)

    @classmethod
    def load(cls, path: Path) -> "Regressor":
        with np.load(path, allow_pickle=False) as file:
            tables = [
                {"terms": json.loads(file[f"{k}_terms"].tobytes()), "idf": file[f"{k}_idf"]}
                for k in ("words", "letters")
            ]
            return cls(*tables, file["coef"], *map(float, file["numbers"]))


def as_bytes(terms: list[str]) -> np.ndarray:
    return np.frombuffer(json.dumps(terms).encode(), dtype=np.uint8)


def vectorizer(table: dict, options: dict):
    """Make a TF-IDF vectorizer from given terms and weights."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    made = TfidfVectorizer(vocabulary={t: i for i, t in enumerate(table["terms"])}, **options)
    made.idf_ = np.asarray(table["idf"])
    return made


def is_negation(word: str) -> bool:
    return word in NEGATIONS or word.endswith("n't")


def negated(words: list[str], i: int) -> bool:
    """True if a negation is among the SCOPE words before word i."""
    return any(map(is_negation, words[max(0, i - SCOPE) : i]))


def marked_negation(text: str) -> str:
    """Split a text into words and punctuation marks; mark words after a negation as not_word.

    The marking ends after SCOPE words or at the next punctuation mark.
    """
    out, left = [], 0
    for word in re.findall(r"[a-z']+|[^\sa-z']", text.lower()):
        if is_negation(word):
            out.append(word)
            left = SCOPE
            continue
        left = 0 if word in ".,;:!?" else left
        out.append(f"not_{word}" if left else word)
        left = max(0, left - 1)
    return " ".join(out)
