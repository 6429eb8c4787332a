"""Sampling over a static cache gives what the plain loop gives, token by token."""

import gc

import pytest
import torch
from conftest import ending
from test_sampling import prompts_of
from torch.utils._python_dispatch import TorchDispatchMode
from trainings import LORA

from bench.core.schema import UserError
from bench.methods.ppo.roles import Shared
from bench.models import graphed, sampling
from bench.models.draws import uniforms
from bench.models.loading import adapt, load_policy, mixed
from bench.models.passes import pad_left
from bench.models.sampling import sample
from bench.settings.sections import Lora
from bench.steps.base import small_llama
from bench.studies import load

TINY, LENGTH = load("tiny").model, 12


def both(policy, tokenizer, prompts, draws, temperature=1.0, length=LENGTH):
    """What the plain loop draws, and what the static one does: (tokens, mask, logps, ended)."""
    policy.eval()
    inputs = pad_left(prompts, tokenizer.pad_token_id, "cpu")
    arguments = (policy, tokenizer, *inputs, length, draws, temperature)
    with torch.no_grad():
        return sampling._drawn(*arguments), graphed.draw(*arguments)


def assert_same(plain, static, atol=1e-5):
    (*whole, logps, ended), (*others, found, over) = plain, static
    for a, b in [*zip(whole, others, strict=True), (ended, over)]:
        assert torch.equal(a, b)
    torch.testing.assert_close(logps, found, atol=atol, rtol=0)


def luck(n, seed=0):
    return uniforms(LENGTH, n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [1.0, 0.8])
def test_rows_that_end_at_different_times(temperature, policy, tokenizer):
    prompts = prompts_of(tokenizer) * 8
    ending(policy, tokenizer, bias=3.0)
    plain, static = both(policy, tokenizer, prompts, luck(32), temperature)
    assert len({*plain[1].sum(1).tolist()}) > 5 and 0 < plain[3].sum() < 32
    assert_same(plain, static)


def test_the_likeliest_tokens(policy, tokenizer):
    assert_same(*both(policy, tokenizer, prompts_of(tokenizer), None))


def test_all_rows_end_long_before_the_last_column(policy, tokenizer):
    with torch.no_grad():
        policy.lm_head.bias[tokenizer.eos_token_id] = 50
    plain, static = both(policy, tokenizer, prompts_of(tokenizer), luck(4))
    assert plain[1].sum() == 4
    assert_same(plain, static)


class Graph(TorchDispatchMode):
    """A CUDA graph for CPUs: keeps the operations of a pass with their arguments, numbers frozen,
    and repeats them on the same tensors. Refuses what reads a tensor's value or makes a tensor of
    a Python number, since those wait for the host."""

    HOST = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "lift_fresh")

    def __init__(self):
        super().__init__()
        self.done, self.replays = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function._schema.name.removeprefix("aten::") not in self.HOST, function
        out = function(*args, **(kwargs or {}))
        self.done.append((function, args, kwargs or {}, out))
        return out

    def replay(self):
        self.replays += 1
        for function, args, kwargs, out in self.done:
            again = function(*args, **kwargs)
            outs = [(x if isinstance(x, tuple) else (x,)) for x in (out, again)]
            for old, new, what in zip(*outs, function._schema.returns, strict=True):
                if what.alias_info is None and isinstance(old, torch.Tensor):
                    old.copy_(new)


def recorded(decoder, model):
    """Stands in for ``Decoder.capture``; what recording has drawn, ``begin`` undoes."""
    decoder.begin(model)
    for name in decoder.passes:
        graph = Graph()
        with graph:
            getattr(decoder, name)(model)
        decoder.graphs[name] = graph


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("adapters", [False, True])
def test_passes_can_be_captured(dtype, adapters, policy, tokenizer, monkeypatch):
    """Recorded passes, repeated, sample other prompts, of other weights, with other draws."""
    if dtype == "bfloat16":
        policy = mixed(policy, TINY.model_copy(update={"dtype": dtype}))
    policy = with_adapters(policy) if adapters else policy
    prompts, found, graphs = prompts_of(tokenizer), [], {}
    for seed in range(3):
        with torch.no_grad():
            for weight in policy.parameters():
                weight.add_(0.05 * torch.randn_like(weight))
        some = [prompts[i] for i in (seed, 3, 2)]
        graphed.DECODERS.pop(policy, None)
        eager = both(policy, tokenizer, some, luck(3, seed))[1]
        del graphed.DECODERS[policy]
        graphed.DECODERS.update(graphs)
        with monkeypatch.context() as patch:
            patch.setattr(graphed.Decoder, "capture", recorded)
            assert_same(eager, both(policy, tokenizer, some, luck(3, seed))[1])
        graphs = {policy: graphed.DECODERS[policy]}
        found.append(eager[0].tolist())
    assert graphs[policy].graphs["step"].replays > 10 and found[0] != found[1] != found[2]


def between_ppo_s_passes(folder, tokenizer, device, check):
    """Call ``check(policy, seed)`` before and after updates by PPO's models on one base, whose
    passes switch adapters on and off and cut the base down; nothing may be captured again."""
    settings = LORA.model_copy(update={"device": device})
    policy = ending(load_policy(folder / "sft", settings).cpu(), tokenizer).to(device)
    roles = Shared(adapt(policy, settings), folder / "adapter")
    for weight in roles.actor_weights:
        torch.nn.init.normal_(weight, std=0.2)
    optimizer = torch.optim.AdamW(roles.actor_weights, lr=0.05, fused=True)
    check(roles.policy, 0)
    first = graphed.DECODERS[roles.policy]
    for seed in (1, 2):
        draws = uniforms(LENGTH, 4, torch.Generator(device).manual_seed(seed))
        samples = sample(roles.policy, tokenizer, prompts_of(tokenizer), LENGTH, draws)
        samples = roles.digested(samples)
        roles.scores(samples)
        roles.reference_logps(samples)
        roles.criticise(roles.values(samples).square().mean())
        roles.logits(samples).square().mean().backward()
        optimizer.step()
        check(roles.policy, seed)
    assert graphed.DECODERS[roles.policy] is first and first.graphs


def test_passes_keep_the_policy_s_adapter(sft_and_reward, tokenizer, monkeypatch):
    monkeypatch.setattr(graphed.Decoder, "capture", recorded)
    found = []

    def check(policy, seed):
        plain, static = both(policy, tokenizer, prompts_of(tokenizer), luck(4, seed))
        assert_same(plain, static)
        found.append(static[2])

    between_ppo_s_passes(sft_and_reward, tokenizer, "cpu", check)
    assert not torch.equal(found[0], found[1])


def with_adapters(policy):
    settings = TINY.model_copy(update={"lora": Lora(r=4, alpha=8, layers=1)})
    adapted = adapt(policy, settings)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return adapted


def test_adapters_are_on(policy, tokenizer):
    prompts, draws = prompts_of(tokenizer), luck(4)
    without = both(policy, tokenizer, prompts, draws)[0]
    plain, static = both(with_adapters(policy), tokenizer, prompts, draws)
    assert not torch.equal(plain[0], without[0])
    assert_same(plain, static)


def test_passes_in_bfloat16(policy, tokenizer):
    policy = mixed(policy, TINY.model_copy(update={"dtype": "bfloat16"}))
    plain, static = both(policy, tokenizer, prompts_of(tokenizer), luck(4))
    assert_same(plain, static, atol=0.05)
    assert graphed.DECODERS[policy].cache.layers[0].values.dtype == torch.bfloat16


@pytest.mark.parametrize("rows", [[3], [0, 2], list(range(4)) * 2 + [1]])
def test_other_batches_are_filled_up_or_cut(rows, policy, tokenizer):
    prompts = prompts_of(tokenizer)
    both(policy, tokenizer, prompts, luck(4))
    first = graphed.DECODERS[policy]
    assert_same(*both(policy, tokenizer, [prompts[i] for i in rows], luck(len(rows), 1)))
    assert graphed.DECODERS[policy] is first and first.rows == 4


def test_weights_may_change_where_they_lie(policy, tokenizer):
    prompts, draws = prompts_of(tokenizer), luck(4)
    before = both(policy, tokenizer, prompts, draws)[1]
    first = graphed.DECODERS[policy]
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    plain, static = both(policy, tokenizer, prompts, draws)
    assert_same(plain, static)
    assert not torch.equal(before[0], static[0]) and graphed.DECODERS[policy] is first


def test_what_does_not_fit_gets_another_decoder(policy, tokenizer):
    """A wider prompt, weights elsewhere, greedy or not, another length."""
    prompts, draws, seen = prompts_of(tokenizer), luck(4), set()

    def fresh(*arguments, **more):
        assert_same(*both(policy, tokenizer, *arguments, **more))
        found = graphed.DECODERS[policy]
        assert id(found.over) not in seen
        seen.add(id(found.over))
        kept.append(found)
        return found

    kept = []
    narrow = fresh(prompts, draws)
    wide = fresh([prompts[0] * 9, prompts[1]], draws[:, :2])
    assert wide.width > narrow.width and wide.rows == narrow.rows
    policy.lm_head.bias = torch.nn.Parameter(policy.lm_head.bias.detach().clone())
    assert fresh(prompts, draws).width == wide.width
    fresh(prompts, None)
    fresh(prompts, draws[:5], length=5)


def test_a_decoder_ends_with_its_model(tokenizer):
    torch.manual_seed(0)
    model = ending(small_llama(TINY, tokenizer), tokenizer)
    before = len(graphed.DECODERS)
    both(model, tokenizer, prompts_of(tokenizer), luck(4))
    assert len(graphed.DECODERS) == before + 1
    del model
    gc.collect()
    assert len(graphed.DECODERS) <= before


def small(kind, **more):
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 200}
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **sizes, **heads, initializer_range=0.3, **more)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("kind", ["mistral", "qwen2", "gemma"])
def test_other_architectures(kind, tokenizer):
    assert_same(*both(small(kind), tokenizer, prompts_of(tokenizer), luck(4)))


def test_a_window_that_holds_all_tokens_is_no_hindrance(tokenizer):
    model = small("mistral", sliding_window=64)
    assert_same(*both(model, tokenizer, prompts_of(tokenizer), luck(4)))


@pytest.mark.parametrize("kind,more", [("mistral", {"sliding_window": 8}), ("mamba", {})])
def test_a_model_that_cannot_be_captured_is_one_line(kind, more, tokenizer):
    with pytest.raises(UserError, match=r"cannot capture .*: set launch\.cuda_graph=false"):
        graphed.static_cache(small(kind, **more), 28)


def test_a_cpu_samples_by_the_plain_loop(policy, tokenizer):
    before = len(graphed.DECODERS)
    draws = luck(4)
    plain, asked = (
        sample(policy, tokenizer, prompts_of(tokenizer), LENGTH, draws, graph=graph)
        for graph in (False, True)
    )
    assert torch.equal(plain.completions, asked.completions)
    assert len(graphed.DECODERS) == before
