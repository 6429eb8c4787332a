"""Arms that are a tuned method with some settings multiplied: `dpo-lrx3-betax0.33`."""

from collections.abc import Iterator


def scaled(cfg, method: str, **factors) -> Iterator[tuple[str, dict]]:
    """(name, spec) of every combination of factors on a method's tuned settings but all ones."""
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
    """Three digits: as many as a setting deserves."""
    return float(f"{value:.3g}")


def without_strength(cfg) -> str | None:
    """The first method whose beta is 0, which no factor changes."""
    return next((m for m in cfg.known_methods if not getattr(cfg, m).beta), None)
