"""Labels of pairs that are sampled from the SFT base of a world whose own pairs were given."""

from math import exp

from bench.core.names import ON_POLICY


def on_policy(gold_a, gold_b, scale: float) -> list[dict[str, float]]:
    """P(a preferred) of each pair: Bradley-Terry on gold, ``scale`` per unit of it."""
    return [
        {ON_POLICY: 1 / (1 + exp(-scale * (x - y)))} for x, y in zip(gold_a, gold_b, strict=True)
    ]
