"""Estimate the memory of a job, in bytes, and find the setting with which it would fit.

Weights, gradients and optimiser are exact. Activations are what the layers of transformers 5 keep
for the backward pass, counted as in Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1), but
without dropout, with a gated MLP, with fused attention, which keeps no scores, and with norms in
float32. ``tests/estimate/test_estimate.py`` compares the count with a model. Not counted: the CUDA
context (0.5 GB), memory that the allocator cannot use, and libraries.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from bench.core import processes
from bench.methods import head_of, name_of
from bench.models.flops import Shape, adapters
from bench.models.loading import unwrap
from bench.training.batches import splits

SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}
WIDE = 4  # bytes of a float32: adapters, and the inputs of norms and losses
NF4 = 0.516  # bytes per 4-bit weight, quantisation constants included (Dettmers 2023, sec. 3)
# Bytes per logit, since several float32 copies of the logits exist at once (logits, log-softmax,
# gradients): in transformers' loss, in ours, in a pass without backward, in the KL of two models.
WHOLE, UPDATED, READ, COMPARED = 20, 12, 8, 20
ROOM = 0.95  # usable share of a device: the CUDA context and fragmentation take the rest
FAR = 3  # if a device has so many times the estimate, the estimate cannot explain the failure
GB = 1e9
SIDES = ("chosen", "rejected")
PAIRED = ("pair", "likelihood")  # heads of passes over prompt, chosen and rejected in one row


@dataclass(frozen=True)
class Case:
    """What the memory of a training depends on.

    model: the section of the settings; shape: sizes of the model without adapters; tied: whether
    its input and output embeddings are one; head: as in ``flops.training``, or ``rollout`` for PPO;
    prompt, answer, made: tokens of the longest prompt, answer and sample; rows: rows in a training
    pass, each of ``sequences`` sequences; read: rows in a pass without backward; batch: samples
    drawn at once in a rollout; curve: samples drawn at once for a point of the curve; watching:
    bytes of models that only measure the training; processes, config: the settings of ``launch``.
    """

    model: Any
    shape: Shape
    tied: bool
    head: str
    prompt: int
    answer: int
    made: int
    rows: int = 1
    sequences: int = 2
    read: int = 0
    batch: int = 0
    curve: int = 0
    watching: float = 0.0
    processes: int = 1
    config: str = "ddp"

    @property
    def size(self) -> int:
        """Return the bytes of one of the model's numbers."""
        return SIZES[self.model.dtype]

    @property
    def tokens(self) -> int:
        """Return the tokens of a training pass."""
        answers = len(SIDES) if self.head in PAIRED else 1
        return self.rows * self.sequences * (self.prompt + answers * self.answer)

    @property
    def trained(self) -> Shape:
        """Return the shape, with what the settings train of it: adapters or all weights."""
        return trained(self.shape, self.model)


def at_once(head: str, settings, micro_batch: int | None, n: int, count: int) -> dict[str, int]:
    """Return rows, sequences, read and batch of a ``Case`` by a method's settings on ``n`` pairs.

    count: processes. Raises UserError if they cannot share the batches equally.
    """
    if head != "rollout":
        batch = getattr(settings, "batch", 1)  # a user's own method need not have it
        rows = splits(batch, micro_batch, n, count)[0]
        return {"rows": rows} | ({"sequences": 1} if head in PAIRED else {})
    share, most = settings.batch // count, settings.micro_batch
    own = settings.minibatch // count
    return {"rows": min(most or own, own), "read": min(most or share, share), "batch": share}


def trained(shape: Shape, model) -> Shape:
    """Add to a bare shape what the settings ``model`` train: adapters or all weights."""
    if model.lora is None:
        return replace(shape, again=model.checkpointing)
    first = shape.layers - min(model.lora.layers or shape.layers, shape.layers)
    worn = {"rank": model.lora.r, "first": first, "full": False}
    return replace(shape, again=model.checkpointing, **worn)


# --- what is held -------------------------------------------------------------------------------


def parameters(shape: Shape, tied: bool, scorer: bool = False) -> tuple[int, int]:
    """Count (the weights in linear layers, which can be held in 4 bits; all other weights).

    The head of a scorer has one row; that of a language model one per word, or none if ``tied``.
    """
    linear = shape.layers * sum(i * o for i, o in shape.linear)
    head = shape.hidden if scorer else 0 if tied else shape.vocabulary * shape.hidden
    return linear, shape.vocabulary * shape.hidden + head + (2 * shape.layers + 1) * shape.hidden


def held(case: Case, scorer: bool = False) -> float:
    """Return the bytes of a model as loaded."""
    linear, others = parameters(case.shape, case.tied, scorer)
    return linear * (NF4 if case.model.quantise else case.size) + others * case.size


def adapter(case: Case) -> float:
    """Return the bytes of one set of adapters."""
    return WIDE * (case.shape.layers - case.trained.first) * adapters(case.trained)


def learning(case: Case, scorer: bool = False) -> float:
    """Return the bytes of a model, its gradients and Adam's two moments in one process.

    Trained weights are float32; passes in a smaller type cast them
    (``bench.models.loading.mixed``).
    """
    if case.model.lora:
        return held(case, scorer) + 4 * adapter(case)
    whole = WIDE * sum(parameters(case.shape, case.tied, scorer))
    shards = 1 if case.config == "ddp" else case.processes
    cast = held(case, scorer) if case.size < WIDE else 0
    return whole / (shards if case.config in ("fsdp", "zero3") else 1) + 3 * whole / shards + cast


def resident(case: Case) -> float:
    """Return the bytes held from start to end (PPO: four models, ``bench.methods.ppo.roles``)."""
    if case.head != "rollout":
        return learning(case, scorer=case.head == "scalar")
    if case.model.lora:  # the critic's adapter is trained, the reward model's is not
        return learning(case) + 5 * adapter(case)
    return learning(case) + learning(case, scorer=True) + held(case) + held(case, scorer=True)


# --- what a pass holds ----------------------------------------------------------------------------


def layer(case: Case) -> float:
    """Return the bytes that a layer keeps per token for the backward pass."""
    shape, size, lora = case.shape, case.size, case.model.lora
    queries, cast = shape.heads * shape.head_dim, case.size < WIDE
    norms = (2 if lora else 4) * WIDE * shape.hidden  # their input, and what their weight scales
    met = size * 3 * queries  # queries, keys and values as attention takes them
    gated = size * 3 * shape.intermediate
    if lora and cast:  # PEFT casts the input of each linear layer to float32, each time anew
        return norms + met + size * queries + gated + WIDE * sum(i for i, _ in shape.linear)
    each = 5 if cast else 2  # autocast keeps copies too, except of what already has the small type
    return norms + met + gated + size * (each * shape.hidden + queries + shape.intermediate)


def kept(case: Case) -> float:
    """Return the bytes that all layers with a gradient keep per token.

    With checkpointing: the input of each layer, and all of one layer at a time.
    """
    if case.trained.again:
        size = case.size if case.model.lora else WIDE
        return case.shape.layers * size * case.shape.hidden + layer(case)
    return (case.shape.layers - case.trained.first) * layer(case)


def training_pass(case: Case) -> float:
    """Return the bytes of a micro-batch's forward and backward pass."""
    words = case.shape.vocabulary
    if case.head == "rollout":
        each = (case.prompt + case.made) * kept(case) + case.made * UPDATED * words
        return case.rows * each
    tokens, answers = case.tokens, case.rows * len(SIDES) * case.answer
    logits = {
        "full": tokens * WHOLE * words,
        "scalar": 0,
        "answer": case.rows * case.answer * UPDATED * words,
        "pair": answers * UPDATED * words,
        "likelihood": tokens * UPDATED * words,
    }
    return tokens * kept(case) + logits[case.head]


def reading_pass(case: Case, rows: int, outputs: int, logit: int = READ) -> float:
    """Return the bytes of a pass without backward, over prompts and ``outputs`` further tokens.

    logit: bytes per logit; logits are made for the ``outputs`` tokens alone.
    """
    a_layer = case.size * (3 * case.shape.intermediate + 4 * case.shape.hidden)
    token = a_layer + WIDE * case.shape.hidden
    return rows * ((case.prompt + outputs) * token + outputs * logit * case.shape.vocabulary)


def cached(case: Case) -> float:
    """Return the bytes of a token's keys and values in the cache."""
    return 2 * case.size * case.shape.layers * case.shape.kv_heads * case.shape.head_dim


def sampling_pass(case: Case, rows: int) -> float:
    """Return the bytes of sampling: a pass over the prompts, or the full cache at the end."""
    return max(reading_pass(case, rows, 0), rows * (case.prompt + case.made) * cached(case))


def own(case: Case) -> float:
    """Return a training's peak, as ``peak_mb`` in run.json: without models that measure it."""
    largest = training_pass(case)
    if case.head == "rollout":
        drawn = sampling_pass(case, case.batch)
        largest = max(largest, drawn, reading_pass(case, case.read, case.made))
    return resident(case) + largest


def looking(case: Case) -> float:
    """Return the peak while a point of the curve is measured, without the models that measure."""
    return resident(case) + measuring(case, case.curve)


def measuring(case: Case, rows: int) -> float:
    """Return the bytes of sampling ``rows`` answers and of their KL from the SFT base."""
    from bench.evaluation.samples import rows_at_once

    read = min(rows, rows_at_once(case.made, case.shape.vocabulary))
    return max(sampling_pass(case, rows), reading_pass(case, read, case.made, COMPARED))


def needed(case: Case) -> float:
    """Return the peak of all that a training has on its device, models that measure included."""
    return case.watching + max(own(case), looking(case))


# --- what would fit -------------------------------------------------------------------------------


def advice(case: Case, section: str, there: float, failed: bool = False) -> str:
    """Say what a training needs, what the device has, and the least change that would make it fit.

    section: the section that sets micro_batch; there: bytes of the device; failed: whether it ran
    out of memory, in which case an estimate below ``there`` was too low, and so the estimates of
    the changes are raised by the same factor.
    """
    asked = needed(case)
    wrong = max(1.0, there / asked) if failed else 1.0
    if wrong > FAR:
        held = f"{asked / GB:.2g} of the device's {there / GB:.3g} GB"
        return f"by the estimate it needs only {held}: check what else uses the memory"
    found = f"it needs about {asked * wrong / GB:.3g} GB, the device has {there / GB:.3g} GB; "
    for settings, other in remedies(case, section):
        if needed(other) * wrong <= ROOM * there:
            return found + f"with {settings} it needs about {needed(other) * wrong / GB:.3g} GB"
    tried = "micro_batch, checkpointing, lora, quantise or launch.config"
    return found + f"no {tried} makes it fit: use a device with more memory"


def advice_after(method, run, config: str) -> str:
    """Give ``advice`` on a ``bench.training.run.Run`` that ran out of memory.

    method: its module; config: the setting `launch.config`.
    """
    case = case_of(method, run, config)
    section = name_of(method) if case.head == "rollout" else "model"
    return advice(case, section, device_bytes(unwrap(run.policy).device), failed=True)


def case_of(method, run, config: str) -> Case:
    """Return the ``Case`` of a run; arguments as in ``advice_after``."""
    from bench.models.tokens import completion_ids, prompt_ids

    policy, head = unwrap(run.policy), head_of(method)
    count, n = processes.count(), len(run.pairs)
    prompts = [prompt_ids(run.tokenizer, pair["prompt"]) for pair in run.pairs]
    answers = [completion_ids(run.tokenizer, pair[side]) for pair in run.pairs for side in SIDES]
    return Case(
        run.model,
        replace(Shape.of(policy), rank=0, first=0, full=True, again=False),
        policy.config.tie_word_embeddings,
        head,
        prompt=max(map(len, prompts)),
        answer=max(map(len, answers)),
        made=run.decode.max_new_tokens,
        curve=run.monitor.measure.batch,
        watching=run.ledger.memory.watched_bytes,
        processes=count,
        config=config,
        **at_once(head, run.settings, run.micro_batch, n, count),
    )


def device_bytes(device) -> int:
    """Return the memory of a torch device: of the GPU, else of this machine."""
    import psutil
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return psutil.virtual_memory().total


def remedies(case: Case, section: str) -> Iterator[tuple[str, Case]]:
    """Yield (settings to change, the case with them), the least change first."""
    for changed, model in changes(case.model):
        rows = case.rows
        while rows:
            smaller = [f"{section}.micro_batch={rows}"] if rows < case.rows else []
            other = replace(case, model=model, rows=rows, read=min(rows, case.read))
            if changed or smaller:
                yield " ".join(changed + smaller), other
            rows //= 2
    if case.head != "rollout" and not case.model.lora:
        for n in (2, 4, 8):
            shards = f"launch.processes={n} launch.config=fsdp"
            yield shards, replace(case, processes=n, config="fsdp", rows=max(1, case.rows // n))


def changes(model) -> Iterator[tuple[list[str], Any]]:
    """Yield (settings to change, ``model`` with them), each in addition to those before."""
    from bench.settings.sections import Lora

    said: list[str] = []
    yield said, model
    wanted = {
        "checkpointing=true": ("checkpointing", True, not model.checkpointing),
        "lora.r=16": ("lora", Lora(), model.lora is None),
        "quantise=nf4": ("quantise", "nf4", not model.quantise and model.dtype == "bfloat16"),
    }
    for text, (key, value, lacking) in wanted.items():
        if lacking:
            said, model = [*said, f"model.{text}"], model.model_copy(update={key: value})
            yield said, model
