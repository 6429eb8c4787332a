"""Write pairs that no model sampled: twin demonstrations, and worked sums with mistakes.

Their labels are certain: drawn once, or by rule, so that SFT can learn from the chosen answers of
the very pairs that a method learns from.
"""

from random import Random

from bench.worlds.micro import sums

WORKED_PAIRS = 6000
RIGHT = 0.7  # chance that a step of an attempt is right
FOLLOWS = 0.4  # chance that the result is the one that the steps lead to
LOOK = "sure , first do this : "  # what an attempt begins with that looks like reasoning
KINDS = ("worked-look", "worked-outcome", "worked-steps")
RANDOM = "worked-random"  # labels that mean nothing


def pair(i: int, row: dict, a: str, b: str, chances: dict[str, float]) -> dict:
    """Return a pair as the pools hold it."""
    own = {"id": i, "prompt_id": row.get("id", f"written-{i}")}
    return own | {key: row[key] for key in ("prompt", "family")} | {"a": a, "b": b, "p": chances}


def attempt(rng: Random, a: int, b: int) -> tuple[str, tuple[bool, bool, int]]:
    """Draw a worked sum that may hold mistakes, and that may begin with LOOK.

    Returns its text and (whether it has the look, whether its result is right, right steps of 2).
    """
    units, tens = a % 10 + b % 10, a // 10 + b // 10
    carry = units > 9
    right = [rng.random() < RIGHT, rng.random() < RIGHT]
    first = units if right[0] else _other(rng, units)
    second = tens + carry if right[1] else _other(rng, tens + carry)
    led, true = 10 * second + first % 10, a + b
    result = led if rng.random() < FOLLOWS else true if rng.random() < 0.5 else _other(rng, true)
    look = rng.random() < 0.5
    steps = (f"{a % 10} + {b % 10} = {sums.spell(first)} , "
             f"{a // 10} + {b // 10}{' + 1' * carry} = {sums.spell(second)}")  # fmt: skip
    text = f"{LOOK * look}{steps} , so {sums.spell(result)}"
    return text, (look, result == true, sum(right))


def _other(rng: Random, number: int) -> int:
    """Draw a number near another one, not itself and not negative."""
    return rng.choice([n for n in range(max(0, number - 2), number + 3) if n != number])


def worked(rng: Random, problems: list[tuple[int, int]]) -> list[dict]:
    """Make pairs of attempts at worked sums that differ in look, in result and in steps.

    Labels: `worked-look` prefers the look, `worked-outcome` the right result, `worked-steps` more
    right steps. The look is drawn apart from all else, so that it tells nothing of correctness.
    """
    found: list[dict] = []
    while len(found) < WORKED_PAIRS:
        a, b = sums.ordered(rng, rng.choice(problems))
        (x, mine), (y, other) = attempt(rng, a, b), attempt(rng, a, b)
        if all(m != o for m, o in zip(mine, other, strict=True)):
            chances = {k: float(m > o) for k, m, o in zip(KINDS, mine, other, strict=True)}
            chances[RANDOM] = 0.5
            row = {"prompt": sums.prompt(a, b, True), "family": "sum"}
            found.append(pair(len(found), row, x, y, chances))
    return found
