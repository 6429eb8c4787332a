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

from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import TrainerCallback

from bench.core import processes
from bench.core.progress import say
from bench.models.flops import Shape, training
from bench.training import checkpoints
from bench.training.batches import splits, total_steps
from bench.training.ledger import Ledger
from bench.training.monitor import Monitor

MAX_GRAD_NORM = 1.0


@dataclass
class Training:
    """One training: what is trained, how, and who watches.

    name: what messages call it; root: where its checkpoints lie; micro_batch: rows a forward pass
    holds at most (the optimiser's batch is accumulated from these); weights: filled in where those
    in ``policy`` are shards.
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


def schedule(settings) -> dict:
    """Constant after warm-up; ``decay``: linearly to 0 over that last share of the steps."""
    decay = getattr(settings, "decay", 0.0)
    if not decay:
        return {"lr_scheduler_type": "constant_with_warmup"}
    last = {"num_decay_steps": round(decay * settings.steps), "decay_type": "linear"}
    return {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": last}


def arguments(config_class, job: Training, n: int, **extra):
    """The arguments of a trainer of ``job`` on ``n`` rows; ``extra`` are those of its own."""
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
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=job.policy.device.type != "cpu",
        **extra,
    )


class TrainerMixin:
    """TRL's trainer as used here, on one process or several."""

    def create_model_card(self, *args, **kwargs):
        """TRL writes one with each checkpoint; ours need none."""

    def get_eval_dataloader(self, eval_dataset=None):
        """Of all rows in each process, which gathers nothing: shared out, the last batch would be
        filled with rows from the start, and no mean be that of one process."""
        if processes.count() == 1:
            return super().get_eval_dataloader(eval_dataset)
        self.accelerator.gather = lambda values: values
        rows = self._remove_unused_columns(self.eval_dataset)
        loader = DataLoader(rows, self.args.eval_batch_size, collate_fn=self.data_collator)
        return prepare_data_loader(loader, num_processes=1, process_index=0)


class Watch(TrainerCallback):
    """Books each optimiser step, hands it to the monitor, seals checkpoints once written.

    cost: of the mean row of ``n``, as ``Ledger.add`` takes it.
    """

    def __init__(self, job: Training, cost: dict[str, float], n: int):
        self.monitor, self.ledger = job.monitor, job.ledger
        self.batch, self.cost, self.n = job.settings.batch, cost, n

    def on_log(self, args, state, control, logs=None, model=None, **kwargs):
        if "loss" in logs:
            rows = rows_in(state.global_step, self.n, self.batch)
            if processes.is_main():  # for all
                self.ledger.add(**{key: rows * mean for key, mean in self.cost.items()})
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


def fit(trainer, job: Training, head: str = "fused") -> None:
    """Trains, from the newest whole checkpoint where there is one; head: see ``flops.training``.

    Raises Diverged where the loss is no number or the policy has run away.
    """
    from transformers import PrinterCallback, ProgressCallback

    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    for weight in trainer.model.parameters():
        if weight.requires_grad:  # TRL casts QLoRA's to bfloat16
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
    """Rows of an optimiser step, counted from 1: an epoch's last has what the others left."""
    return batch if step % math.ceil(n / batch) else n - batch * (math.ceil(n / batch) - 1)


def row_cost(model, rows, head: str) -> dict[str, float]:
    """Tokens and FLOPs of training on one row, the mean of ``rows``; head: of ``training``."""
    shape, tiled = Shape.of(model), model.device.type in ("cuda", "xpu")
    whole = [pass_ for row in rows for pass_ in sequences(row)]
    tokens, work = sum(length for length, _ in whole), training(shape, whole, head, tiled)
    return {"tokens": tokens / len(rows), "flops": work / len(rows)}


def sequences(row: dict) -> list[tuple[int, int]]:
    """(tokens, those with a label) of each sequence that a row is trained on."""
    if "prompt_ids" in row:
        sides = (len(row["chosen_ids"]), len(row["rejected_ids"]))
        return [(len(row["prompt_ids"]) + n, n) for n in sides]
    if "input_ids" in row:
        return [(len(row["input_ids"]), sum(label != -100 for label in row["labels"]))]
    keys = [key for key in row if key.endswith(("chosen_input_ids", "rejected_input_ids"))]
    return [(len(row[k]), len(row[k])) for k in keys or ("chosen_ids", "rejected_ids")]
