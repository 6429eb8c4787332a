"""Fine-tune the base on demonstrations, with TRL: the SFT base, which every method starts from.

python -m bench sft --testbed micro
"""

import argparse

from bench.core.files import file_sha256, read_rows


def run(cfg, args: argparse.Namespace) -> None:
    """Write ``runs/<testbed>/sft``: full weights (an adapter is merged), tokenizer, step.json."""
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
    from bench.training.ledger import Ledger

    trainer.quieten()
    ledger, base, out = Ledger(), cfg.layout.base, cfg.layout.sft
    job.seed_everything(cfg.sft.seed)
    tokenizer = load_tokenizer(base)
    model = adapt(load_policy(base, cfg.model), cfg.model)
    data = cfg.layout.data / "sft.jsonl"
    rows = tokenised(tokenizer, read_rows(data))
    root = job.checkpoint_root(
        cfg,
        "sft",
        code_hash("sft", None, cfg.data.kind),
        {"data": file_sha256(data), "base": weights_sha256(base)},
    )
    with job.held(root):
        monitor = job.plain_monitor("sft", cfg.sft.steps, ledger, root)
        parts = "sft", model, tokenizer, cfg.sft, cfg.sft.seed, root, monitor, ledger
        todo = trainer.Training(*parts, cfg.model.micro_batch)
        trainer.fit(sft_trainer(todo, rows), todo)
        trainable, total = parameters(model)
        metrics = {"loss": monitor.log[-1]["loss"], "trainable": trainable, "parameters": total}
        whole = merged(model, cfg.model)
        job.write(out, todo, whole, job.step_record("sft", cfg, ledger, metrics))


def tokenised(tokenizer, rows: list[dict]) -> list[dict]:
    """Tokenise demonstrations; prompt tokens get label -100, which the loss leaves out."""
    from bench.models.tokens import completion_ids, prompt_ids

    out = []
    for row in rows:
        prompt = prompt_ids(tokenizer, row["prompt"])
        completion = completion_ids(tokenizer, row["completion"])
        labels = [-100] * len(prompt) + completion
        out.append({"input_ids": prompt + completion, "labels": labels})
    return out


def sft_trainer(todo, rows: list[dict]):
    """Make TRL's SFT trainer."""
    from trl import SFTConfig, SFTTrainer

    from bench.training.trainer import NoCard, arguments, dataset

    class Trainer(NoCard, SFTTrainer):
        pass

    config = arguments(SFTConfig, todo, len(rows), max_length=None)
    return Trainer(
        model=todo.policy,
        args=config,
        train_dataset=dataset(rows),
        processing_class=todo.tokenizer,
    )
