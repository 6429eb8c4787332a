"""Race sampling by a captured CUDA graph against the plain loop, on SmolLM2-135M's shape."""

import torch

from bench.models.draws import uniforms
from bench.models.sampling import sample
from bench.steps.speed.racing import ratios, tell
from bench.steps.speed.work import WORKS

ROWS, PROMPT, LENGTH = 96, 24, 32


def race(args) -> None:
    """Print how many times as fast as the plain loop the graph is; needs a CUDA device."""
    if torch.cuda.is_available():
        tell("sampling", "smollm2, graph against plain loop", raced(args.rounds), *size())
    else:
        print("sampling: not raced, since no CUDA device is here", flush=True)


def size() -> tuple[int, str]:
    """Return how much of what a piece of work makes."""
    return ROWS * LENGTH, "tokens"


def raced(rounds: int) -> tuple[list[float], list[float]]:
    """Sample in both ways, in turn; returns what ``ratios`` returns. No answer ends early."""
    torch.manual_seed(0)
    work = WORKS["smollm2"]
    model, tokenizer = work.model().cuda().eval(), work.tokenizer()
    prompts = work.texts(ROWS, PROMPT, ragged=False)
    draws = uniforms(LENGTH, ROWS, torch.Generator("cuda").manual_seed(0))

    def side(graph: bool):
        return lambda: sample(model, tokenizer, prompts, LENGTH, draws, graph=graph)

    return ratios({"graph": side(True), "plain": side(False)}, rounds)
