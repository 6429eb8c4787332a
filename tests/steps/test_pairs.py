"""Which pool a label set is drawn from, and what is drawn from it."""

import json

import pytest

from bench.core.names import parsed, pool_of
from bench.core.schema import UserError
from bench.steps import pairs, reward
from bench.studies import load
from bench.worlds import bradley_terry

SIX = ["pairs.n=6", "pairs.validation=3", "reward={batch: 3, warmup: 0}"]
SIX += [f"{m}={{batch: 3, warmup: 0}}" for m in ("dpo", "ipo", "orpo")]
SIX += ["ppo={batch: 3, minibatch: 3, warmup: 0}"]


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
        layout.data.mkdir(parents=True, exist_ok=True)
        prompts = [{"id": "p", "meta": {}}, {"id": "q", "meta": {"kind": "harmful"}}]
        layout.prompts.write_text("".join(json.dumps(row) + "\n" for row in prompts))
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


def test_more_pairs_than_usual_leave_the_validation_pairs(drawn):
    train, validation = drawn("gold-n8", pool(12))
    assert (len(train), len(validation)) == (8, 3)
    assert not {row["id"] for row in train} & {row["id"] for row in validation}
    with pytest.raises(UserError, match="asks for more pairs than a seed draws, 9"):
        drawn("gold-n10", pool(12))


@pytest.mark.parametrize(
    "name",
    ["gold", "on-policy", "gold-n750", "gold-only-review-flip20-copies5-n3", "on-policy-fresh5-n2"],
)
def test_a_label_set_is_named_by_what_is_not_as_usual(name):
    assert str(parsed(name)) == name


def test_an_arm_names_its_label_set():
    arm = "{method: dpo, preference: biased, only: review, flip: 20, copies: 2, n: 9}"
    cfg = load("tiny", [f"arms={{x: {arm}}}"])
    assert cfg.arm("x").label_set == "biased-only-review-flip20-copies2-n9"
    assert cfg.arm("x").listed(48) == 18 and cfg.arm("dpo").listed(48) == 48
    assert parsed(cfg.arm("x").label_set).n == 9


def test_a_reward_model_may_learn_from_fewer_pairs_than_the_run_asks_prompts_of():
    few = "{method: ppo, reward_n: 9, flip: 10}"
    cfg = load("tiny", [f"arms={{x: {few}}}"])
    member = cfg.member("x", 1)
    assert member.needed["pairs"] == cfg.layout.pairs("gold-flip10", 1)
    assert member.needed["reward"] == cfg.layout.reward("gold-flip10-n9", 1) == member.proxy
    assert member.reward_models(True) == ["gold-flip10-n9"]
    for words, said in (
        ("{method: dpo, reward_n: 9}", "dpo has no reward model"),
        ("{method: ppo, reward_n: 99}", "reward_n=99 is more than the pool leaves"),
    ):
        with pytest.raises(UserError, match=said):
            load("tiny", [f"arms={{x: {words}}}"])


@pytest.mark.parametrize("more", ["flip: 20", "only: review", "fresh: true"])
def test_demonstrations_have_no_labels_to_change(more):
    with pytest.raises(UserError, match="demonstrations have no labels"):
        load("tiny", [f"arms={{x: {{method: orpo, preference: demonstrations, {more}}}}}",
                      "studies={s: [x]}"])  # fmt: skip


@pytest.fixture
def of_many(tmp_path, monkeypatch):
    """A seed's 2,000 pairs of a label set whose labels are drawn, and its validation pairs."""
    monkeypatch.chdir(tmp_path)
    cfg = load("reviews-cpu", ["pairs.n=2000", "pairs.validation=500"]).slice("pairs")
    cfg.layout.pairs_folder.mkdir(parents=True)
    rows = [row | {"p": {"gold": 0.75}} for row in pool(4000)]
    cfg.layout.pool("pool").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return lambda name: pairs.drawn(cfg, name, 1)


def good(rows):
    return [row["chosen"].startswith("good") for row in rows]


def test_flips_turn_a_share_of_the_labels_round_and_nothing_else(of_many):
    (plain, held), (turned, held_turned) = of_many("gold"), of_many("gold-flip20")
    for rows, others in ((plain, turned), (held, held_turned)):
        assert [row["id"] for row in rows] == [row["id"] for row in others]
        odd = [x != y for x, y in zip(good(rows), good(others), strict=True)]
        assert sum(odd) / len(odd) == pytest.approx(0.2, abs=0.05)
        sides = [row["side"] == "a" for row in others]
        assert sides == good(others)
    few, held_few = of_many("gold-flip20-n300")
    assert few == turned[:300] and held_few == held_turned


def test_copies_share_their_label_and_fresh_ones_have_their_own(of_many):
    plain, held = of_many("gold")
    copies, same = of_many("gold-copies3")
    assert copies == plain * 3 and same == held
    fresh, same = of_many("gold-fresh3-n1000")
    assert fresh[:1000] == plain[:1000] and same == held
    assert [row["id"] for row in fresh] == [row["id"] for row in plain[:1000]] * 3
    first, second, third = (good(fresh[i : i + 1000]) for i in (0, 1000, 2000))
    odd = sum(x != y for x, y in zip(first, second, strict=True)) / 1000
    assert odd == pytest.approx(2 * 0.75 * 0.25, abs=0.06) and second != third


def test_pairs_of_one_kind_are_of_a_family_of_a_kind_or_hold_a_word(drawn):
    rows = pool(30)
    for row in rows[::2]:
        row |= {"family": "tweet", "prompt": "say of the phone", "prompt_id": "q"}
    for only in ("tweet", "phone", "harmful"):
        train, held = drawn(f"gold-only-{only}", rows)
        assert len(train) == 6 and {row["family"] for row in train + held} == {"tweet"}
    with pytest.raises(UserError, match="no pairs of 'sofa'"):
        drawn("gold-only-sofa", rows)


def test_gold_labels_of_sampled_pairs_are_bradley_terry():
    (p,) = bradley_terry.on_policy([1.0], [0.0], scale=2.2)
    assert p["on-policy"] == pytest.approx(0.9002, abs=1e-4)
    assert bradley_terry.on_policy([0.3], [0.3], 2.2) == [{"on-policy": 0.5}]


def test_a_world_whose_pairs_are_sampled_has_no_others_on_policy():
    with pytest.raises(UserError, match=r"^arms\.x\.preference: .*: set it to gold$"):
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
