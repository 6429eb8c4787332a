"""Settings that cannot work are refused when the plan is made, in one line that says what to do."""

import pytest

from bench.core.schema import UserError
from bench.evaluation import harness
from bench.studies import load

REFUSED = [
    ("model.hidden=0", "model.hidden=0 is not valid: input should be greater than or equal to 1"),
    ("model.hidden=-64", "model.hidden=-64 is not valid"),
    ("model.hidden=65", "model.hidden=65 is no multiple of twice model.heads=4"),
    ("model.heads=0", "model.heads=0 is not valid"),
    ("model.layers=0", "model.layers=0 is not valid"),
    ("model.context=8", "model.context=8 leaves no room for a prompt beside decode.max_new_tokens"),
    ("model.device=cudda", "model.device: 'cudda' is no device: write auto, cpu, cuda or cuda:0"),
    ("model.dtype=float16", "model.dtype='float16' is not valid"),
    ("model.lora={r: 4, alpha: -8}", "model.lora.alpha=-8 is not valid"),
    ("base.steps=0", "base.steps=0 leaves a model of random weights: set base.steps"),
    ("base.warmup=100000", "base.warmup=100000 is more than its 600 steps: lower it"),
    ("sft.warmup=100000", "sft.warmup=100000 is more than its 2800 steps: lower it"),
    (
        "dpo.warmup=100000",
        "dpo.warmup=100000 > 116 (the steps of a training): lower it",
    ),
    (
        "ppo.warmup=1000",
        "ppo.warmup=1000 > 140 (the steps of a training): lower it, or raise epochs",
    ),
    ("sft.batch=10000000", "sft.batch=10000000 is more than data.demonstrations=30000: lower it"),
    (
        "dpo.batch=100000",
        "> 3,000 (the rows of a pass): lower it, or raise pairs.n",
    ),
    ("reward.batch=100000", "reward.batch=100000 > 3,000 (the rows of a pass)"),
    ("arms.orpo-from-base.candidates.slow=[]", "arms.orpo-from-base.candidates.slow: write {key"),
    ("arms.orpo-from-base.candidates=3", "orpo-from-base.candidates: write {name: {key"),
    ("pairs.n=20", "ipo.batch=99 > 20, orpo.batch=28 > 20 (the rows of a pass): lower them, or"),
    (
        "ppo={batch: 4000, minibatch: 64}",
        "ppo.batch=4000 > 3,000 (the rows of a pass)",
    ),
    ("dpo.lr=true", "dpo.lr is true or false: write a number"),
    ("dpo.epochs=true", "dpo.epochs is true or false: write a number"),
    ("seeds=7", "seeds: write [7] for the one seed 7, [1, 2, 3] for three seeds"),
    ("dpo=0.3", "dpo=0.3 is not valid: write settings in braces, {key: value}"),
    ("dpo={lr: }", "dpo.lr=null is not valid: write a number"),
    (
        "study=off",
        "study=false is not valid: write a name, in quotes if YAML takes it",
    ),
    ("seeds=[1, 1]", "seeds: 1 stands there twice: drop one"),
    ("seeds=[99999999999]", "seeds.0=99999999999 is not valid: input should be less than 42949672"),
    ("sft.seed=-1", "sft.seed=-1 is not valid"),
    ("curve.fractions=[1, 0]", "curve.fractions: 1, 0 do not rise: sort them"),
    ("curve.fractions=[0, 0.5, 0.5, 1]", "curve.fractions: 0, 0.5, 0.5, 1 do not rise"),
    ("curve.fractions=[0, 2]", "curve.fractions.1=2 is not valid"),
    ("stability.lr=[1, 1]", "stability.lr: 1.0 stands there twice: drop one"),
    ("studies={mine: [dpo, dpo]}", "studies.mine: dpo stands there twice: drop one"),
    (
        "arms={x: {method: dpo, preference: golld}}",
        "arms.x.preference: this testbed has no 'golld'",
    ),
    ("arms={'-x': {method: dpo}}", "'-x' cannot name an arm or a study"),
    ("arms={'.x': {method: dpo}}", "'.x' cannot name an arm or a study"),
    ("testbed=tiny", "testbed is no setting of a file: choose it with --testbed"),
]


@pytest.mark.parametrize("override,said", REFUSED, ids=[o for o, _ in REFUSED])
def test_what_cannot_work_is_refused_in_one_line(override, said):
    with pytest.raises(UserError) as caught:
        load("micro", [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_the_batches_of_arms_with_fewer_pairs_are_those_of_the_others():
    cfg = load("tiny", ["study=views"])
    assert cfg.dpo.batch > min(cfg.arm(name).n or cfg.pairs.n for name in cfg.study_arms)


def test_an_arm_named_nearly_right_is_shown_the_right_name():
    with pytest.raises(UserError, match="did you mean 'gold'"):
        load("micro", ["arms={x: {method: dpo, preference: golld}}"])


@pytest.mark.parametrize(
    "override,said",
    [
        ("data.pairs.id=/no/x.jsonl", "data.pairs.id: there is no '/no/x.jsonl' in"),
        ("data.pairs.id=my/pairs/x", "data.pairs.id: there is no 'my/pairs/x' in"),
        ("model.hub.id=./model", "model.hub.id: there is no './model' in"),
        ("reward={model: {id: /no/judge}}", "reward.model.id: there is no '/no/judge' in"),
        ("provenance={rule: mine}", "provenance lacks seed, commit, spaces, methods: copy the who"),
    ],
)
def test_paths_where_nothing_is_and_half_a_record_are_refused(override, said):
    with pytest.raises(UserError) as caught:
        load("smol-hub", [override, "ppo.critic_init=base"])
    assert said in str(caught.value)


def test_a_task_that_lm_eval_lacks_is_named_and_its_names_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = tmp_path / "prefbench" / f"lm-eval-{harness.version('lm-eval')}.txt"
    kept.parent.mkdir()
    kept.write_text("gsm8k\nmmlu", encoding="utf-8")
    harness.check_names(["gsm8k", __file__])
    with pytest.raises(UserError, match=r"task 'gsm9k' in eval\.tasks; did you mean 'gsm8k'"):
        harness.check_names(["gsm9k"])


def test_the_names_come_from_lm_eval(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert {"gsm8k", "leaderboard"} <= {*harness.installed()}
    assert len(list(tmp_path.rglob("lm-eval-*.txt"))) == 1
    assert harness.installed() == next(tmp_path.rglob("*.txt")).read_text().split("\n")
