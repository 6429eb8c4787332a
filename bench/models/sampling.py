"""Sample completions and score tokens with any causal language model.

Prompts are padded on the left and completions on the right, so that all completions of a batch
start in the same column. Shapes: B samples, P prompt columns, T completion columns, V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from bench.core import processes
from bench.models.loading import unwrap


@dataclass
class Samples:
    """A batch of sampled completions.

    prompts (B, P), completions (B, T): token ids.
    prompt_mask (B, P), mask (B, T): 1 on real tokens, EOS included, and 0 on padding.
    logps (B, T): log-prob of each token when it was drawn.
    ended (B,): True if the completion ends with EOS.
    hidden (B, P + T, width): hidden states that replace the ids as the model's input, if given.
    """

    prompts: torch.Tensor
    prompt_mask: torch.Tensor
    completions: torch.Tensor
    mask: torch.Tensor
    logps: torch.Tensor
    ended: torch.Tensor
    hidden: torch.Tensor | None = None

    @property
    def ids(self) -> torch.Tensor:
        """(B, P + T) prompt and completion."""
        return torch.cat([self.prompts, self.completions], 1)

    @property
    def attention(self) -> torch.Tensor:
        """(B, P + T) mask of prompt and completion."""
        return torch.cat([self.prompt_mask, self.mask], 1)

    def __getitem__(self, rows) -> "Samples":
        kept = {k: v[rows] for k, v in vars(self).items() if v is not None}
        return Samples(**kept)

    def batches(self, size: int | None) -> tuple[torch.Tensor, ...]:
        """Split row indices into batches of at most ``size`` rows of similar length; None: one."""
        order = self.attention.sum(1).argsort(stable=True)
        return order.split(size or len(order))

    def trimmed(self) -> "Samples":
        """Drop the columns that are padding in every row."""
        p, t = int(self.prompt_mask.sum(1).max()), int(self.mask.sum(1).max())
        start = self.prompts.shape[1] - p
        left, right, both = slice(start, None), slice(0, t), slice(start, start + p + t)
        return Samples(
            self.prompts[:, left],
            self.prompt_mask[:, left],
            self.completions[:, right],
            self.mask[:, right],
            self.logps[:, right],
            self.ended,
            None if self.hidden is None else self.hidden[:, both],
        )

    def rows(self) -> list[list[int]]:
        """List each sample's completion token ids, without padding."""
        return [c[m.bool()].tolist() for c, m in zip(self.completions, self.mask, strict=True)]


def pad_left(rows: list[list[int]], pad: int, device) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad rows of token ids on the left; returns (ids, mask), each (B, P)."""
    width = max(map(len, rows))
    ids = [[pad] * (width - len(row)) + row for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def positions(attention: torch.Tensor) -> torch.Tensor:
    """Return the (B, L) position of each token, counted from 0 at the first real one."""
    return (attention.cumsum(1) - 1).clamp(min=0)


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


def _inputs(samples: Samples) -> dict:
    """Return the arguments of a forward pass over prompt and completion."""
    hidden = samples.hidden
    what = {"input_ids": samples.ids} if hidden is None else {"inputs_embeds": hidden}
    where = positions(samples.attention)
    rest = {"attention_mask": samples.attention, "position_ids": where, "use_cache": False}
    return what | rest


def completion_logits(model, samples: Samples) -> torch.Tensor:
    """Compute the (B, T, V) logits from which the completion tokens were drawn."""
    start, width = samples.prompts.shape[1] - 1, samples.completions.shape[1]
    columns = torch.arange(start, start + width, device=samples.prompts.device)
    return model(**_inputs(samples), logits_to_keep=columns).logits.float()


def token_logps(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Compute the (B, T) log-probs of ``tokens`` (B, T) under ``logits`` (B, T, V)."""
    losses = cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
    return -losses.view(tokens.shape)


def completion_logps(model, samples: Samples) -> torch.Tensor:
    """Compute the (B, T) log-probs of the completion tokens, 0 on padding."""
    logps = token_logps(completion_logits(model, samples), samples.completions)
    return logps * samples.mask


def last_hidden(trunk, samples: Samples) -> torch.Tensor:
    """Compute the (B, P + T, width) last hidden states of a model without its head."""
    return trunk(**_inputs(samples)).last_hidden_state


def head_scores(head, hidden: torch.Tensor, samples: Samples) -> torch.Tensor:
    """Apply a scalar head at the last prompt token and at each completion token: (B, T + 1)."""
    return head(hidden[:, -samples.completions.shape[1] - 1 :])[..., 0].float()


def token_scores(scorer, samples: Samples) -> torch.Tensor:
    """Score the last prompt token and each completion token: (B, T + 1)."""
    inner = unwrap(scorer)
    return head_scores(inner.score, last_hidden(inner.model, samples), samples)


@torch.no_grad()
def sequence_scores(scorer, samples: Samples) -> torch.Tensor:
    """Score each sample at its last token: (B,)."""
    last = samples.mask.sum(1, keepdim=True)
    return token_scores(scorer, samples).gather(1, last)[:, 0]


def forced(tokenizer, prompts: list[list[int]], completions: list[list[int]], device) -> Samples:
    """Put given token ids into ``Samples``, with log-probs 0 and all samples ended."""
    ids, mask = pad_left(prompts, tokenizer.pad_token_id, device)
    width = max(map(len, completions))
    rows = [c + [tokenizer.pad_token_id] * (width - len(c)) for c in completions]
    kept = [[1] * len(c) + [0] * (width - len(c)) for c in completions]
    tokens, kept = torch.tensor(rows, device=device), torch.tensor(kept, device=device)
    ended = torch.ones(len(rows), dtype=torch.bool, device=device)
    return Samples(ids, mask, tokens, kept, torch.zeros_like(kept, dtype=torch.float), ended)
