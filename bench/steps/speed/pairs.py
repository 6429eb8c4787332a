"""Race DPO, IPO and ORPO against TRL's: whole steps, and forward and backward passes alone.

Both sides get the same tokens and the same log-probs under the SFT base.
"""

import copy
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import torch
from transformers import PrinterCallback, ProgressCallback

from bench.methods import METHODS
from bench.models.loading import adapt
from bench.steps.speed import trl_pairs
from bench.steps.speed.racing import ratios, tell
from bench.steps.speed.work import WORKS, Work
from bench.training import trainer
from bench.training.ledger import Ledger
from bench.training.pair_engine import PairTrainer

METHODS_RACED = ("dpo", "ipo", "orpo")
REFERENCE = (-50.0, -49.0)  # log-probs of chosen and rejected under the SFT base


def race(args) -> None:
    """Print how many times as fast as TRL's each method's steps and passes are."""
    trainer.quieten()
    torch.set_num_threads(args.threads)
    for name in args.work or WORKS:
        work = WORKS[name]
        torch.manual_seed(0)
        start = adapt(work.model(), work.settings)
        for method in METHODS_RACED:
            for what, count, make in (("steps", work.steps, steps), ("passes", 1, passes)):
                sides = {side: make(side, method, work, start) for side in ("ours", "trl")}
                found = ratios(sides, args.rounds)
                title = f"{name}, {what} against TRL 1.16's"
                tell(method, title, found, count * work.pairs, "pairs")


def steps(side: str, method: str, work: Work, start):
    """Make a function that trains for ``work.steps`` optimiser steps."""
    made, run = new_trainer(side, method, work, start)

    def train():
        with run.ledger.phase("train"):
            made.train()

    return train


def passes(side: str, method: str, work: Work, start):
    """Make a function that runs one forward and backward pass of a batch."""
    made, _ = new_trainer(side, method, work, start)
    batch = made.get_batch_samples(iter(made.get_train_dataloader()), 1, start.device)[0][0]

    def forward_and_backward():
        made.compute_loss(made.model.train(), copy.copy(batch)).backward()
        made.model.zero_grad()

    return forward_and_backward


def new_trainer(side: str, method: str, work: Work, start):
    """Return a side's trainer, ready to train, and its run."""
    run = new_run(method, work, start)
    if side == "trl":
        made = trl_pairs.trainer(method, run, run.pairs)
    else:
        settings = run.settings.model_dump(include={"beta", "log_ratios"})
        loss = partial(METHODS[method].loss, **settings)
        made = PairTrainer(run, run.pairs, loss, method == "orpo")
    for callback in (PrinterCallback, ProgressCallback):
        made.remove_callback(callback)
    made.add_callback(trainer.Watch(run, {"tokens": 1}, len(run.pairs)))
    return made, run


def new_run(method: str, work: Work, start) -> SimpleNamespace:
    """Return what of a run the trainers read; its pairs are tokenised already."""
    rows = work.rows(work.steps * work.pairs)
    return SimpleNamespace(
        name=method,
        settings=METHODS[method].Settings(lr=1e-5, batch=work.pairs),
        seed=0,
        policy=copy.deepcopy(start),
        tokenizer=work.tokenizer(),
        pairs=[row | {"reference": REFERENCE} for row in rows],
        root=Path(tempfile.gettempdir()),
        monitor=SimpleNamespace(step=lambda *_: False),
        ledger=Ledger(),
        micro_batch=None,
    )
