"""Memory that a job needs, in bytes, and the setting with which one that ran out of it would fit.

Weights, gradients and optimiser are exact. Activations are what the layers of transformers 5 keep
for backward, counted as Korthikanti et al. 2022 (2205.05198, section 4.1) do, without dropout, with
a gated MLP, a fused attention that keeps no scores, and norms that compute in float32
(``tests/estimate/test_estimate.py`` counts the same on a model). Not here: the CUDA context (0.5
GB), what the allocator cannot use, and libraries.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from bench.core import processes
from bench.methods import name_of
from bench.models.flops import Shape, adapters
from bench.models.loading import unwrap
from bench.training.batches import splits

SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}
WIDE = 4  # adapters, and what norms and losses are computed from, are float32
NF4 = 0.516  # bytes of a weight with its doubly quantised constants (Dettmers et al. 2023, sec. 3)
# Bytes of a logit where several float32 copies of a whole tensor live at once (logits, log-softmax,
# gradients): in TRL's ORPO, in PPO's update, where they are only read, in the KL of two models.
WHOLE, UPDATED, READ, COMPARED = 20, 12, 8, 20
# TRL's fused head makes logits in tiles of so many tokens and words; without a GPU's kernel its
# backward holds eight float32 copies of one.
TILE, COPIES = (4096, 32768), 32
ROOM = 0.95  # of a device: the rest is the CUDA context and what the allocator cannot use
FAR = 3  # times an estimate, beyond which it explains no failure
GB = 1e9
SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class Case:
    """A training as far as its memory depends on it.

    model: that section of the settings; shape: of the model without adapters; tied: whether its two
    embeddings are one; head: as in ``flops.training``, or ``rollout`` for PPO; prompt, answer,
    made: tokens of the longest prompt, answer and sample; rows: in a pass, of ``sequences`` each;
    read: rows in a pass without backward; batch: samples drawn at once, and curve: those on the
    way; watching: bytes of models that only look on; tiled: whether there is a GPU; processes,
    config: of ``launch``.
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
    tiled: bool = True
    processes: int = 1
    config: str = "ddp"

    @property
    def size(self) -> int:
        """Bytes of a number of the model."""
        return SIZES[self.model.dtype]

    @property
    def trained(self) -> Shape:
        return trained(self.shape, self.model)


def at_once(head: str, settings, micro_batch: int | None, n: int, count: int) -> dict[str, int]:
    """Rows of a pass, as ``Case`` calls them, of a method's settings on ``n`` pairs."""
    if head != "rollout":
        batch = getattr(settings, "batch", 1)  # a method of one's own need not have one
        return {"rows": splits(batch, micro_batch, n, count)[0]}
    share, most = settings.batch // count, settings.micro_batch
    own = settings.minibatch // count
    return {"rows": min(most or own, own), "read": min(most or share, share), "batch": share}


def trained(shape: Shape, model) -> Shape:
    """A bare shape as ``model``, that section of the settings, has it trained."""
    if model.lora is None:
        return replace(shape, again=model.checkpointing)
    first = shape.layers - min(model.lora.layers or shape.layers, shape.layers)
    worn = {"rank": model.lora.r, "first": first, "full": False}
    return replace(shape, again=model.checkpointing, **worn)


# --- what is held -------------------------------------------------------------------------------


def parameters(shape: Shape, tied: bool, scorer: bool = False) -> tuple[int, int]:
    """(those in the layers' linear maps, which 4 bits can hold, all others).

    A scorer's head has one row, a language model's one for each word unless ``tied``.
    """
    linear = shape.layers * sum(i * o for i, o in shape.linear)
    head = shape.hidden if scorer else 0 if tied else shape.vocabulary * shape.hidden
    return linear, shape.vocabulary * shape.hidden + head + (2 * shape.layers + 1) * shape.hidden


def held(case: Case, scorer: bool = False) -> float:
    """A model as it is loaded."""
    linear, others = parameters(case.shape, case.tied, scorer)
    return linear * (NF4 if case.model.quantise else case.size) + others * case.size


def adapter(case: Case) -> float:
    """One set of adapters."""
    return WIDE * (case.shape.layers - case.trained.first) * adapters(case.trained)


def learning(case: Case, scorer: bool = False) -> float:
    """A model, its gradients and Adam's two moments, as far as one process holds them.

    Trained weights are float32; passes in less cast them (``bench.models.loading.mixed``).
    """
    if case.model.lora:
        return held(case, scorer) + 4 * adapter(case)
    whole = WIDE * sum(parameters(case.shape, case.tied, scorer))
    shards = 1 if case.config == "ddp" else case.processes
    cast = held(case, scorer) if case.size < WIDE else 0
    return whole / (shards if case.config in ("fsdp", "zero3") else 1) + 3 * whole / shards + cast


def resident(case: Case) -> float:
    """What a training holds from start to end (PPO's four models: ``bench.methods.ppo.roles``)."""
    if case.head != "rollout":
        return learning(case, scorer=case.head == "scalar")
    if case.model.lora:  # the critic's adapter is trained, the reward model's is not
        return learning(case) + 5 * adapter(case)
    return learning(case) + learning(case, scorer=True) + held(case) + held(case, scorer=True)


# --- what a pass holds ----------------------------------------------------------------------------


def layer(case: Case) -> float:
    """What a layer keeps of a token for backward."""
    shape, size, lora = case.shape, case.size, case.model.lora
    queries, cast = shape.heads * shape.head_dim, case.size < WIDE
    norms = (2 if lora else 4) * WIDE * shape.hidden  # what enters, and what their weight scales
    met = size * 3 * queries  # queries, keys and values as they meet
    gated = size * 3 * shape.intermediate
    if lora and cast:  # PEFT casts what enters a linear map to float32, for each anew
        return norms + met + size * queries + gated + WIDE * sum(i for i, _ in shape.linear)
    each = 5 if cast else 2  # autocast does it too, but for what is of the lower dtype already
    return norms + met + gated + size * (each * shape.hidden + queries + shape.intermediate)


def kept(case: Case) -> float:
    """What all layers with a gradient keep of a token; where they are computed again, what enters
    each, and the whole of one at a time."""
    if case.trained.again:
        size = case.size if case.model.lora else WIDE
        return case.shape.layers * size * case.shape.hidden + layer(case)
    return (case.shape.layers - case.trained.first) * layer(case)


def training_pass(case: Case) -> float:
    """A micro-batch forward and back."""
    words = case.shape.vocabulary
    if case.head == "rollout":
        each = (case.prompt + case.made) * kept(case) + case.made * UPDATED * words
        return case.rows * each
    tokens = case.rows * case.sequences * (case.prompt + case.answer)
    tile = min(tokens, TILE[0]) * min(words, TILE[1]) * (case.size if case.tiled else COPIES)
    gradient = (
        0 if case.model.lora else WIDE * words * case.shape.hidden
    )  # of the head, beside its own
    logits = {"full": tokens * WHOLE * words, "fused": tile + gradient, "scalar": 0}
    return tokens * kept(case) + logits[case.head]


def reading_pass(case: Case, rows: int, outputs: int, logit: int = READ) -> float:
    """A pass without backward over prompts and ``outputs`` tokens more, with logits on these."""
    a_layer = case.size * (3 * case.shape.intermediate + 4 * case.shape.hidden)
    token = a_layer + WIDE * case.shape.hidden
    return rows * ((case.prompt + outputs) * token + outputs * logit * case.shape.vocabulary)


def cached(case: Case) -> float:
    """Keys and values of a token."""
    return 2 * case.size * case.shape.layers * case.shape.kv_heads * case.shape.head_dim


def sampling_pass(case: Case, rows: int) -> float:
    """Drawing: the prompts pass through the layers, and in the end the cache is full."""
    return max(reading_pass(case, rows, 0), rows * (case.prompt + case.made) * cached(case))


def own(case: Case) -> float:
    """Peak of a training, as ``peak_mb`` of its run has it: without what only looks on."""
    largest = training_pass(case)
    if case.head == "rollout":
        drawn = sampling_pass(case, case.batch)
        largest = max(largest, drawn, reading_pass(case, case.read, case.made))
    return resident(case) + largest


def looking(case: Case) -> float:
    """Peak while the curve is measured."""
    return resident(case) + measuring(case, case.curve)


def measuring(case: Case, rows: int) -> float:
    """Drawing samples, and their KL from the SFT base."""
    return max(sampling_pass(case, rows), reading_pass(case, rows, case.made, COMPARED))


def needed(case: Case) -> float:
    """Peak of a training with all that is on its device."""
    return case.watching + max(own(case), looking(case))


# --- what would fit -------------------------------------------------------------------------------


def advice(case: Case, section: str, there: float, failed: bool = False) -> str:
    """What is asked, what there is, and the least change with which it would fit.

    section: where micro_batch is set; there: bytes of the device; failed: whether it was tried, so
    that an estimate below ``there`` was wrong, and those of the changes are as much too low.
    """
    asked = needed(case)
    wrong = max(1.0, there / asked) if failed else 1.0
    if wrong > FAR:
        held = f"{asked / GB:.2g} of the {there / GB:.3g} GB there"
        return f"by the estimate {held} are enough: does something else hold memory?"
    found = f"about {asked * wrong / GB:.3g} GB needed, {there / GB:.3g} GB there: "
    for settings, other in remedies(case, section):
        if needed(other) * wrong <= ROOM * there:
            return found + f"{settings} needs about {needed(other) * wrong / GB:.3g} GB"
    return found + "no micro_batch, checkpointing, lora, quantise or launch.config would fit"


def advice_after(method, run, config: str) -> str:
    """``advice`` on a run (``bench.training.run.Run``) out of memory; config: of ``launch``."""
    case = case_of(method, run, config)
    section = name_of(method) if case.head == "rollout" else "model"
    return advice(case, section, device_bytes(unwrap(run.policy).device), failed=True)


def case_of(method, run, config: str) -> Case:
    """What the run asked for."""
    from bench.models.tokens import completion_ids, prompt_ids

    policy, head = unwrap(run.policy), getattr(method, "HEAD", "fused")
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
        tiled=policy.device.type == "cuda",
        processes=count,
        config=config,
        **at_once(head, run.settings, run.micro_batch, n, count),
    )


def device_bytes(device) -> int:
    import psutil
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return psutil.virtual_memory().total


def remedies(case: Case, section: str) -> Iterator[tuple[str, Case]]:
    """(settings, the case with them), the least change first."""
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
    """(settings, that section with them), each beside those before."""
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
