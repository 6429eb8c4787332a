"""Log-probs of a whole pool under the SFT base: once for DPO and IPO, all seeds and betas.

python -m bench.reference --testbed micro --pool pool
"""

import argparse
import csv
from pathlib import Path

from bench import cli
from bench.names import ON_POLICY, POOL
from bench.rows import read_rows

BATCH = 128  # pairs at once, where model.micro_batch does not say


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool", default=POOL, choices=(POOL, ON_POLICY))


def run(cfg, args: argparse.Namespace) -> None:
    """Writes ``reference/<pool>/logps.csv``: pool id, and each completion's summed log-prob."""
    from bench import job, trainer
    from bench.models import load_policy, load_tokenizer
    from bench.record import Ledger

    trainer.quieten()
    ledger, sft = Ledger(), Path(cfg.runs, "sft")
    model, tokenizer = load_policy(sft, cfg.model), load_tokenizer(sft)
    pool = read_rows(Path(cfg.runs, "pairs", f"{args.pool}.jsonl"))
    with ledger.phase("reference"):
        table = logps(model, tokenizer, pool, ledger, cfg.model.micro_batch or BATCH)
    out = Path(cfg.runs, "reference", args.pool)
    with cli.atomic(out / "logps.csv") as part, open(part, "w", newline="") as file:
        csv.writer(file).writerows([("id", "a", "b"), *table])
    cli.write_json(out / "step.json", job.record("reference", cfg, ledger, {"pairs": len(pool)}))


def logps(
    model, tokenizer, pool: list[dict], ledger, batch: int = BATCH
) -> list[tuple[int, float, float]]:
    """(id, log-prob of a, log-prob of b) for each pair of the pool."""
    table, progress = [], cli.Progress("reference", len(pool), "pair")
    for start in range(0, len(pool), batch):
        rows = pool[start : start + batch]
        a, b = (summed(model, tokenizer, rows, side, ledger) for side in "ab")
        table += [(row["id"], x, y) for row, x, y in zip(rows, a, b, strict=True)]
        progress.update(len(rows))
    return table


def summed(model, tokenizer, rows: list[dict], side: str, ledger) -> list[float]:
    """Summed log-prob of one completion of each pair."""
    import torch

    from bench.flops import Shape, forward
    from bench.sampling import completion_logps, forced
    from bench.text import completion_ids, prompt_ids

    prompts = [prompt_ids(tokenizer, row["prompt"]) for row in rows]
    completions = [completion_ids(tokenizer, row[side]) for row in rows]
    given = forced(tokenizer, prompts, completions, model.device)
    shape, lengths = Shape.of(model), given.attention.sum(1).tolist()
    outputs = shape.vocabulary * given.mask.sum().item()
    ledger.add(tokens=sum(lengths), flops=forward(shape, lengths, outputs))
    with torch.no_grad():
        return completion_logps(model.eval(), given).sum(1).tolist()


if __name__ == "__main__":
    cli.main("reference", run, options)
