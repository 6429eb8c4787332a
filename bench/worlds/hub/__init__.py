"""The hub world: demonstrations, labelled pairs and a reward model that others have published.

Any of them can be the user's own, as local files.

Preferences are the data set's own: its pairs are the pool from which each seed draws, and each
label is given, not drawn. PPO's prompts are those of the pairs. Validation and test prompts are of
the pairs' test split, or held out of the train split where that is all. Gold is a published reward
model, or a function of the user's, on which no method trains.
Nothing is truncated: what is longer than the settings allow is left out, and counted.

    python -m bench data --testbed zephyr-7b       # writes runs/zephyr-7b/data

Rows are read in the forms that the hub's data sets have (see ``exchange`` and ``preference_of``).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from pydantic import Field

from bench.core import streams
from bench.core.files import write_manifest, write_rows
from bench.core.hub import Rows, load_rows
from bench.core.schema import Section, UserError
from bench.worlds.bradley_terry import on_policy
from bench.worlds.hub.gold import ASSISTANT, Gold, GoldModel, keep

__all__ = ["GIVEN_PAIRS", "TASKS", "TUNED_FAMILIES", "Gold", "Settings", "preference", "write"]

FAMILY = "chat"
TUNED_FAMILIES = (FAMILY,)
GIVEN_PAIRS = True
TASKS = ["preference"]


class Demonstrations(Rows):
    """The data set of demonstrations."""

    split: str = "train"
    """Split that holds the demonstrations."""


class Pairs(Rows):
    """The data set of preference pairs."""

    train: str = "train"
    """Split that the pool is taken from."""
    test: str | None = None
    """Split that validation and test prompts are taken from; null: a fifth of `train`, or what the
    pool leaves of it, is held out."""


class Settings(Section):
    """Which data sets, which gold, and how many rows of each."""

    seed: int = 0
    """Seed of the order in which rows are taken."""
    sft: Demonstrations | None = None
    """Demonstrations, from which SFT learns; null: the preferred answers of the pool."""
    pairs: Pairs
    gold: GoldModel
    demonstrations: int = Field(10_000, ge=1)
    """Most demonstrations that are taken."""
    pool: int = Field(10_000, ge=2)
    """Most pairs that are taken, shared by all seeds."""
    validation: int = Field(200, ge=1)
    """Most prompts of the training curves."""
    test: int = Field(500, ge=1)
    """Most prompts of the evaluation."""
    preference: int = Field(500, ge=1)
    """Most test pairs that become documents of the lm-eval task `preference`."""
    max_prompt: int = Field(1500, ge=1)
    """Characters of the longest prompt; rows with a longer one are left out."""
    max_answer: int = Field(2500, ge=1)
    """Characters of the longest answer; rows with a longer one are left out."""


def write(settings: Settings, out: Path) -> None:
    """The `data` step: every file of the world into `out`, the manifest last."""
    out, left_out = Path(out), {}
    (out / "tasks").mkdir(parents=True, exist_ok=True)
    train, test = divided(settings, left_out)
    files = {
        "sft.jsonl": demonstrations(settings, train, test, left_out),
        "prompts.jsonl": prompt_rows(settings, train, test),
        "pool.jsonl": pool_rows(settings, train),
        "tasks/preference.jsonl": preference_rows(settings, test),
    }
    keep(settings.gold, out)
    write_files(files, settings, left_out, out)


def write_files(files: dict[str, list[dict]], settings: Settings, left_out: dict, out: Path):
    """Rows as JSON lines, and the manifest with their hashes and where they come from."""
    entries = {}
    for name, rows in files.items():
        if not rows:
            raise UserError(
                f"data: {name} would be empty; rows left out, and why: {left_out}; is it the form, "
                "or data.max_prompt, data.max_answer?"
            )
        entries[name] = write_rows(out / name, rows)
    sources = settings.model_dump(include={"sft", "pairs", "gold"})
    write_manifest(out, entries | {"sources": sources, "left_out": left_out})


def stream(settings: Settings, name: str) -> Random:
    """A random stream of its own for each purpose."""
    return streams.stream("hub", seed=settings.seed, name=name)


# --- the rows of the hub's data sets --------------------------------------------------------------


def exchange(row: dict) -> tuple[str, str] | None:
    """(prompt, answer) of a demonstration; None where the row holds none.

    ``messages`` (UltraChat): the first exchange. ``prompt`` and ``completion``: as they are. Else a
    row of pairs: the preferred answer.
    """
    if "messages" in row and "chosen" not in row:
        return first_exchange(row["messages"])
    if "completion" in row:
        return row["prompt"], row["completion"]
    pair = preference_of(row)
    return pair[:2] if pair else None


def first_exchange(messages: list[dict]) -> tuple[str, str] | None:
    """The first user's turn and the answer; None where a system message would be lost."""
    roles = [message["role"] for message in messages[:2]]
    return tuple(m["content"] for m in messages[:2]) if roles == ["user", "assistant"] else None


def preference_of(row: dict) -> tuple[str, str, str] | None:
    """(prompt, preferred answer, other answer) of a row of pairs; None where it holds none.

    Lists of messages (UltraFeedback): one exchange. ``prompt`` with two answers: as they are. Two
    dialogues (HH-RLHF): the prompt is all up to the last turn, as DPO's own code has it.
    """
    if isinstance(row["chosen"], list):
        return shared_prompt([messages_of(row[side]) for side in ("chosen", "rejected")])
    if "prompt" in row:
        return row["prompt"], row["chosen"], row["rejected"]
    return shared_prompt([split_dialogue(row[side]) for side in ("chosen", "rejected")])


def messages_of(messages: list[dict]) -> tuple[str, str] | None:
    """As ``first_exchange``, of a list that holds nothing more."""
    return first_exchange(messages) if len(messages) == 2 else None


def split_dialogue(text: str) -> tuple[str, str] | None:
    """A dialogue up to and including its last 'Assistant:', and what follows."""
    prompt, found, answer = text.rpartition(ASSISTANT)
    return (prompt + found, answer) if found else None


def shared_prompt(sides: list[tuple[str, str] | None]) -> tuple[str, str, str] | None:
    """Prompt and both answers, where the two sides share the prompt."""
    if None in sides or sides[0][0] != sides[1][0]:
        return None
    return (*sides[0], sides[1][1])


def check_columns(source: Rows, found: set[str]) -> None:
    """Refuse a data set without the columns that ``exchange`` or ``preference_of`` reads."""
    forms = [{"chosen", "rejected"}]
    forms += [{"messages"}, {"prompt", "completion"}] if isinstance(source, Demonstrations) else []
    if not any(form <= found for form in forms):
        wanted = "; or ".join(", ".join(sorted(form)) for form in forms)
        raise UserError(f"{source} has the columns {', '.join(sorted(found))}; needed: {wanted}")


# --- choosing -------------------------------------------------------------------------------------


def shuffled(settings: Settings, source: Rows, split: str) -> Iterator[dict]:
    """The rows of a split in an order of its own."""
    rows = load_rows(source, split)
    check_columns(source, set(rows.column_names))
    order = list(range(len(rows)))
    stream(settings, f"order {split}").shuffle(order)
    return (rows[i] for i in order)


def fitting(settings: Settings, rows: Iterator[dict], read: Callable, why: dict) -> Iterator[tuple]:
    """Prompt and answers of the rows that can be used; ``why`` counts the others."""
    for row in rows:
        texts = read(row)
        if texts is None or not all(isinstance(text, str) for text in texts):
            why["form"] = why.get("form", 0) + 1
            continue
        prompt, *answers = texts
        answers = [answer.strip() for answer in answers]
        if not all(answers) or not prompt.strip() or len(set(answers)) < len(answers):
            why["empty or equal"] = why.get("empty or equal", 0) + 1
        elif len(prompt) > settings.max_prompt or max(map(len, answers)) > settings.max_answer:
            why["length"] = why.get("length", 0) + 1
        else:
            yield (prompt, *answers)


def taken(settings: Settings, split: str, n: int, left_out: dict, known=frozenset()) -> list[dict]:
    """At most ``n`` pairs of a split, one a prompt, none on a prompt of ``known``."""
    why = left_out.setdefault(split, {})
    found, seen = [], set(known)
    rows = shuffled(settings, settings.pairs, split)
    for prompt, chosen, rejected in fitting(settings, rows, preference_of, why):
        if prompt in seen:
            why["prompt again"] = why.get("prompt again", 0) + 1
            continue
        seen.add(prompt)
        found.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
        if len(found) == n:
            break
    return found


def divided(settings: Settings, left_out: dict) -> tuple[list[dict], list[dict]]:
    """(train, test) pairs, which share no prompt."""
    need = max(settings.validation + settings.test, settings.preference)
    if settings.pairs.test is None:
        found = taken(settings, settings.pairs.train, settings.pool + need, left_out)
        cut = min(need, max(len(found) // 5, len(found) - settings.pool))
        return found[cut:], found[:cut]
    train = taken(settings, settings.pairs.train, settings.pool, left_out)
    known = {row["prompt"] for row in train}
    return train, taken(settings, settings.pairs.test, need, left_out, known)


def demonstrations(settings: Settings, train: list, test: list, left_out: dict) -> list[dict]:
    """Rows of sft.jsonl; none on a held-out prompt."""
    held_out, rows = {row["prompt"] for row in test}, []
    for prompt, answer in shown(settings, train, left_out):
        if prompt not in held_out:
            rows.append({"prompt": prompt, "completion": answer, "family": FAMILY})
        if len(rows) == settings.demonstrations:
            break
    return rows


def shown(settings: Settings, train: list[dict], left_out: dict) -> Iterator[tuple[str, str]]:
    """(prompt, answer) of the demonstrations; without a data set of them, what the pool prefers."""
    if settings.sft is None:
        return ((row["prompt"], row["chosen"]) for row in train)
    source = shuffled(settings, settings.sft, settings.sft.split)
    return fitting(settings, source, exchange, left_out.setdefault("sft", {}))


def prompt_rows(settings: Settings, train: list[dict], test: list[dict]) -> list[dict]:
    """Rows of prompts.jsonl: the pool's prompts first, in the pool's order."""
    cut = settings.validation * len(test) // (settings.validation + settings.test)
    cut = min(settings.validation, cut)
    splits = {
        "train": train,
        "validation": test[:cut],
        "test": test[cut : cut + settings.test],
    }
    rows = [
        {"prompt": row["prompt"], "family": FAMILY, "split": split, "meta": {}}
        for split, members in splits.items()
        for row in members
    ]
    return [{"id": f"p{i:06d}", **row} for i, row in enumerate(rows)]


def pool_rows(settings: Settings, train: list[dict]) -> list[dict]:
    """Rows of pool.jsonl; which side is preferred is dealt, so that its place tells nothing."""
    rng, rows = stream(settings, "sides"), []
    for i, pair in enumerate(train):
        first = rng.random() < 0.5
        a, b = ("chosen", "rejected") if first else ("rejected", "chosen")
        head = {"id": i, "prompt_id": f"p{i:06d}", "prompt": pair["prompt"], "family": FAMILY}
        rows.append(head | {"a": pair[a], "b": pair[b], "p": {"gold": float(first)}})
    return rows


def preference(prompts, a, b, gold_a, gold_b, settings: Settings) -> list[dict]:
    """Chance that a is preferred to b, for pairs sampled from the SFT base: on gold alone."""
    return on_policy(gold_a, gold_b, settings.gold.scale)


def preference_rows(settings: Settings, test: list[dict]) -> list[dict]:
    """Documents of the lm-eval task: a test pair; ``label`` is the preferred answer."""
    rng, rows = stream(settings, "preference"), []
    for pair in test[: settings.preference]:
        label = rng.randrange(2)
        choices = [pair["chosen"], pair["rejected"]]
        rows.append(
            {
                "prompt": pair["prompt"],
                "choices": choices[::-1] if label else choices,
                "label": label,
            }
        )
    return rows
