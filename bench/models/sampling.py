"""Sample completions with any causal language model.

Shapes as in ``bench.models.passes``: B samples, P prompt columns, T completion columns, V words.
"""

import torch

from bench.core import processes
from bench.models.passes import Samples, pad_left, positions


class Draws:
    """Draws uniform numbers for a batch whose rows are divided among processes (``own_rows``).

    Every process draws the numbers of the whole batch and takes those of its own rows, so that no
    draw depends on the number of processes. generator: must be in the same state in all processes.
    """

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def rand(self, n: int) -> tuple[torch.Tensor, bool]:
        """Draw (n, 1) numbers for this process's unfinished rows; also returns whether any process
        has unfinished rows."""
        running = processes.gathered(n)
        start = sum(running[: processes.rank()])
        device, kind = self.generator.device, torch.float64
        whole = torch.rand(sum(running), 1, generator=self.generator, device=device, dtype=kind)
        return whole[start : start + n], any(running)

    def idle(self, steps: int) -> None:
        """Take part in other processes' draws until their rows end, at most ``steps`` times."""
        while steps and self.rand(0)[1]:
            steps -= 1


class NoDistribution(RuntimeError):
    """A policy's logits are NaN or infinite, so that no token can be drawn."""


@torch.no_grad()
def sample(
    model, tokenizer, prompts: list[list[int]], length: int, temperature=1.0, generator=None
):
    """Draw one completion of at most ``length`` tokens for each prompt; returns ``Samples``.

    prompts: token ids. temperature: 0 is greedy. generator: torch's, or ``Draws`` if the prompts
    are one process's share of a batch. A finished sample leaves the batch, so that nothing is
    computed after its EOS. Raises NoDistribution if a log-prob is not finite.
    """
    model.eval()
    ids, prompt_mask = pad_left(prompts, tokenizer.pad_token_id, model.device)
    shape, live = (len(prompts), length), torch.arange(len(prompts), device=ids.device)
    tokens = torch.full(shape, tokenizer.pad_token_id, device=ids.device)
    mask, logps = torch.zeros_like(tokens), torch.zeros(shape, device=ids.device)
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=ids.device)
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
        cache = out.past_key_values
        token, logp = _draw(out.logits[:, -1].float(), temperature, generator)
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
    if isinstance(generator, Draws):
        generator.idle(length - t - 1)
    if not logps.isfinite().all():
        raise NoDistribution("the policy's probabilities are not finite numbers")
    used = slice(0, t + 1)
    return Samples(ids, prompt_mask, tokens[:, used], mask[:, used], logps[:, used], ended)


def _draw(logits, temperature, generator):
    """Draw one token (B,) for each row of ``logits`` (B, V); also returns log-probs at
    temperature 1."""
    logps = logits.log_softmax(-1)
    if temperature == 0:
        token = logits.argmax(-1)
    else:  # by inverting the distribution function; torch.multinomial takes ten times as long
        cdf = (logits / temperature).softmax(-1).double().cumsum(-1)
        uniform = uniforms(len(cdf), generator, cdf.device)
        token = torch.searchsorted(cdf, uniform * cdf[:, -1:], right=True)[:, 0]
        token = token.clamp(max=cdf.shape[1] - 1)  # a NaN cdf gives an index past the vocabulary
    return token, logps.gather(1, token[:, None])[:, 0]


def uniforms(n: int, generator, device) -> torch.Tensor:
    """Draw (n, 1) numbers in [0, 1)."""
    if isinstance(generator, Draws):
        return generator.rand(n)[0]
    return torch.rand(n, 1, generator=generator, device=device, dtype=torch.float64)
