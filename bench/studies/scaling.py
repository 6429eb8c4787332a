"""Make arms that are a tuned method with some settings multiplied: `dpo-lrx3-betax0.33`."""

from collections.abc import Iterator

from bench.methods import head_of
from bench.training.batches import in_epoch


def scaled(cfg, method: str, **factors) -> Iterator[tuple[str, dict]]:
    """Yield (name, spec) of each combination of factors on a method's settings, except all 1."""
    tuned, combinations = getattr(cfg, method), [{}]
    for key, values in factors.items():
        combinations = [c | {key: value} for c in combinations for value in values]
    for chosen in combinations:
        off = {key: value for key, value in chosen.items() if value != 1}
        if off:
            name = "-".join([method, *(f"{key}x{value:.2g}" for key, value in off.items())])
            own = {key: rounded(getattr(tuned, key) * value) for key, value in off.items()}
            yield name, {"method": method} | own


def rounded(value: float) -> float:
    """Round to three digits, more than a setting needs."""
    return float(f"{value:.3g}")


def from_few(cfg, method: str, n: int) -> dict:
    """Return a method that learns from fewer labels, ``n``, and reads them more often.

    The passes of a direct method and of a reward model grow with the square root of all labels over
    ``n``; PPO takes as many steps as with all. Both were tried beforehand (docs/claims.md): with a
    tenth of the labels DPO overfits in as many steps as with all, and a reward model learns little
    in as many passes.
    """
    tuned = getattr(cfg, method)
    rollouts = head_of(cfg.known_methods[method]) == "rollout"
    factor = in_epoch(tuned, cfg.pairs.n) / in_epoch(tuned, n)
    if not rollouts:
        return {"method": method, "n": n, "epochs": rounded(tuned.epochs * factor**0.5)}
    own = {"method": method, "n": n, "epochs": rounded(tuned.epochs * factor)}
    return own | rewarded(cfg, n)


def rewarded(cfg, n: int) -> dict:
    """Return the passes of a reward model over ``n`` labels."""
    return {"reward": {"epochs": rounded(cfg.reward.epochs * (cfg.pairs.n / n) ** 0.5)}}


def without_strength(cfg) -> str | None:
    """Return the first method whose beta is 0, which no factor changes, or None."""
    return next((m for m in cfg.compared if not getattr(cfg, m).beta), None)
