"""Make the micro world's sums: two numbers of two digits, written digit by digit.

Easy sums have no carry, hard ones at least one. A worked sum shows its steps before the result.
"""

import re
from random import Random

DIGITS = list("0123456789")
WORDS = ["sum", "steps", "+", "=", "so"]


def spell(number: int) -> str:
    """Write a number digit by digit: 27 -> "2 7"."""
    return " ".join(str(number))


def tier(a: int, b: int) -> str:
    carries = a % 10 + b % 10 > 9 or a // 10 + b // 10 > 9
    return "hard" if carries else "easy"


def problems() -> dict[str, list[tuple[int, int]]]:
    """List all pairs with 10 <= a <= b <= 99 by tier; a pair stands for both of its orders."""
    pairs = [(a, b) for a in range(10, 100) for b in range(a, 100)]
    return {name: [p for p in pairs if tier(*p) == name] for name in ("easy", "hard")}


def prompt(a: int, b: int, worked: bool) -> str:
    return f"{'steps' if worked else 'sum'} {spell(a)} + {spell(b)} ="


def solution(a: int, b: int, worked: bool) -> str:
    """Write the answer to 27 + 48: "7 5", or worked "7 + 8 = 1 5 , 2 + 4 + 1 = 7 , so 7 5"."""
    if not worked:
        return spell(a + b)
    units = a % 10 + b % 10
    tens = a // 10 + b // 10 + units // 10
    carry = " + 1" if units > 9 else ""
    first = f"{a % 10} + {b % 10} = {spell(units)}"
    second = f"{a // 10} + {b // 10}{carry} = {spell(tens)}"
    return f"{first} , {second} , so {spell(a + b)}"


def result(text: str) -> str:
    """Return the number that a text gives, plain or after its steps and "so"; '' if it gives none,
    or several."""
    found = re.fullmatch(r"(?:[a-z ,]+: )?(?:[\d +=,]+ so )?(\d(?: \d)*)", text)
    return found[1].replace(" ", "") if found else ""


def ordered(rng: Random, pair: tuple[int, int]) -> tuple[int, int]:
    """Draw one of a pair's two orders."""
    return pair if rng.random() < 0.5 else pair[::-1]
