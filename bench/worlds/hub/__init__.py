"""The hub world: demonstrations, labelled pairs and a reward model that others have published.

Any of them may be a local file of the user's instead.

The data set's pairs are the pool that each seed draws from, with the labels that they come with.
PPO's prompts are those of the pairs, or of `data.prompts`. Validation and test prompts come from
the pairs' test split, or from a part of the train split that is held out. Gold is a published
reward model, or a function of the user's; no method trains on it.
No text is truncated: rows longer than the settings allow are left out, counted, and an error if
they are many.

    python -m bench data --testbed zephyr-7b       # writes runs/zephyr-7b/data

`bench.worlds.hub.rows` lists the forms that rows may have.
"""

import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Literal

from pydantic import Field

from bench.core import streams
from bench.core.files import write_rows
from bench.core.hub import Rows, Source, load_rows, reaching
from bench.core.names import ALONE_SPLIT
from bench.core.progress import say
from bench.core.records import write_manifest
from bench.core.schema import Section, Seed, UserError
from bench.core.turns import shown as readable
from bench.core.turns import turns
from bench.worlds.bradley_terry import on_policy
from bench.worlds.hub.gold import Gold as Gold
from bench.worlds.hub.gold import GoldModel, keep
from bench.worlds.hub.rows import ALONE, FORMS, SHOWN, Unfit, alone, exchange, paired, preference_of

FAMILY = "chat"
TUNED_FAMILIES = (FAMILY,)
GIVEN_PAIRS = True
WRITTEN = ()
PREFERENCES = ("gold",)
TASKS = ["preference"]
AGAIN = "a prompt again"  # a row is left out, but nothing is wrong with it


class Texts(Rows):
    """A data set of texts, not all of which may be of use."""

    left_out: float = Field(0.1, ge=0, le=1)
    """Largest share of rows that may be left out as unfit or too long."""


class Demonstrations(Texts):
    """The data set of demonstrations."""

    split: str = "train"
    """Split that holds the demonstrations."""
    exchange: Literal["first", "last"] = "last"
    """Which exchange of a conversation is learnt: the last, after all others, or the first."""


class Pairs(Texts):
    """The data set of preference pairs."""

    train: str = "train"
    """Split that the pool is taken from."""
    test: str | None = None
    """Split that validation and test prompts are taken from; null: a fifth of `train` is held out,
    or more if the pool leaves more."""


class Prompts(Texts):
    """A data set of prompts alone."""

    split: str = "train"
    """Split that holds the prompts."""


class Settings(Section):
    """Which data sets, which gold, and how many rows of each."""

    seed: Seed = 0
    """Seed of the order in which rows are taken."""
    sft: Demonstrations | None = None
    """Demonstrations, which SFT learns from; null: the preferred answers of the pool."""
    pairs: Pairs
    prompts: Prompts | None = None
    """Prompts that methods which sample answers ask, as many for each seed as it has pairs; null:
    those of its pairs."""
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
    """Characters (or tokens) of the longest prompt; rows with a longer one are left out."""
    max_answer: int = Field(2500, ge=1)
    """Characters (or tokens) of the longest answer; rows with a longer one are left out."""
    tokenizer: Source | None = None
    """Tokenizer in whose tokens `max_prompt` and `max_answer` count; null: in characters."""


def write(settings: Settings, out: Path) -> None:
    """Write every file of the world to `out`, the manifest last (the `data` step).

    Raises UserError if a data set cannot be read, leaves a file without rows, or has too many rows
    that cannot be used.
    """
    out, counted = Path(out), Counted()
    (out / "tasks").mkdir(parents=True, exist_ok=True)
    train, test = divided(settings, counted)
    files = {
        "sft.jsonl": demonstrations(settings, train, test, counted),
        "prompts.jsonl": prompt_rows(settings, train, test, asked_alone(settings, test, counted)),
        "pool.jsonl": pool_rows(settings, train),
        "tasks/preference.jsonl": preference_rows(settings, test),
    }
    counted.report()
    keep(settings.gold, out)
    write_files(files, settings, counted.why, out)


def write_files(files: dict[str, list[dict]], settings: Settings, left_out: dict, out: Path):
    """Write rows as JSON lines, then the manifest with their hashes and sources."""
    entries = {}
    for name, rows in files.items():
        if not rows:
            raise UserError(
                f"data: {name} would be empty: too few rows can be used, since training, "
                "validation and test each need some: add rows"
            )
        entries[name] = write_rows(out / name, rows)
    sources = settings.model_dump(include={"sft", "pairs", "prompts", "gold"})
    write_manifest(out, entries, sources=sources, left_out=left_out)


class Counted:
    """Counts the rows of each data set that were used, and those left out, by reason."""

    def __init__(self):
        self.allowed: dict[str, tuple[str, float]] = {}  # split: key of its data set, its share
        self.used: dict[str, int] = {}
        self.why: dict[str, dict[str, dict[str, int]]] = {}  # split: {reason: rows, first}

    def begin(self, name: str, key: str, source: Texts) -> Callable:
        """Begin to count a split of the data set `key`; returns the function that leaves a row of
        it out."""
        self.allowed[name] = key, source.left_out
        return partial(self.leave, name)

    def use(self, split: str, rows: int = 1) -> None:
        """Count rows that are used."""
        self.used[split] = self.used.get(split, 0) + rows

    def leave(self, split: str, number: int, reason: str) -> None:
        """Count a row that is left out."""
        found = self.why.setdefault(split, {}).setdefault(reason, {"rows": 0, "first": number})
        found["rows"] += 1
        found["first"] = min(found["first"], number)

    def report(self) -> None:
        """Say what was left out; raises UserError if that is a larger share than allowed."""
        for split, reasons in self.why.items():
            rows = sum(found["rows"] for found in reasons.values())
            seen = rows + self.used.get(split, 0)
            listed = "; ".join(
                f"{found['rows']:,} {reason} (first: row {found['first'] + 1:,})"
                for reason, found in reasons.items()
            )
            say("data", f"{split}: {rows:,} of {seen:,} rows left out: {listed}")
            unfit = sum(n["rows"] for reason, n in reasons.items() if reason != AGAIN)
            key, share = self.allowed[split]
            if unfit > share * seen:
                raise UserError(
                    f"data: {unfit:,} of {seen:,} rows of {split} cannot be used: {listed}; mend "
                    f"them, raise data.max_prompt or data.max_answer, or set {key}.left_out "
                    f"to {unfit / seen + 0.005:.2f}"
                )


def stream(settings: Settings, name: str) -> Random:
    """Return the random stream of a purpose; each has its own."""
    return streams.stream("hub", seed=settings.seed, name=name)


# --- the choice of rows ---------------------------------------------------------------------------


def check_columns(source: Rows, found: set[str]) -> None:
    """Raise UserError if a data set lacks the columns of every form that can be read."""
    forms = ALONE if isinstance(source, Prompts) else FORMS
    forms = forms + (SHOWN if isinstance(source, Demonstrations) else [])
    if not any(form <= found for form in forms):
        wanted = "; or ".join(", ".join(sorted(form)) for form in forms)
        raise UserError(f"{source} has the columns {', '.join(sorted(found))}; needed: {wanted}")


def shuffled(settings: Settings, source: Rows, split: str) -> Iterator[tuple[int, dict]]:
    """Shuffle the rows of a split, each with its number, with a random stream of its own."""
    rows = load_rows(source, split)
    check_columns(source, set(rows.column_names))
    order = list(range(len(rows)))
    stream(settings, f"order {split}").shuffle(order)
    return ((i, rows[i]) for i in order)


def fitting(settings: Settings, rows, read: Callable, leave: Callable) -> Iterator[tuple]:
    """Yield the number, prompt and answers of the rows that can be used.

    read: ``exchange``, ``preference_of`` or ``alone``; leave: called with the number of any other
    row, and the reason.
    """
    size = length(settings)
    for number, row in rows:
        try:
            prompt, *answers = read(row)
        except Unfit as reason:
            leave(number, str(reason))
            continue
        answers = [answer.strip() for answer in answers]
        if not all(map(is_unicode, (prompt, *answers))):
            leave(number, "a text that is no valid Unicode")
        elif not all(answers) or not readable(prompt).strip():
            leave(number, "an empty text")
        elif len(set(answers)) < len(answers):
            leave(number, "two equal answers")
        elif size(readable(prompt)) > settings.max_prompt:
            leave(number, "a prompt that is too long")
        elif max(map(size, answers), default=0) > settings.max_answer:
            leave(number, "an answer that is too long")
        else:
            yield (number, prompt, *answers)


def is_unicode(text: str) -> bool:
    """Tell whether a text can be written as UTF-8, unlike half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def length(settings: Settings) -> Callable[[str], int]:
    """Return the function that measures a text, in characters or in tokens."""
    if settings.tokenizer is None:
        return len
    from transformers import AutoTokenizer

    with reaching(settings.tokenizer):
        found = AutoTokenizer.from_pretrained(settings.tokenizer.id, **settings.tokenizer.where)
    return lambda text: len(found.encode(text, add_special_tokens=False))


def same(prompt: str) -> str:
    """Return what two prompts share that differ only in case, blanks, the form of letters or their
    system message."""
    found = turns(prompt)
    said = [turn["content"] for turn in found if turn["role"] != "system" or len(found) == 1]
    return " ".join(unicodedata.normalize("NFKC", "\n".join(said)).casefold().split())


def taken(settings: Settings, split: str, n: int, counted: Counted, known=frozenset()):
    """Take at most ``n`` pairs of a split: one per prompt, and none on a prompt of ``known``."""
    found = []
    leave = counted.begin(split, "data.pairs", settings.pairs)
    rows = shuffled(settings, settings.pairs, split)
    first = next(rows, None)
    rows = chain([first] if first else [], rows)
    each = 1
    if first and "chosen" not in first[1]:
        rows, each = paired(rows, leave), 2  # rows of the data set that make a pair
    fit = fitting(settings, rows, preference_of, leave)
    for prompt, chosen, rejected in islice(unseen(fit, set(known), leave), n):
        counted.use(split, each)
        found.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    return found


def unseen(rows: Iterator[tuple], seen: set[str], leave: Callable) -> Iterator[tuple]:
    """Yield prompt and answers of rows of ``fitting`` whose prompt is not in ``seen``, each prompt
    once; leave: called with the number of any other row, and the reason."""
    for number, prompt, *answers in rows:
        if (plain := same(prompt)) in seen:
            leave(number, AGAIN)
            continue
        seen.add(plain)
        yield (prompt, *answers)


def divided(settings: Settings, counted: Counted) -> tuple[list[dict], list[dict]]:
    """Return (train, test) pairs, which share no prompt."""
    need = max(settings.validation + settings.test, settings.preference)
    if settings.pairs.test is None:
        found = taken(settings, settings.pairs.train, settings.pool + need, counted)
        cut = min(need, max(len(found) // 5, len(found) - settings.pool))
        return found[cut:], found[:cut]
    train = taken(settings, settings.pairs.train, settings.pool, counted)
    known = {same(row["prompt"]) for row in train}
    return train, taken(settings, settings.pairs.test, need, counted, known)


def demonstrations(settings: Settings, train: list, test: list, counted: Counted) -> list[dict]:
    """Make the rows of sft.jsonl, none of them on a held-out prompt."""
    held_out, rows = {same(row["prompt"]) for row in test}, []
    for prompt, answer in shown(settings, train, counted):
        if same(prompt) not in held_out:
            rows.append({"prompt": prompt, "completion": answer, "family": FAMILY})
        if len(rows) == settings.demonstrations:
            break
    return rows


def shown(settings: Settings, train: list[dict], counted: Counted) -> Iterator[tuple[str, str]]:
    """Yield (prompt, answer) of each demonstration; without any, of each preferred answer."""
    if settings.sft is None:
        yield from ((row["prompt"], row["chosen"]) for row in train)
        return
    name = f"sft {settings.sft.split}"
    source = shuffled(settings, settings.sft, settings.sft.split)
    read = partial(exchange, first=settings.sft.exchange == "first")
    leave = counted.begin(name, "data.sft", settings.sft)
    for _, *texts in fitting(settings, source, read, leave):
        counted.use(name)
        yield tuple(texts)


def asked_alone(settings: Settings, test: list[dict], counted: Counted) -> list[dict]:
    """Take the prompts that have no pair, each once and none that is held out, as many at most as
    the pool has pairs."""
    if settings.prompts is None:
        return []
    name = f"prompts {settings.prompts.split}"
    leave = counted.begin(name, "data.prompts", settings.prompts)
    rows = shuffled(settings, settings.prompts, settings.prompts.split)
    held_out = {same(row["prompt"]) for row in test}
    fit = unseen(fitting(settings, rows, alone, leave), held_out, leave)
    found = [{"prompt": prompt} for (prompt,) in islice(fit, settings.pool)]
    counted.use(name, len(found))
    if not found:
        raise UserError(f"data: {settings.prompts} has no prompt that is not held out")
    return found


def prompt_rows(settings: Settings, train: list[dict], test: list[dict], alone=()) -> list[dict]:
    """Make the rows of prompts.jsonl: the pool's prompts first, in the pool's order.

    alone: prompts without a pair.
    """
    cut = settings.validation * len(test) // (settings.validation + settings.test)
    cut = min(settings.validation, cut)
    splits = {
        "train": train,
        "validation": test[:cut],
        "test": test[cut : cut + settings.test],
        ALONE_SPLIT: alone,
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
