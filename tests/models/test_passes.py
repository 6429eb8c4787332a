"""A pair read as one row gives what its answers give alone."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bench.models import passes
from bench.models.loading import adapt
from bench.models.passes import PARTS, PLAIN_ATTENTION, pair_logps, paired, reads_pairs
from bench.settings.sections import Lora, Model

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
}
ROWS = [
    ([1, 5, 6, 7, 9], [9, 2], [21, 22, 23, 2]),
    ([1, 8], [11, 12, 13, 14, 15, 2], [2]),
    ([1, 4, 4], [3, 2], [24, 25, 2]),
]


def tiny(kind, attention="sdpa", **own):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SIZES | own, attn_implementation=attention)
    model = AutoModelForCausalLM.from_config(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def pairs():
    return paired([dict(zip(PARTS, row, strict=True)) for row in ROWS], pad=0)


def alone(model, ids: list[int]) -> torch.Tensor:
    """(len(ids) - 1,) log-probs of all tokens but the first, in one pass without padding."""
    ids = torch.tensor([ids])
    logps = model(ids, use_cache=False).logits.log_softmax(-1)[0, :-1]
    return logps.gather(1, ids[0, 1:, None])[:, 0]


def expected(model) -> list[torch.Tensor]:
    """(B,) log-probs of prompts, first and second answers."""
    rows = []
    for prompt, *answers in ROWS:
        parts = [alone(model, prompt + answer) for answer in answers]
        n = len(prompt) - 1
        rows.append(torch.stack([parts[0][:n].sum(), *(part[n:].sum() for part in parts)]))
    return list(torch.stack(rows, 1))


def gradient(model, sums) -> list[torch.Tensor]:
    weights = [p for p in model.parameters() if p.requires_grad]
    mixed = sum(factor * x.pow(2).sum() for factor, x in zip((1, 2, -3), sums, strict=True))
    found = torch.autograd.grad(mixed, weights, allow_unused=True)
    return [torch.zeros(()) if grad is None else grad for grad in found]


def same(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * max(1, b.abs().max().item()))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", PLAIN_ATTENTION)
def test_a_pair_is_read_in_one_row(kind, attention):
    model = tiny(kind, attention)
    assert reads_pairs(model.config, 11)
    found, wanted = pair_logps(model, pairs(), prompt=True), expected(model)
    same(found, wanted)
    same(gradient(model, found), gradient(model, wanted))
    prompts, *answers = pair_logps(model, pairs())
    same(answers, wanted[1:])
    assert not prompts.any()


@pytest.mark.parametrize(
    "kind,own", [("mistral", {"sliding_window": 6}), ("gemma2", {"sliding_window": 6})]
)
def test_a_model_with_windows_reads_two_rows(kind, own, monkeypatch):
    model = tiny(kind, "eager", **own)
    assert not reads_pairs(model.config, 11)
    wanted = expected(model)
    same(pair_logps(model, pairs(), prompt=True), wanted)
    monkeypatch.setattr(passes, "reads_pairs", lambda *args: True)
    assert (pair_logps(model, pairs())[1] - wanted[1]).abs().max() > 1e-2  # hence the two rows


def test_a_window_longer_than_the_text_is_none():
    config = tiny("mistral", sliding_window=11).config
    assert reads_pairs(config, 11) and not reads_pairs(config, 12)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_layers_below_the_first_adapter_keep_nothing(checkpointing):
    settings = Model(lora=Lora(r=4, alpha=8, layers=1), checkpointing=checkpointing)
    model = adapt(tiny("llama"), settings).train()
    torch.nn.init.normal_(
        model.get_parameter(next(n for n, _ in model.named_parameters() if "lora_B" in n))
    )
    grown = []
    for layer in passes.unwrap(model).model.layers:
        layer.register_forward_hook(lambda m, args, out: grown.append(out.requires_grad))
    found = gradient(model, pair_logps(model, pairs(), prompt=True))
    assert grown[:2] == [False, True] and any(grad.any() for grad in found)
    same(found, gradient(model, expected(model)))
