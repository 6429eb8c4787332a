"""Measure a policy's samples: gold, proxy, KL, entropy, length, diversity.

The training curves and the final evaluation use the same code.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from bench.models.draws import uniforms
from bench.models.passes import (
    Samples,
    completion_logits,
    pair_logps,
    paired,
    sequence_scores,
    tokenised,
)
from bench.models.sampling import sample
from bench.models.tokens import decode, prompt_ids

MOST_LOGITS = 2**27  # that a pass may make: half a GB in float32


def rows_at_once(length: int, vocabulary: int) -> int:
    """Return how many answers of ``length`` tokens a pass may read to measure their KL."""
    return max(1, MOST_LOGITS // (length * vocabulary))


@torch.no_grad()
def kl_and_entropy(policy, reference, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Compute each sample's KL to the reference, in nats, and mean entropy, in nats per token.

    KL is sum_v p log(p / q) over the whole vocabulary at each position, summed along the sample.
    This Rao-Blackwellised form of the sequence KL varies far less than the log-ratios of the drawn
    tokens. Returns two arrays (B,).
    """
    rows, length = samples.mask.shape
    most = rows_at_once(length, policy.config.vocab_size)
    found = [
        _kl_and_entropy(policy, reference, samples[start : start + most])
        for start in range(0, rows, most)
    ]
    kl, entropy = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
    return kl, entropy


def _kl_and_entropy(policy, reference, samples: Samples) -> tuple[torch.Tensor, torch.Tensor]:
    logp = completion_logits(policy, samples).log_softmax(-1)
    logq = completion_logits(reference, samples).log_softmax(-1)
    p = logp.exp()
    kl = ((p * (logp - logq)).sum(-1) * samples.mask).sum(1)
    entropy = (-(p * logp).sum(-1) * samples.mask).sum(1) / samples.mask.sum(1)
    return kl, entropy


@dataclass
class Sampler:
    """Samples a policy on fixed prompts and measures each sample.

    prompts: rows of ``prompts.jsonl``; gold: the testbed's ground truth; scorer: the reward model,
    or None; seed: of the sampling, the same for all runs so that they draw the same random numbers;
    batch: answers sampled at once; graph: as of ``sample``; draws: answers to each prompt; best_of:
    answers of which the reward model takes the best.
    """

    tokenizer: Any
    prompts: list[dict]
    gold: Any
    reference: Any
    scorer: Any
    decode: Any
    seed: int
    batch: int
    graph: bool = False
    draws: int = 1
    best_of: int = 1

    def __post_init__(self):
        self.asked = [row for _ in range(self.draws) for row in self.prompts]  # one per answer
        self.ids = [prompt_ids(self.tokenizer, row["prompt"]) for row in self.prompts]

    def __call__(self, policy) -> pd.DataFrame:
        """Return one row per answer: prompt_id, draw, family, prompt, completion, gold, proxy, ...

        Every prompt is answered once before any is answered again.
        """
        training = policy.training
        policy.eval()
        generator = torch.Generator(policy.device).manual_seed(self.seed)
        todo = [*zip(self.prompts, self.ids, strict=True)] * self.draws * self.best_of
        chunks = [
            self._chunk(policy, todo[start : start + self.batch], generator)
            for start in range(0, len(todo), self.batch)
        ]
        policy.train(training)
        table = pd.concat(chunks, ignore_index=True)
        table.insert(1, "draw", np.arange(len(table)) // len(self.prompts))
        table = self._best(table) if self.best_of > 1 else table
        table["gold"] = self.gold(self.asked, list(table.completion))
        return table

    def _best(self, table: pd.DataFrame) -> pd.DataFrame:
        """Take of each ``best_of`` answers to a prompt the one that the reward model scores highest
        (the first of several), with the bound on the KL of doing so in place of its own."""
        n, prompts = self.best_of, len(self.prompts)
        scores = table.proxy.to_numpy().reshape(self.draws, n, prompts)
        first = np.arange(self.draws)[:, None] * n * prompts + np.arange(prompts)
        best = table.iloc[(first + scores.argmax(1) * prompts).ravel()].reset_index(drop=True)
        return best.assign(draw=best.draw // n, kl=np.log(n) - (n - 1) / n)

    def _chunk(self, policy, todo: list[tuple[dict, list[int]]], generator) -> pd.DataFrame:
        rows, ids = map(list, zip(*todo, strict=True))
        length, temperature = self.decode.max_new_tokens, self.decode.temperature
        draws = uniforms(length, len(ids), generator)
        samples = sample(policy, self.tokenizer, ids, length, draws, temperature, self.graph)
        kl, entropy = kl_and_entropy(policy, self.reference, samples)
        proxy = np.full(len(rows), np.nan)
        if self.scorer is not None:
            proxy = sequence_scores(self.scorer, samples).cpu().numpy()
        return pd.DataFrame(
            {
                "prompt_id": [row["id"] for row in rows],
                "family": [row["family"] for row in rows],
                "prompt": [row["prompt"] for row in rows],
                "completion": [decode(self.tokenizer, tokens) for tokens in samples.rows()],
                "proxy": proxy,
                "kl": kl,
                "entropy": entropy,
                "length": samples.mask.sum(1).cpu().numpy(),
                "ended": samples.ended.cpu().numpy(),
            }
        )


class HeldOut:
    """Measures how often a policy raised the chosen answer of a pair more than the rejected one.

    pairs: rows with prompt, chosen, rejected, which no training reads; reference: the SFT base;
    batch: pairs in a pass.
    """

    def __init__(self, tokenizer, pairs: list[dict], reference, batch: int):
        self.reference, self.pad = reference, tokenizer.pad_token_id
        rows = tokenised(tokenizer, pairs)
        self.chunks = [rows[start : start + batch] for start in range(0, len(rows), batch)]
        self.usual: torch.Tensor | None = None

    @torch.no_grad()
    def accuracy(self, policy) -> float:
        """Return the share of pairs whose log-ratio to the SFT base is larger for the chosen answer
        (Rafailov et al. 2023, 2305.18290, section 4); a tie counts half. NaN without pairs."""
        if not self.chunks:
            return float("nan")
        if self.usual is None:
            self.usual = self._gaps(self.reference)
        training = policy.training
        moved = self._gaps(policy.eval()) - self.usual
        policy.train(training)
        return ((moved > 0).double() + 0.5 * (moved == 0)).mean().item()

    def _gaps(self, model) -> torch.Tensor:
        """Return the log-prob of each pair's chosen answer minus that of the rejected one, (N,)."""
        gaps = []
        for rows in self.chunks:
            _, chosen, rejected = pair_logps(model, paired(rows, self.pad, model.device))
            gaps.append((chosen - rejected).float().cpu())
        return torch.cat(gaps)


def distinct_2(texts: list[str]) -> float:
    """Divide the number of distinct word bigrams by that of all (Li et al. 2016, 1510.03055).

    Returns NaN if there are no bigrams.
    """
    bigrams = [pair for text in texts for pair in zip(text.split(), text.split()[1:], strict=False)]
    return len(set(bigrams)) / len(bigrams) if bigrams else float("nan")


def distinct_2_by_draw(table: pd.DataFrame) -> list[float]:
    """Return the distinct bigrams of the answers of each draw, one answer to a prompt.

    Fewer bigrams are distinct among more answers, so that only equal numbers of them compare.
    """
    return [distinct_2(list(rows.completion)) for _, rows in table.groupby("draw")]


def summarise(table: pd.DataFrame, tuned: tuple[str, ...]) -> pd.DataFrame:
    """Average the measures by family, and as ``all`` over the tuned families; one row each.

    n: prompts, over which the standard errors are; distinct2: mean over draws.
    """
    groups = {name: rows for name, rows in table.groupby("family", sort=True)}
    groups["all"] = table[table.family.isin(tuned)]
    return pd.DataFrame([{"family": name} | _means(rows) for name, rows in groups.items()])


def _means(rows: pd.DataFrame) -> dict[str, float]:
    by_prompt = rows.groupby("prompt_id")[["gold", "kl"]].mean()
    return {
        "n": len(by_prompt),
        "gold": rows.gold.mean(),
        "gold_se": by_prompt.gold.sem(),
        "proxy": rows.proxy.mean(),
        "kl": rows.kl.mean(),
        "kl_se": by_prompt.kl.sem(),
        "length": rows.length.mean(),
        "distinct2": np.mean(distinct_2_by_draw(rows)),
        "entropy": rows.entropy.mean(),
        "ended": rows.ended.mean(),
    }
