"""Choose by a rule which of the models' answers are shown, and make their text harmless."""

import unicodedata
from hashlib import sha256

from bench.report.words import label

RANDOM = 4  # prompts of each family, drawn by the hash of their id
EXTREME = 3  # prompts of each family where an arm gained most, and where it lost most
LONGEST = 1200  # characters of an answer that are shown


def visible(text: str, longest: int = LONGEST) -> str:
    """Return the text with invisible characters made visible, and cut with a note if it is very
    long.

    Control characters, marks that change the direction of text and lone surrogates become their
    code points; line breaks stay. The template escapes the result.
    """
    shown = "".join(seen(c) for c in str(text)[:longest])
    rest = len(str(text)) - longest
    return shown + (f" … ({rest:,} more characters)" if rest > 0 else "")


def seen(c: str) -> str:
    """Return a character, or its code point if it is invisible."""
    if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return c
    return f"⟨U+{ord(c):04X}⟩"


def sets(study) -> dict[str, str]:
    """Return {key: how the set is chosen}: random prompts, and each arm's best and worst."""
    found = {"random": f"{RANDOM} of each family at random"}
    for arm in [] if study.many else study.arms:
        found[f"best-{arm}"] = f"the {EXTREME} of each family where {label(arm)} gained most"
        found[f"worst-{arm}"] = f"the {EXTREME} of each family where {label(arm)} lost most"
    return found


def chosen(study) -> list[dict]:
    """Return one entry per prompt of any set: id, family, prompt, its sets, and each arm's answer.

    The answer is of the arm's ended run with the lowest seed; SFT comes first, and random prompts
    come first.
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
    """Return the rows of the samples that the page shows; from these alone `chosen` chooses the
    same."""
    prompts = {(entry["family"], entry["id"]) for entry in chosen(study)}
    seeds = {arm: _lowest_seed(study, arm) for arm in (*study.bases, *study.arms)}
    return [
        row
        for row in study.results.samples
        if (row["family"], row["prompt_id"]) in prompts and seeds.get(row["arm"]) == row["seed"]
    ]


def _members(study, table: dict, name: str) -> list[tuple[str, str]]:
    """Return the prompts of one family that belong to a set."""
    by_chance = sorted(table, key=lambda key: sha256(str(key[1]).encode()).hexdigest())
    kind, _, arm = name.partition("-")
    if kind == "random":
        return by_chance[:RANDOM]
    gains = {key: _gain(study, table[key], arm) for key in by_chance}
    known = [key for key in by_chance if gains[key] is not None]
    return sorted(known, key=gains.get, reverse=kind == "best")[:EXTREME]


def _gain(study, rows: dict, arm: str) -> float | None:
    """Return gold of an arm's answer minus that of its SFT base's answer to the same prompt."""
    gold, before = (rows.get(name, {}).get("gold") for name in (arm, study.base[arm]))
    return None if gold is None or before is None else gold - before


def _entry(study, key, rows: dict, names: list[str], picked: dict) -> dict:
    """Return one prompt with all answers to it."""
    prompt = visible(next(iter(rows.values()))["prompt"])
    head = {"id": key[1], "family": key[0], "prompt": prompt, "sets": names}
    answers = [_answer(study, arm, rows.get(arm)) for arm in picked]
    for arm, answer in zip(picked, answers, strict=True):
        answer["gain"] = None if arm in study.bases else _gain(study, rows, arm)
    return head | {"answers": answers}


def _lowest_seed(study, arm: str) -> int | None:
    """Return the seed of an arm whose answers are shown."""
    seeds = [row["seed"] for row in study.results.samples if row["arm"] == arm]
    return min(seeds, default=None)


def _answer(study, arm: str, row: dict | None) -> dict:
    """Return one arm's answer; without text if it has none."""
    look = study.looks.get(arm)
    head = {"arm": label(arm), "mark": look.colour if look else "muted"}
    if row is None:
        return head | {"text": None, "gold": None, "kl": None, "seed": None}
    scores = {"gold": row["gold"], "kl": row["kl"], "seed": row["seed"]}
    return head | {"text": visible(row["completion"])} | scores
