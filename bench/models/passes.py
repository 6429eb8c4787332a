"""Run causal language models over prompts and answers: logits, log-probs and scores of tokens.

Prompts are padded on the left and completions on the right, so that all completions of a batch
start in the same column. Shapes: B rows, P prompt columns, T completion columns, L = P + T, V
vocabulary.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from bench.models.loading import unwrap
from bench.models.tokens import completion_ids, prompt_ids

SIDES = ("chosen", "rejected")
PARTS = ("prompt_ids", "chosen_ids", "rejected_ids")  # of a pair, as token ids
# Models whose tokens meet in attention alone, by position ids and the mask that they are given.
PLAIN_ATTENTION = ("llama", "mistral", "qwen2", "qwen3", "gemma", "phi3", "olmo2")


@dataclass
class Rows:
    """A batch of prompts with a completion each.

    prompts (B, P), completions (B, T): token ids.
    prompt_mask (B, P), mask (B, T): 1 on real tokens, EOS included, and 0 on padding.
    """

    prompts: torch.Tensor
    prompt_mask: torch.Tensor
    completions: torch.Tensor
    mask: torch.Tensor

    @property
    def ids(self) -> torch.Tensor:
        """(B, L) prompt and completion."""
        return torch.cat([self.prompts, self.completions], 1)

    @property
    def attention(self) -> torch.Tensor:
        """(B, L) mask of prompt and completion."""
        return torch.cat([self.prompt_mask, self.mask], 1)

    @property
    def positions(self) -> torch.Tensor:
        """(B, L) position of each token in its sequence."""
        return positions(self.attention)

    @property
    def sources(self) -> torch.Tensor:
        """(T,) column from whose logits each column of completions is drawn."""
        start, width = self.prompts.shape[1] - 1, self.completions.shape[1]
        return torch.arange(start, start + width, device=self.prompts.device)

    def targets(self, prompt: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (columns, tokens, mask) of what is predicted: (N,), (B, N), (B, N).

        Columns are those from whose logits the tokens are drawn. prompt: whether to predict the
        prompts too, but for their first tokens.
        """
        head, real = self.prompts.shape[1] - 1 if prompt else 0, self.prompt_mask
        columns = torch.arange(head, device=real.device)
        tokens, follows = self.prompts[:, 1 : head + 1], real[:, 1 : head + 1] * real[:, :head]
        both = ((tokens, self.completions), (follows, self.mask))
        return torch.cat([columns, self.sources]), *(torch.cat(parts, 1) for parts in both)

    def inputs(self, eager: bool = False) -> dict:
        """Return the arguments of a forward pass; eager: for a model with eager attention."""
        rest = {"position_ids": self.positions, "use_cache": False}
        return {"input_ids": self.ids, "attention_mask": self.attention} | rest


@dataclass
class Samples(Rows):
    """A batch of sampled completions.

    logps (B, T): log-prob of each token when it was drawn.
    ended (B,): True if the completion ends with EOS.
    hidden (B, L, width): hidden states that replace the ids as the model's input, if given.
    """

    logps: torch.Tensor
    ended: torch.Tensor
    hidden: torch.Tensor | None = None

    def inputs(self, eager: bool = False) -> dict:
        given = {} if self.hidden is None else {"input_ids": None, "inputs_embeds": self.hidden}
        return super().inputs() | given

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


@dataclass
class Pairs(Rows):
    """A batch of prompts with two answers each, in one row: prompt | first | second.

    Neither answer sees the other, and both continue the prompt, which is read once. Each answer is
    padded on the right in its own columns; second: column of ``completions`` where the second
    answer begins.
    """

    second: int

    @property
    def positions(self) -> torch.Tensor:
        """(B, L) position of each token in its own sequence of prompt and answer."""
        before, own = self.prompt_mask.sum(1, keepdim=True), self.mask.split(self.widths, 1)
        answers = [before + positions(mask) for mask in own]
        return torch.cat([positions(self.prompt_mask), *answers], 1)

    @property
    def sources(self) -> torch.Tensor:
        columns = super().sources
        columns[self.second] = self.prompts.shape[1] - 1
        return columns

    @property
    def widths(self) -> list[int]:
        """Return the columns of the first answers and those of the second."""
        return [self.second, self.completions.shape[1] - self.second]

    def inputs(self, eager: bool = False) -> dict:
        mask = self.seen()
        added = torch.where(mask, 0.0, -torch.inf) if eager else mask  # eager adds it to scores
        return super().inputs() | {"attention_mask": added}

    def seen(self) -> torch.Tensor:
        """(B, 1, L, L) True where a query sees a key: real tokens up to itself, of its sequence.

        Padding sees itself, so that its softmax is no 0 / 0.
        """
        attention, start = self.attention.bool(), self.prompts.shape[1]
        width, second = attention.shape[1], start + self.second
        causal = torch.ones(width, width, dtype=torch.bool, device=attention.device).tril()
        causal[second:, start:second] = False
        itself = torch.eye(width, dtype=torch.bool, device=attention.device)
        return causal & attention[:, None, None] | itself

    def apart(self) -> Rows:
        """Return the pairs as 2B ordinary rows: all first answers, then all second ones."""
        answers = self.completions.split(self.widths, 1), self.mask.split(self.widths, 1)
        longest = max(self.widths)
        completions, mask = (
            torch.cat([torch.nn.functional.pad(x, (0, longest - x.shape[1])) for x in both])
            for both in answers
        )
        return Rows(self.prompts.repeat(2, 1), self.prompt_mask.repeat(2, 1), completions, mask)

    def parts(self, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Split values of ``targets`` into those of prompts, first answers and second answers.

        values: (B, N) of the pairs' rows, or (2B, N) of ``apart``.
        """
        if len(values) == len(self.mask):
            return values.split([values.shape[1] - sum(self.widths), *self.widths], 1)
        head, (first, second) = values.shape[1] - max(self.widths), values.chunk(2)
        return first[:, :head], first[:, head:], second[:, head:]


def reads_pairs(config, longest: int) -> bool:
    """True if a model of this ``config`` can read a pair in one row, since it heeds any mask.

    longest: tokens of the prompt with the longer answer. Other models attend in windows or keep a
    running state, which would run over both answers.
    """
    window = getattr(config, "sliding_window", None)
    heeds = config._attn_implementation in ("sdpa", "eager")
    return config.model_type in PLAIN_ATTENTION and heeds and longest <= (window or longest)


def pad_left(rows: list[list[int]], pad: int, device) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad rows of token ids on the left; returns (ids, mask), each (B, P)."""
    width = max(map(len, rows))
    ids = [[pad] * (width - len(row)) + row for row in rows]
    mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def pad_right(rows: list[list[int]], pad: int, device) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad rows of token ids on the right; returns (ids, mask), each (B, T)."""
    width = max(map(len, rows))
    ids = [row + [pad] * (width - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def positions(attention: torch.Tensor) -> torch.Tensor:
    """Return the (B, L) position of each token, counted from 0 at the first real one."""
    return (attention.cumsum(1) - 1).clamp(min=0)


def forced(tokenizer, prompts: list[list[int]], completions: list[list[int]], device) -> Samples:
    """Put given token ids into ``Samples``, with log-probs 0 and all samples ended."""
    ids, mask = pad_left(prompts, tokenizer.pad_token_id, device)
    tokens, kept = pad_right(completions, tokenizer.pad_token_id, device)
    ended = torch.ones(len(tokens), dtype=torch.bool, device=device)
    return Samples(ids, mask, tokens, kept, torch.zeros_like(kept, dtype=torch.float), ended)


def tokenised(tokenizer, pairs: list[dict], *sides: str) -> list[dict]:
    """Return a row of token ids for each pair, with the keys PARTS; sides: columns of answers."""
    rows = []
    for pair in pairs:
        answers = (completion_ids(tokenizer, pair[side]) for side in sides or SIDES)
        ids = prompt_ids(tokenizer, pair["prompt"]), *answers
        rows.append(dict(zip(PARTS, ids, strict=True)))
    return rows


def paired(rows: list[dict], pad: int, device="cpu") -> Pairs:
    """Put rows of token ids, with the keys PARTS, into ``Pairs``; pad: id of the padding."""
    prompts, *answers = ([row[part] for row in rows] for part in PARTS)
    first, second = (pad_right(ids, pad, device) for ids in answers)
    ids, mask = (torch.cat(both, 1) for both in zip(first, second, strict=True))
    return Pairs(*pad_left(prompts, pad, device), ids, mask, first[0].shape[1])


# --- log-probs ------------------------------------------------------------------------------------


def completion_logits(model, rows: Rows) -> torch.Tensor:
    """Compute the (B, T, V) logits from which the completion tokens were drawn."""
    return model(**rows.inputs(), logits_to_keep=rows.sources).logits.float()


def token_logps(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Compute the (B, T) log-probs of ``tokens`` (B, T) under ``logits`` (B, T, V)."""
    losses = cross_entropy(logits.flatten(0, 1), tokens.flatten(), reduction="none")
    return -losses.view(tokens.shape)


def completion_logps(model, rows: Rows) -> torch.Tensor:
    """Compute the (B, T) log-probs of the completion tokens, 0 on padding."""
    return token_logps(completion_logits(model, rows), rows.completions) * rows.mask


def pair_logps(model, pairs: Pairs, prompt: bool = False) -> tuple[torch.Tensor, ...]:
    """Compute the log-probs of (prompts, first answers, second answers), each (B,).

    prompt: whether to compute the prompts', which leave out a prompt's first token; else they are
    0. If the model cannot read a pair as one row, it reads two. It may be wrapped by PEFT, DDP,
    FSDP or DeepSpeed.
    """
    config = unwrap(getattr(model, "module", model)).config
    joint = reads_pairs(config, pairs.prompts.shape[1] + max(pairs.widths))
    rows = pairs if joint else pairs.apart()
    columns, tokens, mask = rows.targets(prompt)
    inputs = rows.inputs(eager=config._attn_implementation == "eager")
    logits = model(**inputs, logits_to_keep=columns).logits.float()
    logps = token_logps(logits, tokens) * mask
    return tuple(part.sum(1) for part in pairs.parts(logps))


# --- scores ---------------------------------------------------------------------------------------


def last_hidden(trunk, rows: Rows) -> torch.Tensor:
    """Compute the (B, L, width) last hidden states of a model without its head."""
    return trunk(**rows.inputs()).last_hidden_state


def head_scores(head, hidden: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Apply a scalar head at the last prompt token and at each completion token: (B, T + 1)."""
    return head(hidden[:, -rows.completions.shape[1] - 1 :])[..., 0].float()


def token_scores(scorer, rows: Rows) -> torch.Tensor:
    """Score the last prompt token and each completion token: (B, T + 1)."""
    inner = unwrap(scorer)
    return head_scores(inner.score, last_hidden(inner.model, rows), rows)


@torch.no_grad()
def sequence_scores(scorer, rows: Rows) -> torch.Tensor:
    """Score each completion at its last token, or by its text if the scorer reads texts: (B,)."""
    if hasattr(scorer, "of_samples"):
        return scorer.of_samples(rows)
    last = rows.mask.sum(1, keepdim=True)
    return token_scores(scorer, rows).gather(1, last)[:, 0]
