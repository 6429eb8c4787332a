"""Episodes a second, and memory, of our PPO update and of TRL 1.12's on the same work.

    PREFBENCH_TRL112=DIR python tests/methods/speed_ppo.py [--work small|ragged|smollm2]
        [--rounds N]

An update is a rollout, its scoring and four passes of one minibatch over it. Both sides run in one
process in turn, after a round that is not counted. Memory is each side's peak in a process of its
own, above what that held before its models.

small: 1.05M parameters, four separate models on both sides, all completions of full length (no EOS
can be drawn). ragged: the same, but each token is an EOS with a chance of about 1 in 24. smollm2:
SmolLM2-135M's architecture with random weights, so that nothing is downloaded, full length; ours is
one base with LoRA r=16 on its upper ten layers, TRL's four whole models. DIR: see
``tests/methods/trl_ppo.py``.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import torch
import trl_ppo
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

PROMPT = 16
SMALL = {
    "vocab_size": 2048,
    "hidden_size": 128,
    "intermediate_size": 344,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}
SMOLLM2 = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}


@dataclass
class Work:
    """episodes in a rollout and minibatch; most tokens of a completion; whether ours shares one
    base; what is added to the logit of EOS, if it can be drawn; rows of our forward passes."""

    model: dict
    episodes: int
    length: int
    shared: bool = False
    eos_bias: float | None = None
    micro_batch: int | None = None

    def config(self) -> LlamaConfig:
        return LlamaConfig(**self.model, tie_word_embeddings=True, pad_token_id=0, num_labels=1)

    def prompts(self) -> list[list[int]]:
        torch.manual_seed(0)
        return torch.randint(1, self.model["vocab_size"], (self.episodes, PROMPT)).tolist()

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Its EOS lies beyond the model's vocabulary where it is not to be drawn."""
        from tokenizers import Tokenizer, models

        words = {f"w{i}": i for i in range(1, self.model["vocab_size"])} | {"<pad>": 0}
        plain = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
        eos = "<eos>" if self.eos_bias is None else "w1"
        return PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", eos_token=eos)

    def four(self) -> dict:
        """Policy, reference, critic and reward model, each whole."""
        kinds = {"policy": LlamaForCausalLM, "reference": LlamaForCausalLM}
        kinds |= dict.fromkeys(("critic", "reward"), LlamaForSequenceClassification)
        models = {name: kind(self.config()) for name, kind in kinds.items()}
        if self.eos_bias is not None:
            for name in ("policy", "reference"):
                bias = torch.zeros(self.model["vocab_size"])
                bias[1] = self.eos_bias
                models[name].lm_head.bias = torch.nn.Parameter(bias)
        return models


WORK = {
    "small": Work(SMALL, 64, 32),
    "ragged": Work(SMALL, 64, 32, eos_bias=4.5, micro_batch=16),
    "smollm2": Work(SMOLLM2, 8, 24, shared=True),
}


def one_base(config):
    """Our four roles on one base; the reward adapter comes from a folder, as in a run."""
    from bench.methods.ppo.roles import Shared
    from bench.models.loading import adapt
    from bench.settings.sections import Lora, Model

    settings = Model(lora=Lora(r=16, alpha=32, layers=10))
    with tempfile.TemporaryDirectory() as folder:
        reward = LlamaForSequenceClassification(config)
        adapt(reward, settings, "SEQ_CLS").save_pretrained(folder)
        del reward
        return Shared(adapt(LlamaForCausalLM(config), settings), Path(folder))


def ours(work: Work):
    """A function that does one of our updates."""
    from bench.methods.ppo import Settings
    from bench.methods.ppo.roles import Copies
    from bench.methods.ppo.trainer import PPO
    from bench.training.ledger import Ledger

    n = work.episodes
    run = SimpleNamespace(
        settings=Settings(batch=n, minibatch=n, inner_epochs=4, micro_batch=work.micro_batch),
        seed=0,
        tokenizer=work.tokenizer(),
        pairs=[],
        decode=SimpleNamespace(max_new_tokens=work.length),
        cuda_graph=False,
        ledger=Ledger(),
    )
    roles = one_base(work.config()) if work.shared else Copies(*work.four().values())
    ppo = PPO(run, roles)
    ppo.prompts = work.prompts()
    return lambda: ppo.update(1)


def trl(work: Work):
    """A function that does one of TRL's updates."""
    trainer = trl_ppo.build(
        work.four(),
        work.tokenizer(),
        work.prompts(),
        per_device_train_batch_size=work.episodes,
        response_length=work.length,
        num_ppo_epochs=4,
    )

    def update():
        with contextlib.redirect_stdout(None):  # it prints its log whatever it is told
            trainer.train()

    return update


MAKERS = {"ours": ours, "trl": trl}


def seconds(update) -> float:
    start = time.perf_counter()
    update()
    return time.perf_counter() - start


def race(work: Work, rounds: int) -> None:
    """Prints episodes a second of both, and how many times TRL's ours are."""
    updates = {side: make(work) for side, make in MAKERS.items()}
    for update in updates.values():
        update()
    speeds = {side: [] for side in updates}
    for _ in range(rounds):
        for side, update in updates.items():
            speeds[side].append(work.episodes / seconds(update))
    for side, values in speeds.items():
        print(f"{side}: {spread(values)} episodes/s", flush=True)
    ratios = [mine / theirs for mine, theirs in zip(*speeds.values(), strict=True)]
    print(f"ours / trl: {spread(ratios)}", flush=True)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def peak_mb(work: Work, side: str) -> float:
    """MiB at the peak of two updates, above what the process held before its models."""
    before = psutil.Process().memory_info().rss
    update = MAKERS[side](work)
    for _ in range(2):
        update()
    # of /proc, as getrusage's would be no less than that of the process that started this one
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return (peak - before) / 2**20


def weigh() -> None:
    """Prints each side's peak memory, measured by this command in a process of its own."""
    peaks = {}
    for side in MAKERS:
        command = [sys.executable, *sys.argv, "--only", side]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        peaks[side] = float(done.stdout.splitlines()[-1])
        print(f"{side}: peak {peaks[side]:.0f} MiB", flush=True)
    print(f"ours / trl: {peaks['ours'] / peaks['trl']:.0%} of the memory", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", choices=WORK, default="small")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=MAKERS, help="print the peak memory of one side, in MiB")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    trl_ppo.module()
    torch.manual_seed(0)
    work = WORK[args.work]
    if args.only:
        print(peak_mb(work, args.only))
        return
    if work.shared:
        weigh()
    race(work, args.rounds)


if __name__ == "__main__":
    main()
