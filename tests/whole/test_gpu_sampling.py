"""What only a CUDA device can show of graphed sampling; its arithmetic is tested on CPUs, in
``tests/models/test_graphed.py``."""

import gc

import pytest
import torch
from conftest import ending
from test_graphed import between_ppo_s_passes
from test_sampling import prompts_of
from trainings import LORA

from bench.models import graphed
from bench.models.draws import uniforms
from bench.models.loading import mixed
from bench.models.sampling import sample
from bench.steps.speed import sampling

pytestmark = pytest.mark.gpu
LENGTH = 12


def sampled(policy, tokenizer, graph, seed=0, copies=8):
    prompts = prompts_of(tokenizer) * copies
    draws = uniforms(LENGTH, len(prompts), torch.Generator("cuda").manual_seed(seed))
    return sample(policy, tokenizer, prompts, LENGTH, draws, graph=graph)


def assert_as_plain(policy, tokenizer, **which):
    """Samples of the graph and of the plain loop agree; returns those of the graph."""
    plain, found = (sampled(policy, tokenizer, graph, **which) for graph in (False, True))
    for name in ("completions", "mask", "ended"):
        assert torch.equal(getattr(plain, name), getattr(found, name)), name
    torch.testing.assert_close(found.logps, plain.logps, atol=1e-4, rtol=0)
    assert list(graphed.DECODERS[policy].graphs) == ["begin", "step"]
    return found


def test_a_graph_samples_what_the_plain_loop_samples(policy, tokenizer):
    """Other batches, a wider prompt, and weights that an optimiser has changed, included."""
    policy.to("cuda")
    before, first = assert_as_plain(policy, tokenizer), graphed.DECODERS[policy]
    assert len({*before.mask.sum(1).tolist()}) > 5
    assert_as_plain(policy, tokenizer, seed=1, copies=3)
    assert_as_plain(policy, tokenizer, seed=2, copies=11)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=0.02, fused=True)
    policy(torch.arange(8, device="cuda")[None]).logits.square().mean().backward()
    optimizer.step()
    after = assert_as_plain(policy, tokenizer)
    assert graphed.DECODERS[policy] is first  # nothing was captured again
    assert not torch.equal(before.completions, after.completions)


def test_the_likeliest_tokens(policy, tokenizer):
    policy.to("cuda")
    plain, found = (
        sample(policy, tokenizer, prompts_of(tokenizer), LENGTH, graph=graph)
        for graph in (False, True)
    )
    assert torch.equal(plain.completions, found.completions)


def test_a_graph_in_bfloat16_repeats_its_own_steps(policy, tokenizer, monkeypatch):
    """The plain loop's kernels round otherwise, so the same steps are taken without a graph."""
    policy = mixed(policy.to("cuda"), LORA.model_copy(update={"dtype": "bfloat16"}))
    found = sampled(policy, tokenizer, True)
    del graphed.DECODERS[policy]
    monkeypatch.setattr(graphed.Decoder, "capture", lambda *_: None)
    eager = sampled(policy, tokenizer, True)
    assert torch.equal(found.completions, eager.completions)
    torch.testing.assert_close(found.logps, eager.logps, atol=1e-2, rtol=0)


def test_a_graph_keeps_the_policy_s_adapter(sft_and_reward, tokenizer):
    def check(policy, seed):
        assert_as_plain(policy, tokenizer, seed=seed)

    between_ppo_s_passes(sft_and_reward, tokenizer, "cuda", check)


def test_memory_is_freed_with_the_model(policy, tokenizer):
    gc.collect()
    before = len(graphed.DECODERS)
    model = ending(type(policy)(policy.config), tokenizer).to("cuda")
    sampled(model, tokenizer, True)
    held = torch.cuda.memory_allocated()
    del model
    gc.collect()
    assert torch.cuda.memory_allocated() < held and len(graphed.DECODERS) == before


def test_both_ways_are_timed():
    faster, own = sampling.raced(rounds=2)
    assert len(faster) == len(own) == 2 and min(faster + own) > 0
