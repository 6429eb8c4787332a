"""Sample with tensors of fixed shape, so that on CUDA a pass is one replay of a captured graph.

A decoding step of a small model takes far longer to launch than to compute: on an H100 those of
SmolLM2-135M take 26 to 51 ms at any batch, and 4 ms captured. A graph repeats the same kernels at
the same addresses. So keys and values lie in a static cache, rows that have ended go on with
padding, and weights must be changed in place, as optimisers do: one capture then serves a run. It
keeps the adapter that was active.

Shapes: B samples, P prompt columns, T completion columns.
"""

from weakref import WeakKeyDictionary

import torch
from torch.nn.functional import pad
from transformers.cache_utils import Cache, StaticCache, StaticLayer, StaticSlidingWindowLayer

from bench.core.schema import UserError
from bench.models.draws import draw_token
from bench.models.loading import unwrap
from bench.models.passes import positions

COLUMNS = 16  # prompts are padded to a multiple of it, so that slightly wider ones fit as well
PATIENCE = 8  # steps between two looks at whether all rows have ended; a look waits for the GPU
REMEDY = "set launch.cuda_graph=false"


def draw(model, tokenizer, ids, prompt_mask, length: int, draws, temperature):
    """Draw (tokens, mask, logps), each (B, length), and ended (B,), for prompts ``ids`` (B, P).

    Gives what the plain loop of ``bench.models.sampling`` gives for the same ``draws``. Raises
    UserError if the model's steps cannot be captured.
    """
    decoder = decoder_of(model, tokenizer, ids.shape, length, draws is None)
    parts = []
    for rows in torch.arange(len(ids), device=ids.device).split(decoder.rows):
        luck = None if draws is None else draws[:, rows]
        parts.append(decoder.decode(model, ids[rows], prompt_mask[rows], luck, temperature))
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


DECODERS: WeakKeyDictionary = WeakKeyDictionary()  # {model: its decoder}


def decoder_of(model, tokenizer, shape, length: int, greedy: bool) -> "Decoder":
    """Return the model's decoder; makes one if there is none that fits prompts of ``shape`` (B, P).

    Its rows are those of the first batch: smaller ones are filled up, larger ones cut.
    """
    old, (rows, width) = DECODERS.get(model), shape
    if old and old.fits(model, width, length, greedy):
        return old
    if old:
        rows, width = max(rows, old.rows), max(width, old.width)
        del DECODERS[model], old  # free its memory before more is taken
    columns = -(-width // COLUMNS) * COLUMNS
    DECODERS[model] = Decoder(model, tokenizer, (rows, columns), length, greedy)
    return DECODERS[model]


class Decoder:
    """Answers up to ``rows`` prompts of up to ``width`` tokens with ``length`` tokens.

    Holds the static cache and the captured passes of a model, but not the model itself: it would
    never be freed (``DECODERS``).
    """

    def __init__(self, model, tokenizer, shape: tuple[int, int], length: int, greedy: bool):
        (self.rows, self.width), self.length, device = shape, length, model.device
        self.pad, self.eos = tokenizer.pad_token_id, tokenizer.eos_token_id
        self.weights, self.graphs = addresses(model), {}
        self.cache = static_cache(model, self.width + length)
        self.columns = torch.arange(self.width + length, device=device)
        self.prompts = torch.zeros(shape, dtype=torch.long, device=device)
        self.attention = torch.ones((self.rows, len(self.columns)), dtype=torch.bool, device=device)
        table = (self.rows, length)
        self.draws = None if greedy else torch.zeros(table[::-1], dtype=torch.double, device=device)
        self.temperature = torch.ones((), device=device)
        self.column = torch.zeros(1, dtype=torch.long, device=device)  # to draw next
        self.position, self.token = (self.prompts[:, :1].clone() for _ in range(2))
        self.tokens = torch.zeros(table, dtype=torch.long, device=device)
        self.mask, self.logps = torch.zeros_like(self.tokens), torch.zeros(table, device=device)
        self.over = torch.zeros(self.rows, dtype=torch.bool, device=device)

    def fits(self, model, width: int, length: int, greedy: bool) -> bool:
        """Tell whether prompts of ``width`` tokens fit, and the weights lie where they lay."""
        asked = (length, greedy, addresses(model))
        return (self.length, self.draws is None, self.weights) == asked and width <= self.width

    def decode(self, model, ids, prompt_mask, draws, temperature):
        """Answer at most ``rows`` prompts; arguments and result as of ``draw``."""
        again = torch.arange(self.rows, device=ids.device) % len(ids)  # fills up with the same rows
        left = (self.width - ids.shape[1], 0)
        self.prompts.copy_(pad(ids, left, value=self.pad)[again])
        self.attention[:, : self.width] = pad(prompt_mask, left)[again].bool()
        self.temperature.fill_(temperature)
        if draws is not None:
            self.draws.copy_(draws[:, again])
        if not self.graphs:
            self.capture(model)
        self.take("begin", model)
        for step in range(1, self.length):
            if step % PATIENCE == 0 and self.over.all():
                break
            self.take("step", model)
        found = self.tokens, self.mask, self.logps, self.over
        return tuple(column[: len(ids)].clone() for column in found)

    def take(self, name: str, model) -> None:
        """Take a pass, ``begin`` or ``step``: replay its graph if there is one."""
        self.graphs[name].replay() if name in self.graphs else getattr(self, name)(model)

    def begin(self, model) -> None:
        """Pass the prompts through the model, and draw the first token of each row."""
        self.cache.reset()
        for buffer in (self.column, self.mask, self.logps, self.over):
            buffer.zero_()
        self.tokens.fill_(self.pad)
        where = positions(self.attention[:, : self.width])
        self.position.copy_(where[:, -1:])
        self.forward(model, self.prompts, self.columns[: self.width], where)

    def step(self, model) -> None:
        """Pass the last token of each row through the model, and draw the next."""
        self.forward(model, self.token, self.column + self.width - 1, self.position)

    def forward(self, model, ids, at, where) -> None:
        """Pass ``ids`` (rows, n) in the cache's columns ``at`` (n,), at positions ``where``.

        Each sees what stands before it and is no padding, and itself: padding must see something.
        """
        before, itself = self.columns <= at[:, None], self.columns == at[:, None]
        out = model(
            input_ids=ids,
            attention_mask=before & self.attention[:, None, None] | itself,
            position_ids=where,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        luck = None if self.draws is None else self.draws.index_select(0, self.column)[0]
        self.note(*draw_token(out.logits[:, -1].float(), luck, self.temperature))

    def note(self, token, logp) -> None:
        """Write the drawn tokens and their log-probs, each (rows,), where rows have not ended."""
        token, logp = token.masked_fill(self.over, self.pad), logp.masked_fill(self.over, 0)
        live = (~self.over).long()
        for table, drawn in ((self.tokens, token), (self.mask, live), (self.logps, logp)):
            table.index_copy_(1, self.column, drawn[:, None])
        self.over.logical_or_(token == self.eos)
        self.token.copy_(token[:, None])
        self.position += 1
        self.column += 1

    @property
    def passes(self) -> list[str]:
        """The passes that an answer takes, in their order."""
        return ["begin", "step"] if self.length > 1 else ["begin"]

    def capture(self, model) -> None:
        """Capture the passes in CUDA graphs, after runs on another stream, as PyTorch asks for.

        On a CPU, where only tests sample so, there is nothing to capture.
        """
        if model.device.type != "cuda":
            return
        self.begin(model)  # the cache is allocated here: it belongs to the usual stream
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for name in self.passes * 2:
                getattr(self, name)(model)
        torch.cuda.current_stream().wait_stream(aside)
        self.graphs = {name: captured(getattr(self, name), model) for name in self.passes}


def captured(run, model) -> torch.cuda.CUDAGraph:
    """Capture ``run(model)``; raises UserError if it waits for the GPU or has changing shapes."""
    graph = torch.cuda.CUDAGraph()
    try:  # another thread (a data loader's) may use the GPU meanwhile
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            run(model)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise refusal(model, str(error).partition("\n")[0]) from error
    return graph


def addresses(model) -> list[int]:
    """List where the model's weights lie: a graph goes on to read them there."""
    return [weight.data_ptr() for weight in model.parameters()]


class Layer(StaticLayer):
    """Keeps values in a dtype of their own: under autocast keys are float32 and values are not."""

    def lazy_initialization(self, key_states, value_states) -> None:
        super().lazy_initialization(key_states, value_states)
        self.values = self.values.to(value_states.dtype)


def static_cache(model, columns: int):
    """Return an empty cache of ``columns`` tokens; raises UserError if the model cannot use one.

    A layer that attends to a window of tokens gets one too if the window holds all ``columns``.
    """
    inner, plain = unwrap(model), (StaticLayer, StaticSlidingWindowLayer)
    if not inner._can_compile_fullgraph or inner.config._attn_implementation != "sdpa":
        raise refusal(model, "its shapes depend on data, or its attention is not PyTorch's")
    layers = StaticCache(config=inner.config, max_cache_len=columns).layers
    if any(type(layer) not in plain or layer.max_cache_len < columns for layer in layers):
        raise refusal(model, f"a layer does not attend to all {columns} tokens")
    return Cache(layers=[Layer(columns) for _ in layers])


def refusal(model, reason: str) -> UserError:
    kind = type(unwrap(model)).__name__
    return UserError(f"launch.cuda_graph cannot capture {kind} ({reason}): {REMEDY}")
