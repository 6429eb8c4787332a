"""Arms that nothing trains: finished models of any origin, and the best of n answers."""

import json
from dataclasses import replace

import hub_folders as folders
import numpy as np
import pandas as pd
import pytest
from walk import step

from bench.core.files import read_json
from bench.core.schema import UserError
from bench.methods import checkpoint
from bench.models.loading import load_tokenizer
from bench.steps import evaluate
from bench.studies import load

SEEDS = (1, 2, 3)
N = 3
STEPS = [
    ("data", {}),
    ("base", {}),
    ("sft", {}),
    ("pairs", {"what": "pool"}),
    *(("pairs", {"what": "draw", "label_set": "gold", "seed": seed}) for seed in SEEDS),
    ("reference", {"pool": "pool"}),
    *(("reward", {"label_set": "gold", "seed": seed}) for seed in SEEDS),
    *(("align", {"arm": "dpo", "seed": seed}) for seed in SEEDS),
    *(("align", {"arm": arm, "seed": seed}) for arm in ("best-of-3", "mine") for seed in SEEDS),
    ("align", {"arm": "alone", "seed": 1}),
    ("evaluate", {"arm": "sft", "seed": 0}),
    *(
        ("evaluate", {"arm": arm, "seed": seed})
        for arm in ("dpo", "best-of-3", "mine")
        for seed in SEEDS
    ),
    ("evaluate", {"arm": "alone", "seed": 1}),
    ("contract", {}),
    ("collect", {}),
    ("report", {"beside": []}),
]


def finished(where, **more):
    """A testbed with a run, its own model as if it came from elsewhere, and the best of three."""
    model = f"{where}/runs/finished/align/dpo/seed{{}}/model"
    arms = {
        "best-of-3": {"method": "best_of", "answers": N},
        "mine": {"method": "checkpoint", "path": model.format("{seed}")},
        "alone": {"method": "checkpoint", "path": model.format(2)},
    }
    own = {"extends": "tiny", "seeds": list(SEEDS), "arms": arms}
    own |= {"studies": {"compare": ["dpo", *arms]}} | more
    (where / "finished.yaml").write_text(json.dumps(own))
    return load(str(where / "finished.yaml"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    where = tmp_path_factory.mktemp("finished")
    cfg = finished(where)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        for name, options in STEPS:
            step(cfg, name, **options)
        yield cfg


def prompts(cfg, arm: str, seed: int = 1) -> pd.DataFrame:
    return pd.read_csv(cfg.layout.evaluation(cfg.arm(arm), seed).prompts)


def test_a_finished_model_scores_as_the_run_that_made_it(made):
    for seed in SEEDS:
        pd.testing.assert_frame_equal(prompts(made, "mine", seed), prompts(made, "dpo", seed))
    alone, other = (prompts(made, *of).drop(columns="proxy") for of in (("alone", 1), ("dpo", 2)))
    pd.testing.assert_frame_equal(alone, other)  # but for the reward model of its own seed
    run = read_json(made.layout.run(made.arm("mine"), 1).record)
    theirs = read_json(made.layout.run(made.arm("dpo"), 1).record)
    assert run["hashes"]["checkpoint"] == theirs["model_sha256"] == run["model_sha256"]
    assert run["steps"] == 0 and run["hashes"]["start"] == theirs["hashes"]["start"]


def test_its_curve_goes_from_the_sft_base_to_the_model(made):
    curves = [pd.read_csv(made.layout.run(made.arm(arm), 1).curve) for arm in ("mine", "dpo")]
    assert sorted(curves[0].fraction.unique()) == [0, 1]
    for fraction in (0, 1):
        mine, other = (curve[curve.fraction == fraction].gold.tolist() for curve in curves)
        assert mine == other


def test_a_model_without_seed_has_one_run(made):
    assert [seed for arm, seed in made.study_runs if arm == "alone"] == [1]
    assert [seed for arm, seed in made.study_runs if arm == "mine"] == list(SEEDS)


def test_the_reward_model_takes_the_best_of_n_answers_of_the_sft_base(made):
    """Against the answers themselves, sampled once more and chosen by a loop."""
    from bench.models.loading import load_policy

    arm, tokenizer = made.arm("best-of-3"), load_tokenizer(made.layout.sft)
    found = prompts(made, "best-of-3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "draws", lambda cfg, arm: N * made.eval.draws)
        sampler = replace(evaluate.new_sampler(made, arm, 1, tokenizer), best_of=1)
        every = sampler(load_policy(made.layout.sft, made.model).eval())
    assert len(every) == N * len(found)
    for row in found.itertuples():
        own = every[(every.prompt_id == row.prompt_id) & (every.draw // N == row.draw)]
        best = own.loc[own.proxy.idxmax()]
        assert (row.gold, row.proxy) == pytest.approx((best.gold, best.proxy), abs=1e-5)
    assert found.proxy.mean() > every.proxy.mean()
    assert np.allclose(found.kl, np.log(N) - (N - 1) / N)


def test_best_of_n_answers_no_task_of_lm_eval(made):
    files = made.layout.evaluation(made.arm("best-of-3"), 1)
    assert not len(pd.read_csv(files.tasks)) and len(
        pd.read_csv(made.layout.evaluation(made.arm("mine"), 1).tasks)
    )


def test_the_contract_holds_and_the_report_shows_no_cost(made):
    fields = {breach["field"] for breach in read_json(made.layout.contract)["breaches"]}
    assert fields <= {"evidence"}  # times, which only the command line writes
    page = (made.layout.report / "README.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith(("| best of 3 |", "| mine |"))]
    assert rows and all("| – |" in row for row in rows[:2])
    assert "best of 3, mine and alone: nothing is trained here, so no cost is known." in page
    assert "| DPO − mine | 0.00" in page


def test_what_is_no_model_of_these_tokens_is_refused(made, tmp_path):
    with pytest.raises(UserError, match=r"arm mine: checkpoint\.path names no model"):
        finished(tmp_path, arms={"mine": {"method": "checkpoint"}}, studies={"compare": ["mine"]})
    (tmp_path / "empty").mkdir()
    empty = {"mine": {"method": "checkpoint", "path": str(tmp_path / "empty")}}
    with pytest.raises(UserError, match=r"arm mine: .*empty holds no model: it needs one of"):
        finished(tmp_path, arms=empty, studies={"compare": ["mine"]})
    own = load_tokenizer(made.layout.sft)
    with pytest.raises(UserError, match="reads other tokens than the SFT base"):
        checkpoint.check_tokens(own, folders.causal(tmp_path / "other"))
    with pytest.raises(UserError, match="empty holds no tokenizer"):
        checkpoint.check_tokens(own, tmp_path / "empty")
