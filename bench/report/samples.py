"""What the models wrote: which samples are shown is a rule, and their text is made harmless."""

import unicodedata

from bench.report.style import SFT, label

PER_FAMILY = 3
LONGEST = 1200  # characters of an answer that are shown
RULE = (
    "Chosen by a rule, not by hand: the first {n} test prompts of each family by id; of each arm "
    "the run with the lowest seed that ended."
)


def visible(text: str, longest: int = LONGEST) -> str:
    """The text with what cannot be seen made visible, and cut with a note if it is very long.

    Control characters, marks that turn the direction of text and lone surrogates become their code
    points; line breaks stay. It is escaped by the template.
    """
    shown = "".join(_shown(c) for c in str(text)[:longest])
    rest = len(str(text)) - longest
    return shown + (f" … ({rest:,} more characters)" if rest > 0 else "")


def _shown(c: str) -> str:
    """One character of `visible`."""
    if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return c
    return f"⟨U+{ord(c):04X}⟩"


def chosen(study, per_family: int = PER_FAMILY) -> list[dict]:
    """One entry a prompt: id, family, prompt and an answer of each arm, SFT first."""
    picked = {arm: _lowest_seed(study, arm) for arm in (SFT, *study.arms)}
    table = {}
    for row in study.samples:
        if picked.get(row["arm"]) == row["seed"]:
            table.setdefault((row["family"], row["prompt_id"]), {})[row["arm"]] = row
    families, out = {}, []
    for (family, prompt_id), rows in sorted(table.items(), key=lambda item: str(item[0])):
        families[family] = families.get(family, 0) + 1
        if families[family] <= per_family:
            prompt = next(iter(rows.values()))["prompt"]
            head = {"id": prompt_id, "family": family, "prompt": visible(prompt)}
            out.append(head | {"answers": [_answer(study, arm, rows.get(arm)) for arm in picked]})
    return out


def _lowest_seed(study, arm: str) -> int | None:
    """The seed of an arm whose answers are shown."""
    seeds = [row["seed"] for row in study.samples if row["arm"] == arm]
    return min(seeds, default=None)


def _answer(study, arm: str, row: dict | None) -> dict:
    """One arm's answer; a note where it has none."""
    look = study.looks.get(arm)
    head = {"arm": label(arm), "mark": look.colour if look else "muted"}
    if row is None:
        return head | {"text": None, "gold": None, "kl": None}
    return head | {"text": visible(row["completion"]), "gold": row["gold"], "kl": row["kl"]}
