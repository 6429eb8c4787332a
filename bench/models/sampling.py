"""Sample completions with any causal language model.

Shapes as in ``bench.models.passes``: B samples, P prompt columns, T completion columns, V words.
"""

import torch

from bench.models import graphed
from bench.models.draws import draw_token
from bench.models.passes import Samples, pad_left, positions


class NoDistribution(RuntimeError):
    """A policy's logits are NaN or infinite, so that no token can be drawn."""


@torch.no_grad()
def sample(
    model, tokenizer, prompts, length: int, draws=None, temperature=1.0, graph=False
) -> Samples:
    """Draw one completion of at most ``length`` tokens for each prompt.

    prompts: lists of token ids. draws: (length, B) numbers of ``uniforms``; None: take the
    likeliest tokens. graph: replay captured graphs on CUDA (``bench.models.graphed``). Raises
    NoDistribution if a log-prob is not finite.
    """
    model.eval()
    ids, prompt_mask = pad_left(prompts, tokenizer.pad_token_id, model.device)
    draw = graphed.draw if graph and ids.is_cuda else _drawn
    how = (length, draws, temperature)
    tokens, mask, logps, ended = draw(model, tokenizer, ids, prompt_mask, *how)
    if not logps.isfinite().all():
        raise NoDistribution("the policy's probabilities are not finite numbers")
    used = slice(0, int(mask.sum(1).max()))
    return Samples(ids, prompt_mask, tokens[:, used], mask[:, used], logps[:, used], ended)


def _drawn(model, tokenizer, ids, prompt_mask, length: int, draws, temperature):
    """Draw (tokens, mask, logps), each (B, length), and ended (B,), for prompts ``ids`` (B, P).

    A finished sample leaves the batch, so that nothing is computed after its EOS.
    """
    shape, live = (len(ids), length), torch.arange(len(ids), device=ids.device)
    tokens = torch.full(shape, tokenizer.pad_token_id, device=ids.device)
    mask, logps = torch.zeros_like(tokens), torch.zeros(shape, device=ids.device)
    ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    step, attention, cache = ids, prompt_mask, None
    for t in range(length):
        where = positions(attention)[:, -step.shape[1] :]
        out = model(
            input_ids=step,
            attention_mask=attention,
            position_ids=where,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache, luck = out.past_key_values, None if draws is None else draws[t, live]
        token, logp = draw_token(out.logits[:, -1].float(), luck, temperature)
        tokens[live, t], logps[live, t], mask[live, t] = token, logp, 1
        over = token == tokenizer.eos_token_id
        if over.any():
            ended[live[over]] = True
            live, token, attention = live[~over], token[~over], attention[~over]
            if not len(live):
                break
            cache.batch_select_indices((~over).nonzero()[:, 0])
        attention = torch.cat([attention, torch.ones_like(token)[:, None]], 1)
        step = token[:, None]
    return tokens, mask, logps, ended
