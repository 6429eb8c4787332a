"""Measure how long a testbed's texts are, if they are on this machine; else assume typical ones."""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench.core.names import POOL

SAMPLE = 400  # rows on which lengths are measured
A_TOKEN = 4  # characters per token of English text
# Tokens if the data is not here, as measured once: mean prompt and answer, longest of each.
TYPICAL = {"micro": (10, 16, 11, 26), "reviews": (13, 19, 17, 47)}


@dataclass(frozen=True)
class Lengths:
    """Lengths of the testbed's texts, in tokens.

    demonstrations: (prompt, answer) of each; pairs: (prompt, answer, other answer) of each; prompt,
    answer: the longest; source: where the numbers come from, in words.
    """

    demonstrations: list[tuple[int, int]]
    pairs: list[tuple[int, int, int]]
    prompt: int
    answer: int
    source: str


def lengths(cfg) -> Lengths:
    """Measure lengths if data and tokenizer are on this machine; else return typical ones."""
    data, base = cfg.layout.data, cfg.layout.base
    if (data / "sft.jsonl").exists() and (base / "tokenizer.json").exists():
        return measured(data, base, cfg.layout.pool(POOL))
    if cfg.data.kind in TYPICAL:
        p, a, longest, answer = TYPICAL[cfg.data.kind]
        return Lengths([(p, a)], [(p, a, a)], longest, answer, "as measured on this kind of data")
    p, a = (n // A_TOKEN for n in (cfg.data.max_prompt, cfg.data.max_answer))
    said = f"{A_TOKEN} characters per token, texts half as long as the data section allows"
    return Lengths([(p // 2, a // 2)], [(p // 2, a // 2, a // 2)], p, a, said)


def measured(data: Path, base: Path, pool: Path) -> Lengths:
    """Measure lengths on the first rows of the demonstrations and of the pool, if it exists."""
    from bench.models.loading import load_tokenizer

    tokenizer = load_tokenizer(base)
    pool = next((path for path in (pool, data / "pool.jsonl") if path.exists()), None)
    shown = sizes(tokenizer, data / "sft.jsonl", "completion")
    pairs = sizes(tokenizer, pool, "a", "b") if pool else [(p, a, a) for p, a in shown]
    longest = max(max(answers) for _, *answers in [*shown, *pairs])
    prompt = max(row[0] for row in [*shown, *pairs])
    rows = max(len(shown), len(pairs))
    return Lengths(shown, pairs, prompt, longest, f"measured on {rows} rows of {data}")


def sizes(tokenizer, path: Path, *answers: str) -> list[tuple[int, ...]]:
    """Count the tokens of prompt and answers in a file's first rows; answers: their columns."""
    from bench.models.tokens import completion_ids, prompt_ids

    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in islice(file, SAMPLE)]
    return [
        (
            len(prompt_ids(tokenizer, row["prompt"])),
            *(len(completion_ids(tokenizer, row[key])) for key in answers),
        )
        for row in rows
    ]
