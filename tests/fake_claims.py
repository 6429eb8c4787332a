"""Invented results of the study `claims`, for the tests."""

import re

import fake_runs
import numpy as np
import pandas as pd

from bench.steps.collect import described
from bench.studies import load
from bench.studies.claims import cells
from bench.studies.claims.conditions import condition
from bench.studies.claims.slimming import slimmed
from bench.studies.claims.tested import every

BASES, PROMPTS, ITEMS = 4, 60, 200
CFG = load("micro", ["study=claims", f"claims.bases={BASES}", f"bases.n={BASES}"])
GAIN = {"ppo": 0.7, "dpo": 0.4, "ipo": 0.45, "orpo": 0.5, "simpo": 0.4}


def level(name: str) -> float:
    """The true gain of a condition: PPO is ahead, flips hurt DPO more, fresh labels change
    nothing, few exact labels lose, and so on."""
    method, _, rest = name.partition("-")
    gain = GAIN[method]
    if rest == "rate1":
        return gain
    if found := re.search(r"flip(\d+)", rest):
        gain *= 1 - int(found[1]) / 100 * (2 if method == "dpo" else 0.5)
    if found := re.search(r"(few|asked|short)(\d+)", rest):
        gain -= (0.12 if found[1] == "short" else 0.08) * np.log2(int(found[2]))
    known = {"strength": 0.1, "exact": 0.1, "free": 0.0, "rate": 0.2}
    return next((low for start, low in known.items() if rest.startswith(start)), gain)


def run_of(arm, seed, rng, prompts, ease, of_base):
    """The rows of one run, by table."""
    name = condition(arm.name)
    key = {"arm": arm.name, "method": arm.method, "seed": seed}
    gain = level(name) + of_base
    fails = "random" in name and arm.method == "ppo" and int(name[-2:]) % 3 == 0
    loss = 1.0 - 0.5 * (name == "dpo-rate10")  # the lowest loss is of a bad rate
    more = {
        "settings": "{}",
        "parameters": 176_320,
        "peak_mb": 700.0,
        "resident_models": {"ppo": 4}.get(arm.method, 2),
    }
    status = "diverged" if fails else "ok"
    gold = ease + gain + rng.normal(0, 0.02, PROMPTS)
    refuses = name == "dpo-harmful"  # a fifth of what it should help with
    wrong = refuses * (np.arange(PROMPTS) % 5 == 0)
    between = {"ppo": 0.5, "dpo": 0.7}.get(name)
    kind = name.partition("-")[2]
    right = {"worked-steps": 0.6, "worked-outcome": 0.5}.get(kind, 0.4)
    looks = 0.9 if kind == "worked-look" else 0.1
    answers = prompts.assign(**key, gold=gold, refused=wrong, right=1 - wrong)
    of_sum = {"metric": "exact_match"}
    cost = {"ppo": 9e11}.get(arm.method, 1e11) / (8 if "short10" in name else 1)
    found = {
        "log": [
            key | {"step": step, "logps_chosen": -10.0 - 4 * ("foreign" in name) + of_base}
            for step in (1, 2) if arm.method != "ppo"
        ],
        "runs": [key | {"status": status, "validation_loss": loss} | more],
        "prompts": answers.to_dict("records"),
        "items": [
            key | of_sum | {"task": task, "item": i, "value": float(rng.random() < share)}
            for task, share in (("worked_result", right), ("worked_steps", right),
                                ("worked_look", looks))
            for i in range(ITEMS) if "worked" in name
        ],
        "variety": [key | {"best_of": 1, "gold": gain - 0.2, "between": between}] * bool(between),
        "curve": [
            key | {"fraction": f, "family": "all", "gold": 1 + f * gain, "gold_se": 0.05, "n": 192,
                   "accuracy": 0.7}
            for f in (0.0, 1.0)
        ],
        "cost": [key | {"step": "align", "phase": "train", "charged": True, "flops": cost}
                 | {"wall_s": 9.0, "cpu_s": 9.0}],
    }  # fmt: skip
    return found


def results():
    """Every condition from each base at its true level with a little noise, as collected."""
    rng = np.random.default_rng(1)
    arms = [described(CFG, name) for name in CFG.study_arms]
    ease, bases = rng.normal(0, 1, PROMPTS), dict.fromkeys(arm.base for arm in arms)
    of_base = {base: rng.normal(0, 0.02) for base in bases}
    prompts = pd.DataFrame([
        {"arm": base, "method": "sft", "seed": 0, "prompt_id": p, "draw": 0, "kl": 0.0}
        | {"refused": 0, "right": 1, "garble": 0.0, "gold": ease[p]}
        | {"family": ("review", "request", "sum")[p % 3]}
        for base in bases for p in range(PROMPTS)
    ])  # fmt: skip
    found = {"prompts": prompts.to_dict("records")}
    found["variety"] = [
        {"arm": base, "seed": 0, "best_of": n, "gold": gold, "between": between}
        for base in bases
        for n, gold, between in ((1, 0.0, 0.8), (2, 0.3, 0.74), (4, 0.6, 0.68))
    ]
    planned = {arm.name: [s for name, s in CFG.study_runs if name == arm.name] for arm in arms}
    for arm in arms:
        for seed in planned[arm.name]:
            own = run_of(arm, seed, rng, prompts.iloc[:PROMPTS], ease, of_base[arm.base])
            for table, rows in own.items():
                found.setdefault(table, []).extend(rows)
    made = fake_runs.by_hand(
        arms,
        found,
        seeds=[1],
        methods=list(GAIN),
        tuned_families=["review", "request"],
        study="claims",
        planned=planned,
        noted={key: {"time": "2026", "runs": 0, "later": []} for key in [*every(), cells.KEY]},
    )
    return slimmed(made)
