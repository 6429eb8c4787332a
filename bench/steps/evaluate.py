"""Evaluate one run, or the SFT base, on held-out test prompts and with lm-eval.

    python -m bench evaluate --testbed micro --arm dpo --seed 1
    python -m bench evaluate --testbed micro --arm sft --seed 0

The cost of evaluation is not charged to any method.
"""

import argparse

from bench.core import machine
from bench.core.files import (
    ids_sha256,
    read_json,
    read_rows,
    spread,
    write_lines,
    write_table,
)
from bench.core.names import SFT
from bench.core.progress import say
from bench.core.records import write_record
from bench.steps.reward import load_reward
from bench.worlds import world

TEST_SEED = 2000  # of sampling on test prompts; all runs draw the same random numbers


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arm", required=True, help="the run's arm, or sft for the SFT base")
    parser.add_argument(
        "--seed", type=int, required=True, help="the run's seed; 0 for the SFT base"
    )


def run(cfg, args: argparse.Namespace) -> None:
    """Write ``evaluate/<arm>/seed<k>``: prompts, tasks, items (csv), samples.jsonl, eval.json."""
    arm = None if args.arm == SFT else cfg.arm(args.arm)
    files = cfg.layout.evaluation(arm, args.seed)
    status = read_json(cfg.layout.run(arm, args.seed).record)["status"] if arm else "ok"
    conditions = {"arm": args.arm, "seed": args.seed, "status": status} | shared(cfg, arm)
    if status == "ok":
        evaluate(cfg, arm, args.seed, files, conditions)
    else:
        write_failed(files, conditions)


def write_failed(files, conditions: dict) -> None:
    """Write all outputs without rows, because a failed run has no model."""
    write_table(files.prompts, [], ["prompt_id", "draw", "family", "gold"])
    write_table(files.tasks, [], ["task", "metric", "value"])
    write_table(files.items, [], ["task", "metric", "item", "value"])
    write_lines(files.samples, [])
    nothing = {"cost": [], "model_sha256": None, "peak_mb": None, "peak_reserved_mb": None}
    write_record(files.record, conditions | nothing | {"distinct2": []}, files.written)


def draws(cfg, arm) -> int:
    """Return how many answers to each prompt are drawn; arm None: of the SFT base."""
    return cfg.eval.draws if arm else cfg.eval.base_draws


def shared(cfg, arm) -> dict:
    """Return what the fairness contract compares of evaluations, besides the weights."""
    from bench.training.ledger import versions

    return {
        "prompts_sha256": ids_sha256(test_prompts(cfg)),
        "draws" if arm else "base_draws": draws(cfg, arm),
        "decode": cfg.decode.model_dump(),
        "versions": versions(),
        "gpu_slots": machine.gpu_slots(),
    }


def evaluate(cfg, arm, seed: int, files, conditions: dict) -> None:
    """Sample on the test prompts, run lm-eval, and record the hash of the weights.

    arm None: the SFT base.
    """
    from bench.evaluation.harness import lm_eval_rows
    from bench.evaluation.samples import distinct_2_by_draw
    from bench.evaluation.variety import best_of
    from bench.models.loading import load_policy, load_tokenizer, weights_sha256
    from bench.training import job, trainer
    from bench.training.ledger import Ledger

    trainer.quieten()
    ledger = Ledger()
    folder = cfg.layout.run(arm, seed).model if arm else cfg.layout.sft
    job.seed_everything(TEST_SEED)
    with ledger.phase("load", charged=False):
        policy = load_policy(folder, cfg.model).eval().requires_grad_(False)
        tokenizer = load_tokenizer(folder)
    with ledger.phase("samples", charged=False):
        table, parts = sampled(cfg, arm, seed, policy, tokenizer)
    write_samples(files, table, parts)
    with ledger.phase("lm-eval", charged=False):
        asked = True if arm is None else arm.tasks and arm.best_of == 1
        only = () if asked is True else asked
        rows, items = lm_eval_rows(cfg, policy, tokenizer, only) if asked else ([], [])
    write_table(files.tasks, rows, ["task", "metric", "value"])
    write_table(files.items, items, ["task", "metric", "item", "value"])
    cost = {"cost": ledger.table(), **ledger.memory.peaks, "model_sha256": weights_sha256(folder)}
    tuned = table[table.family.isin(world(cfg.data.kind).TUNED_FAMILIES)]
    variety = {"distinct2": distinct_2_by_draw(tuned)}
    variety |= {"best_of": best_of(tuned.to_dict("records"), cfg.eval.draws)}
    record = conditions | cost | variety | scored_by(cfg, arm, seed)
    write_record(files.record, record, files.written)
    found = ", ".join(f"{r['task']} {r['value']:.3f}" for r in rows)
    say(f"evaluate {arm.name if arm else SFT} seed {seed}", found)


def test_prompts(cfg) -> list[dict]:
    """Read the test prompts of the evaluation, families in turn."""
    rows = read_rows(cfg.layout.prompts)
    return spread([row for row in rows if row["split"] == "test"], cfg.eval.prompts)


def sampled(cfg, arm, seed: int, policy, tokenizer):
    """Sample on the test prompts; returns the table of samples, and the parts of their gold."""
    measure = new_sampler(cfg, arm, seed, tokenizer)
    table = measure(policy)
    return table, measure.gold.parts(measure.asked, list(table.completion))


def new_sampler(cfg, arm, seed: int, tokenizer):
    """Load what measures a policy's samples on the test prompts."""
    from bench.evaluation.samples import Sampler
    from bench.models.loading import load_policy

    prompts, gold = test_prompts(cfg), world(cfg.data.kind).Gold(cfg.layout.data)
    reference = load_policy(cfg.layout.sft, cfg.model).eval().requires_grad_(False)
    proxied = arm and arm.proxy
    scorer = load_reward(cfg, cfg.layout.reward(arm.proxy, seed), tokenizer) if proxied else None
    return Sampler(
        tokenizer,
        prompts,
        gold,
        reference,
        scorer,
        cfg.decode,
        seed=TEST_SEED,
        batch=cfg.eval.batch,
        graph=cfg.launch.cuda_graph,
        draws=draws(cfg, arm),
        best_of=arm.best_of if arm else 1,
    )


def scored_by(cfg, arm, seed: int) -> dict[str, str]:
    """Return the name of the reward model that scores a run's samples, and the hash of its weights.

    Nothing for the SFT base, and for an arm that none scores.
    """
    from bench.models.loading import weights_sha256

    if arm is None or arm.proxy is None:
        return {}
    folder = cfg.layout.reward(arm.proxy, seed)
    return {"scorer": folder.parent.name, "scorer_sha256": weights_sha256(folder)}


def write_samples(files, table, parts: list[dict]) -> None:
    """Write prompts.csv, with numbers only, and samples.jsonl, with the texts."""
    numbers = table.drop(columns=["prompt", "completion"]).to_dict("records")
    write_table(files.prompts, [row | part for row, part in zip(numbers, parts, strict=True)], [])
    keep = ["prompt_id", "draw", "family", "prompt", "completion", "gold", "kl"]
    texts = table[keep].to_dict("records")
    lines = [row | {"parts": part} for row, part in zip(texts, parts, strict=True)]
    write_lines(files.samples, lines)
