"""Data files of any content end in rows, or in one line that names the file and what is wrong.

PREFBENCH_FUZZ=500 damages as many files at random; without it a few.
"""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.core.schema import UserError
from bench.studies import load
from bench.worlds import hub as world

EXAMPLES = int(os.environ.get("PREFBENCH_FUZZ", "40"))
GOOD = [
    {"prompt": f"Tell me about {i}.", "chosen": f"Good {i}.", "rejected": f"Poor {i}."}
    for i in range(40)
]


def lines(rows, between: str = "\n") -> bytes:
    return between.join(json.dumps(row) for row in rows).encode()


def of_all(**row) -> bytes:
    return lines([row] * 40)


def with_one(row) -> bytes:
    text = row if isinstance(row, str) else json.dumps(row)
    return lines(GOOD[:20]) + b"\n" + text.encode() + b"\n" + lines(GOOD[20:])


READ = {
    "a byte order mark": b"\xef\xbb\xbf" + lines(GOOD),
    "line ends of Windows": lines(GOOD, "\r\n"),
    "blank lines between": lines(GOOD, "\n\n\n"),
    "a number among texts": with_one(GOOD[0] | {"prompt": 3}),
    "messages among texts": with_one({k: [{"role": "user", "content": "x"}] for k in GOOD[0]}),
    "a column that others lack": with_one(GOOD[0] | {"more": 3}),
    "a row that lacks columns": with_one({"prompt": "x"}),
    "half of a surrogate pair": with_one(r'{"prompt": "\ud800", "chosen": "a", "rejected": "b"}'),
    "a line of a megabyte": with_one(GOOD[0] | {"prompt": "x " * 500_000}),
}
REFUSED = {
    "nothing": (b"", "holds no rows: write one JSON object a line"),
    "blank lines": (b"\n\n \n", "holds no rows"),
    "no JSON": (b"{", "line 1 is no valid JSON"),
    "no UTF-8": (b'{"a": "\xff\xfe"}', "line 1 is no valid JSON ('utf-8' codec can't decode"),
    "a broken line": (with_one('{"prompt": '), "line 21 is no valid JSON"),
    "null": (b"null\n" * 3, "line 1 is no JSON object"),
    "numbers": (b"1\n2\n", "line 1 is no JSON object"),
    "a list a line": (b"[1]\n[2]\n", "line 1 is no JSON object"),
    "deep nesting": (b"[" * 10**5, "line 1 is nested too deeply"),
    "other columns": (of_all(a=1), "has the columns a; needed: chosen, rejected"),
    "other types": (of_all(prompt=1, chosen=[2], rejected={}), "40 neither a text nor a list of"),
    "null texts": (of_all(prompt=None, chosen=None, rejected=None), "40 neither a text nor a list"),
    "empty texts": (of_all(prompt="", chosen="", rejected=""), "40 an empty text (first: row 1)"),
    "equal answers": (of_all(prompt="a", chosen="b", rejected="b"), "40 two equal answers"),
    "one prompt": (of_all(prompt="a", chosen="b", rejected="c"), "too few rows can be used"),
    "two rows": (lines(GOOD[:2]), "too few rows can be used"),
    "no number": (b'{"prompt": NaN, "chosen": "a", "rejected": "b"}\n' * 40, "neither a text nor"),
}


def made(where, data: bytes, name: str = "pairs.jsonl"):
    """The rows of the pool that the data step makes from a file."""
    (where / name).write_bytes(data)
    (where / "gold.py").write_text("def gold(prompts, answers):\n    return [0.0] * len(answers)\n")
    items = [f"data.pairs.id={where / name}", f"data.gold={{id: null, file: {where / 'gold.py'}}}"]
    few = ["data.sft=null", "data.validation=2", "data.test=3", "data.preference=3"]
    world.write(load("smol-hub", items + few).data, where / "out")
    return (where / "out/pool.jsonl").read_text(encoding="utf-8").splitlines()


def refused(where, data: bytes, name: str = "pairs.jsonl") -> str:
    with pytest.raises(UserError) as caught:
        made(where, data, name)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 500
    return said


@pytest.mark.parametrize("data", READ.values(), ids=READ)
def test_what_is_odd_but_can_be_read_is_read(tmp_path, data):
    assert len(made(tmp_path, data)) >= 30


@pytest.mark.parametrize("data,said", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_one_line(tmp_path, data, said):
    assert said in refused(tmp_path, data)


def test_a_list_of_rows_is_read_from_a_json_file(tmp_path):
    assert len(made(tmp_path, json.dumps(GOOD).encode(), "pairs.json")) == 35
    assert "item 2 is no JSON object" in refused(tmp_path, b'[{"a": 1}, 2]', "pairs.json")


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.jsonl.gz", "x.csv.gz"])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00" * 50, b"\x00" * 100, lines(GOOD[:1])])
def test_files_of_other_kinds_that_hold_something_else_are_one_line(tmp_path, name, data):
    assert f"/{name}' " in refused(tmp_path, data, name)


@given(st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=6)), min_size=1, max_size=5))
@settings(
    max_examples=EXAMPLES, deadline=10_000, derandomize="PREFBENCH_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
def test_a_damaged_file_ends_in_rows_or_in_one_line(tmp_path_factory, damages):
    data = bytearray(lines(GOOD))
    for at, bytes_ in damages:
        data[at : at + len(bytes_)] = bytes_
    where = tmp_path_factory.mktemp("damaged")
    try:
        assert made(where, bytes(data))
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 500
