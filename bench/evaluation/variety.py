"""Measure how far answers differ. Imports nothing heavy."""

from collections.abc import Sequence

MOST = 8  # answers of which the best is taken


def distinct_2(texts: list[str]) -> float:
    """Divide the number of distinct word bigrams by that of all (Li et al. 2016, 1510.03055).

    Returns NaN if there are no bigrams.
    """
    bigrams = [pair for text in texts for pair in zip(text.split(), text.split()[1:], strict=False)]
    return len(set(bigrams)) / len(bigrams) if bigrams else float("nan")


def best_of(answers: Sequence[dict], draws: int) -> list[dict]:
    """Return for n = 1, 2, 4, ... the mean gold and variety of ``draws`` answers to each prompt,
    each the best of n by gold, as far as there are answers.

    answers: rows with prompt_id, draw, completion, gold. between: the share of distinct bigrams
    among the answers to a prompt, mean over prompts; fewer are distinct among more answers, so only
    equal numbers compare.
    """
    by_prompt: dict[str, list[dict]] = {}
    for row in sorted(answers, key=lambda row: row["draw"]):
        by_prompt.setdefault(row["prompt_id"], []).append(row)
    every = min(map(len, by_prompt.values()), default=0)
    found, n = [], 1
    while n <= MOST and 0 < n * draws <= every:
        groups = [
            [max(own[i * n : (i + 1) * n], key=lambda row: row["gold"]) for i in range(draws)]
            for own in by_prompt.values()
        ]
        gold = [row["gold"] for group in groups for row in group]
        between = [distinct_2([row["completion"] for row in group]) for group in groups]
        known = [value for value in between if value == value]  # one word has no bigram
        found.append({"best_of": n, "gold": sum(gold) / len(gold),
                      "between": sum(known) / len(known) if known else None})  # fmt: skip
        n *= 2
    return found
