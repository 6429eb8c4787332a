"""Measure how far the answers to one prompt differ, beside the best of several by gold."""

from collections.abc import Sequence

from bench.evaluation.samples import distinct_2

MOST = 8  # answers of which the best is taken


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
