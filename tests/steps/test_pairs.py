"""Which pool a label set is drawn from, and what is drawn from it."""

import json

import pytest

from bench.core.names import pool_of
from bench.core.schema import UserError
from bench.steps import pairs, reward
from bench.studies import load
from bench.worlds import bradley_terry

SIX = ["pairs.n=6", "pairs.validation=3"]


def pool(n, name="gold", start=0):
    """Rows in which a is always preferred."""
    return [
        {"id": start + i, "prompt_id": "p", "prompt": "say", "family": "movie"}
        | {"a": f"good {i}", "b": f"poor {i}", "p": {name: 1.0}}
        for i in range(n)
    ]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """What a seed draws of a label set: (its pairs, its validation pairs)."""
    monkeypatch.chdir(tmp_path)
    cfg = load("reviews-cpu", SIX).slice("pairs")
    layout = cfg.layout
    layout.pairs_folder.mkdir(parents=True)

    def draw(name, rows, seed=1):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        layout.pool(pool_of(name)).write_text(text)
        pairs.draw(cfg, name, seed)
        files = (layout.pairs(name, seed), layout.validation(name, seed))
        return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]

    return draw


@pytest.mark.parametrize(
    "name,pool",
    [
        ("gold", "pool"),
        ("gold-n8", "pool"),
        ("biased", "pool"),
        ("on-policy", "on-policy"),
        ("on-policy-n8", "on-policy"),
        ("demonstrations", "demonstrations"),
    ],
)
def test_the_pool_of_a_name(name, pool):
    assert pool_of(name) == pool


@pytest.mark.parametrize("name", ["gold", "on-policy"])
def test_a_seed_draws_its_pairs_and_others_for_the_loss(name, drawn):
    train, validation = drawn(name, pool(12, name))
    ids = [row["id"] for row in train + validation]
    assert (len(train), len(validation)) == (6, 3) and len(set(ids)) == 9
    assert all(row["chosen"].startswith("good") for row in train)


def test_on_policy_pairs_come_from_their_own_pool(drawn):
    drawn("gold", pool(12))
    train, _ = drawn("on-policy", pool(12, "on-policy", start=100))
    assert min(row["id"] for row in train) >= 100


def test_fewer_pairs_are_the_first_of_all(drawn):
    rows = pool(12, "on-policy")
    assert drawn("on-policy-n2", rows)[0] == drawn("on-policy", rows)[0][:2]


def test_gold_labels_of_sampled_pairs_are_bradley_terry():
    (p,) = bradley_terry.on_policy([1.0], [0.0], scale=2.2)
    assert p["on-policy"] == pytest.approx(0.9002, abs=1e-4)
    assert bradley_terry.on_policy([0.3], [0.3], 2.2) == [{"on-policy": 0.5}]


def test_a_world_whose_pairs_are_sampled_has_no_others_on_policy():
    with pytest.raises(UserError, match="set it to gold"):
        load("micro", ["arms={x: {method: dpo, preference: on-policy}}", "studies={s: [x]}"])


@pytest.mark.parametrize("method,proxy", [("dpo", "gold"), ("ppo", "on-policy")])
def test_only_a_method_that_needs_a_reward_model_has_one_of_its_own_pool(method, proxy):
    own = f"arms={{x: {{method: {method}, preference: on-policy}}}}"
    assert load("reviews-cpu", [own]).arm("x").proxy == proxy


def test_a_reward_model_of_the_whole_pool_has_nothing_left_to_be_checked_on(drawn):
    rows, validation = drawn("gold", pool(6))
    cfg = load("reviews-cpu", SIX).slice("reward")
    used = {row["id"] for row in rows}
    assert len(used) == 6 and not validation
    assert reward.quality(cfg, None, None, None, "pool", used) == {}
