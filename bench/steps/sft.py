"""Fine-tune the base on demonstrations: the SFT base, which every method starts from.

With `sft: skip` the base is the SFT base already.

python -m bench sft --testbed micro
"""

import argparse
import os
import shutil

from bench.core import processes
from bench.core.files import atomic, file_sha256, read_rows
from bench.core.records import write_record
from bench.steps._altered import STEP


def run(cfg, args: argparse.Namespace) -> None:
    """Write ``runs/<testbed>/sft``: full weights (an adapter is merged), tokenizer, step.json."""
    (train if cfg.sft.steps else keep)(cfg)


def keep(cfg) -> None:
    """Take the base as the SFT base: the same files, under another name."""
    from bench.training.job import step_record
    from bench.training.ledger import Ledger

    record = step_record("sft", cfg, Ledger(), {})  # by all processes
    if processes.is_main():
        with atomic(cfg.layout.sft) as part:
            besides = shutil.ignore_patterns(STEP)
            shutil.copytree(cfg.layout.base, part, ignore=besides, copy_function=linked)
            write_record(part / STEP, record)


def linked(source: str, target: str) -> None:
    """Link a file, or copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def train(cfg) -> None:
    """Fine-tune the base on demonstrations."""
    from bench.models.loading import (
        adapt,
        load_policy,
        load_tokenizer,
        merged,
        parameters,
        weights_sha256,
    )
    from bench.steps.fingerprint import code_hash
    from bench.training import job, trainer
    from bench.training.answer_trainer import DemonstrationTrainer
    from bench.training.ledger import Ledger

    trainer.quieten()
    ledger, base, out = Ledger(), cfg.layout.base, cfg.layout.sft
    job.seed_everything(cfg.sft.seed)
    tokenizer = load_tokenizer(base)
    model = adapt(load_policy(base, cfg.model), cfg.model)
    data = cfg.layout.data / f"{cfg.sft.chosen_of or 'sft'}.jsonl"
    rows = tokenised(tokenizer, demonstrations(read_rows(data)))
    root = job.checkpoint_root(
        cfg,
        "sft",
        code_hash("sft", None, cfg.data.kind),
        {"data": file_sha256(data), "base": weights_sha256(base)},
    )
    monitor = job.plain_monitor("sft", cfg.sft.steps, ledger, root)
    parts = "sft", model, tokenizer, cfg.sft, cfg.sft.seed, root, monitor, ledger
    todo = trainer.Training(*parts, cfg.model.micro_batch)
    trainer.fit(DemonstrationTrainer(todo, rows), todo, head="answer")
    trainable, total = parameters(model)
    metrics = {"loss": monitor.log[-1]["loss"], "trainable": trainable, "parameters": total}
    whole = merged(model, cfg.model)
    job.write(out, todo, whole, job.step_record("sft", cfg, ledger, metrics))
    job.discard(root)


def demonstrations(rows: list[dict]) -> list[dict]:
    """Return demonstrations as they are, and of pairs the chosen answer as the completion."""
    return [
        row if "completion" in row else row | {"completion": row["a" if first(row) else "b"]}
        for row in rows
    ]


def first(pair: dict) -> bool:
    """Return whether the first answer of a pair whose labels are certain is the chosen one."""
    return next(iter(pair["p"].values())) == 1


def tokenised(tokenizer, rows: list[dict]) -> list[dict]:
    """Tokenise demonstrations; returns rows of ``prompt_ids`` and ``answer_ids``."""
    from bench.models.tokens import completion_ids, prompt_ids

    return [
        {
            "prompt_ids": prompt_ids(tokenizer, row["prompt"]),
            "answer_ids": completion_ids(tokenizer, row["completion"]),
        }
        for row in rows
    ]
