"""Measure how fast tokens are sampled on a GPU, by the plain loop and by a captured graph."""

import time
from types import SimpleNamespace

import torch

from bench.models.draws import uniforms
from bench.models.sampling import sample

SMOLLM2 = {  # SmolLM2-135M's shape
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
ENDLESS = SimpleNamespace(pad_token_id=0, eos_token_id=-1)  # no token is an EOS


def sampling_rates(
    rounds: int = 5, rows: int = 96, prompt: int = 24, length: int = 32, device: str = "cuda"
) -> dict[str, list[float]]:
    """Return tokens per second of SmolLM2-135M's shape with random weights: {way: [each round]}.

    The ways, ``plain`` and ``graph``, take turns, after a round that is not counted and in which
    the graph is captured. All rows get ``length`` tokens.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**SMOLLM2, tie_word_embeddings=True)
    model = LlamaForCausalLM(config).to(device).eval()
    prompts = torch.randint(1, config.vocab_size, (rows, prompt)).tolist()
    draws = uniforms(length, rows, torch.Generator(device).manual_seed(0))
    rates = {"plain": [], "graph": []}
    for _ in range(rounds + 1):
        for way, found in rates.items():
            start = time.perf_counter()
            sample(model, ENDLESS, prompts, length, draws, graph=way == "graph")
            found.append(rows * length / (time.perf_counter() - start))  # sample waits for the GPU
    return {way: found[1:] for way, found in rates.items()}
