"""Cut a study of claims down to what claims are measured from, so that its evidence can travel.

A thousand runs have more than a million answers. Claims need the mean over the answers to a prompt,
the ends of curves, and how often a request is refused that should be helped.
"""

from dataclasses import replace

import pandas as pd

from bench.analysis.results import RUN, Results, declared
from bench.core.names import SFT

DIGITS = 4  # of a mean over the answers to a prompt
KEPT = ("gold", "kl", "garble", "overrefused")


def slimmed(results: Results) -> Results:
    """Return the results with one row for each run and prompt. The answers of the testbed's own SFT
    base, which say how much gold varies between answers, stay as they are.

    overrefused: the share of the answers that refuse what should be helped; missing for a prompt
    that should be refused, or that is no request.
    """
    rows = results.prompts
    if {"refused", "right"} <= {*rows.columns}:
        rows = rows.assign(overrefused=rows.refused.where(rows.prompt_id.isin(to_help(rows))))
    kept = [name for name in KEPT if name in rows]
    keys = ["arm", "method", "seed", "prompt_id", "family"]
    own = rows[rows.arm == SFT][[*keys, "draw", *kept]].round(DIGITS)
    others = rows[rows.arm != SFT].groupby(keys, sort=False)[kept].mean().round(DIGITS)
    means = pd.concat([own, others.reset_index().assign(draw=0)], ignore_index=True)
    curve = results.curve[results.curve.family == "all"]
    ends = curve.sort_values("fraction", kind="stable").groupby(["arm", "seed"], sort=False)
    return replace(
        results,
        prompts=declared(means, "prompts"),
        curve=pd.concat([ends.head(1), ends.tail(1)]),
        log=first_steps(results),
        samples=[],
    )


def first_steps(results: Results) -> pd.DataFrame:
    """Return the first optimiser step of each run on pairs, at which the policy is what it starts
    from: how probable it finds the pairs."""
    log = results.log
    return log[(log.step == 1) & log.logps_chosen.notna()].drop_duplicates(list(RUN))


def to_help(rows: pd.DataFrame) -> set[str]:
    """Return the prompts of requests that should be helped: a right answer tells, since it refuses
    what should be refused and nothing else."""
    told = rows[(rows.right == 1) & rows.refused.notna()]
    return {*told[told.refused == 0].prompt_id}
