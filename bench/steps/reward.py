"""Train the reward model: a scalar head on the SFT base, on a seed's pairs, with TRL.

Or take one that others have trained (`reward.model`).

python -m bench reward --testbed micro --label-set gold --seed 1
"""

import argparse
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bench.core import processes
from bench.core.files import atomic, file_sha256, read_rows
from bench.core.names import pool_of
from bench.core.progress import say
from bench.core.records import write_record

BATCH = 256  # answers scored at once, unless model.micro_batch is set
CHECKED = 1000  # most pairs that the reward model's order is compared with gold's on


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label-set", default="gold", help="preference, and number of pairs (%(default)s)"
    )
    parser.add_argument("--seed", type=int, required=True, help="the seed whose pairs it learns")


def run(cfg, args: argparse.Namespace) -> None:
    """Write ``reward/<label set>/seed<k>``: weights or adapter, tokenizer, ``step.json``."""
    (train if cfg.reward.model is None else keep)(cfg, args)


def keep(cfg, args: argparse.Namespace) -> None:
    """Take the reward model that the settings name; compare its order with gold's, uncharged."""
    from bench.models import judge
    from bench.models.loading import load_tokenizer
    from bench.training import job
    from bench.training.ledger import Ledger

    ledger, out = Ledger(), cfg.layout.reward(args.label_set, args.seed)
    tokenizer = load_tokenizer(cfg.layout.sft)
    used = {row["id"] for row in read_rows(cfg.layout.pairs(args.label_set, args.seed))}
    with tempfile.TemporaryDirectory() as folder, ledger.phase("load", charged=False):
        text = judge.write(cfg.reward.model, Path(folder))
        model = load_reward(cfg, Path(folder), tokenizer)
    metrics = quality(cfg, model, tokenizer, ledger, pool_of(args.label_set), used)
    metrics["external"] = str(cfg.reward.model)
    record = job.step_record("reward", cfg, ledger, metrics)  # by all processes
    if processes.is_main():
        with atomic(out) as part:
            part.mkdir(parents=True)
            (part / judge.EXTERNAL).write_text(text, encoding="utf-8")
            write_record(part / "step.json", record)
    say(f"reward {args.label_set} seed {args.seed}", json.dumps(metrics))


def load_reward(cfg, folder: Path, tokenizer, asked: Iterable[str] = ()):
    """Load a reward model to score samples: a seed's own, or one that others have trained.

    tokenizer: the policy's; asked: prompts that are not in the data's list of them.
    """
    from bench.models import judge
    from bench.models.loading import load_scorer

    if judge.is_external(folder):
        prompts = [row["prompt"] for row in read_rows(cfg.layout.prompts)]
        return judge.External(folder, tokenizer, [*prompts, *asked]).eval()
    return load_scorer(folder, cfg.model).eval().requires_grad_(False)


def train(cfg, args: argparse.Namespace) -> None:
    """Train a scalar head on the SFT base, on a seed's pairs."""
    from bench.models.loading import adapt, load_scorer, load_tokenizer, weights_sha256
    from bench.steps.fingerprint import code_hash
    from bench.training import job, trainer
    from bench.training.ledger import Ledger

    trainer.quieten()
    head = f"reward {args.label_set} seed {args.seed}"
    sft, ledger = cfg.layout.sft, Ledger()
    job.seed_everything(args.seed)
    tokenizer = load_tokenizer(sft)
    model = adapt(new_scorer(load_scorer(sft, cfg.model)), cfg.model, "SEQ_CLS")
    data = cfg.layout.pairs(args.label_set, args.seed)
    rows = tokenised(tokenizer, read_rows(data))
    root = job.checkpoint_root(
        cfg,
        head.replace(" ", "-"),
        code_hash("reward", None, cfg.data.kind),
        {"pairs": file_sha256(data), "sft": weights_sha256(sft)},
    )
    total = trainer.total_steps(cfg.reward, len(rows))
    monitor = job.plain_monitor(head, total, ledger, root)
    parts = head, model, tokenizer, cfg.reward, args.seed, root, monitor, ledger
    todo = trainer.Training(*parts, cfg.model.micro_batch)
    trainer.fit(reward_trainer(todo, rows), todo, head="scalar")
    if hasattr(model, "unshard"):  # FSDP: from here on, trunk and head are called separately
        model.unshard()
    used = {r["id"] for r in read_rows(data)}
    metrics = quality(cfg, model, tokenizer, ledger, pool_of(args.label_set), used)
    out = cfg.layout.reward(args.label_set, args.seed)
    job.write(out, todo, model, job.step_record("reward", cfg, ledger, metrics))
    job.discard(root)
    say(head, json.dumps(metrics))


def new_scorer(model):
    """Initialise the scalar head near zero (Huang et al. 2024, 2403.17031, detail 11).

    Its input takes its number type: it is trained in float32, also on a trunk in bfloat16.
    """
    import torch

    std = (model.config.hidden_size + 1) ** -0.5
    torch.nn.init.normal_(model.score.weight, std=std)
    model.score.register_forward_pre_hook(lambda head, given: given[0].to(head.weight.dtype))
    return model


def tokenised(tokenizer, pairs: list[dict]) -> list[dict]:
    """Tokenise each pair: the prompt followed by either completion."""
    from bench.models.tokens import completion_ids, prompt_ids

    rows = []
    for pair in pairs:
        prompt = prompt_ids(tokenizer, pair["prompt"])
        sides = {k: prompt + completion_ids(tokenizer, pair[k]) for k in ("chosen", "rejected")}
        rows.append({f"{k}_ids": ids for k, ids in sides.items()})
    return rows


def reward_trainer(todo, rows: list[dict]):
    """Make TRL's reward trainer: loss -log sigmoid(difference of scores), scores kept near 0."""
    from trl import RewardConfig, RewardTrainer

    from bench.training.trainer import arguments, dataset

    class Trainer(RewardTrainer):
        def create_model_card(self, *args, **kwargs):
            """Write none; TRL would write one with each checkpoint."""

    center = todo.settings.center
    extra = {"max_length": None, "center_rewards_coefficient": center}
    config = arguments(RewardConfig, todo, len(rows), **extra)
    return Trainer(
        model=todo.policy,
        args=config,
        train_dataset=dataset(rows),
        processing_class=todo.tokenizer,
    )


def quality(cfg, model, tokenizer, ledger, pool: str, used: set[int]) -> dict[str, float]:
    """Measure how often the reward model orders pairs as gold does, on pairs not trained on.

    Also returns the mean and standard deviation of the scores. Returns {} if no pairs are left.
    used: ids of the pairs trained on.
    """
    import numpy as np

    rest = [row for row in read_rows(cfg.layout.pool(pool)) if row["id"] not in used][:CHECKED]
    if not rest:
        return {}
    with ledger.phase("check", charged=False):
        a, b = (
            scores(model, tokenizer, rest, side, cfg.model.micro_batch or BATCH) for side in "ab"
        )
    gold = np.array([row["gold_a"] - row["gold_b"] for row in rest])
    differ = gold != 0
    right = ((a > b) == (gold > 0))[differ]
    both = np.concatenate([a, b])
    return {
        "gold_order_accuracy": float(right.mean()),
        "gold_order_n": int(differ.sum()),
        "score_mean": float(both.mean()),
        "score_sd": float(both.std()),
    }


def scores(model, tokenizer, pool: list[dict], side: str, batch: int):
    """Compute the (N,) scores of one side's completion in each pair."""
    import numpy as np

    from bench.models.passes import forced, sequence_scores
    from bench.models.tokens import completion_ids, prompt_ids

    model.eval()
    out = []
    for start in range(0, len(pool), batch):
        rows = pool[start : start + batch]
        prompts = [prompt_ids(tokenizer, row["prompt"]) for row in rows]
        completions = [completion_ids(tokenizer, row[side]) for row in rows]
        given = forced(tokenizer, prompts, completions, model.device)
        out.append(sequence_scores(model, given).cpu().numpy())
    return np.concatenate(out)
