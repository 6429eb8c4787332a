"""Set up and run a trainer of transformers or TRL: what all trainings by them share.

The learning rate is constant after warm-up, so that the first half of a run equals a run of half
the length; a setting ``decay`` lowers it at the end. No dropout; passes in the model's dtype; one
log row per optimiser step; the hashes of a checkpoint are written last.
"""

import logging
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from bench.core import processes
from bench.core.progress import say
from bench.models.flops import Shape, forward, pair, training
from bench.models.loading import unwrap
from bench.models.passes import PARTS, reads_pairs
from bench.training import checkpoints
from bench.training.batches import splits, total_steps
from bench.training.ledger import Ledger
from bench.training.monitor import Monitor

MAX_GRAD_NORM = 1.0


@dataclass
class Training:
    """One training: the model, its settings, and what watches it.

    name: the training in messages; root: folder of its checkpoints; micro_batch: most rows in a
    forward pass (gradients are accumulated up to the batch); weights: filled in by ``fit`` if
    ``policy`` holds only a shard of them.
    """

    name: str
    policy: Any
    tokenizer: Any
    settings: Any
    seed: int
    root: Path
    monitor: Monitor
    ledger: Ledger
    micro_batch: int | None = None
    weights: dict | None = None


def quieten() -> None:
    """Silence warnings and progress bars of the libraries, not their errors."""
    os.environ["TQDM_DISABLE"] = "1"  # before the imports: tqdm reads it when it is imported
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import datasets
    import transformers

    warnings.filterwarnings("ignore", module="(torch|transformers|trl|peft|accelerate).*")
    for name in ("transformers", "trl", "accelerate", "datasets", "peft"):
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def dataset(rows: list[dict]):
    """Return rows as a ``datasets.Dataset``."""
    from datasets import Dataset

    return Dataset.from_list(rows)


def schedule(settings, steps: int) -> dict:
    """Return the scheduler's arguments; ``decay``: last share of the steps, falling to 0."""
    decay = getattr(settings, "decay", 0.0)
    if not decay:
        return {"lr_scheduler_type": "constant_with_warmup"}
    last = {"num_decay_steps": round(decay * steps), "decay_type": "linear"}
    return {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": last}


def arguments(config_class, job: Training, n: int, **extra):
    """Return a ``config_class`` (TRL's or transformers') for training ``job`` on ``n`` rows.

    extra: arguments of that class alone. Raises UserError if processes cannot share the batches.
    """
    settings = job.settings
    rows, passes = splits(settings.batch, job.micro_batch, n, processes.count())
    return config_class(
        output_dir=str(job.root),
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=passes,
        max_steps=getattr(settings, "steps", 0) or -1,
        num_train_epochs=getattr(settings, "epochs", 1),
        learning_rate=settings.lr,
        warmup_steps=getattr(settings, "warmup", 0),
        **schedule(settings, total_steps(settings, n)),
        max_grad_norm=MAX_GRAD_NORM,
        weight_decay=0.0,
        seed=job.seed,
        data_seed=job.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=job.policy.device.type == "cpu",
        bf16=False,
        gradient_checkpointing=False,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=job.policy.device.type != "cpu",
        **extra,
    )


class Watch(TrainerCallback):
    """Books each optimiser step, passes its metrics to the monitor, completes checkpoints.

    cost: {column: mean cost of one row}, for ``Ledger.add``; n: rows of the data set.
    """

    def __init__(self, job: Training, cost: dict[str, float], n: int):
        self.monitor, self.ledger = job.monitor, job.ledger
        self.batch, self.cost, self.n = job.settings.batch, cost, n

    def on_log(self, args, state, control, logs=None, model=None, **kwargs):
        if "loss" in logs:
            rows = rows_in(state.global_step, self.n, self.batch)
            if processes.is_main():  # books the whole batch, so once
                self.ledger.add(**{key: rows * mean for key, mean in self.cost.items()})
            metrics = {clean(k): float(v) for k, v in logs.items() if is_metric(k, v)}
            due = self.monitor.step(state.global_step, metrics, model)
            control.should_save = control.should_save or due

    def on_save(self, args, state, control, **kwargs):
        self.monitor.save(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def is_metric(key: str, value) -> bool:
    """True for the numbers of one step; TRL's running token count restarts when a run resumes."""
    return isinstance(value, int | float) and key not in ("num_tokens", "epoch")


def clean(key: str) -> str:
    """Turn TRL's metric name into a column name: rewards/margins -> rewards_margins."""
    return key.replace("/", "_")


def fit(trainer, job: Training, head: str) -> None:
    """Train ``job.policy`` in place, from the newest complete checkpoint if there is one.

    head: output layer of a pass, for counting FLOPs: see ``bench.models.flops.training``. Raises
    Diverged if the loss is no number or the KL from the SFT base is too large.
    """
    from transformers import PrinterCallback, ProgressCallback

    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    for weight in trainer.model.parameters():
        if weight.requires_grad:  # TRL casts the adapters of QLoRA to bfloat16
            weight.data = weight.data.float()
    rows = trainer.train_dataset
    trainer.add_callback(Watch(job, row_cost(trainer.model, rows, head), len(rows)))
    found = processes.from_main(lambda: checkpoints.newest(job.root))
    if found:
        job.monitor.load(found)
        say(job.name, f"resuming from {found}")
    steps = total_steps(job.settings, len(rows))
    with job.ledger.phase("train"):
        job.monitor.begin(steps, trainer.model)
        trainer.train(resume_from_checkpoint=str(found) if found else None)
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            job.weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)


def rows_in(step: int, n: int, batch: int) -> int:
    """Return the rows of a step, counted from 1; the last step of an epoch may have fewer."""
    return batch if step % math.ceil(n / batch) else n - batch * (math.ceil(n / batch) - 1)


def row_cost(model, rows, head: str) -> dict[str, float]:
    """Return tokens and FLOPs of training on one row, averaged over ``rows``; head: see ``fit``."""
    shape = Shape.of(model)
    config = unwrap(model).config
    whole = [pass_ for row in rows for pass_ in sequences(row, head, config)]
    tokens, work = sum(length for length, _ in whole), training(shape, whole, head)
    return {"tokens": tokens / len(rows), "flops": work / len(rows)}


def reading_cost(model, rows: list[dict]) -> dict[str, float]:
    """Return tokens and FLOPs of reading both answers of tokenised pairs, for ``Ledger.add``."""
    shape, config = Shape.of(model), unwrap(model).config
    tokens, drawn = zip(
        *(one for row in rows for one in sequences(row, "pair", config)), strict=True
    )
    return {"tokens": sum(tokens), "flops": forward(shape, tokens, sum(drawn) * shape.vocabulary)}


def sequences(row: dict, head: str, config) -> list[tuple[int, int]]:
    """Return (tokens, tokens with a label) for each sequence in a row of any of the trainers."""
    if "answer_ids" in row:
        return [(len(row["prompt_ids"]) + len(row["answer_ids"]), len(row["answer_ids"]))]
    if "prompt_ids" in row:
        prompt, *answers = (len(row[part]) for part in PARTS)
        joint = reads_pairs(config, prompt + max(answers))
        return pair(head, prompt, *answers, joint=joint)
    keys = ("input_ids",) if "input_ids" in row else ("chosen_ids", "rejected_ids")
    return [(len(row[key]), len(row[key])) for key in keys]
