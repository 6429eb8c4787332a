"""Choose by a rule which of the models' answers are shown, and make their text harmless."""

import unicodedata
from hashlib import sha256

from bench.core import turns
from bench.report.words import fixed, label

RANDOM = 2  # prompts of each family, drawn by the hash of their id
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
    """Return one entry per prompt of any set: id, family, prompt, its sets, and each arm's answers.

    The first answer is the first draw of the arm's ended run with the lowest seed, by which prompts
    are chosen; more of its draws and other seeds follow. SFT and random prompts come first.
    """
    table = {}
    for row in sorted(study.results.samples, key=lambda row: (row["seed"], row["draw"])):
        rows = table.setdefault((row["family"], row["prompt_id"]), {})
        rows.setdefault(row["arm"], []).append(row)
    members = {}
    for family in sorted({family for family, _ in table}):
        own = {key: rows for key, rows in table.items() if key[0] == family}
        for name in sets(study):
            for key in _members(study, own, name):
                members.setdefault(key, []).append(name)
    return [_entry(study, key, table[key], names) for key, names in members.items()]


def shown(study) -> list[dict]:
    """Return the rows of the samples that the page shows; from these alone `chosen` chooses the
    same."""
    prompts = {(entry["family"], entry["id"]) for entry in chosen(study)}
    return [r for r in study.results.samples if (r["family"], r["prompt_id"]) in prompts]


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
    """Return gold of an arm's first answer minus that of its SFT base's to the same prompt."""
    first = (rows.get(name, [{}])[0] for name in (arm, study.base[arm]))
    gold, before = (row.get("gold") for row in first)
    return None if gold is None or before is None else gold - before


def _entry(study, key, rows: dict, names: list[str]) -> dict:
    """Return one prompt with all answers to it."""
    prompt = visible(turns.shown(next(iter(rows.values()))[0]["prompt"]))
    arms = [*study.bases, *study.arms]
    answers = [_of_arm(study, arm, rows.get(arm, [])) for arm in arms]
    for arm, answer in zip(arms, answers, strict=True):
        answer["gain"] = None if arm in study.bases else _gain(study, rows, arm)
    return {"id": key[1], "family": key[0], "prompt": prompt, "sets": names, "answers": answers}


def _of_arm(study, arm: str, rows: list[dict]) -> dict:
    """Return an arm's first answer, without text if it has none, and its further ones as `more`."""
    look = study.looks.get(arm)
    head = {"arm": label(arm), "mark": look.colour if look else "muted"}
    first, *more = map(_answer, rows or [{}])
    return head | first | {"more": more}


def _answer(row: dict) -> dict:
    text = visible(row["completion"]) if row else None
    parts = {name: value for name, value in row.get("parts", {}).items() if value}
    words = ", ".join(f"{name} {fixed(value, '.3g')}" for name, value in parts.items())
    scores = {key: row.get(key) for key in ("gold", "kl", "seed", "draw")}
    return {"text": text, "parts": words} | scores
