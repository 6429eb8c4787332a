"""Cut a study of claims down to what claims are measured from, so that its evidence can travel.

Seven hundred runs have a million answers. Claims need the mean over the answers to a prompt, the
ends of curves, and how often a request is refused that should be helped.
"""

from dataclasses import replace

import pandas as pd

from bench.analysis.results import Results

DIGITS = 4  # of a mean over the answers to a prompt


def slimmed(results: Results) -> Results:
    """Return the results with one row for each run and prompt of the families that methods learn.

    overrefused: the share of the answers that refuse what should be helped.
    """
    rows = results.prompts[results.prompts.family.isin(results.meta.tuned_families)]
    if {"refused", "right"} <= {*rows.columns}:
        wrong = ((rows.refused == 1) & (rows.right == 0)).astype(float)
        rows = rows.assign(overrefused=wrong.where(rows.refused.notna()))  # only requests have it
    kept = [name for name in ("gold", "overrefused") if name in rows]
    keys = ["arm", "method", "seed", "prompt_id", "family"]
    means = rows.groupby(keys, sort=False)[kept].mean().round(DIGITS).reset_index()
    curve = results.curve[results.curve.family == "all"]
    ends = curve.sort_values("fraction", kind="stable").groupby(["arm", "seed"], sort=False)
    return replace(
        results,
        prompts=means.assign(draw=0),
        curve=pd.concat([ends.head(1), ends.tail(1)]),
        log=results.log.head(0),
    )
