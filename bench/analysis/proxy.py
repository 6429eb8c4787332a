"""Put scores of reward models on one scale, since each seed's model has its own zero and unit."""

import pandas as pd

from bench.analysis.results import Results, once


@once
def scales(results: Results) -> dict[tuple[str, int], tuple[float, float]]:
    """Return {(reward model, seed): mean and SD of its scores of the pool's unseen answers}."""
    rows = results.reward[["reward_model", "seed", "score_mean", "score_sd"]]
    rows = rows.dropna().query("score_sd > 0")
    return {(r.reward_model, r.seed): (r.score_mean, r.score_sd) for r in rows.itertuples()}


def scale_of(results: Results, arm: str) -> pd.DataFrame:
    """Return mean and SD, by seed, of the reward models that score an arm; empty for a base."""
    proxy = {a.name: a.proxy for a in results.meta.arms}.get(arm)
    found = {seed: pair for (name, seed), pair in scales(results).items() if name == proxy}
    return pd.DataFrame.from_dict(found, orient="index", columns=["mean", "sd"], dtype=float)


def scaled(scores: pd.DataFrame, scale: pd.DataFrame) -> pd.DataFrame:
    """Return scores [seeds x anything] in SDs above the pool's answers; NaN without a scale."""
    scale = scale.reindex(scores.index)
    return scores.sub(scale["mean"], axis=0).div(scale["sd"], axis=0)


def with_scaled_proxy(rows: pd.DataFrame, results: Results, arm: str) -> pd.DataFrame:
    """Return rows of one arm, with a column `seed`, with `proxy` in SDs; NaN without a scale."""
    scores = rows.set_index("seed")[["proxy"]].astype(float)
    return rows.assign(proxy=scaled(scores, scale_of(results, arm)).proxy.to_numpy())
