"""Read the human-rated texts of Hutto & Gilbert (2014), and find words that prompts can ask for.

Hutto, C.J. & Gilbert, E. (2014), "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
Social Media Text", ICWSM-14. The data lie in the source distribution of vaderSentiment 3.3.2 (MIT):
snippets of movie reviews (Rotten Tomatoes), product reviews (Amazon), editorials (New York Times)
and tweets, each with scores from -4 to 4 by 15 to 99 raters, who are anonymous.
"""

import html
import json
import re
import tarfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from bench.core.fetch import Package, clean_folder, fetch
from bench.core.schema import UserError

PACKAGE = Package(
    "vaderSentiment==3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    ("--no-binary", "vaderSentiment"),
)
INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
FILES = {
    "movie": "movieReviewSnippets",
    "product": "amazonReviewSnippets",
    "tweet": "tweets",
    "news": "nytEditorialSnippets",
}
TOLERANCE = 1e-3  # most difference between the published mean and the mean of the scores


@dataclass(frozen=True)
class Text:
    """A text, its domain, its parent document (its own for a snippet or tweet), and its scores."""

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


def fetch_texts(scratch: Path) -> list[Text]:
    """Fetch the package, unpack the data into `scratch` and read all four domains."""
    outer = fetch(PACKAGE, clean_folder(scratch))
    with tarfile.open(outer) as archive:
        archive.extract(member(archive, INNER), scratch, filter="data")
    with tarfile.open(scratch / INNER) as archive:
        archive.extractall(scratch / "hutto", filter="data")
    return read_all(next((scratch / "hutto").iterdir()))


def member(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    try:
        return archive.getmember(name)
    except KeyError:
        raise UserError(f"{archive.name} holds no {name}: delete it, and try again") from None


def read_all(folder: Path) -> list[Text]:
    """Read the texts of all domains, each text once."""
    texts = [text for domain in FILES for text in read_domain(folder, domain)]
    first = {}
    for text in texts:
        first.setdefault((text.domain, plain(text.text)), text)
    return list(first.values())


def read_domain(folder: Path, domain: str) -> list[Text]:
    """Read a domain's texts: a file of lines `id mean text`, one of lines `id mean sd [scores]`.

    About 200 tweets are left out, because their published mean differs from the mean of the scores
    under their id, so that these may belong to another text.
    """
    truth = [line.split("\t", 2) for line in lines(folder / f"{FILES[domain]}_GroundTruth.txt")]
    rated = [line.split("\t") for line in lines(folder / f"{FILES[domain]}_anonDataRatings.txt")]
    scores = {row[0]: tuple(json.loads(row[3])) for row in rated}
    texts = []
    for name, mean, text in truth:
        found = scores.get(name)
        if found and abs(float(mean) - sum(found) / len(found)) < TOLERANCE:
            document = f"{domain} {name.split('_')[0]}"
            texts.append(Text(domain, document, clean(text), found))
    return texts


def lines(path: Path) -> list[str]:
    """Read the lines of a file, splitting at newlines only: some texts hold other line breaks."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            f"{path.name} is missing from {PACKAGE.file}: delete that file, and try again"
        ) from None
    return [line for line in re.split("\r?\n", text) if line.strip()]


def clean(text: str) -> str:
    """Make a text one line; restore dashes, which the source replaced by three spaces."""
    text = re.sub(r"\s{3,}", " - ", html.unescape(text)).replace("''", '"')
    return re.sub(r"\s+", " ", text).strip()


def plain(text: str) -> str:
    """Keep letters and digits only, in lower case, to find copies."""
    return re.sub(r"\W+", " ", text.lower()).strip()


def tokens(text: str) -> list[str]:
    """Split a text into lower-case words and single punctuation marks."""
    return re.findall(r"[@#]?[a-z']+|[^\sa-z']", text.lower())


def listed(words: str) -> set[str]:
    return set(words.split())


# To find nouns: a noun often follows a word of BEFORE and precedes one of AFTER (see keywords).
BEFORE = listed(
    "a an the this that these those his her its my your our their of in on with for about and no"
)
AFTER = listed(
    "a an the of is was are were be been has have had do does did can could will would should may"
    " might must and or but nor so as than that which who whose when while where if because in on"
    " at to for with by from into out up about over off it i we you he she they this my your his"
    " her its not . , ; : ! ? ) -"
) | {""}
STOP = listed(
    "that this these those they them their other others most more much some same very thing things"
    " which what where while with your here there then than such each both every first last second"
    " next little whole another someone everyone anyone anonymous self kind sort lots rest only"
    " from have been were will would could should just like into over about when also even still"
    " been does really because after before though although"
)


def askable(word: str, charged: set[str]) -> bool:
    """True if a prompt may ask for a word: four letters or more, not in STOP, without a valence."""
    return bool(re.fullmatch("[a-z]{4,}", word)) and word not in STOP and word not in charged


def keywords(texts: list[Text], charged: set[str], at_least: int = 2) -> dict[str, list[int]]:
    """Find nouns that texts share: {word: indices of the texts that hold it}.

    A word counts as a noun if often enough it follows a word of BEFORE and precedes one of AFTER.
    It must be in `at_least` texts, and in at most one of 20, so that no word stands for the domain.
    charged: words with a valence (VADER's lexicon), which are excluded because they would give the
    opinion away.
    """
    seen, before, after, holders = Counter(), Counter(), Counter(), defaultdict(set)
    for i, text in enumerate(texts):
        words = tokens(text.text)
        for left, word, right in zip(["", *words], words, [*words[1:], ""], strict=False):
            seen[word] += 1
            before[word] += left in BEFORE
            after[word] += right in AFTER
            holders[word].add(i)
    top = max(at_least, len(texts) // 20)
    return {
        word: sorted(found) for word, found in sorted(holders.items())
        if at_least <= len(found) <= top and askable(word, charged)
        and before[word] >= 0.25 * seen[word] and after[word] >= 0.5 * seen[word]
    }  # fmt: skip
