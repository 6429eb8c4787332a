"""The hub world: demonstrations, labelled pairs and a reward model that others have published.

Any of them may be a local file of the user's instead.

The data set's pairs are the pool that each seed draws from, with the labels that they come with.
PPO's prompts are those of the pairs. Validation and test prompts come from the pairs' test split,
or from a part of the train split that is held out. Gold is a published reward model, or a function
of the user's; no method trains on it.
No text is truncated: rows longer than the settings allow are left out, and counted.

    python -m bench data --testbed zephyr-7b       # writes runs/zephyr-7b/data

Rows may have any of the forms that the hub's data sets use (see ``exchange``, ``preference_of``).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from pydantic import Field

from bench.core import streams
from bench.core.files import write_rows
from bench.core.hub import Rows, load_rows
from bench.core.records import write_manifest
from bench.core.schema import Section, UserError
from bench.worlds.bradley_terry import on_policy
from bench.worlds.hub.gold import ASSISTANT, Gold, GoldModel, keep

__all__ = ["GIVEN_PAIRS", "TASKS", "TUNED_FAMILIES", "WRITTEN", "Gold", "Settings", "preference",
           "write"]  # fmt: skip

FAMILY = "chat"
TUNED_FAMILIES = (FAMILY,)
GIVEN_PAIRS = True
WRITTEN = ()
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
    """Split that validation and test prompts are taken from; null: a fifth of `train` is held out,
    or more if the pool leaves more."""


class Settings(Section):
    """Which data sets, which gold, and how many rows of each."""

    seed: int = 0
    """Seed of the order in which rows are taken."""
    sft: Demonstrations | None = None
    """Demonstrations, which SFT learns from; null: the preferred answers of the pool."""
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
    """Write every file of the world to `out`, the manifest last (the `data` step).

    Raises UserError if a data set cannot be read, or leaves a file without rows.
    """
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
    """Write rows as JSON lines, then the manifest with their hashes and sources."""
    entries = {}
    for name, rows in files.items():
        if not rows:
            raise UserError(
                f"data: {name} would be empty; rows left out, by reason: {left_out}: check the "
                "rows' form, or raise data.max_prompt and data.max_answer"
            )
        entries[name] = write_rows(out / name, rows)
    sources = settings.model_dump(include={"sft", "pairs", "gold"})
    write_manifest(out, entries, sources=sources, left_out=left_out)


def stream(settings: Settings, name: str) -> Random:
    """Return the random stream of a purpose; each has its own."""
    return streams.stream("hub", seed=settings.seed, name=name)


# --- the rows of the hub's data sets --------------------------------------------------------------


def exchange(row: dict) -> tuple[str, str] | None:
    """Read (prompt, answer) from a row of demonstrations; None if it has another form.

    A row with ``messages`` (UltraChat) gives its first exchange; one with ``prompt`` and
    ``completion`` gives these; a row of pairs gives its preferred answer.
    """
    if "messages" in row and "chosen" not in row:
        return first_exchange(row["messages"])
    if "completion" in row:
        return row["prompt"], row["completion"]
    pair = preference_of(row)
    return pair[:2] if pair else None


def first_exchange(messages: list[dict]) -> tuple[str, str] | None:
    """Return the first user turn and its answer; None if a system message comes before them."""
    roles = [message["role"] for message in messages[:2]]
    return tuple(m["content"] for m in messages[:2]) if roles == ["user", "assistant"] else None


def preference_of(row: dict) -> tuple[str, str, str] | None:
    """Read (prompt, preferred answer, other answer) from a row of pairs; None in any other form.

    Lists of messages (UltraFeedback) must be one exchange each. ``prompt`` with two answers is
    taken as it is. Of two dialogues (HH-RLHF) the prompt is all but the last turn, as in the code
    of DPO's authors.
    """
    if isinstance(row["chosen"], list):
        return shared_prompt([messages_of(row[side]) for side in ("chosen", "rejected")])
    if "prompt" in row:
        return row["prompt"], row["chosen"], row["rejected"]
    return shared_prompt([split_dialogue(row[side]) for side in ("chosen", "rejected")])


def messages_of(messages: list[dict]) -> tuple[str, str] | None:
    """Return the user turn and its answer; None if the list holds anything else."""
    return first_exchange(messages) if len(messages) == 2 else None


def split_dialogue(text: str) -> tuple[str, str] | None:
    """Split a dialogue after its last 'Assistant:'; None if it has none."""
    prompt, found, answer = text.rpartition(ASSISTANT)
    return (prompt + found, answer) if found else None


def shared_prompt(sides: list[tuple[str, str] | None]) -> tuple[str, str, str] | None:
    """Return prompt and both answers; None if the two sides differ in their prompts."""
    if None in sides or sides[0][0] != sides[1][0]:
        return None
    return (*sides[0], sides[1][1])


def check_columns(source: Rows, found: set[str]) -> None:
    """Raise UserError if a data set lacks the columns that ``exchange``, ``preference_of`` read."""
    forms = [{"chosen", "rejected"}]
    forms += [{"messages"}, {"prompt", "completion"}] if isinstance(source, Demonstrations) else []
    if not any(form <= found for form in forms):
        wanted = "; or ".join(", ".join(sorted(form)) for form in forms)
        raise UserError(f"{source} has the columns {', '.join(sorted(found))}; needed: {wanted}")


# --- the choice of rows ---------------------------------------------------------------------------


def shuffled(settings: Settings, source: Rows, split: str) -> Iterator[dict]:
    """Shuffle the rows of a split, with a random stream of its own."""
    rows = load_rows(source, split)
    check_columns(source, set(rows.column_names))
    order = list(range(len(rows)))
    stream(settings, f"order {split}").shuffle(order)
    return (rows[i] for i in order)


def fitting(settings: Settings, rows: Iterator[dict], read: Callable, why: dict) -> Iterator[tuple]:
    """Yield prompt and answers of the rows that can be used; count the others in ``why``.

    read: ``exchange`` or ``preference_of``.
    """
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
    """Take at most ``n`` pairs of a split: one per prompt, and none on a prompt of ``known``."""
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
    """Return (train, test) pairs, which share no prompt."""
    need = max(settings.validation + settings.test, settings.preference)
    if settings.pairs.test is None:
        found = taken(settings, settings.pairs.train, settings.pool + need, left_out)
        cut = min(need, max(len(found) // 5, len(found) - settings.pool))
        return found[cut:], found[:cut]
    train = taken(settings, settings.pairs.train, settings.pool, left_out)
    known = {row["prompt"] for row in train}
    return train, taken(settings, settings.pairs.test, need, left_out, known)


def demonstrations(settings: Settings, train: list, test: list, left_out: dict) -> list[dict]:
    """Make the rows of sft.jsonl, none of them on a held-out prompt."""
    held_out, rows = {row["prompt"] for row in test}, []
    for prompt, answer in shown(settings, train, left_out):
        if prompt not in held_out:
            rows.append({"prompt": prompt, "completion": answer, "family": FAMILY})
        if len(rows) == settings.demonstrations:
            break
    return rows


def shown(settings: Settings, train: list[dict], left_out: dict) -> Iterator[tuple[str, str]]:
    """Return (prompt, answer) of each demonstration; without any, of each preferred answer."""
    if settings.sft is None:
        return ((row["prompt"], row["chosen"]) for row in train)
    source = shuffled(settings, settings.sft, settings.sft.split)
    return fitting(settings, source, exchange, left_out.setdefault("sft", {}))


def prompt_rows(settings: Settings, train: list[dict], test: list[dict]) -> list[dict]:
    """Make the rows of prompts.jsonl: the pool's prompts first, in the pool's order."""
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
    """Make the rows of pool.jsonl; the preferred answer is a or b at random."""
    rng, rows = stream(settings, "sides"), []
    for i, pair in enumerate(train):
        first = rng.random() < 0.5
        a, b = ("chosen", "rejected") if first else ("rejected", "chosen")
        head = {"id": i, "prompt_id": f"p{i:06d}", "prompt": pair["prompt"], "family": FAMILY}
        rows.append(head | {"a": pair[a], "b": pair[b], "p": {"gold": float(first)}})
    return rows


def preference(prompts, a, b, gold_a, gold_b, settings: Settings) -> list[dict]:
    """Return the chance that a is preferred to b, from gold, for pairs of SFT-base samples."""
    return on_policy(gold_a, gold_b, settings.gold.scale)


def preference_rows(settings: Settings, test: list[dict]) -> list[dict]:
    """Make the lm-eval task's documents from test pairs; ``label`` is the preferred answer."""
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
