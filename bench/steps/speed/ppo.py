"""Race an update of PPO against TRL 1.12's: a rollout, its scoring, four passes over it.

Ours uses one base with adapters where the work has LoRA; TRL's has four whole models.
"""

import contextlib
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch

from bench.models.loading import adapt
from bench.steps.speed import trl_ppo
from bench.steps.speed.racing import ratios, tell
from bench.steps.speed.work import WORKS, Work

PASSES = 4


def race(args) -> None:
    """Print how many times as fast as TRL's our updates are."""
    if args.trl112 is None:
        print("ppo: not raced, since it needs TRL 1.12: give --trl112 DIR (see --help)")
        return
    trl_ppo.module(args.trl112)
    torch.set_num_threads(args.threads)
    for name in args.work or WORKS:
        work = WORKS[name]
        torch.manual_seed(0)
        found = ratios({"ours": ours(work), "trl": trl(work)}, args.rounds)
        tell("ppo", f"{name}, updates against TRL 1.12's", found, work.episodes, "episodes")


def ours(work: Work):
    """Make a function that does one of our updates."""
    from bench.methods.ppo import Settings
    from bench.methods.ppo.trainer import PPO
    from bench.training.ledger import Ledger

    n = work.episodes
    run = SimpleNamespace(
        settings=Settings(batch=n, minibatch=n, inner_epochs=PASSES, micro_batch=work.micro_batch),
        seed=0,
        tokenizer=work.tokenizer(),
        prompts=[],
        decode=SimpleNamespace(max_new_tokens=work.answer),
        ledger=Ledger(),
        cuda_graph=False,
    )
    ppo = PPO(run, roles(work))
    ppo.prompts = prompts(work)
    return lambda: ppo.update(1)


def roles(work: Work):
    """Return our four models; on one base, the reward adapter comes from a folder, as in a run."""
    from bench.methods.ppo.roles import Copies, Shared

    if work.lora is None:
        return Copies(*four(work).values())
    with tempfile.TemporaryDirectory() as folder:
        adapt(work.scorer(), work.settings, "SEQ_CLS").save_pretrained(folder)
        return Shared(adapt(work.model(), work.settings), Path(folder))


def trl(work: Work):
    """Make a function that does one of TRL's updates."""
    trainer = trl_ppo.build(
        four(work),
        work.tokenizer(),
        prompts(work),
        per_device_train_batch_size=work.episodes,
        response_length=work.answer,
        num_ppo_epochs=PASSES,
    )

    def update():
        with contextlib.redirect_stdout(None):  # it prints its log whatever it is told
            trainer.train()

    return update


def four(work: Work) -> dict:
    """Make policy, reference, critic and reward model, each whole."""
    names = ("policy", "reference"), ("critic", "reward")
    makers = (work.model, work.scorer)
    return {name: make() for group, make in zip(names, makers, strict=True) for name in group}


def prompts(work: Work) -> list[list[int]]:
    return work.texts(work.episodes, work.prompt, ragged=False)
