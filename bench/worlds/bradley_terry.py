"""Label pairs that are sampled from the SFT base, in worlds that come with pairs of their own."""

from math import exp

from bench.core.names import ON_POLICY


def on_policy(gold_a, gold_b, scale: float) -> list[dict[str, float]]:
    """Return the chance that a is preferred in each pair: sigmoid(scale x (gold_a - gold_b))."""
    return [
        {ON_POLICY: 1 / (1 + exp(-scale * (x - y)))} for x, y in zip(gold_a, gold_b, strict=True)
    ]
