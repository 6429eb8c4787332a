"""The rehearsal: it runs every phase of a study in an empty folder, and scales what it took."""

import math
import os
import re
import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
import torch
from transformers import MistralConfig, Qwen3Config

from bench.estimate import memory, stand_ins
from bench.estimate.shapes import PUBLISHED
from bench.models.draws import uniforms
from bench.models.flops import Shape
from bench.models.loading import load_policy, load_tokenizer
from bench.models.sampling import sample
from bench.models.tokens import completion_ids, prompt_ids
from bench.settings.sections import Model
from bench.steps import rehearse
from bench.steps.rehearse import Result
from bench.studies import load

OWN = """
import os
from bench.methods.orpo import NEEDS, Settings

def train(run):
    {what}
"""
ENDS = {
    "hungry": "raise MemoryError('CUDA out of memory. Tried')",
    "killed": "os.kill(os.getpid(), 9)",
}
SHAPE = Shape(2, 32, 2, 1, 16, 64, 300)


# --- stand-ins ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_random_weights_have_the_shape_and_never_end(tied, tmp_path):
    torch.manual_seed(0)
    stand_ins.write_policy(stand_ins.config(SHAPE, tied, 64), "float32", "cpu", tmp_path)
    model, tokenizer = load_policy(tmp_path, Model(device="cpu")), load_tokenizer(tmp_path)
    assert Shape.of(model) == SHAPE
    assert sum(p.numel() for p in model.parameters()) == sum(memory.parameters(SHAPE, tied))
    prompts = [prompt_ids(tokenizer, row["prompt"]) for row in stand_ins.texts([(7, 9)], 50, 300)]
    draws = uniforms(20, len(prompts), torch.Generator().manual_seed(0))
    drawn = sample(model, tokenizer, prompts, 20, draws)
    assert drawn.mask.all() and drawn.mask.shape == (50, 20) and not drawn.ended.any()
    assert len(set(drawn.completions.flatten().tolist())) > 100


def test_texts_have_the_asked_number_of_tokens(tmp_path):
    stand_ins.write_policy(stand_ins.config(SHAPE, True, 64), "float32", "cpu", tmp_path)
    tokenizer, sizes = load_tokenizer(tmp_path), [(5, 9, 7), (3, 2)]
    rows = stand_ins.texts(sizes, 3, SHAPE.vocabulary)
    found = [
        (
            len(prompt_ids(tokenizer, r["prompt"])),
            *(len(completion_ids(tokenizer, r[s])) for s in "ab"),
        )
        for r in rows
    ]
    assert found == [(5, 9, 7), (3, 2, 2), (5, 9, 7)]


# --- a whole study --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Acts, device and text of `tiny` with two methods that end badly, from an empty folder."""
    folder = tmp_path_factory.mktemp("methods")
    for name, what in ENDS.items():
        (folder / f"{name}.py").write_text(OWN.format(what=what))
    own = [str(folder / f"{name}.py") for name in ENDS]
    arms = "studies.all=[ppo, dpo, ipo, orpo, dpo-hot, hungry, killed]"
    hot = "arms.dpo-hot={method: dpo, lr: 1e-3, epochs: 3}"
    cfg = load("tiny", [f"methods={own}", "study=all", arms, hot, "model.device=cpu"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))
        found = rehearse.rehearsed(cfg)
        assert not list(Path.cwd().iterdir())
    return cfg, found[0], rehearse.report(cfg, *found)


def by_name(results) -> dict[str, Result]:
    return {name: result for result in results for name in result.row.names}


def test_every_phase_is_scaled_to_the_numbers_of_the_settings(played):
    cfg, results, _ = played
    found = by_name(results)
    pairs, points = cfg.pairs.n, len(cfg.curve.fractions)
    assert found["base"].times("train") == cfg.base.steps == 40
    assert found["SFT base"].times("train") == cfg.sft.steps == 40
    assert found["reward model"].times("train") == math.ceil(pairs / cfg.reward.batch)
    assert found["reward model"].times("check") == 2 * pairs - pairs
    for name in ("dpo", "ipo", "orpo"):
        assert found[name].times("train") == math.ceil(pairs / getattr(cfg, name).batch) == 6
        assert found[name].times("heldout") == cfg.pairs.validation
    assert found["dpo-hot"].times("train") == 18
    for phase in ("rollout", "score", "reference", "update"):
        assert found["ppo"].times(phase) == pairs / cfg.ppo.batch == 3
    answers = cfg.curve.prompts * cfg.curve.draws
    assert found["ppo"].times("measure") == points * answers == 168
    assert found["pool"].times("sample") == 4 * pairs
    assert found["evaluation"].times("measure") == cfg.eval.prompts * cfg.eval.draws


def test_every_phase_was_measured(played):
    cfg, results, _ = played
    found = by_name(results)
    assert set(found["ppo"].seconds) == {"rollout", "score", "reference", "update", "measure"}
    assert set(found["dpo"].seconds) == {"train", "heldout", "measure"}
    assert set(found["pool"].seconds) == {"sample", "gold"}
    weights = 4 * 4 * sum(memory.parameters(*_shape(cfg)))
    for result in results:
        if result.row.names[0] not in ENDS:
            assert not result.problem and result.total > result.load > 0
            assert result.peak > 0.5 * weights
            assert all(seconds > 0 for seconds in result.seconds.values())


def _shape(cfg):
    from bench.estimate import shapes

    return shapes.of_policy(cfg)[:2]


def test_arms_whose_steps_are_alike_share_a_rehearsal(played):
    found = by_name(played[1])
    assert found["dpo-hot"].seconds is found["dpo"].seconds
    assert found["ipo"].seconds != found["dpo"].seconds


def test_a_job_without_memory_is_reported_and_the_rest_goes_on(played):
    _, results, text = played
    found = by_name(results)
    assert found["hungry"].oom and found["killed"].problem == rehearse.OVER
    assert "hungry: CUDA out of memory. Tried; by the estimate it needs only" in text
    assert f"killed: {rehearse.OVER}" in text
    assert "evaluation" in found and not found["evaluation"].problem  # which comes after them
    assert "All jobs of the study, without 2 that failed: about" in text


def test_the_sum_is_that_of_all_runs(played):
    _, results, text = played
    good = [result for result in results if not result.problem]
    hours = sum(result.row.runs * result.total * result.cores for result in good) / 3600
    line = next(line for line in text.splitlines() if line.startswith("All jobs"))
    assert f"about {rehearse.number(hours)} core-hours" in line
    ppo = by_name(results)["ppo"]
    steps = sum(ppo.seconds[phase] for phase in ("rollout", "score", "reference", "update"))
    assert ppo.total == pytest.approx(ppo.load + 3 * steps + 168 * ppo.seconds["measure"])


def test_a_stopped_rehearsal_prints_what_it_has(tmp_path):
    command = [sys.executable, "-m", "bench", "rehearse", "--testbed", "tiny"]
    env = os.environ | {"TMPDIR": str(tmp_path)}
    with Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=env) as process:
        for line in process.stderr:
            if "SFT base" in line:  # which follows the base
                break
        process.terminate()
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and not list(tmp_path.glob("prefbench-*"))
    assert re.search(r"^base +1 +\d", text, re.M)
    assert f"dpo: {rehearse.STOPPED}" in text


# --- a model of the hub ---------------------------------------------------------------------------


def test_a_hub_model_needs_its_shape_alone(tmp_path, monkeypatch):
    """bfloat16, LoRA, checkpointing, gold that is a model, a task of lm-eval, two processes."""
    sizes = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    for name, kind in (("policy", MistralConfig), ("gold", Qwen3Config)):
        kind(**sizes, max_position_embeddings=2048).save_pretrained(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    cfg = load(
        "zephyr-7b",
        [
            *(f"model.hub={{id: {tmp_path}/policy, template: none}}", "model.device=cpu"),
            *(f"data.gold.id={tmp_path}/gold", "data={max_prompt: 40, max_answer: 40}"),
            *("eval={tasks: [arc_easy], limit: 4}", "decode.max_new_tokens=4", "jobs.gpu=0"),
            *("launch.processes=2", "study=few", "studies.few=[ppo, dpo]"),
        ],
    )
    results, *others = rehearse.rehearsed(cfg)
    found = by_name(results)
    assert not any(result.problem for result in results)
    assert found["ppo"].seconds["update"] > 0 and set(found["pool"].seconds) == {"gold"}
    assert found["evaluation"].times("arc_easy") == 4 * 4
    text = rehearse.report(cfg, results, *others)
    assert "Rehearsed as one of 2 processes, with its share of each batch" in text


def test_published_models_are_made_with_their_shape():
    for shape, tied in PUBLISHED.values():
        made = stand_ins.config(shape, tied, 64)
        assert Shape.of(_Sized(made)) == shape and made.tie_word_embeddings == tied


class _Sized:
    """A model of which only the configuration exists."""

    def __init__(self, config):
        self.config = config

    def named_parameters(self):
        return [("model.layers.0.weight", torch.nn.Parameter(torch.zeros(1)))]
