"""The strings that seed random streams are frozen: others draw other texts, pairs and prompts."""

import ast
from pathlib import Path
from random import Random

import pytest

from bench.core.streams import STREAMS, stream

BENCH = Path(__file__).parents[2] / "bench"
FROZEN = {
    "micro": "micro {seed} {name}",
    "reviews": "reviews {seed} {name}",
    "reviews-words": "{domain} {split}",
    "hub": "hub {seed} {name}",
    "pool": "pool {seed} {split}",
    "demonstrations": "demonstrations {seed}",
    "pairs": "pairs {pool_seed} {seed}",
    "flips": "flips {pool_seed} {seed}",
    "copies": "copies {pool_seed} {seed}",
    "asked": "asked {seed}",
    "ppo": "ppo {seed}",
    "tune": "tune {seed} {method}",
    "claims": "claims {number}",
    "rehearsal": "rehearsal {split}",
}

# What a world puts for {name}, as its code has it.
NAMES = {
    "micro": {
        "f'prompts {family} {stratum}'",
        "'demonstrations'",
        "'corpus'",
        "'grammar'",
        "'twins'",
        "'worked'",
    },
    "reviews": {
        "f'documents {domain}'",
        "f'words {domain}'",
        "'demonstrations'",
        "f'pool {domain}'",
        "f'raters {domain}'",
        "'order'",
        "'news'",
    },
    "hub": {"f'order {split}'", "'sides'", "'preference'"},
}


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def test_the_strings_are_those_that_every_result_so_far_was_made_with():
    assert STREAMS == FROZEN


def test_a_stream_is_its_string_filled_in():
    assert stream("pairs", pool_seed=0, seed=3).random() == Random("pairs 0 3").random()


@pytest.mark.parametrize("world", NAMES)
def test_so_are_the_names_that_a_world_gives_its_streams(world):
    asked = [c for c in calls(BENCH / "worlds" / world / "__init__.py") if c.args[1:]]
    found = {ast.unparse(call.args[1]) for call in asked if ast.unparse(call.func) == "stream"}
    assert found == NAMES[world]


@pytest.mark.parametrize("path", sorted(BENCH.rglob("*.py")), ids=lambda p: p.name)
def test_no_stream_is_seeded_beside_them(path):
    if path == BENCH / "core" / "streams.py":
        return
    made = [call for call in calls(path) if ast.unparse(call.func) in ("Random", "random.Random")]
    assert not made, [f"line {call.lineno}: {ast.unparse(call)}" for call in made]
