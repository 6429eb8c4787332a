"""Scores of reward models on one scale: each seed's has a zero and a unit of its own."""

import numpy as np
import pandas as pd

from bench.analysis.results import Results, once


@once
def scales(results: Results) -> dict[tuple[str, int], tuple[float, float]]:
    """{(reward model, seed): mean and SD of its scores of the pool's unseen answers}."""
    rows = results.reward[["reward_model", "seed", "score_mean", "score_sd"]]
    rows = rows.dropna().query("score_sd > 0")
    return {(r.reward_model, r.seed): (r.score_mean, r.score_sd) for r in rows.itertuples()}


def scale_of(results: Results, arm: str) -> pd.DataFrame:
    """Mean and SD by seed of the reward models that score an arm; empty for an SFT base."""
    proxy = {a.name: a.proxy for a in results.meta.arms}.get(arm)
    found = {seed: pair for (name, seed), pair in scales(results).items() if name == proxy}
    return pd.DataFrame.from_dict(found, orient="index", columns=["mean", "sd"], dtype=float)


def scaled(scores: pd.DataFrame, scale: pd.DataFrame) -> pd.DataFrame:
    """Scores [seeds x anything] in SDs above the pool's answers; NaN where there is no scale."""
    scale = scale.reindex(scores.index)
    return scores.sub(scale["mean"], axis=0).div(scale["sd"], axis=0)


def with_scaled_proxy(rows: pd.DataFrame, results: Results, arm: str) -> pd.DataFrame:
    """Rows of one arm, a column `seed` among theirs, with `proxy` in SDs; NaN: no scale."""
    scale = scale_of(results, arm).reindex(rows.seed)
    proxy = (rows.proxy.astype(float) - scale["mean"].to_numpy()) / scale["sd"].to_numpy()
    return rows.assign(proxy=proxy if len(rows) else np.nan)
