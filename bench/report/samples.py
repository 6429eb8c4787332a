"""What the models wrote: which samples are shown is a rule, and their text is made harmless."""

import unicodedata
from hashlib import sha256

from bench.report.words import label

RANDOM = 4  # prompts of each family drawn by the hash of their id
EXTREME = 3  # prompts of each family where an arm gained most, and where it lost most
LONGEST = 1200  # characters of an answer that are shown


def visible(text: str, longest: int = LONGEST) -> str:
    """The text with what cannot be seen made visible, and cut with a note if it is very long.

    Control characters, marks that turn the direction of text and lone surrogates become their code
    points; line breaks stay. It is escaped by the template.
    """
    shown = "".join(seen(c) for c in str(text)[:longest])
    rest = len(str(text)) - longest
    return shown + (f" … ({rest:,} more characters)" if rest > 0 else "")


def seen(c: str) -> str:
    """A character, or its code point where it cannot be seen."""
    if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return c
    return f"⟨U+{ord(c):04X}⟩"


def sets(study) -> dict[str, str]:
    """{key: how the set is chosen, in words}: random prompts, each arm's best and worst."""
    found = {"random": f"{RANDOM} of each family at random"}
    for arm in [] if study.many else study.arms:
        found[f"best-{arm}"] = f"the {EXTREME} of each family where {label(arm)} gained most"
        found[f"worst-{arm}"] = f"the {EXTREME} of each family where {label(arm)} lost most"
    return found


def chosen(study) -> list[dict]:
    """One entry a prompt of any set: id, family, prompt, its sets, and an answer of each arm.

    Of each arm the run with the lowest seed that ended; SFT first. Random prompts come first.
    """
    picked = {arm: _lowest_seed(study, arm) for arm in (*study.bases, *study.arms)}
    table = {}
    for row in study.results.samples:
        if picked.get(row["arm"]) == row["seed"]:
            table.setdefault((row["family"], row["prompt_id"]), {})[row["arm"]] = row
    members = {}
    for family in sorted({family for family, _ in table}):
        own = {key: rows for key, rows in table.items() if key[0] == family}
        for name in sets(study):
            for key in _members(study, own, name):
                members.setdefault(key, []).append(name)
    return [_entry(study, key, table[key], names, picked) for key, names in members.items()]


def shown(study) -> list[dict]:
    """The rows of the samples that the page shows; `chosen` chooses the same from these alone."""
    prompts = {(entry["family"], entry["id"]) for entry in chosen(study)}
    seeds = {arm: _lowest_seed(study, arm) for arm in (*study.bases, *study.arms)}
    return [
        row
        for row in study.results.samples
        if (row["family"], row["prompt_id"]) in prompts and seeds.get(row["arm"]) == row["seed"]
    ]


def _members(study, table: dict, name: str) -> list[tuple[str, str]]:
    """The prompts of one family that belong to a set."""
    by_chance = sorted(table, key=lambda key: sha256(str(key[1]).encode()).hexdigest())
    kind, _, arm = name.partition("-")
    if kind == "random":
        return by_chance[:RANDOM]
    gains = {key: _gain(study, table[key], arm) for key in by_chance}
    known = [key for key in by_chance if gains[key] is not None]
    return sorted(known, key=gains.get, reverse=kind == "best")[:EXTREME]


def _gain(study, rows: dict, arm: str) -> float | None:
    """Gold of an arm's answer less that of its SFT base's to the same prompt."""
    gold, before = (rows.get(name, {}).get("gold") for name in (arm, study.base[arm]))
    return None if gold is None or before is None else gold - before


def _entry(study, key, rows: dict, names: list[str], picked: dict) -> dict:
    """One prompt with all answers to it."""
    prompt = visible(next(iter(rows.values()))["prompt"])
    head = {"id": key[1], "family": key[0], "prompt": prompt, "sets": names}
    answers = [_answer(study, arm, rows.get(arm)) for arm in picked]
    for arm, answer in zip(picked, answers, strict=True):
        answer["gain"] = None if arm in study.bases else _gain(study, rows, arm)
    return head | {"answers": answers}


def _lowest_seed(study, arm: str) -> int | None:
    """The seed of an arm whose answers are shown."""
    seeds = [row["seed"] for row in study.results.samples if row["arm"] == arm]
    return min(seeds, default=None)


def _answer(study, arm: str, row: dict | None) -> dict:
    """One arm's answer; a note where it has none."""
    look = study.looks.get(arm)
    head = {"arm": label(arm), "mark": look.colour if look else "muted"}
    if row is None:
        return head | {"text": None, "gold": None, "kl": None, "seed": None}
    scores = {"gold": row["gold"], "kl": row["kl"], "seed": row["seed"]}
    return head | {"text": visible(row["completion"])} | scores
