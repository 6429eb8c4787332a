"""Prompts of the reviews (a domain and a keyword), and the pairs of texts that share one."""

import re
from collections import Counter, defaultdict
from itertools import combinations
from random import Random

from bench.data.reviews_ratings import Rated, chance

ASK = {"movie": "movie review", "product": "product review", "tweet": "tweet"}
# A keyword should be something to write about. No tagger is at hand: a noun is a word that often
# follows one of LEADS and is often followed by one of TAILS or by a mark.
LEADS = frozenset(
    "a an the this that these those his her its my your our their of in on with for about no".split()
)
TAILS = frozenset(
    "of is was are were be been has have had do does did can could will would should may might must and "
    "or but nor so as than that which who when while where if because in on at to for with by from into "
    "out up about over off it i we you he she they this not".split()
)
DULL = frozenset(
    "that this these those them they other others most more much some same very thing things which what "
    "where while with your here there then than such each both every first last second next little "
    "whole another someone everyone anyone self kind sort lots rest only people many three well none "
    "half certain whether several mine yours ours theirs itself himself myself time times".split()
)
WORD = re.compile(r"[@#]?[a-z0-9']+|[^\sa-z0-9']")
COMMON = 0.05  # a word in more of a domain's texts than this says too little
TONED = 2.5  # standard errors from the domain's mean rating: the word alone gives the tone away


def prompt_text(domain: str, keyword: str) -> str:
    return f"Write a {ASK[domain]} about {keyword}."


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def nouns(texts: list[Rated], lexicon: dict[str, float]) -> set[str]:
    """Words of four letters or more that stand like nouns, without sentiment in VADER's lexicon."""
    seen, led, closed = Counter(), Counter(), Counter()
    for rated in texts:
        row = ["", *words(rated.text), ""]
        for before, word, after in zip(row, row[1:], row[2:], strict=False):
            seen[word] += 1
            led[word] += before in LEADS
            closed[word] += after in TAILS or not after[:1].isalnum()
    return {
        word
        for word, n in seen.items()
        if re.fullmatch("[a-z]{4,}", word) and word not in lexicon and word not in DULL
        and n >= 3 and led[word] >= 0.25 * n and closed[word] >= 0.5 * n
    }  # fmt: skip


def keywords(texts: list[Rated], allowed: set[str]) -> dict[str, dict[str, list[Rated]]]:
    """domain -> keyword -> the texts that mention it (two at least, a twentieth at most), sorted."""
    out = {}
    for domain in ASK:
        own = [rated for rated in texts if rated.domain == domain]
        where = defaultdict(list)
        for rated in own:
            for word in sorted(set(words(rated.text)) & allowed):
                where[word].append(rated)
        most = max(2, COMMON * len(own))
        kept = {w: rows for w, rows in where.items() if 2 <= len(rows) <= most}
        out[domain] = {w: kept[w] for w in sorted(kept) if not toned(kept[w], own)}
    return out


def toned(rows: list[Rated], own: list[Rated]) -> bool:
    """Whether the texts that mention a word are rated far from the rest of their domain."""
    mean = sum(r.mean for r in own) / len(own)
    variance = sum((r.mean - mean) ** 2 for r in own) / len(own)
    here = sum(r.mean for r in rows) / len(rows)
    return abs(here - mean) > TONED * (variance / len(rows)) ** 0.5


def candidates(where: dict[str, list[Rated]], wanted: set[str]) -> list[tuple[str, Rated, Rated]]:
    """(keyword, a, b) for texts of two documents that share a wanted keyword; each pair once."""
    out, seen = [], set()
    for keyword in sorted(wanted & set(where)):
        for a, b in combinations(where[keyword], 2):
            if a.document != b.document and (a.id, b.id) not in seen:
                seen.add((a.id, b.id))
                out.append((keyword, a, b))
    return out


def spread(found: list[tuple[str, Rated, Rated]], n: int, rng: Random) -> list:
    """At most n candidates in random order, sides shuffled, no text used more often than need be."""
    found = [(k, *rng.sample([a, b], 2)) for k, a, b in rng.sample(found, len(found))]
    used, taken = Counter(), []
    for cap in range(1, len(found) + 1):
        rest = []
        for item in found:
            ids = (item[1].id, item[2].id)
            if len(taken) < n and all(used[i] < cap for i in ids):
                used.update(ids)
                taken.append(item)
            else:
                rest.append(item)
        found = rest
        if len(taken) == n or not found:
            break
    return rng.sample(taken, len(taken))


def shares(available: dict[str, int], n: int) -> dict[str, int]:
    """Split n over the families as evenly as what each has allows."""
    out, left = {}, n
    for i, family in enumerate(sorted(available, key=available.get)):
        out[family] = min(available[family], left // (len(available) - i))
        left -= out[family]
    return out


def pool_rows(found: list[tuple[str, Rated, Rated]], domain: str) -> list[dict]:
    """Rows of pool.jsonl, ids and gold apart; p: the exact chance that a rater scores a higher."""
    return [
        {
            "prompt_id": f"{domain}-{keyword}",
            "prompt": prompt_text(domain, keyword),
            "family": domain,
            "a": a.text,
            "b": b.text,
            "p": {"gold": round(chance(a, b), 6)},
        }
        for keyword, a, b in found
    ]
