"""Compute the FLOPs of training and sampling from token counts and a Llama-type model's shape.

Only the matrix products that are executed count, with 2 FLOPs per multiply-add. Attention counts as
L x L, as eager attention computes it; a fused kernel may skip the half above the diagonal. Padding,
embedding look-ups, elementwise operations and the optimiser do not count.
``tests/models/test_flops.py`` compares all this with ``torch.utils.flop_counter``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.models.loading import unwrap


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama-type model, and which of its weights are trained.

    rank: rank of the LoRA adapters, 0 without; first: the lowest layer with an adapter; full: the
    model's own weights are trained; again: layers are recomputed in backward (checkpointing).
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    rank: int = 0
    first: int = 0
    full: bool = True
    again: bool = False

    @classmethod
    def of(cls, model) -> "Shape":
        """Read the shape from a model, which may be wrapped by PEFT."""
        config, named = unwrap(model).config, list(model.named_parameters())
        factors = {name: p for name, p in named if ".lora_A." in name}
        depths = [int(re.search(r"\.layers\.(\d+)\.", name)[1]) for name in factors]
        own = [p.requires_grad for name, p in named if ".layers." in name and "lora_" not in name]
        width = getattr(config, "head_dim", None)
        inner = (getattr(config, key, None) for key in ("intermediate_size", "n_inner", "ffn_dim"))
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
            head_dim=width or config.hidden_size // config.num_attention_heads,
            intermediate=next(filter(None, inner), 4 * config.hidden_size),
            vocabulary=config.vocab_size,
            rank=next(iter(factors.values())).shape[0] if factors else 0,
            first=min(depths, default=0),
            full=any(own),
            again=getattr(unwrap(model), "is_activation_checkpointing", False),
        )

    def bare(self) -> "Shape":
        """The same model without its adapters."""
        return replace(self, rank=0)

    def lowest(self, n: int) -> "Shape":
        """The lowest ``n`` layers alone, which must have no adapter."""
        return replace(self, layers=n, first=n)

    def above(self, n: int) -> "Shape":
        """The model without its lowest ``n`` layers, which must have no adapter."""
        return replace(self, layers=self.layers - n, first=max(0, self.first - n))

    @property
    def entering(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of a layer's first linear maps: queries, keys, values."""
        return [
            (self.hidden, n * self.head_dim) for n in (self.heads, self.kv_heads, self.kv_heads)
        ]

    @property
    def linear(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of every linear map of a layer."""
        gate = (self.hidden, self.intermediate)
        return [*self.entering, (self.heads * self.head_dim, self.hidden), gate, gate, gate[::-1]]


def products(shape: Shape, tokens: float, pairs: float, outputs: float) -> float:
    """Compute the FLOPs of a forward pass.

    tokens, pairs of query and key, outputs (logits or scores): totals over all sequences.
    """
    weights = shape.layers * sum(i * o for i, o in shape.linear)
    weights += (shape.layers - shape.first) * adapters(shape)
    attention = 2 * shape.layers * shape.heads * shape.head_dim  # QK' and AV
    return 2 * (tokens * weights + pairs * attention + outputs * shape.hidden)


def adapters(shape: Shape) -> int:
    """Count a token's multiply-adds in one layer's adapters, which are on every linear map."""
    return shape.rank * sum(i + o for i, o in shape.linear)


def forward(shape: Shape, lengths: Iterable[int], outputs: float = 0) -> float:
    """Compute the FLOPs of a forward pass over sequences of the given lengths.

    outputs: positions x vocabulary, or positions for a scalar head.
    """
    lengths = list(lengths)
    return products(shape, sum(lengths), sum(n * n for n in lengths), outputs)


def train(shape: Shape, lengths: Iterable[int], outputs: float) -> float:
    """Compute the FLOPs of a forward and a backward pass over sequences of the given lengths.

    Each product has two gradients, each as costly as itself: of its weights and of its inputs. With
    LoRA there are none of frozen weights, and none below the first adapter.
    """
    lengths = list(lengths)
    there = forward(shape, lengths, outputs) + recomputed(shape, lengths)
    if shape.full:
        return there + 2 * forward(shape, lengths, outputs)
    upper, tokens = shape.above(shape.first), sum(lengths)
    # attention and adapters have both gradients, frozen maps one; the lowest inputs need none
    back = 2 * forward(upper, lengths) + 2 * outputs * shape.hidden
    frozen = upper.layers * sum(i * o for i, o in shape.linear)
    unasked = sum(i * o + shape.rank * i for i, o in shape.entering)
    return there + back - 2 * tokens * (frozen + unasked)


def training(shape: Shape, sequences: Iterable[tuple[int, int]], head: str) -> float:
    """Compute the FLOPs of training on sequences of (tokens, labelled tokens), one at a time.

    head: which outputs are computed. ``full``: logits at every position (transformers' loss).
    ``scalar``: a score at every position (TRL's reward trainer). ``answer`` (SFT), ``pair``,
    ``likelihood``: logits of labelled tokens; of pairs, as ``pair`` counts them.
    """
    work = 0.0
    for length, labelled in sequences:
        positions = length if head in ("full", "scalar") else labelled
        work += train(shape, [length], positions * (1 if head == "scalar" else shape.vocabulary))
    return work


def pair(head: str, prompt: int, *answers: int, joint: bool = True) -> list[tuple[int, int]]:
    """Return (tokens, labelled tokens) of each sequence that a pair is read in, from its lengths.

    joint: both answers share the prompt (``bench.models.passes.reads_pairs``). head: ``pair``
    labels the answers, ``likelihood`` the prompt too, but for its first token.
    """
    more = prompt - 1 if head == "likelihood" else 0
    parts = [sum(answers)] if joint else answers
    return [(prompt + n, n + more) for n in parts]


def recomputed(shape: Shape, lengths: list[int]) -> float:
    """Compute the FLOPs that checkpointing repeats: the forward passes of layers with a gradient.

    Each layer's last product is left out, because backward does not need its output.
    """
    if not shape.again:
        return 0
    upper = shape.above(shape.first)
    last = (shape.rank or shape.intermediate) * shape.hidden
    return forward(upper, lengths) - 2 * sum(lengths) * upper.layers * last


def sampling(shape: Shape, prompts: list[int], completions: list[int]) -> dict[str, float]:
    """Return tokens, generated tokens and FLOPs of sampling with a cache, for the ledger.

    prompts, completions: lengths of each row. The prompt is one pass; then each drawn token but the
    last is fed to the model, and attends to all before it. Padding is not counted, here as in
    training; nor, if a graph is replayed, the steps that a row takes after its end
    (``bench.models.graphed``): seconds have both.
    """
    rows = list(zip(prompts, completions, strict=True))
    tokens, drawn = sum(p + n - 1 for p, n in rows), sum(completions)
    pairs = sum(p * p + (n - 1) * p + n * (n - 1) // 2 for p, n in rows)
    work = products(shape, tokens, pairs, shape.vocabulary * drawn)
    return {"tokens": tokens, "generated": drawn, "flops": work}
