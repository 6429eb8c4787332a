"""Make arms that are a tuned method with some settings multiplied: `dpo-lrx3-betax0.33`."""

from collections.abc import Iterator


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


def without_strength(cfg) -> str | None:
    """Return the first method whose beta is 0, which no factor changes, or None."""
    return next((m for m in cfg.compared if not getattr(cfg, m).beta), None)
