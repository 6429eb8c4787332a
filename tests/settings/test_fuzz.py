"""Random edits of valid settings end in a plan, or in one line that names a key.

PREFBENCH_FUZZ=2000 tries as many configurations; without it a few.
"""

import os
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.core.schema import UserError
from bench.settings.overrides import flow, leaves
from bench.studies import load

EXAMPLES = int(os.environ.get("PREFBENCH_FUZZ", "60"))
TESTBEDS = ("micro", "tiny", "reviews", "reviews-cpu", "smol-hub", "zephyr-7b")
STUDIES = ("compare", "bases", "claims", "finals", "sizes", "stability", "tune", "views")
WORDS = ["", " ", "-", "..", "../x", "a b", "a/b", "{seed}", "x" * 300, "ü", "\u202e", "null", "~",
         "/etc/passwd", "dpo", "gold", "auto", "1e5", "0x10", "1_000", "2026-01-01"]  # fmt: skip
NUMBERS = [0, -1, 1, 2, 3, 7, 0.5, 1.0, 1.5, -0.1, 1e-12, 1e9, 2**31, 2**32, 2**63, 10**20,
           float("inf"), float("-inf"), float("nan")]  # fmt: skip
INNER = ["dpo", "x", "id", "method", "lr", "a b", "1"]
SCALARS = st.one_of(
    st.sampled_from([*WORDS, *NUMBERS, True, False, None]),
    st.integers(-(10**6), 10**6),
    st.floats(-100, 100),
    st.text(string.printable, max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(INNER), inner, max_size=2),
    ),
    max_leaves=5,
)  # fmt: skip
KEYS = {bed: [key for key, _ in leaves(load(bed)._declared)] for bed in TESTBEDS}


@st.composite
def configurations(draw) -> tuple[str, list[str]]:
    """A testbed, and overrides of keys that it has, or nearly has."""
    bed = draw(st.sampled_from(TESTBEDS))
    items = [f"study={draw(st.sampled_from(STUDIES))}"]
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(KEYS[bed]))
        how = draw(
            st.sampled_from(["as it is", "as it is", "as it is", "section", "typo", "below"])
        )
        if how == "section":
            key = key.rpartition(".")[0] or key
        elif how == "typo":
            key = key[:-1] + draw(st.sampled_from("xyz_"))
        elif how == "below":
            key += ".more"
        items.append(f"{key}={flow(draw(VALUES))}")
    return bed, items


@given(configurations())
@settings(
    max_examples=EXAMPLES, deadline=10_000, derandomize="PREFBENCH_FUZZ" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
def test_random_edits_end_in_a_plan_or_in_one_line(tmp_path_factory, asked):
    bed, items = asked
    try:
        cfg = load(bed, items)
        planned = [member.files.record for member in cfg.members[:50]]
    except UserError as error:
        said = str(error)
        assert said.strip() and "\n" not in said and len(said) < 1000, said
    else:
        assert planned


@pytest.mark.parametrize("bed", TESTBEDS)
def test_every_testbed_is_valid_as_it_is(bed):
    assert load(bed).members
