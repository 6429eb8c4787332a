"""Preference pairs: a pool shared by all seeds, and each seed's draw of pairs and labels from it.

python -m bench.pairs pool --testbed micro
python -m bench.pairs demonstrations --testbed micro
python -m bench.pairs on-policy --testbed reviews
python -m bench.pairs draw --testbed micro --labels gold --seed 1

Labels may name how many: `gold-n750` are the first 750 of the seed's pairs.
"""

import argparse
import random
from collections.abc import Callable
from pathlib import Path

from bench import cli
from bench.data import world
from bench.names import DEMONSTRATIONS, ON_POLICY, OWN_POOLS, POOL, parsed, pool_of
from bench.rows import read_rows
from bench.schema import UserError

PASSES = 4  # over the prompts, at most, to fill the pool


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=(POOL, *OWN_POOLS, "draw"))
    parser.add_argument("--labels", default="gold", help="whose preference (%(default)s)")
    parser.add_argument("--seed", type=int, default=None)


def run(cfg, args: argparse.Namespace) -> None:
    """Writes a pool, or a seed's two files in ``pairs/<labels>``."""
    makers = {POOL: make_pool, DEMONSTRATIONS: make_demonstrations, ON_POLICY: make_on_policy}
    if args.what in makers:
        makers[args.what](cfg)
    else:
        draw(cfg, args.labels, args.seed)


def make_pool(cfg) -> None:
    """The testbed's own pairs where it has them, else pairs sampled from the SFT base.

    Sampled pairs on test prompts, in gold's order, become the lm-eval task ``preference``.
    """
    from bench import job, trainer
    from bench.record import Ledger

    trainer.quieten()
    ledger, out = Ledger(), Path(cfg.runs, "pairs")
    with ledger.phase("pool"):
        if world(cfg.data.kind).GIVEN_PAIRS:
            pool = with_gold(cfg, read_rows(Path(cfg.runs, "data", "pool.jsonl")))
        else:
            pool, held_out = sampled_pools(cfg, ledger)
            cli.write_lines(out / "preference.jsonl", [task_row(row) for row in held_out])
    if len(pool) < cfg.pairs.n:
        raise UserError(f"the pool holds {len(pool)} pairs, pairs.n asks for {cfg.pairs.n}")
    cli.write_lines(out / "pool.jsonl", pool)
    cli.write_json(out / "step.json", job.record("pairs", cfg, ledger, pool_metrics(pool)))


def with_gold(cfg, pool: list[dict]) -> list[dict]:
    """The testbed's own pairs with the gold of both completions, where they come without."""
    if "gold_a" in pool[0]:
        return pool
    gold = world(cfg.data.kind).Gold(Path(cfg.runs, "data"))
    columns = {f"gold_{side}": gold(pool, [row[side] for row in pool]) for side in "ab"}
    return [
        row | {name: float(values[i]) for name, values in columns.items()}
        for i, row in enumerate(pool)
    ]


def task_row(row: dict) -> dict:
    """A document of the lm-eval task: which completion does gold prefer?"""
    label = 0 if row["gold_a"] > row["gold_b"] else 1
    return {"prompt": row["prompt"], "choices": [row["a"], row["b"]], "label": label}


def pool_metrics(pool: list[dict]) -> dict[str, float]:
    """Bayes accuracy of a label: how often the better one is preferred, for each kind of label.

    Of labels that are given rather than drawn it is not known.
    """
    kinds = [k for k in pool[0]["p"] if any(0 < row["p"][k] < 1 for row in pool)]
    bayes = {
        f"bayes_accuracy_{k}": sum(max(row["p"][k], 1 - row["p"][k]) for row in pool) / len(pool)
        for k in kinds
    }
    return {"pairs": len(pool)} | bayes


def sampled_pools(cfg, ledger) -> tuple[list[dict], list[dict]]:
    """(pool on train prompts, held-out pairs on test prompts) sampled from the SFT base."""
    draw_batch = drawing(cfg, ledger)
    pool = sampled_pool(cfg, "train", pool_size(cfg), draw_batch)
    held_out = sampled_pool(cfg, "test", cfg.pairs.held_out, draw_batch)
    return pool, [row for row in held_out if row["gold_a"] != row["gold_b"]]


def pool_size(cfg) -> int:
    return cfg.pairs.pool or 2 * cfg.pairs.n


def drawing(cfg, ledger) -> Callable[[list[dict]], list[str | None]]:
    """What draws one answer of the SFT base to each row's prompt; one stream of luck for all."""
    import torch

    from bench.models import load_policy, load_tokenizer

    sft = Path(cfg.runs, "sft")
    model, tokenizer = load_policy(sft, cfg.model), load_tokenizer(sft)
    generator = torch.Generator(model.device).manual_seed(cfg.pairs.seed)
    return lambda rows: texts(cfg, model, tokenizer, rows, generator, ledger)


def sampled_pool(cfg, split: str, want: int, draw_batch) -> list[dict]:
    """Two different finished samples for each prompt of a split, with P(a preferred).

    The prompts are passed over again until the pool has its size; draw_batch: rows -> texts.
    """

    here = world(cfg.data.kind)
    rows = read_rows(Path(cfg.runs, "data", "prompts.jsonl"))
    rows = [r for r in rows if r["split"] == split and r["family"] in here.TUNED_FAMILIES]
    random.Random(f"pool {cfg.pairs.seed} {split}").shuffle(rows)
    if not rows:
        raise UserError(f"the testbed has no {split} prompts in the families that get preferences")
    found, progress = [], cli.Progress(f"pairs {split}", want, "pair")
    starts = [s for _ in range(PASSES) for s in range(0, len(rows), cfg.pairs.batch)]
    for start in starts:
        batch = rows[start : start + cfg.pairs.batch]
        new = differing(batch, draw_batch(batch), draw_batch(batch))
        found += new
        progress.update(len(new))
        if len(found) >= want:
            break
    if not found:
        raise UserError("no pair of finished, different samples: is the SFT base trained?")
    return labelled(cfg, here, found[:want])


def texts(cfg, model, tokenizer, rows, generator, ledger, ended=True) -> list[str | None]:
    """One sample a prompt; None where it did not end, if that matters."""
    from bench.flops import Shape, sampling
    from bench.sampling import sample
    from bench.text import decode, prompt_ids

    ids = [prompt_ids(tokenizer, row["prompt"]) for row in rows]
    drawn = sample(
        model, tokenizer, ids, cfg.decode.max_new_tokens, cfg.pairs.temperature, generator
    )
    shape, made = Shape.of(model), drawn.mask.sum(1).tolist()
    ledger.add(**sampling(shape, [len(row) for row in ids], made))
    kept = zip(drawn.rows(), drawn.ended.tolist(), strict=True)
    return [decode(tokenizer, tokens) if over or not ended else None for tokens, over in kept]


def differing(rows, first, second) -> list[tuple[dict, str, str]]:
    """(prompt, a, b) where both ended, say something, and differ."""
    triples = zip(rows, first, second, strict=True)
    return [(row, a, b) for row, a, b in triples if a and b and a != b]


def labelled(cfg, here, found: list[tuple[dict, str, str]]) -> list[dict]:
    """Rows of the pool: both completions, their gold, and the chance that a is preferred."""
    prompts, a, b = (list(column) for column in zip(*found, strict=True))
    gold = here.Gold(Path(cfg.runs, "data"))
    gold_a, gold_b = gold(prompts, a), gold(prompts, b)
    chances = here.preference(prompts, a, b, gold_a, gold_b, cfg.data)
    return [
        {
            "id": i,
            "prompt_id": row["id"],
            "prompt": row["prompt"],
            "family": row["family"],
            "a": a[i],
            "b": b[i],
            "gold_a": float(gold_a[i]),
            "gold_b": float(gold_b[i]),
            "p": chances[i],
        }
        for i, row in enumerate(prompts)
    ]


def make_demonstrations(cfg) -> None:
    """``pairs/demonstrations.jsonl``: each demonstration, preferred to the base's own answer.

    What ORPO learns from where it folds SFT in (Hong et al. 2024): no judge is asked.
    """
    import torch

    from bench import job, trainer
    from bench.models import load_policy, load_tokenizer
    from bench.record import Ledger

    trainer.quieten()
    ledger, base = Ledger(), Path(cfg.runs, "base")
    rows = read_rows(Path(cfg.runs, "data", "sft.jsonl"))
    if (most := cfg.pairs.demonstrations) and most < len(rows):
        rows = random.Random(f"demonstrations {cfg.pairs.seed}").sample(rows, most)
    found, progress = [], cli.Progress("pairs demonstrations", len(rows), "pair")
    with ledger.phase("pool"):
        model, tokenizer = load_policy(base, cfg.model), load_tokenizer(base)
        generator = torch.Generator(model.device).manual_seed(cfg.pairs.seed)
        for start in range(0, len(rows), cfg.pairs.batch):
            batch = rows[start : start + cfg.pairs.batch]
            drawn = texts(cfg, model, tokenizer, batch, generator, ledger, ended=False)
            found += zip(batch, drawn, strict=True)
            progress.update(len(batch))
    pairs = [demonstrated(i, row, text) for i, (row, text) in enumerate(found) if text]
    write_own(cfg, DEMONSTRATIONS, pairs, job.record("pairs", cfg, ledger, {"pairs": len(pairs)}))


def make_on_policy(cfg) -> None:
    """``pairs/on-policy.jsonl``: pairs sampled from the SFT base, which gold labels.

    What PPO's samples are to its pairs, for those methods that cannot sample.
    """
    from bench import job, trainer
    from bench.record import Ledger

    trainer.quieten()
    ledger = Ledger()
    with ledger.phase("pool"):
        pool = sampled_pool(cfg, "train", pool_size(cfg), drawing(cfg, ledger))
    write_own(cfg, ON_POLICY, pool, job.record("pairs", cfg, ledger, pool_metrics(pool)))


def write_own(cfg, name: str, pool: list[dict], record: dict) -> None:
    """A pool beside the testbed's, and the record of its making."""
    out = Path(cfg.runs, "pairs")
    cli.write_lines(out / f"{name}.jsonl", pool)
    cli.write_json(out / f"{name}.json", record)


def demonstrated(i: int, row: dict, text: str) -> dict:
    """A row of a pool in which the demonstration is always preferred."""
    pair = {"id": i, "prompt_id": f"demonstration-{i}", "a": row["completion"], "b": text}
    kept = {key: row[key] for key in ("prompt", "family")}
    return pair | kept | {"p": {DEMONSTRATIONS: 1.0}}


def draw(cfg, data: str, seed: int) -> None:
    """A seed's pairs: ``n`` of the pool without replacement, each with one Bernoulli label.

    Fewer are the first of them, so that all numbers of labels share the held-out pairs.
    """
    labels, n = parsed(data)
    own = pool_of(data)
    pool = read_rows(Path(cfg.runs, "pairs", f"{own}.jsonl"))
    if labels not in pool[0]["p"]:
        raise UserError(
            f"labels '{labels}' are not in the pool: choose from {sorted(pool[0]['p'])}"
        )
    stream = random.Random(f"pairs {cfg.pairs.seed} {seed}")
    whole = len(pool) // 2 if own == DEMONSTRATIONS else min(cfg.pairs.n, len(pool))
    taken = stream.sample(pool, whole)
    rows = [chosen(row, labels, stream.random()) for row in taken]
    if n and n > len(rows):
        raise UserError(f"labels '{data}' ask for more than pairs.n, which is {len(rows)}")
    used = {row["id"] for row in taken}
    rest = [row for row in pool if row["id"] not in used]
    held_out = [chosen(row, labels, stream.random()) for row in rest[: cfg.pairs.validation]]
    folder = Path(cfg.runs, "pairs", data)
    cli.write_lines(folder / f"heldout{seed}.jsonl", held_out)
    cli.write_lines(folder / f"seed{seed}.jsonl", rows[:n])


def chosen(row: dict, labels: str, luck: float) -> dict:
    """The pair with its label: a is chosen with probability p."""
    wins, loses = ("a", "b") if luck < row["p"][labels] else ("b", "a")
    kept = {key: row[key] for key in ("id", "prompt_id", "prompt", "family")}
    return kept | {"side": wins, "chosen": row[wins], "rejected": row[loses]}


if __name__ == "__main__":
    cli.main("pairs", run, options)
