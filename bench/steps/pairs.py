"""Make preference pairs: a pool that all seeds share, and each seed's labelled draw from it.

    python -m bench pairs pool --testbed micro
    python -m bench pairs demonstrations --testbed micro
    python -m bench pairs on-policy --testbed reviews
    python -m bench pairs draw --testbed micro --label-set gold --seed 1

A label set's name says what is not as usual: `gold-n750` holds the first 750 of the seed's pairs,
`gold-flip20` turns a fifth of the labels round (`bench.core.names.LabelSet`).
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from random import Random

from bench.core.files import read_rows, write_lines
from bench.core.names import (
    DEMONSTRATIONS,
    ON_POLICY,
    OWN_POOLS,
    POOL,
    WRITTEN,
    LabelSet,
    parsed,
    pool_of,
)
from bench.core.progress import Progress
from bench.core.records import write_record
from bench.core.schema import UserError
from bench.core.streams import stream
from bench.worlds import world

PASSES = 4  # most passes over the prompts, as a multiple of those that would fill the pool at best


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", choices=(POOL, *OWN_POOLS, "draw"), help="which pool to make, or a seed's draw"
    )
    parser.add_argument(
        "--label-set", default="gold", help="draw: preference, and number of pairs (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=None, help="draw: the runs' seed")


def run(cfg, args: argparse.Namespace) -> None:
    """Write a pool, or a seed's two files in ``pairs/<label set>``."""
    makers = {POOL: make_pool, DEMONSTRATIONS: make_demonstrations, ON_POLICY: make_on_policy}
    if args.what in makers:
        makers[args.what](cfg)
    elif args.what in WRITTEN:
        take_written(cfg, args.what)
    else:
        draw(cfg, args.label_set, args.seed)


def make_pool(cfg) -> None:
    """Write the pool: the world's own pairs, or else pairs sampled from an SFT base.

    If they are sampled, pairs on test prompts become the lm-eval task ``preference``, in which gold
    decides which answer is right. Raises UserError if the pool holds fewer than ``pairs.n``.
    """
    from bench.training import job, trainer
    from bench.training.ledger import Ledger

    trainer.quieten()
    ledger, layout, written = Ledger(), cfg.layout, []
    with ledger.phase("pool"):
        if world(cfg.data.kind).GIVEN_PAIRS:
            pool = with_gold(cfg, read_rows(layout.data / "pool.jsonl"))
        else:
            pool, test = sampled_pools(cfg, ledger)
            write_lines(layout.test_pairs, [task_row(row) for row in test])
            written.append(layout.test_pairs)
    if len(pool) < cfg.pairs.n:
        raise UserError(
            f"the pool holds {len(pool)} pairs, but pairs.n asks for {cfg.pairs.n}: lower pairs.n, "
            "or raise pairs.pool (data.pool, if the testbed comes with pairs)"
        )
    write_lines(layout.pool(POOL), pool)
    record = job.step_record("pairs", cfg, ledger, pool_metrics(pool))
    write_record(layout.pool_record(POOL), record, [layout.pool(POOL), *written])


def with_gold(cfg, pool: list[dict]) -> list[dict]:
    """Add the gold of both completions to the world's own pairs, if they lack it."""
    if "gold_a" in pool[0]:
        return pool
    gold = world(cfg.data.kind).Gold(cfg.layout.data)
    columns = {f"gold_{side}": gold(pool, [row[side] for row in pool]) for side in "ab"}
    return [
        row | {name: float(values[i]) for name, values in columns.items()}
        for i, row in enumerate(pool)
    ]


def task_row(row: dict) -> dict:
    """Make a document of the lm-eval task: which completion does gold prefer?"""
    label = 0 if row["gold_a"] > row["gold_b"] else 1
    return {"prompt": row["prompt"], "choices": [row["a"], row["b"]], "label": label}


def pool_metrics(pool: list[dict]) -> dict[str, float]:
    """Compute the Bayes accuracy of each preference: how often a label names the likelier side.

    It is unknown, and left out, if labels are given rather than drawn.
    """
    kinds = [k for k in pool[0]["p"] if any(0 < row["p"][k] < 1 for row in pool)]
    bayes = {
        f"bayes_accuracy_{k}": sum(max(row["p"][k], 1 - row["p"][k]) for row in pool) / len(pool)
        for k in kinds
    }
    return {"pairs": len(pool)} | bayes


def sampled_pools(cfg, ledger) -> tuple[list[dict], list[dict]]:
    """Sample pairs from their writer; returns (pool on train prompts, pairs on test prompts)."""
    draw_batch = drawing(cfg, ledger, cfg.layout.writer)
    pool = sampled_pool(cfg, "train", cfg.pairs.sampled, draw_batch)
    test = sampled_pool(cfg, "test", cfg.pairs.test, draw_batch)
    return pool, [row for row in test if row["gold_a"] != row["gold_b"]]


def drawing(cfg, ledger, writer: Path) -> Callable[[list[dict]], list[str | None]]:
    """Return a function that samples the answer of the model ``writer`` to each row's prompt.

    All its calls share one random generator.
    """
    import torch

    from bench.models.loading import load_policy, load_tokenizer

    model, tokenizer = load_policy(writer, cfg.model), load_tokenizer(writer)
    generator = torch.Generator(model.device).manual_seed(cfg.pairs.seed)
    return lambda rows: texts(cfg, model, tokenizer, rows, generator, ledger)


def sampled_pool(cfg, split: str, want: int, draw_batch) -> list[dict]:
    """Sample two different finished answers to each prompt of a split, with P(a preferred).

    Goes through the prompts again and again, until there are ``want`` pairs or PASSES tells that
    there will not be. draw_batch: rows -> texts. Raises UserError if there are no prompts, or no
    pairs at all.
    """
    here = world(cfg.data.kind)
    rows = read_rows(cfg.layout.prompts)
    rows = [r for r in rows if r["split"] == split and r["family"] in here.TUNED_FAMILIES]
    stream("pool", seed=cfg.pairs.seed, split=split).shuffle(rows)
    if not rows:
        raise UserError(
            f"the testbed has no {split} prompts of family {' or '.join(here.TUNED_FAMILIES)}, "
            "which get preferences: raise their number in the section data"
        )
    found, progress = [], Progress(f"pairs {split}", want, "pair")
    passes = PASSES * math.ceil(want / len(rows))
    starts = [s for _ in range(passes) for s in range(0, len(rows), cfg.pairs.batch)]
    for start in starts:
        batch = rows[start : start + cfg.pairs.batch]
        new = differing(batch, draw_batch(batch), draw_batch(batch))
        found += new
        progress.update(len(new))
        if len(found) >= want:
            break
    if not found:
        raise UserError(
            "the SFT base gave no two different finished answers to a prompt: train it longer "
            "(sft.steps), or raise decode.max_new_tokens or pairs.temperature"
        )
    return labelled(cfg, here, found[:want])


def texts(cfg, model, tokenizer, rows, generator, ledger, ended=True) -> list[str | None]:
    """Sample one answer per prompt; ended: give None for an answer without EOS."""
    from bench.models.draws import uniforms
    from bench.models.flops import Shape, sampling
    from bench.models.sampling import sample
    from bench.models.tokens import decode, prompt_ids

    ids = [prompt_ids(tokenizer, row["prompt"]) for row in rows]
    length, how = cfg.decode.max_new_tokens, (cfg.pairs.temperature, cfg.launch.cuda_graph)
    drawn = sample(model, tokenizer, ids, length, uniforms(length, len(ids), generator), *how)
    shape, made = Shape.of(model), drawn.mask.sum(1).tolist()
    ledger.add(**sampling(shape, [len(row) for row in ids], made))
    kept = zip(drawn.rows(), drawn.ended.tolist(), strict=True)
    return [decode(tokenizer, tokens) if over or not ended else None for tokens, over in kept]


def differing(rows, first, second) -> list[tuple[dict, str, str]]:
    """Keep (prompt, a, b) if both answers ended, are not empty, and differ."""
    triples = zip(rows, first, second, strict=True)
    return [(row, a, b) for row, a, b in triples if a and b and a != b]


def labelled(cfg, here, found: list[tuple[dict, str, str]]) -> list[dict]:
    """Make the pool's rows: both completions, their gold, and the chance that a is preferred."""
    prompts, a, b = (list(column) for column in zip(*found, strict=True))
    gold = here.Gold(cfg.layout.data)
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
    """Write ``pairs/demonstrations.jsonl``: each demonstration, preferred to the base's answer.

    ORPO learns from these pairs if it replaces SFT (Hong et al. 2024). Gold is not used.
    """
    import torch

    from bench.models.loading import load_policy, load_tokenizer
    from bench.training import job, trainer
    from bench.training.ledger import Ledger

    trainer.quieten()
    ledger, base = Ledger(), cfg.layout.base
    rows = read_rows(cfg.layout.data / "sft.jsonl")
    if (most := cfg.pairs.demonstrations) and most < len(rows):
        rows = stream("demonstrations", seed=cfg.pairs.seed).sample(rows, most)
    found, progress = [], Progress("pairs demonstrations", len(rows), "pair")
    with ledger.phase("pool"):
        model, tokenizer = load_policy(base, cfg.model), load_tokenizer(base)
        generator = torch.Generator(model.device).manual_seed(cfg.pairs.seed)
        for start in range(0, len(rows), cfg.pairs.batch):
            batch = rows[start : start + cfg.pairs.batch]
            drawn = texts(cfg, model, tokenizer, batch, generator, ledger, ended=False)
            found += zip(batch, drawn, strict=True)
            progress.update(len(batch))
    pairs = [demonstrated(i, row, text) for i, (row, text) in enumerate(found) if text]
    write_own(
        cfg, DEMONSTRATIONS, pairs, job.step_record("pairs", cfg, ledger, {"pairs": len(pairs)})
    )


def make_on_policy(cfg) -> None:
    """Write ``pairs/on-policy.jsonl``: pairs sampled from the SFT base and labelled by gold.

    They give methods that do not sample while training pairs from the policy's own distribution, as
    PPO's samples are.
    """
    from bench.training import job, trainer
    from bench.training.ledger import Ledger

    trainer.quieten()
    ledger = Ledger()
    with ledger.phase("pool"):
        pool = sampled_pool(cfg, "train", cfg.pairs.sampled, drawing(cfg, ledger, cfg.layout.sft))
    write_own(cfg, ON_POLICY, pool, job.step_record("pairs", cfg, ledger, pool_metrics(pool)))


def take_written(cfg, name: str) -> None:
    """Write a pool that the world has written."""
    from bench.training import job
    from bench.training.ledger import Ledger

    ledger = Ledger()
    with ledger.phase("pool"):
        pool = read_rows(cfg.layout.data / f"{name}.jsonl")
    write_own(cfg, name, pool, job.step_record("pairs", cfg, ledger, {"pairs": len(pool)}))


def write_own(cfg, name: str, pool: list[dict], record: dict) -> None:
    """Write a pool besides the testbed's, and the record of how it was made."""
    write_lines(cfg.layout.pool(name), pool)
    write_record(cfg.layout.pool_record(name), record, [cfg.layout.pool(name)])


def demonstrated(i: int, row: dict, text: str) -> dict:
    """Make a pool's row in which the demonstration is always preferred."""
    pair = {"id": i, "prompt_id": f"demonstration-{i}", "a": row["completion"], "b": text}
    kept = {key: row[key] for key in ("prompt", "family")}
    return pair | kept | {"p": {DEMONSTRATIONS: 1.0}}


def draw(cfg, label_set: str, seed: int) -> None:
    """Write a seed's pairs, and its validation pairs."""
    rows, validation = drawn(cfg, label_set, seed)
    write_lines(cfg.layout.validation(label_set, seed), validation)
    write_lines(cfg.layout.pairs(label_set, seed), rows)


def drawn(cfg, label_set: str, seed: int) -> tuple[list[dict], list[dict]]:
    """Draw a seed's pairs from the pool without replacement, each with a random label.

    Also returns its validation pairs, from the rest of the pool, with labels of the same kind. A
    smaller label set is the first of them, so that all label sets share the validation pairs; a
    larger one is a draw of its own.
    Raises UserError if the pool lacks the preference or pairs of the kind, or the label set asks
    for too many.
    """
    asked = parsed(label_set)
    pool = asked_pool(cfg, asked)
    luck = stream("pairs", pool_seed=cfg.pairs.seed, seed=seed)
    taken = luck.sample(pool, share(cfg, asked, len(pool)))
    rows = [chosen(row, asked.preference, luck.random()) for row in taken]
    if asked.n and asked.n > len(rows):
        raise UserError(
            f"label set '{label_set}' asks for more pairs than a seed draws, {len(rows)}: "
            "ask for fewer, or raise pairs.pool (data.pool, if the testbed comes with pairs)"
        )
    used = {row["id"] for row in taken}
    rest = [row for row in pool if row["id"] not in used][: cfg.pairs.validation]
    validation = [chosen(row, asked.preference, luck.random()) for row in rest]
    turns = stream("flips", pool_seed=cfg.pairs.seed, seed=seed)
    validation = [flipped(row, asked.flip, turns) for row in validation]
    first = [flipped(row, asked.flip, turns) for row in rows[: asked.n]]
    if not asked.fresh:
        return first * asked.copies, validation
    return first + fresh(cfg, asked, taken[: asked.n], turns, seed), validation


def asked_pool(cfg, asked: LabelSet) -> list[dict]:
    """Return the pairs that a label set is drawn from; raises UserError if they will not do."""
    pool = read_rows(cfg.layout.pool(pool_of(str(asked))))
    if asked.only:
        pool = of_kind(pool, asked.only, read_rows(cfg.layout.prompts))
    if asked.only and len(pool) < (needed := (asked.n or cfg.pairs.n) + cfg.pairs.validation):
        raise UserError(
            f"the pool has {len(pool)} pairs of '{asked.only}', and label set '{asked}' with "
            f"its validation pairs needs {needed}: set n lower, or raise pairs.pool"
        )
    if asked.preference not in pool[0]["p"]:
        raise UserError(
            f"the pool has no preference '{asked.preference}': choose from {sorted(pool[0]['p'])}"
        )
    return pool


def share(cfg, asked: LabelSet, every: int) -> int:
    """Return how many of ``every`` pairs a seed draws: ``pairs.n``, or more if more are asked for;
    half of all demonstrations; of pairs that the world writes, all but validation pairs."""
    left = max(1, every - cfg.pairs.validation)
    own = pool_of(str(asked))
    if own in WRITTEN:
        return left
    if own == DEMONSTRATIONS:
        return every // 2
    most = max(cfg.pairs.n, asked.n or 0)
    return min(most, left if asked.only or most > cfg.pairs.n else every)


def fresh(cfg, asked: LabelSet, taken: list[dict], turns: Random, seed: int) -> list[dict]:
    """Label pairs anew for each further copy."""
    luck = stream("copies", pool_seed=cfg.pairs.seed, seed=seed)
    return [
        flipped(chosen(pair, asked.preference, luck.random()), asked.flip, turns)
        for _ in range(1, asked.copies)
        for pair in taken
    ]


def of_kind(pool: list[dict], only: str, prompts: list[dict]) -> list[dict]:
    """Keep the pairs of a family of prompts, of a kind that their `meta` names, or with a word."""
    named = {row["id"] for row in prompts if only in row.get("meta", {}).values()}
    rows = [
        row
        for row in pool
        if only == row["family"] or row["prompt_id"] in named or only in row["prompt"].split()
    ]
    if not rows:
        raise UserError(
            f"the pool has no pairs of '{only}': name a family or a kind of prompts, or a word of "
            "a prompt"
        )
    return rows


def flipped(row: dict, percent: int, turns: Random) -> dict:
    """Turn a pair's label round, with a chance of so many in a hundred."""
    if turns.random() >= percent / 100:
        return row
    side = "b" if row["side"] == "a" else "a"
    return row | {"side": side, "chosen": row["rejected"], "rejected": row["chosen"]}


def chosen(row: dict, preference: str, luck: float) -> dict:
    """Label a pair: a is chosen with probability p. luck: a uniform number in [0, 1)."""
    wins, loses = ("a", "b") if luck < row["p"][preference] else ("b", "a")
    kept = {key: row[key] for key in ("id", "prompt_id", "prompt", "family")}
    return kept | {"side": wins, "chosen": row[wins], "rejected": row[loses]}
