"""Make what stands in for a study's model and texts where nothing has been made or fetched yet.

Models have random weights of the declared shape, never draw EOS, and so sample the longest answers
that the settings allow. Texts are random words, one token each, of the declared lengths.
"""

from itertools import cycle, islice
from pathlib import Path
from random import Random

from bench.core.streams import stream
from bench.models.flops import Shape

SPECIAL = ["<pad>", "<bos>", "<eos>"]
FAMILY = "chat"  # of prompts, as in the hub's world, whose gold stands in for any other
NO_GOLD = "def gold(prompts, completions):\n    return [0.0] * len(completions)\n"
APART = 2.0  # EOS's embedding, against 1 of all words, along a direction that hidden states share


def words(n: int) -> list[str]:
    """List a vocabulary of ``n`` words, special tokens first."""
    return SPECIAL + [f"w{i}" for i in range(len(SPECIAL), n)]


def config(shape: Shape, tied: bool, context: int, own: Path | None = None):
    """Return the configuration of a Llama of a shape, or the model's own, read from a file."""
    from transformers import AutoConfig, LlamaConfig

    ids = {f"{token.strip('<>')}_token_id": i for i, token in enumerate(SPECIAL)}
    if own:
        return AutoConfig.from_pretrained(own, **ids)
    return LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate,
        max_position_embeddings=context,
        tie_word_embeddings=tied,
        **ids,
    )


def write_policy(made, dtype: str, device: str, folder: Path) -> None:
    """Write a language model with random weights and its tokenizer; made: its configuration."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device(device):  # where random numbers are fast
        model = AutoModelForCausalLM.from_config(made, dtype=getattr(torch, dtype))
    unending(model)
    write(model, folder)


def write_scorer(made, dtype: str, device: str, folder: Path) -> None:
    """Write a model with a scalar head and random weights; made: its configuration."""
    import torch
    from transformers import AutoModelForSequenceClassification

    made.num_labels = 1
    with torch.device(device):
        kind = AutoModelForSequenceClassification
        write(kind.from_config(made, dtype=getattr(torch, dtype)), folder)


def write(model, folder: Path) -> None:
    """Write a model and a tokenizer of its vocabulary's size."""
    from bench.models.loading import save
    from bench.models.tokens import word_level

    made = model.config
    save(model, word_level(words(made.vocab_size), made.max_position_embeddings), folder)


def unending(model) -> None:
    """Make EOS so unlikely that no sample ends.

    All embeddings get a large first number, so that all hidden states share a direction; EOS's
    output embedding points the other way.
    """
    import torch

    eos = SPECIAL.index("<eos>")
    with torch.no_grad():
        model.get_input_embeddings().weight[:, 0] = 1.0
        output = model.get_output_embeddings().weight
        if output is not model.get_input_embeddings().weight:
            output[:, 0] = 1.0
        output[eos, 0] = -APART


def texts(sizes: list[tuple[int, ...]], n: int, vocabulary: int, split="train") -> list[dict]:
    """Return ``n`` rows that can be read as demonstrations, prompts or pairs.

    sizes: tokens of prompt and answers, BOS and EOS included, taken in turn.
    """
    luck, known = stream("rehearsal", split=split), words(vocabulary)[len(SPECIAL) :]
    return [row(i, size, luck, known, split) for i, size in enumerate(islice(cycle(sizes), n))]


def row(i: int, size: tuple[int, ...], luck: Random, known: list[str], split: str) -> dict:
    """Make one row; size: tokens of its prompt and answers."""
    prompt, a, b = (" ".join(luck.choices(known, k=max(1, n - 1))) for n in (*size, size[-1])[:3])
    names = {"prompt_id": f"p{i}", "family": FAMILY, "split": split, "side": "a"}
    sides = {"a": a, "b": b, "chosen": a, "rejected": b, "completion": a}
    return {"id": i, "prompt": prompt} | names | sides
