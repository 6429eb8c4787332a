"""FLOPs of training and of sampling, from token counts and the shape of a Llama-type model.

Counted are the matrix products that the passes here execute, 2 a multiply-add: attention in full
L x L, as eager attention computes it (a fused kernel may skip the half above the diagonal), and the
logits once more where TRL's chunked kernel makes them again in its backward. Not counted: padding
(real tokens alone are), look-ups in the embedding, everything elementwise, the optimiser.
``tests/models/test_flops.py`` holds all this against ``torch.utils.flop_counter``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.models.loading import unwrap


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama-type model, and what of it is trained.

    rank: of its LoRA adapters, 0 without; first: the lowest layer that has one; full: whether the
    weights themselves are trained; again: whether layers are computed again in backward.
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
        """Read off a model, PEFT-wrapped or not."""
        config, named = unwrap(model).config, list(model.named_parameters())
        factors = {name: p for name, p in named if ".lora_A." in name}
        depths = [int(re.search(r"\.layers\.(\d+)\.", name)[1]) for name in factors]
        own = [p.requires_grad for name, p in named if ".layers." in name and "lora_" not in name]
        width = getattr(config, "head_dim", None)
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            head_dim=width or config.hidden_size // config.num_attention_heads,
            intermediate=config.intermediate_size,
            vocabulary=config.vocab_size,
            rank=next(iter(factors.values())).shape[0] if factors else 0,
            first=min(depths, default=0),
            full=any(own),
            again=getattr(unwrap(model), "is_activation_checkpointing", False),
        )

    def bare(self) -> "Shape":
        """With every adapter off."""
        return replace(self, rank=0)

    def lowest(self, n: int) -> "Shape":
        """The lowest ``n`` layers alone, none of them adapted."""
        return replace(self, layers=n, first=n)

    def above(self, n: int) -> "Shape":
        """Without the lowest ``n`` layers, none of them adapted."""
        return replace(self, layers=self.layers - n, first=max(0, self.first - n))

    @property
    def entering(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of the linear maps that a layer begins with: queries, keys, values."""
        return [
            (self.hidden, n * self.head_dim) for n in (self.heads, self.kv_heads, self.kv_heads)
        ]

    @property
    def linear(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of every linear map of a layer."""
        gate = (self.hidden, self.intermediate)
        return [*self.entering, (self.heads * self.head_dim, self.hidden), gate, gate, gate[::-1]]


def products(shape: Shape, tokens: float, pairs: float, outputs: float) -> float:
    """A forward pass: ``pairs`` of query and key, ``outputs`` logits or scores, in all rows."""
    weights = shape.layers * sum(i * o for i, o in shape.linear)
    weights += (shape.layers - shape.first) * adapters(shape)
    attention = 2 * shape.layers * shape.heads * shape.head_dim  # QK' and AV
    return 2 * (tokens * weights + pairs * attention + outputs * shape.hidden)


def adapters(shape: Shape) -> int:
    """Multiply-adds of a token in a layer's adapters, which are on every linear map."""
    return shape.rank * sum(i + o for i, o in shape.linear)


def forward(shape: Shape, lengths: Iterable[int], outputs: float = 0) -> float:
    """A pass over sequences; outputs: positions x vocabulary, or positions under a scalar head."""
    lengths = list(lengths)
    return products(shape, sum(lengths), sum(n * n for n in lengths), outputs)


def train(shape: Shape, lengths: Iterable[int], outputs: float, again: float = 0) -> float:
    """A pass forward and back; ``again`` of the outputs are computed once more in backward.

    Each product has two gradients as dear as itself: of its weights and of its inputs. With LoRA
    that of frozen weights is left out, and so is all below the first adapter.
    """
    lengths = list(lengths)
    there = forward(shape, lengths, outputs + again) + recomputed(shape, lengths)
    if shape.full:
        return there + 2 * forward(shape, lengths, outputs)
    upper, tokens = shape.above(shape.first), sum(lengths)
    # attention and adapters have both gradients, the frozen maps one; what enters needs none
    back = 2 * forward(upper, lengths) + 2 * outputs * shape.hidden
    frozen = upper.layers * sum(i * o for i, o in shape.linear)
    unasked = sum(i * o + shape.rank * i for i, o in shape.entering)
    return there + back - 2 * tokens * (frozen + unasked)


def training(shape: Shape, sequences: Iterable[tuple[int, int]], head: str, tiled: bool) -> float:
    """Training on sequences of (tokens, those with a label), one at a time.

    head: what they end in: ``full`` vocabulary at every position (transformers' loss, TRL's ORPO),
    a ``scalar`` there (TRL's reward trainer), or ``fused``: TRL's kernel (SFT, DPO, IPO), which
    computes its logits again in backward, of the labelled positions alone where it is ``tiled``, on
    a GPU, and of all but the last elsewhere (``trl.trainer.utils.add_fused_lm_head``).
    """
    work = 0.0
    for length, labelled in sequences:
        positions = {"full": length, "scalar": length, "fused": labelled if tiled else length - 1}
        outputs = positions[head] * (1 if head == "scalar" else shape.vocabulary)
        work += train(shape, [length], outputs, outputs if head == "fused" else 0)
    return work


def recomputed(shape: Shape, lengths: list[int]) -> float:
    """What checkpointing computes again: the layers that have a gradient, each less its last
    product, whose output backward does not ask for."""
    if not shape.again:
        return 0
    upper = shape.above(shape.first)
    last = (shape.rank or shape.intermediate) * shape.hidden
    return forward(upper, lengths) - 2 * sum(lengths) * upper.layers * last


def sampling(shape: Shape, prompts: list[int], completions: list[int]) -> dict[str, float]:
    """What a ledger books for drawing, a token at a time with a cache; lengths of each row.

    The prompt is one pass; each token drawn but the last is fed, and attends to all before it.
    """
    rows = list(zip(prompts, completions, strict=True))
    tokens, drawn = sum(p + n - 1 for p, n in rows), sum(completions)
    pairs = sum(p * p + (n - 1) * p + n * (n - 1) // 2 for p, n in rows)
    work = products(shape, tokens, pairs, shape.vocabulary * drawn)
    return {"tokens": tokens, "generated": drawn, "flops": work}
