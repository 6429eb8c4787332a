"""Compute a pool's log-probs under the SFT base, once for DPO and IPO and all seeds and betas.

python -m bench reference --testbed micro --pool pool
"""

import argparse
import csv

from bench.core.files import atomic, read_rows
from bench.core.names import POOL, REFERRED
from bench.core.progress import Progress
from bench.core.records import write_record
from bench.training.batches import REFERENCE_BATCH


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool", default=POOL, choices=REFERRED, help="which pairs (%(default)s)")


def run(cfg, args: argparse.Namespace) -> None:
    """Write ``reference/<pool>/logps.csv``: each pair's id and its completions' log-probs."""
    from bench.models.loading import load_policy, load_tokenizer
    from bench.training import job, trainer
    from bench.training.ledger import Ledger

    trainer.quieten()
    ledger, sft = Ledger(), cfg.layout.sft
    model, tokenizer = load_policy(sft, cfg.model), load_tokenizer(sft)
    pool = read_rows(cfg.layout.pool(args.pool))
    with ledger.phase("reference"):
        table = logps(model, tokenizer, pool, ledger, cfg.model.micro_batch or REFERENCE_BATCH)
    out = cfg.layout.reference(args.pool)
    with atomic(out) as part, open(part, "w", newline="") as file:
        csv.writer(file).writerows([("id", "a", "b"), *table])
    record = job.step_record("reference", cfg, ledger, {"pairs": len(pool)})
    write_record(out.with_name("step.json"), record, [out])


def logps(
    model, tokenizer, pool: list[dict], ledger, batch: int = REFERENCE_BATCH
) -> list[tuple[int, float, float]]:
    """Compute (id, log-prob of a, log-prob of b) of each pair, summed over tokens."""
    table, progress = [], Progress("reference", len(pool), "pair")
    for start in range(0, len(pool), batch):
        rows = pool[start : start + batch]
        both = summed(model, tokenizer, rows, ledger)
        table += [(row["id"], x, y) for row, x, y in zip(rows, *both, strict=True)]
        progress.update(len(rows))
    return table


def summed(model, tokenizer, rows: list[dict], ledger) -> list[list[float]]:
    """Compute the log-probs of a and of b in each pair, summed over tokens."""
    import torch

    from bench.models.passes import pair_logps, paired, tokenised
    from bench.training.trainer import reading_cost

    rows = tokenised(tokenizer, rows, "a", "b")
    ledger.add(**reading_cost(model, rows))
    with torch.no_grad():
        pairs = paired(rows, tokenizer.pad_token_id, model.device)
        _, *logps = pair_logps(model.eval(), pairs)
    return [side.tolist() for side in logps]
