"""Texts with every rater's score, from `hutto_ICWSM_2014.tar.gz`.

Hutto, C.J. & Gilbert, E.E. (2014). VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
Social Media Text. ICWSM-14. The archive is `additional_resources/hutto_ICWSM_2014.tar.gz` in the
source distribution of vaderSentiment 3.3.2 (MIT). Movie snippets derive from Pang & Lee (2004),
product reviews from Hu & Liu (2004), news from New York Times editorials.

Each domain has two tab-separated files: id, mean, text; and id, mean, SD, list of the scores
(-4 to 4; no rater ids). An id `d_s` is sentence s of document d; an id without `_` is a document.
199 tweets have a published mean that is not the mean of their published scores (the scores belong to
another wording of the same tweet, with other punctuation): those are dropped.
"""

import html
import io
import json
import re
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bench.data.packages import DataError

DOMAINS = {
    "movie": "movieReviewSnippets",
    "product": "amazonReviewSnippets",
    "tweet": "tweets",
    "news": "nytEditorialSnippets",
}
ARCHIVE = "additional_resources/hutto_ICWSM_2014.tar.gz"
LOW, HIGH = -4, 4


@dataclass(frozen=True)
class Rated:
    """A text and the scores of its raters."""

    id: str
    domain: str
    document: str
    text: str
    scores: tuple[int, ...]

    @property
    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)

    @property
    def words(self) -> int:
        return len(self.text.split())


def read(sdist: Path) -> list[Rated]:
    """All texts of the source distribution; raises DataError if a file is missing."""
    with tarfile.open(sdist) as outer:
        inner = io.BytesIO(member(outer, ARCHIVE))
    with tarfile.open(fileobj=inner) as archive:
        return [rated for domain in DOMAINS for rated in read_domain(archive, domain)]


def member(archive: tarfile.TarFile, ending: str) -> bytes:
    """The content of the one file whose path ends so; nothing is unpacked to disk."""
    for info in archive.getmembers():
        if info.isfile() and info.name.endswith(ending):
            return archive.extractfile(info).read()
    raise DataError(f"{Path(archive.name or 'the archive').name} holds no {ending}")


def read_domain(archive: tarfile.TarFile, domain: str) -> list[Rated]:
    """A domain's texts in file order, without doubles and those of doubtful scores."""
    stem = DOMAINS[domain]
    texts = table(member(archive, f"{stem}_GroundTruth.txt"), 3)
    ratings = table(member(archive, f"{stem}_anonDataRatings.txt"), 4)
    scores = {row[0]: (float(row[1]), tuple(json.loads(row[3]))) for row in ratings}
    out, seen = [], set()
    for key, mean, text in texts:
        rated = parsed(domain, key, text, scores.get(key, (0, ()))[1])
        if agree(float(mean), rated) and plain(rated.text) not in seen:
            seen.add(plain(rated.text))
            out.append(rated)
    return out


def table(content: bytes, columns: int) -> list[list[str]]:
    """Rows of a tab-separated file (CRLF, perhaps a byte-order mark)."""
    lines = content.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    return [line.split("\t", columns - 1) for line in lines if line.strip()]


def parsed(domain: str, key: str, text: str, scores: tuple[int, ...]) -> Rated:
    text = clean(text)
    document = key.split("_")[0] if "_" in key else plain(text)
    return Rated(f"{domain}-{key}", domain, document, text, scores)


def agree(mean: float, rated: Rated) -> bool:
    """Whether the published mean is the mean of the published scores, and each is on the scale."""
    inside = rated.scores and all(LOW <= score <= HIGH for score in rated.scores)
    return bool(inside) and abs(mean - rated.mean) < 1e-6


def clean(text: str) -> str:
    """Entities decoded, dashes that were lost (three spaces) restored, removed URLs left out."""
    text = html.unescape(text).replace("http://url_removed", " ")
    return re.sub(r"\s+", " ", re.sub(r"(?<=\S) {3,}(?=\S)", " - ", text)).strip()


def plain(text: str) -> str:
    """Letters and digits alone, in lower case: what makes two texts the same."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def chance(a: Rated, b: Rated) -> float:
    """Exact probability that a random rater of `a` scores higher than one of `b`, ties split."""
    below, total = 0, 0.0
    count_b = Counter(b.scores)
    count_a = Counter(a.scores)
    for score in range(LOW, HIGH + 1):
        total += count_a[score] * (below + count_b[score] / 2)
        below += count_b[score]
    return total / (len(a.scores) * len(b.scores))
