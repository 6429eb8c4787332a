"""Join the results of a study that ran in parts: some of its arms here, others there or later.

Parts may share runs. These, and all that starts from the same SFT base, must be the same in each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations

import pandas as pd

from bench.analysis import fairness
from bench.analysis.results import COLUMNS, Arm, Meta, Results
from bench.core.names import pool_of
from bench.core.schema import UserError

# What must be the same in all parts.
ALIKE = ("testbed", "study", "commit", "version", "world", "versions", "pairs", "decode", "pool",
         "gold", "provenance", "tune", "own_methods", "tuned_families")  # fmt: skip
# Fields of runs that must be the same in all parts, within what the fairness contract says.
MATCHED = ("hashes.start", "hashes.pairs", "hashes.reward", "hashes.reference", "hashes.code",
           "template", "curve_prompts_sha256")  # fmt: skip
KEYS = {"reward": ["reward_model", "seed"]}
OF_RUN = ["arm", "seed"]
SUMMED = "ledger"
SECONDS = "parts that ran on other machines: seconds do not compare between them"


def joined(parts: Mapping[str, Results], planned: Mapping[str, list[int]]) -> Results:
    """Return the results of the whole study.

    parts: by name; planned: {arm: seeds} of the whole study, in its order. Raises UserError if the
    parts are of different studies, or lack a run of the whole.
    """
    for name, part in parts.items():
        if part.meta.commit.endswith("+changes"):
            raise UserError(f"{name} ran with changes that no commit has: commit them, run it anew")
        if not part.meta.complete:
            raise UserError(f"{name} is incomplete: run it to its end first")
    for (one, a), (other, b) in combinations(parts.items(), 2):
        if wrong := different(a, b):
            raise UserError(f"{other} is no part of the study of {one}: {wrong}")
    found = list(parts.values())
    others = {arm for part in found for arm in part.arms} - {*planned}  # that the whole lacks
    tables = {name: stacked(found, name, planned, others) for name in COLUMNS}
    check_whole(tables["runs"], planned)
    samples = [row for row in _samples(found) if row["arm"] not in others]
    return Results.of(tables, samples, meta(found, planned))


def different(a: Results, b: Results) -> str:
    """Say in what two parts differ that must be the same; '' if in nothing."""
    for name in ALIKE:
        if getattr(a.meta, name) != getattr(b.meta, name):
            return f"{name} is another"
    for arm, other in _shared(a.meta.arms, b.meta.arms):
        if arm != other:
            return f"arm {arm.name} has other settings"
    one, two = (r.runs[[*OF_RUN, "model_sha256"]].fillna({"model_sha256": ""}) for r in (a, b))
    both = one.merge(two, on=OF_RUN, suffixes=("", "_other"))
    changed = both[both.model_sha256 != both.model_sha256_other]  # no hash: the run failed
    if len(changed):
        return f"{changed.arm.iloc[0]} seed {changed.seed.iloc[0]} ended in other weights"
    return unmatched(pd.concat([a.runs, b.runs]))


def unmatched(runs: pd.DataFrame) -> str:
    """Name a field of MATCHED that is not the same in all runs that agree in what its rule says; ''
    if there is none."""
    known = runs.assign(pool=runs.label_set.map(pool_of))
    for rule in (rule for rule in fairness.RULES if rule.field in MATCHED):
        column = rule.field.replace("hashes.", "hash_")
        # a method's arms may lie in different parts
        keys = [*(rule.within if rule.within not in ((), fairness.ARM) else ("method",))]
        if column in known:
            kinds = known.groupby(keys)[column].nunique()
            if (kinds > 1).any():
                where = " ".join(map(str, kinds[kinds > 1].index.to_flat_index()[0]))
                return f"{column} of {where} is another"
    return ""


def _shared(one: Iterable[Arm], two: Iterable[Arm]) -> Iterable[tuple[Arm, Arm]]:
    known = {arm.name: arm for arm in two}
    return ((arm, known[arm.name]) for arm in one if arm.name in known)


def check_whole(runs: pd.DataFrame, planned: Mapping[str, list[int]]) -> None:
    """Raise UserError if runs of the whole study are in no part."""
    present = {*zip(runs.arm, runs.seed, strict=True)}
    wanted = [(arm, seed) for arm, seeds in planned.items() for seed in seeds]
    if lost := [run for run in wanted if run not in present]:
        arm, seed = lost[0]
        raise UserError(
            f"no part holds {len(lost)} of {len(wanted)} runs, such as {arm} seed {seed}: run them "
            "as another part, or ask for less, in the words of the parts (--set)"
        )


def stacked(parts: list[Results], name: str, planned: Mapping, others: set[str]) -> pd.DataFrame:
    """Stack a table of all parts: what several hold from the first of them, in the order of the
    study; seconds of all processes are summed. others: arms to leave out."""
    tables = [getattr(part, name) for part in parts]
    if name == SUMMED:
        whole = pd.concat(tables).groupby("step", sort=False).sum().reset_index()
        return whole.sort_values("cpu_s", ascending=False).reset_index(drop=True)
    key = KEYS.get(name, OF_RUN)
    new = firsts([[*table[key].itertuples(index=False, name=None)] for table in tables])
    kept = [table[own] for table, own in zip(tables, new, strict=True)]
    whole = pd.concat([table for table in kept if len(table)] or kept[:1], ignore_index=True)
    if key != OF_RUN:
        return whole
    place = {arm: i for i, arm in enumerate(planned, 1)}
    whole = whole[~whole.arm.isin(others)]
    ranked = whole.assign(place=whole.arm.map(place).fillna(0))
    ranked = ranked.sort_values(["place", "seed"], kind="stable")
    return ranked.drop(columns="place").reset_index(drop=True)


def _samples(parts: list[Results]) -> list[dict]:
    new = firsts([[(row["arm"], row["seed"]) for row in part.samples] for part in parts])
    return [row for part, own in zip(parts, new, strict=True)
            for row, is_new in zip(part.samples, own, strict=True) if is_new]  # fmt: skip


def firsts(keys: list[list[tuple]]) -> list[list[bool]]:
    """Return for the rows of each part whether no earlier part has a row of the same key."""
    known: set[tuple] = set()
    found = []
    for own in keys:
        found.append([key not in known for key in own])
        known |= {*own}
    return found


def meta(parts: list[Results], planned: Mapping[str, list[int]]) -> Meta:
    """Return the Meta of the whole; it has the overrides of none, which the step adds."""
    metas = [part.meta for part in parts]
    arms = _union({arm.name: arm for arm in one.arms} for one in metas)
    breaches = [breach for one in metas for breach in one.breaches]
    breaches = [b for i, b in enumerate(breaches) if b not in breaches[:i]]
    machines = {f"part {i}": one.machine for i, one in enumerate(metas, 1)}
    if any(one.machine != metas[0].machine for one in metas):
        breaches.append({"field": "machine", "expect": "match", "why": SECONDS, "values": machines})
    return replace(
        metas[0],
        arms=[arms[name] for name in planned],
        planned=dict(planned),
        seeds=sorted({seed for seeds in planned.values() for seed in seeds}),
        picks=_union(one.picks for one in metas),
        noted=_union(one.noted for one in metas),
        breaches=breaches,
    )


def _union(found: Iterable[Mapping]) -> dict:
    """Return the entries of all mappings, each from the first that has it."""
    whole: dict = {}
    for own in found:
        whole = {**own, **whole}
    return whole
