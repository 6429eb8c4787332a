"""A runs/<testbed>/ folder as the steps leave it, filled with invented numbers, for the tests."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from bench.analysis.results import SCHEMA, Arm, Meta, Results
from bench.core.files import file_sha256
from bench.core.records import write_manifest, write_record
from bench.report.study import Study

HOSTILE = (
    '</script><script>alert("x")</script> <img src=x onerror=alert(1)> \' " & '
    "\u202egnp.exe\u202c \u2066rtl\u2069 \x00\x1b[31m {{ 7*7 }} | pipe "
    "` tick [a](javascript:x) \n# h"
)
FAMILIES = ("review", "request", "sum")
TUNED = ("review", "request")
NEEDS = {"ppo": ("reward",), "dpo": ("reference",), "ipo": ("reference",), "orpo": ()}
ARMS = {"ppo": "ppo", "dpo": "dpo", "ipo": "ipo", "orpo": "orpo"}
GAIN = {"ppo": 0.9, "dpo": 0.7, "ipo": 0.5, "orpo": 0.1}
REACH = {"ppo": 6.0, "dpo": 9.0, "ipo": 5.0, "orpo": 1.0}
MACHINE = {"platform": "Linux", "cpu": "Imaginary CPU", "cores": 2, "memory_gb": 8, "gpu": None}
VERSIONS = {"python": "3.11.9", "torch": "2.13.0", "trl": "1.16.0"}
DECODE = {"max_new_tokens": 32, "temperature": 1.0}
SETTINGS = {"lr": 1e-4, "beta": 0.1}
FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)
EVALUATED = ("prompts.csv", "tasks.csv", "items.csv", "samples.jsonl")
TRAINED = ("log.csv", "curve.csv", "samples.jsonl")
ITEMS = 200  # documents of a task of lm-eval
DRAWS, BASE_DRAWS = 2, 4  # answers to a prompt, of a run and of the SFT base


class Plain:
    """The settings of an arm, as its runs recorded them."""

    def model_dump(self, **_) -> dict:
        return SETTINGS


def put_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def put_csv(path: Path, rows: list[dict], header=()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else list(header))
        writer.writeheader()
        writer.writerows(rows)


def put_record(path: Path, value: dict, *files: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, value, files)


def cost(phase: str, seconds: float, **more) -> dict:
    spent = {"wall_s": seconds, "cpu_s": seconds * 0.97, "flops": seconds * 1e9, "joules": None}
    return {"phase": phase, "tokens": 1000, "generated": 0} | spent | more


def step(path: Path, phase: str, seconds: float, *files: Path, **metrics) -> None:
    record = {"step": phase, "status": "ok", "cost": [cost(phase, seconds)], "peak_mb": 700.0}
    put_record(path / "step.json", record | {"metrics": metrics, "versions": VERSIONS}, *files)


def prompt_rows(rng, gain: float, kl: float, prompts: int, luck: float, draws: int) -> list[dict]:
    """prompts.csv; the prompts' own difficulty is the same for every run."""
    hard = np.random.default_rng(0).normal(0, 1, prompts)
    return [
        {
            "prompt_id": f"p{i:04d}",
            "draw": draw,
            "family": FAMILIES[i % 3],
            "gold": round(hard[i] + (gain + luck) * (i % 3 < 2) + rng.normal(0, 0.7), 4),
            "proxy": round(hard[i] + 1.6 * gain + rng.normal(0, 0.5), 4),
            "kl": round(abs(rng.normal(kl, kl / 4 + 0.01)), 4),
            "entropy": round(1.5 - 0.05 * kl + rng.normal(0, 0.05), 4),
            "length": int(18 + 2 * gain + rng.integers(0, 6)),
            "ended": 1,
            "tone": round(rng.normal(gain, 0.2), 4),
        }
        for draw in range(draws)
        for i in range(prompts)
    ]


def curve_rows(rng, method: str, luck: float) -> list[dict]:
    rows = []
    for fraction in FRACTIONS:
        for family in ("all", *FAMILIES):
            tuned = family in (*TUNED, "all")
            gold = (GAIN[method] + luck) * np.sin(2.2 * fraction) * tuned
            rows.append(
                {
                    "fraction": fraction,
                    "step": int(100 * fraction),
                    "family": family,
                    "n": 96 if family == "all" else 48,
                    "gold": gold + rng.normal(0, 0.04),
                    "gold_se": 0.08,
                    "proxy": 1.5 * GAIN[method] * fraction + rng.normal(0, 0.05),
                    "kl": REACH[method] * fraction**1.3 + 0.01,
                    "kl_se": 0.1,
                    "length": 18 + 2 * GAIN[method] * fraction,
                    "flops": 3e9 * fraction,
                    "wall_s": 30 * fraction,
                    "cpu_s": 29 * fraction,
                    "distinct2": 0.6 - 0.1 * GAIN[method] * fraction,
                    "entropy": 1.5 - 0.05 * REACH[method] * fraction,
                    "ended": 1.0,
                }
            )
    return rows


def task_rows(rng, gain: float) -> list[dict]:
    tasks = {"grammar": 0.97, "sums_easy": 0.93, "overrefuse_harmless": 0.05, "preference": 0.6}
    return [
        {
            "task": task,
            "metric": "acc_norm" if task == "preference" else "exact_match",
            "value": round(min(1.0, base + 0.1 * gain * ("pref" in task) + rng.normal(0, 0.01)), 4),
            "stderr": 0.02,
            "n": 200,
            "higher_is_better": "over" not in task,
        }
        for task, base in tasks.items()
    ]


def item_rows(tasks: list[dict]) -> list[dict]:
    """items.csv: ITEMS documents of each task, whose mean is about the task's score."""
    return [
        {"task": row["task"], "metric": row["metric"], "item": i}
        | {"value": float(i < round(ITEMS * row["value"]))}
        for row in tasks
        for i in range(ITEMS)
    ]


def written(folder: Path, names) -> list[Path]:
    return [folder / name for name in names]


def sample_rows(prompts: list[dict], arm: str, text: str) -> list[dict]:
    return [
        {
            "prompt_id": row["prompt_id"],
            "draw": row["draw"],
            "family": row["family"],
            "prompt": f"write a {row['family']} of the red kettle {row['prompt_id']} :",
            "completion": f"{arm} says it is fine {text}",
            "gold": row["gold"],
            "kl": row["kl"],
            "parts": {"tone": row["tone"]},
        }
        for row in prompts[:12]
    ]


def evaluation(
    folder: Path, arm: str, seed: int, rng, gain, kl, prompts, luck=0.0, text=""
) -> None:
    rows = prompt_rows(rng, gain, kl, prompts, luck, DRAWS if seed else BASE_DRAWS)
    put_csv(folder / "prompts.csv", rows)
    put_csv(folder / "tasks.csv", tasks := task_rows(rng, gain))
    put_csv(folder / "items.csv", item_rows(tasks))
    lines = [json.dumps(row) for row in sample_rows(rows, arm, text)]
    (folder / "samples.jsonl").write_text("\n".join(lines) + "\n")
    put_record(folder / "eval.json", eval_json(arm, seed), *written(folder, EVALUATED))


def eval_json(arm: str, seed: int, status: str = "ok") -> dict:
    return {
        "arm": arm,
        "seed": seed,
        "status": status,
        "prompts_sha256": "t0",
        "decode": DECODE,
        "versions": VERSIONS,
        "draws" if seed else "base_draws": DRAWS if seed else BASE_DRAWS,
        "distinct2": [0.6 - 0.01 * seed, 0.58 - 0.01 * seed] if status == "ok" else [],
        "cost": [cost("evaluate", 4.0)] if status == "ok" else [],
        "peak_mb": 500.0 if status == "ok" else None,
        "model_sha256": f"{arm}-{seed}" if status == "ok" else None,
    }


def align(root: Path, arm: str, method: str, seed: int, prompts: int, text: str) -> None:
    """A run that went well, with its evaluation."""
    rng = np.random.default_rng([len(arm), ord(arm[0]), seed, ord(arm[-1])])
    luck = rng.normal(0, 0.06)
    folder = root / "align" / arm / f"seed{seed}"
    rows = curve_rows(rng, method, luck)
    if method != "ppo":
        rows = [row | {"proxy": ""} for row in rows]
    put_csv(folder / "curve.csv", rows)
    log = [
        {"step": s, "loss": 1 / (1 + s), "grad_norm": abs(rng.normal(1, 0.3)), "lr": 1e-4}
        for s in range(1, 101)
    ]
    put_csv(folder / "log.csv", log)
    (folder / "samples.jsonl").write_text("")
    put_record(folder / "run.json", run_json(arm, method, seed), *written(folder, TRAINED))
    at = root / "evaluate" / arm / f"seed{seed}"
    evaluation(at, arm, seed, rng, GAIN[method], REACH[method], prompts, luck, text)


def run_json(arm: str, method: str, seed: int, status: str = "ok") -> dict:
    phases = {"ppo": {"load": 5, "rollout": 14, "score": 4, "update": 16}}
    default = {"load": 5, "train": 12}
    seconds = phases.get(method, default)
    spend = [cost(p, s + 0.1 * seed, charged=True) for p, s in seconds.items()]
    return {
        "arm": arm,
        "method": method,
        "seed": seed,
        "preference": "gold",
        "label_set": "gold",
        "start": "sft",
        "base": "sft",
        "drawn_from": "pairs",
        "reward_model": "gold",
        "status": status,
        "reason": "" if status == "ok" else "loss is NaN at step 12",
        "settings": SETTINGS,
        "overrides": [],
        "hashes": {"start": "sft-0", "pairs": f"pairs{seed}"}
        | ({"reward": f"rm{seed}"} if method == "ppo" else {}),
        "template": "plain",
        "eos": "taught",
        "decode": DECODE,
        "trainable_parameters": 412_000,
        "parameters": 412_000,
        "pairs": 1500,
        "episodes": 4096 if method == "ppo" else 0,
        "steps": 100,
        "search": "4 trials",
        "resident_models": 4 if method == "ppo" else 1,
        "cost": [*spend, cost("curve", 9, charged=False)],
        "peak_mb": 900.0 if method == "ppo" else 620.0,
        "versions": VERSIONS,
        "machine": MACHINE,
        "curve_prompts_sha256": "c0",
        "trajectory_sha256": f"log of {arm}-{seed}",
        "model_sha256": f"{arm}-{seed}" if status == "ok" else None,
    }


def failed(root: Path, arm: str, method: str, seed: int, status: str) -> None:
    """A run that diverged or ran out of memory: every file is there, the tables are empty."""
    run, at = (root / step / arm / f"seed{seed}" for step in ("align", "evaluate"))
    put_csv(run / "log.csv", [], ["step", "loss"])
    put_csv(run / "curve.csv", [], ["fraction", "step", "family"])
    (run / "samples.jsonl").write_text("")
    put_record(run / "run.json", run_json(arm, method, seed, status), *written(run, TRAINED))
    put_csv(at / "prompts.csv", [], ["prompt_id", "draw", "family", "gold"])
    put_csv(at / "tasks.csv", [], ["task", "metric", "value"])
    put_csv(at / "items.csv", [], ["task", "metric", "item", "value"])
    (at / "samples.jsonl").write_text("")
    put_record(at / "eval.json", eval_json(arm, seed, status), *written(at, EVALUATED))


def times(root: Path, arms, seeds) -> None:
    """The records of the time that each step of the runs took."""
    names = ["pairs-pool", "reference-pool"]
    names += [f"{of}-gold-seed{seed}" for of in ("pairs", "reward") for seed in seeds]
    names += [f"{of}-{arm}-seed{k}" for of in ("align", "evaluate") for arm in arms for k in seeds]
    for name in names:
        row = {"step": name.split("-")[0], "arm": "", "wall_s": 1.0, "cpu_s": 1.0}
        put_record(root / f"ledger/{name}.json", row)


def make(root: Path, seeds=(1, 2, 3, 4, 5), arms=ARMS, prompts=120, fail=(), text="") -> Path:
    """Write the folder; `fail` is {(arm, seed): status}."""
    fail = dict(fail)
    table, pool = root / "reference/pool/logps.csv", root / "pairs/pool.jsonl"
    put_csv(table, [{"id": i, "a": -1, "b": -2} for i in range(3000)])
    for name in ("pairs/pool.jsonl", "data/prompts.jsonl"):
        put_json(root / name, {})
    hashed = {"prompts.jsonl": {"sha256": file_sha256(root / "data/prompts.jsonl")}}
    write_manifest(root / "data", hashed)
    times(root, arms, seeds)
    step(root / "base", "base", 70.0)
    step(root / "sft", "sft", 40.0)
    step(root / "pairs", "pairs", 20.0, pool, bayes_accuracy_gold=0.758)
    step(root / "reference/pool", "reference/pool", 12.0, table)
    evaluation(root / "evaluate/sft/seed0", "sft", 0, np.random.default_rng(1), 0, 0, prompts)
    for seed in seeds:
        step(
            root / "reward/gold" / f"seed{seed}",
            "train",
            8.0,
            gold_order_accuracy=0.8 + 0.01 * seed,
            score_mean=0.1 * seed,
            score_sd=1.5,
        )
        for arm, method in arms.items():
            if (arm, seed) in fail:
                failed(root, arm, method, seed, fail[arm, seed])
            else:
                align(root, arm, method, seed, prompts, text)
    return root


def varies(arm: str) -> tuple[str, ...]:
    """The settings of an arm that are not the tuned ones, by its name."""
    return ("beta",) if "beta" in arm else ("other",) if "-" in arm else ()


def meta(facts: dict, arms=ARMS, seeds=(1, 2, 3, 4, 5), **more) -> Meta:
    """Meta as `bench.steps.collect` makes it; arms: {arm: method}, or a list of `Arm`."""
    listed = (
        arms if isinstance(arms, list) else [Arm(a, m, varies=varies(a)) for a, m in arms.items()]
    )
    head = {"schema": SCHEMA, "testbed": "micro", "world": "micro", "about": "An invented world."}
    head |= {"source": "micro", "study": "compare", "commit": "0" * 40, "version": "0.1.0"}
    head |= {"default_settings": True, "own_methods": {}, "overrides": [], "tune": {}}
    body = {"seeds": list(seeds), "arms": listed, "methods": list(NEEDS), "pairs": 1500}
    body |= {"provenance": None, "price": {"hour": None, "currency": "USD"}}
    return Meta(**facts | head | body | {"tuned_families": list(TUNED)} | more)


def by_hand(arms: list[Arm], tables: dict[str, list[dict]], **more) -> Results:
    """Results of tables that a test writes row by row, one answer a prompt unless it says which
    draw it is; more: fields of meta."""
    facts = {"machine": MACHINE, "versions": {}, "decode": {}, "pool": {}, "gold": {}}
    facts |= {"breaches": [], "complete": True, "planned": {}}
    tables |= {"prompts": [{"draw": 0} | row for row in tables.get("prompts", [])]}
    found = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    return Results.of(found, [], meta(facts, arms, **more))


def collected(tmp: Path, arms=ARMS, seeds=(1, 2, 3, 4, 5), **more) -> Results:
    """The results of an invented study."""
    root = make(tmp / "runs/micro", seeds, arms, **more)
    tables, samples, facts = gathered(root, arms, seeds)
    return Results.of(tables, samples, meta(facts, arms, seeds))


def study(tmp: Path, **more) -> Study:
    """An invented study as its page sees it."""
    return Study(collected(tmp, **more))


def changed(study: Study, /, **more) -> Study:
    """A study with other fields of its meta."""
    results = study.results
    return Study(replace(results, meta=replace(results.meta, **more)))


def gathered(root: Path, arms, seeds):
    """tables, samples, facts of the folder, as the steps contract and collect make them."""
    from bench.steps import collect, contract

    runs, bases = members(root, arms, seeds), {"sft": layout(root)}
    return collect.gather(
        runs, next(iter(bases.values())), bases, contract.check(runs, bases)["breaches"]
    )


def layout(root: Path):
    """The layout of the folder ``root``, in which nothing has a key."""
    from bench.core.layout import Layout

    class Here(Layout):
        """A layout of another root."""

        def __init__(self):
            super().__init__(None, None)

        @property
        def root(self) -> Path:
            return root

        @property
        def overhead(self) -> Path:
            return root / "overhead.json"

        def key(self, kind: str) -> str:
            return ""

        def run_name(self, arm) -> str:
            return arm.name

        def evaluation_name(self, arm) -> str:
            return arm.name if arm else "sft"

    return Here()


def config(study: Path):
    """What the steps after collect read of the settings, for a study in the folder ``study``."""
    here = layout(study)
    here.__dict__["study"] = study
    return SimpleNamespace(layout=here, companions=[])


def members(root: Path, arms, seeds, **more) -> list:
    """The runs of an invented study; arms: {arm: method}; more: fields of every arm."""
    from bench.core.layout import Member
    from bench.settings.sections import Arm as Configured

    made = {
        a: Configured(name=a, method=m, needs=NEEDS[m], settings=Plain(), **more)
        for a, m in arms.items()
    }
    return [Member(arm, seed, layout(root)) for arm in made.values() for seed in seeds]
