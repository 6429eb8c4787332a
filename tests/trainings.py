"""Trains with every method and writes what came out: is it the same on any number of processes?

    torchrun --nproc-per-node 2 tests/trainings.py FOLDER OUT NAME ...

FOLDER holds ``sft``, ``reward`` and ``adapter``, as ``test_processes.py`` makes them. For each
training: OUT/NAME.json, its log, cost and loss on held-out rows, and OUT/NAME.pt, its weights. It
goes on from a checkpoint in OUT/checkpoints/NAME.
"""

import json
import os
import random
import sys
from pathlib import Path

import torch

from bench.core import processes
from bench.core.progress import Progress
from bench.methods import METHODS
from bench.models.loading import adapt, load_policy, load_scorer, load_tokenizer
from bench.settings.sections import Lora
from bench.steps import reward, sft
from bench.steps.align import Run
from bench.studies import load
from bench.training import job, trainer
from bench.training.answer_trainer import DemonstrationTrainer
from bench.training.ledger import Ledger
from bench.training.monitor import Monitor

WORDS = ["the", "a", "review", "do", "take", "then", "this", "but", "is", "an"]
DEVICE = os.environ.get("TRAININGS_DEVICE", "cpu")
PLAIN = load("tiny", [f"model.device={DEVICE}"]).model
LORA = PLAIN.model_copy(update={"lora": Lora(r=4, alpha=8, layers=1)})
EPOCHS = int(os.environ.get("TRAININGS_EPOCHS", "2"))
BATCH = {"lr": 3e-3, "batch": 8, "epochs": EPOCHS, "warmup": 1}
# name: (method, settings of the model, rows a pass, settings of the method)
RUNS = {
    "dpo": ("dpo", PLAIN, None, BATCH),
    "dpo-accumulated": ("dpo", PLAIN, 1, BATCH),
    "dpo-lora": ("dpo", LORA, None, BATCH),
    "ipo": ("ipo", PLAIN, None, BATCH),
    "ipo-sum": ("ipo", PLAIN, None, BATCH | {"log_ratios": "sum"}),
    "orpo": ("orpo", PLAIN, None, BATCH),
    "orpo-accumulated": ("orpo", PLAIN, 1, BATCH),
    "ppo": ("ppo", PLAIN, None, BATCH | {"minibatch": 4}),
    "kto": ("kto", PLAIN, None, BATCH),
    "kto-accumulated": ("kto", PLAIN, 1, BATCH),
    "rloo": ("rloo", PLAIN, None, BATCH | {"minibatch": 4, "answers": 2, "inner_epochs": 2}),
    "grpo": ("grpo", LORA, None, BATCH | {"minibatch": 8, "answers": 4, "micro_batch": 4}),
    "online-dpo": ("online_dpo", PLAIN, None, BATCH | {"minibatch": 4, "micro_batch": 2}),
    "ppo-shared": ("ppo", LORA, None, BATCH | {"minibatch": 8, "micro_batch": 2, "kl_stop": 0.1}),
}
TRAININGS = [*RUNS, "sft", "reward"]


def text(source: random.Random) -> str:
    return " ".join(source.choices(WORDS, k=source.randint(1, 9)))


def pairs(n: int, seed: int) -> list[dict]:
    """Rows of random words, of many lengths, so that means over tokens and over rows differ."""
    source = random.Random(seed)
    keys = ("prompt", "chosen", "rejected")
    return [{"id": i, "side": "a"} | {key: text(source) for key in keys} for i in range(n)]


def monitor(root: Path) -> Monitor:
    return Monitor(None, (0.5,), (), Ledger(), Progress("test", None), root)


def aligned(name: str, folder: Path, root: Path) -> Run:
    """A run of a method, trained."""
    run = untrained(name, folder, root)
    METHODS[RUNS[name][0]].train(run)
    return run


def untrained(name: str, folder: Path, root: Path) -> Run:
    """A run of a method; 36 pairs in batches of 8 leave a last batch of 4."""
    method, model, rows, settings = RUNS[name]
    watch, train = monitor(root), pairs(36, 1)
    critic = folder / ("adapter" if model.lora else "reward")
    scorer = None if model.lora else load_scorer(critic, model).requires_grad_(False)
    return Run(
        name=name,
        settings=METHODS[method].Settings(**settings),
        seed=5,
        policy=adapt(load_policy(folder / "sft", model), model),
        tokenizer=load_tokenizer(folder / "sft"),
        pairs=train,
        validation=pairs(11, 2),
        sft=folder / "sft",
        reward=critic,
        scorer=scorer,
        reference={i: {"a": -20.0 - i % 3, "b": -18.0 + i % 5} for i in range(len(train))},
        model=model,
        decode=load("tiny").decode,
        root=root,
        monitor=watch,
        ledger=watch.ledger,
        micro_batch=rows,
    )


def supervised(name: str, folder: Path, root: Path) -> trainer.Training:
    """The SFT base or a reward model; 20 rows in batches of 8 leave a last batch of 4."""
    cfg, tokenizer, watch = (
        load("tiny", ["reward.batch=8"]),
        load_tokenizer(folder / "sft"),
        monitor(root),
    )
    settings = (
        cfg.reward if name == "reward" else cfg.sft.model_copy(update={"batch": 8, "steps": 7})
    )
    model = (
        load_scorer(folder / "reward", PLAIN)
        if name == "reward"
        else load_policy(folder / "sft", PLAIN)
    )
    todo = trainer.Training(name, model, tokenizer, settings, 5, root, watch, watch.ledger)
    rows = pairs(20, 3)
    if name == "reward":
        trainer.fit(
            reward.reward_trainer(todo, reward.tokenised(tokenizer, rows)), todo, head="scalar"
        )
    else:
        demonstrations = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
        made = DemonstrationTrainer(todo, sft.tokenised(tokenizer, demonstrations))
        trainer.fit(made, todo, head="answer")
    return todo


def main(folder: Path, out: Path, names: list[str]) -> None:
    trainer.quieten()
    processes.start()
    for name in names:
        job.seed_everything(5)
        root = out / "checkpoints" / name
        if processes.is_main():
            root.mkdir(parents=True, exist_ok=True)
        processes.wait()
        todo = (aligned if name in RUNS else supervised)(name, folder, root)
        found = {"log": todo.monitor.log, "cost": todo.ledger.table()}
        found["validation_loss"] = getattr(todo, "validation_loss", None)
        if processes.is_main():
            (out / f"{name}.json").write_text(json.dumps(found))
            torch.save(todo.policy.state_dict(), out / f"{name}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
