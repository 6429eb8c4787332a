"""Evaluates one run, or the SFT base, on held-out test prompts and by lm-eval.

    python -m bench.evaluate --testbed micro --arm dpo --seed 1
    python -m bench.evaluate --testbed micro --arm sft --seed 0

No method is charged for it.
"""

import argparse
import io
import json
import sys
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import yaml

from bench import cli
from bench.data import world
from bench.rows import ids_sha256, read_rows, spread

TEST_SEED = 2000  # of the sampling on test prompts, the same for every run
SFT = "sft"
TEMPLATES = Path(__file__).parent / "data" / "tasks"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arm", required=True, help="an arm, or sft")
    parser.add_argument("--seed", type=int, required=True)


def run(cfg, args: argparse.Namespace) -> None:
    """Writes ``evaluate/<arm>/seed<k>``: prompts.csv, tasks.csv, samples.jsonl, eval.json."""
    out = Path(cfg.runs, "evaluate", args.arm, f"seed{args.seed}")
    status = "ok" if args.arm == SFT else run_status(cfg, args)
    if status == "ok":
        evaluate(cfg, args, out)
    else:
        write_failed(cfg, args, out, status)


def run_status(cfg, args) -> str:
    folder = Path(cfg.runs, "align", args.arm, f"seed{args.seed}")
    return json.loads((folder / "run.json").read_text())["status"]


def write_failed(cfg, args, out: Path, status: str) -> None:
    """Every output, empty: the run has no model."""
    heads = {
        "prompts.csv": ["prompt_id", "family", "gold"],
        "tasks.csv": ["task", "metric", "value"],
    }
    for name, head in heads.items():
        cli.write_table(out / name, [], head)
    cli.write_lines(out / "samples.jsonl", [])
    record = conditions(cfg, args, status) | {"cost": [], "model_sha256": None}
    cli.write_json(out / "eval.json", record | {"peak_mb": None, "peak_reserved_mb": None})


def conditions(cfg, args, status: str) -> dict:
    """What the fairness contract compares of an evaluation, beside the weights."""
    from bench.record import versions

    return {
        "arm": args.arm,
        "seed": args.seed,
        "status": status,
        "prompts_sha256": ids_sha256(test_prompts(cfg)),
        "decode": cfg.decode.model_dump(),
        "versions": versions(),
    }


def evaluate(cfg, args, out: Path) -> None:
    """Samples on the test prompts, lm-eval, and the hash of the weights both came from."""
    from bench import job, trainer
    from bench.models import load_policy, load_tokenizer, weights_sha256
    from bench.record import Ledger

    trainer.quieten()
    ledger, head = Ledger(), f"evaluate {args.arm} seed {args.seed}"
    folder = model_folder(cfg, args)
    job.seed_everything(TEST_SEED)
    with ledger.phase("load", charged=False):
        policy = load_policy(folder, cfg.model).eval().requires_grad_(False)
        tokenizer = load_tokenizer(folder)
    with ledger.phase("samples", charged=False):
        table, parts = sampled(cfg, args, policy, tokenizer)
    write_samples(out, table, parts)
    with ledger.phase("lm-eval", charged=False):
        asked = args.arm == SFT or cfg.arm(args.arm).tasks
        rows = lm_eval_rows(cfg, policy, tokenizer) if asked else []
    cli.write_table(out / "tasks.csv", rows, ["task", "metric", "value"])
    record = conditions(cfg, args, "ok") | {
        "cost": ledger.table(),
        **ledger.memory.peaks,
        "model_sha256": weights_sha256(folder),
    }
    cli.write_json(out / "eval.json", record)
    cli.say(head, ", ".join(f"{r['task']} {r['value']:.3f}" for r in rows))


def model_folder(cfg, args) -> Path:
    if args.arm == SFT:
        return Path(cfg.runs, "sft")
    return Path(cfg.runs, "align", args.arm, f"seed{args.seed}", "model")


def test_prompts(cfg) -> list[dict]:
    """The prompts of the evaluation: test, families in turn."""
    rows = read_rows(Path(cfg.runs, "data", "prompts.jsonl"))
    return spread([row for row in rows if row["split"] == "test"], cfg.eval.prompts)


def sampled(cfg, args, policy, tokenizer):
    """(table of samples on the test prompts, named parts of the gold of each)."""
    from bench.measure import Measure
    from bench.models import load_policy

    data = Path(cfg.runs, "data")
    prompts = test_prompts(cfg)
    gold = world(cfg.data.kind).Gold(data)
    reference = load_policy(Path(cfg.runs, "sft"), cfg.model).eval().requires_grad_(False)
    scorer = load_reward(cfg, args)
    measure = Measure(
        tokenizer, prompts, gold, reference, scorer, cfg.decode, TEST_SEED, cfg.eval.batch
    )
    table = measure(policy)
    return table, gold.parts(prompts, list(table.completion))


def load_reward(cfg, args):
    """The reward model of the run's seed and pairs, for the proxy; none for the SFT base."""
    from bench.models import load_scorer

    if args.arm == SFT:
        return None
    folder = Path(cfg.runs, "reward", cfg.arm(args.arm).judge, f"seed{args.seed}")
    return load_scorer(folder, cfg.model).eval().requires_grad_(False)


def write_samples(out: Path, table, parts: list[dict]) -> None:
    """prompts.csv: numbers only; samples.jsonl: the texts too."""
    numbers = table.drop(columns=["prompt", "completion"]).to_dict("records")
    rows = [row | part for row, part in zip(numbers, parts, strict=True)]
    cli.write_table(out / "prompts.csv", rows, [])
    keep = ["prompt_id", "family", "prompt", "completion", "gold", "kl"]
    texts = table[keep].to_dict("records")
    lines = [row | {"parts": part} for row, part in zip(texts, parts, strict=True)]
    cli.write_lines(out / "samples.jsonl", lines)


def lm_eval_rows(cfg, policy, tokenizer) -> list[dict]:
    """A row a task and metric: value, standard error, number of documents, direction."""
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from bench import standard

    model = HFLM(
        pretrained=policy,
        tokenizer=tokenizer,
        batch_size=cfg.eval.batch,
        add_bos_token=tokenizer.chat_template is None,
        max_length=policy.config.max_position_embeddings,
    )
    own = [task_config(cfg, name) for name in task_names(cfg)]
    rows = harnessed(model, own, task_manager=TaskManager(include_defaults=False))
    if not cfg.eval.tasks:
        return rows
    return rows + harnessed(model, standard.load(cfg.eval.tasks), limit=cfg.eval.limit)


def harnessed(model, tasks: list, **options) -> list[dict]:
    """What lm-eval finds on tasks, as rows."""
    from lm_eval import simple_evaluate

    with quiet_stderr():
        found = simple_evaluate(
            model=model,
            tasks=tasks,
            apply_chat_template=model.tokenizer.chat_template is not None,
            bootstrap_iters=100,
            log_samples=False,
            random_seed=TEST_SEED,
            verbosity="ERROR",
            **options,
        )
    return [row for name in found["results"] for row in task_rows(found, name)]


@contextmanager
def quiet_stderr():
    """Holds back lm-eval's bars, which ignore every switch; shown where it raises."""
    text = io.StringIO()
    try:
        with redirect_stderr(text):
            yield
    except BaseException:
        print(text.getvalue(), file=sys.stderr)
        raise


def task_names(cfg) -> list[str]:
    """The world's tasks, and ``preference`` where the pairs step made its documents."""
    return [
        *world(cfg.data.kind).TASKS,
        *(["preference"] if sampled_preference(cfg).exists() else []),
    ]


def sampled_preference(cfg) -> Path:
    return Path(cfg.runs, "pairs", "preference.jsonl")


def task_config(cfg, name: str) -> dict:
    """The template ``bench/data/tasks/<kind>/<name>.yaml`` with its data filled in."""
    template = yaml.safe_load((TEMPLATES / cfg.data.kind / f"{name}.yaml").read_text())
    data = Path(cfg.runs, "data", "tasks", f"{name}.jsonl")
    data = (data if data.exists() else sampled_preference(cfg)).resolve()
    source = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}}
    return template | source | {"task": name}


def task_rows(found: dict, name: str) -> list[dict]:
    """The metrics of one task, out of lm-eval's result; each filter's where a task has several.

    The gap between a strict and a flexible one tells format from ability (gsm8k).
    """
    rows = []
    metrics = [key.partition(",")[0] for key in found["results"][name] if "," in key]
    for key, value in found["results"][name].items():
        metric, _, chosen_filter = key.partition(",")
        if not chosen_filter or metric.endswith("_stderr"):
            continue
        stderr = found["results"][name].get(f"{metric}_stderr,{chosen_filter}")
        rows.append(
            {
                "task": name,
                "metric": metric + (f" ({chosen_filter})" if metrics.count(metric) > 1 else ""),
                "value": value,
                "stderr": stderr if isinstance(stderr, float) else "",
                "n": found["n-samples"][name]["effective"],
                "higher_is_better": found["higher_is_better"][name].get(metric, True),
            }
        )
    return rows


if __name__ == "__main__":
    cli.main("evaluate", run, options)
