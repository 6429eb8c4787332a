"""What every training by a transformers or TRL trainer here has in common.

Constant learning rate after warm-up (so that a prefix of a run is a shorter run) unless a step asks
for a decay at its end, float32 or the model's dtype, no dropout, one log row an optimiser step,
checkpoints that are sealed last.
"""

import logging
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from bench import checkpoints
from bench.monitor import Monitor
from bench.record import Ledger

MAX_GRAD_NORM = 1.0


@dataclass
class Job:
    """One training: what is trained, how, and who watches.

    name: what messages call it; root: where its checkpoints lie; micro_batch: rows a forward pass
    holds at most (the optimiser's batch is accumulated from these).
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


def quieten() -> None:
    """Silences the libraries' chatter (and the progress bars of ``datasets``), not their errors."""
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported, so before the others
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
    from datasets import Dataset

    return Dataset.from_list(rows)


def total_steps(settings, n: int) -> int:
    """Optimiser steps: as set, or as the epochs over ``n`` rows give."""
    steps = getattr(settings, "steps", 0)
    return steps or math.ceil(math.ceil(n / settings.batch) * settings.epochs)


def splits(batch: int, micro: int | None) -> tuple[int, int]:
    """(rows a forward pass, passes to accumulate) whose product is ``batch`` exactly."""
    passes = next(
        p for p in range(1, batch + 1) if batch % p == 0 and batch // p <= (micro or batch)
    )
    return batch // passes, passes


def schedule(settings) -> dict:
    """Constant after warm-up; ``decay``: linearly to 0 over that last share of the steps."""
    decay = getattr(settings, "decay", 0.0)
    if not decay:
        return {"lr_scheduler_type": "constant_with_warmup"}
    last = {"num_decay_steps": round(decay * settings.steps), "decay_type": "linear"}
    return {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": last}


def arguments(config_class, job: Job, **extra):
    """The arguments of a trainer for ``job``; ``extra`` are those of its own."""
    settings = job.settings
    rows, passes = splits(settings.batch, job.micro_batch)
    return config_class(
        output_dir=str(job.root),
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=passes,
        max_steps=getattr(settings, "steps", 0) or -1,
        num_train_epochs=getattr(settings, "epochs", 1),
        learning_rate=settings.lr,
        warmup_steps=getattr(settings, "warmup", 0),
        **schedule(settings),
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
        dataloader_pin_memory=job.policy.device.type != "cpu",
        **extra,
    )


class TrainerMixin:
    """TRL writes a model card with each checkpoint; ours need none."""

    def create_model_card(self, *args, **kwargs):
        pass


class Watch(TrainerCallback):
    """Hands each optimiser step to the monitor, and seals checkpoints once they are written."""

    def __init__(self, monitor: Monitor):
        self.monitor = monitor

    def on_log(self, args, state, control, logs=None, model=None, **kwargs):
        if "loss" in logs:
            metrics = {clean(k): float(v) for k, v in logs.items() if is_metric(k, v)}
            due = self.monitor.step(state.global_step, metrics, model)
            control.should_save = control.should_save or due

    def on_save(self, args, state, control, **kwargs):
        self.monitor.save(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def is_metric(key: str, value) -> bool:
    """Numbers of a step; TRL's running token count starts again where a run is resumed."""
    return isinstance(value, int | float) and key not in ("num_tokens", "epoch")


def clean(key: str) -> str:
    """TRL's metric names as column names: rewards/margins -> rewards_margins."""
    return key.replace("/", "_")


def fit(trainer, job: Job) -> None:
    """Trains, from the newest whole checkpoint where there is one.

    Raises Diverged where the loss is no number or the policy has run away.
    """
    from transformers import PrinterCallback, ProgressCallback

    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(Watch(job.monitor))
    found = checkpoints.newest(job.root)
    if found:
        job.monitor.load(found)
        print(f"[{job.name}] resuming from {found}", flush=True)
    steps = total_steps(job.settings, len(trainer.train_dataset))
    with job.ledger.phase("train"):
        job.monitor.begin(steps, trainer.model)
        trainer.train(resume_from_checkpoint=str(found) if found else None)
        job.ledger.tokens(
            trained_tokens(trainer.train_dataset) * passes_over(job.settings, trainer)
        )


def trained_tokens(rows) -> int:
    """Tokens in one pass over ``rows``: prompt and completion, each time they are fed."""
    return sum(_row_tokens(row) for row in rows)


def _row_tokens(row: dict) -> int:
    if "prompt_ids" in row:
        return 2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"])
    keys = [k for k in ("input_ids", "chosen_ids", "rejected_ids") if k in row]
    keys = keys or ["chosen_input_ids", "rejected_input_ids"]
    return sum(len(row[key]) for key in keys)


def passes_over(settings, trainer) -> float:
    """How often the training set is passed over."""
    steps = total_steps(settings, len(trainer.train_dataset))
    return steps * settings.batch / len(trainer.train_dataset)
