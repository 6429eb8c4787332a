"""The estimate: memory as models keep it, FLOPs as trainings book them, advice, no network."""

import json
import socket
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import trainings
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from bench.core.hub import Source
from bench.core.schema import UserError
from bench.estimate import devices, lengths, memory, shapes, workload
from bench.estimate.memory import GB, Case
from bench.methods import METHODS
from bench.models.flops import Shape
from bench.models.loading import adapt, load_scorer, parameters, save
from bench.models.passes import paired
from bench.models.tokens import completion_ids, prompt_ids
from bench.settings import layers
from bench.settings.sections import Arm, Lora, Model
from bench.steps import base, estimate
from bench.steps.align import attempt
from bench.studies import load

SIZES = {"hidden_size": 256, "num_hidden_layers": 6, "intermediate_size": 640, "vocab_size": 90}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64}
SHAPE = Shape(6, 256, 4, 2, 64, 640, 90)
UPPER = Lora(r=4, alpha=8, layers=2)


def case(head="answer", **own) -> Case:
    model = own.pop("model", None) or Model(
        **{k: own.pop(k) for k in [*own] if k in Model.model_fields}
    )
    sizes = {"prompt": 10, "answer": 20, "made": 30, "rows": 4} | own
    sizes |= {"sequences": 1} if head in memory.PAIRED else {}
    return Case(model, SHAPE, True, head, **sizes)


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("lora", [None, Lora(r=4, alpha=8), UPPER])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_layers_keep_for_backward(dtype, lora, checkpointing):
    """Bytes of the tensors that autograd saves, weights left out."""
    model = LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS)).to(getattr(torch, dtype))
    settings = Model(lora=lora, checkpointing=checkpointing, dtype=dtype)
    model = adapt(model, settings).train()
    weights, saved = {p.shape for p in model.parameters()}, {}

    def keep(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids, mask = torch.zeros(2, 33, dtype=torch.long), torch.ones(2, 33, dtype=torch.long)
    mask[0, :3] = 0
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        memory.unwrap(model).model(input_ids=ids, attention_mask=mask, use_cache=False)
    kept = [
        t for t in saved.values() if not {t.shape, t.T.shape if t.dim() == 2 else None} & weights
    ]
    found = sum(t.untyped_storage().nbytes() for t in kept)
    asked = case(model=settings)
    expected = memory.kept(asked)
    if checkpointing:  # a layer at a time is made later; the last norm shows beside so little
        expected += 256 * (4 if lora else 8) - memory.layer(asked)
    assert found / ids.numel() == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("lora", [None, UPPER])
def test_parameters_are_those_of_the_model(tied, lora):
    config = LlamaConfig(**SIZES, **HEADS, tie_word_embeddings=tied, num_labels=1)
    model = LlamaForCausalLM(config)
    assert sum(memory.parameters(Shape.of(model), tied)) == parameters(model)[1]
    scorer = LlamaForSequenceClassification(config)
    assert sum(memory.parameters(SHAPE, tied, scorer=True)) == parameters(scorer)[1]
    if lora:
        worn = adapt(model, Model(lora=lora))
        assert memory.adapter(case(lora=lora)) == 4 * parameters(worn)[0]
        assert memory.trained(SHAPE, Model(lora=lora)) == Shape.of(worn)


def test_published_shapes_have_the_published_sizes():
    billions = {
        "mistralai/Mistral-7B-v0.1": 7.24,
        "meta-llama/Llama-2-7b-hf": 6.74,
        "HuggingFaceTB/SmolLM2-135M": 0.135,
        "Skywork/Skywork-Reward-V2-Qwen3-4B": 4.02,
        "Skywork/Skywork-Reward-V2-Qwen3-0.6B": 0.596,
    }
    assert billions.keys() == shapes.PUBLISHED.keys()
    for name, (shape, tied) in shapes.PUBLISHED.items():
        assert sum(memory.parameters(shape, tied)) == pytest.approx(billions[name] * 1e9, rel=0.005)


def test_what_is_trained_counts_four_times_and_what_is_sharded_in_parts():
    plain, n = case(), sum(memory.parameters(SHAPE, True))
    assert memory.learning(plain) == 4 * 4 * n
    assert memory.learning(case(dtype="bfloat16")) == 4 * 4 * n + 2 * n  # and what passes cast
    of_two = {
        config: case(processes=2, config=config) for config in ("ddp", "zero2", "zero3", "fsdp")
    }
    held = {config: memory.learning(c) / n for config, c in of_two.items()}
    assert held == {"ddp": 16, "zero2": 4 + 6, "zero3": 8, "fsdp": 8}


def test_ppo_holds_one_base_with_adapters_or_four_models():
    worn, bare = case("rollout", lora=UPPER), case("rollout")
    n, scorer = (sum(memory.parameters(SHAPE, True, scorer=s)) for s in (False, True))
    assert memory.resident(bare) == 4 * (4 * n + 4 * scorer + n + scorer)
    sets = 4 + 4 + 1  # policy and critic with gradients and moments, reward model as it is
    assert memory.resident(worn) == 4 * n + sets * memory.adapter(worn)
    assert memory.cached(worn) == 2 * 4 * 6 * 2 * 64


def test_four_bits_hold_the_maps_alone():
    linear, others = memory.parameters(SHAPE, True)
    quantised = case(lora=UPPER, dtype="bfloat16", quantise="nf4")
    assert memory.held(quantised) == pytest.approx(linear * 0.516 + others * 2)


def test_a_pair_has_its_prompt_once():
    ids = {"prompt_ids": [1] * 10, "chosen_ids": [1] * 20, "rejected_ids": [1] * 20}
    one, two = case("pair"), case("pair", rows=8)
    assert paired([ids] * 4, 0).ids.numel() == one.tokens
    logits = memory.training_pass(two) - 8 * 50 * memory.kept(two)
    assert logits == 8 * 40 * 90 * memory.UPDATED
    more = memory.training_pass(case("likelihood", rows=8)) - memory.training_pass(two)
    assert more == 8 * 10 * 90 * memory.UPDATED


# --- FLOPs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    """What ``trainings.py`` trains from."""
    torch.manual_seed(0)
    root, model = tmp_path_factory.mktemp("estimate"), base.small_llama(trainings.PLAIN, tokenizer)
    save(model, tokenizer, root / "sft")
    save(load_scorer(root / "sft", trainings.PLAIN), tokenizer, root / "reward")
    worn = adapt(load_scorer(root / "sft", trainings.LORA), trainings.LORA, "SEQ_CLS")
    save(worn, tokenizer, root / "adapter")
    return root


def study_like(run, made=None) -> workload.Workload:
    """The study of a run of ``trainings.py``, on the lengths of its pairs or of its samples."""
    p = [len(prompt_ids(run.tokenizer, pair["prompt"])) for pair in run.pairs]
    a, b = (
        [len(completion_ids(run.tokenizer, x[k])) for x in run.pairs]
        for k in ("chosen", "rejected")
    )
    rows = [(n, made, made) for n in p] if made else list(zip(p, a, b, strict=True))
    cfg = load("tiny", [f"pairs.n={len(run.pairs)}"]).model_copy(update={"model": run.model})
    shape = replace(Shape.of(run.policy), rank=0, first=0, full=True)
    return workload.Workload(cfg, shape, True, lengths.Lengths([(1, 1)], rows, 9, 9, ""), False)


@pytest.mark.parametrize("name", ["dpo", "dpo-lora", "orpo-accumulated"])
def test_flops_are_those_that_the_ledger_books(name, folder, tmp_path):
    run = trainings.aligned(name, folder, tmp_path)
    arm = Arm(method=name.split("-")[0], name=name, settings=run.settings)
    job = study_like(run).align(arm)
    assert job.charged.flops == pytest.approx(run.ledger.totals("flops")["flops"], rel=1e-6)


@pytest.mark.parametrize("name", ["ppo", "ppo-shared"])
def test_flops_of_ppo_given_the_length_of_its_samples(name, folder, tmp_path):
    run = trainings.aligned(name, folder, tmp_path)
    run.settings = run.settings.model_copy(update={"kl_stop": None})
    booked = run.ledger.totals("flops", "generated")
    made = round(booked["generated"] / run.episodes)
    arm = Arm(method="ppo", name=name, needs=("reward",), settings=run.settings)
    job = study_like(run, made).align(arm)
    assert job.charged.flops == pytest.approx(booked["flops"], rel=0.06)


# --- the whole ------------------------------------------------------------------------------------


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """An empty folder, without a network and without what the hub has left in a cache."""

    def refuse(*args):
        raise AssertionError("an estimate asks no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("bench.estimate.devices.listed", lambda: None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a, **k: None)


@pytest.mark.parametrize("testbed", ["zephyr-7b", "llama2-7b", "smol-hub", "reviews", "micro"])
def test_it_needs_no_network_and_no_gpu(testbed, nowhere, capsys):
    start = time.monotonic()
    estimate.main(["--testbed", testbed])
    assert time.monotonic() - start < 10
    text = capsys.readouterr().out
    assert f"PPO on {testbed}: about " in text and " with its reward model" in text
    assert ("core-hours" in text) == (testbed == "micro")
    runs = 20 if testbed == "reviews" else 40
    assert f"{runs} runs, with their inputs and evaluations" in text


def test_the_docs_show_what_it_prints(nowhere):
    page = (layers.TESTBEDS.parents[2] / "docs/gpus.md").read_text(encoding="utf-8")
    shown = page.split("```text\nEstimate: ")[1].partition("```")[0]
    text = estimate.report(load("zephyr-7b"), *devices.choose("h100", True))
    assert text.startswith(f"Estimate: {shown}")


def test_every_study_has_an_estimate(nowhere):
    device = devices.DEVICES["h100"]
    for study in ("stability", "tune", "views", "origins"):
        cfg = load("reviews", [f"study={study}"])
        rows, _ = estimate.estimate(cfg, device)
        runs = [row for row in rows if row.kind in METHODS]
        assert sum(row.runs for row in runs) == len(cfg.study_runs)
        judged = [row for row in rows if row.kind == "evaluation"]
        assert bool(judged) == cfg.evaluated
    names = {name for row in rows for name in row.names}
    assert {"demonstrations", "on-policy", "orpo-from-instruct"} <= names


def test_gold_of_ones_own_is_not_counted(tmp_path, nowhere):
    (tmp_path / "own.py").write_text("def gold(prompts, completions):\n    return [0.0] * 1\n")
    found = {}
    for own in ((), ("data.gold={id: null, file: own.py}",)):
        rows, _ = estimate.estimate(load("zephyr-7b", own), devices.DEVICES["h100"])
        found[own] = next(row.needed for row in rows if row.kind == "dpo")
    judged, plain = found.values()
    assert judged - plain == pytest.approx(8, rel=0.02)


def test_more_processes_take_less_time_and_fewer_rows():
    device, found = devices.DEVICES["h100"], {}
    for n in (1, 4):
        rows, _ = estimate.estimate(load("zephyr-7b", [f"launch.processes={n}"]), device)
        found[n] = next(row for row in rows if row.kind == "ppo")
    assert found[4].seconds < 0.7 * found[1].seconds and found[4].hours > found[1].hours
    assert found[4].case.batch == found[1].case.batch / 4 == 16


def test_time_is_flops_over_the_device_or_weights_over_its_bandwidth():
    study = workload.Workload(
        load("zephyr-7b"), *shapes.PUBLISHED["mistralai/Mistral-7B-v0.1"],
        lengths.lengths(load("zephyr-7b")), True,
    )  # fmt: skip
    a100, t4 = devices.DEVICES["a100-80gb"], devices.DEVICES["t4"]
    hour = workload.Work(trained=312e12 * estimate.TRAINING * 3600)
    assert estimate.work_seconds(study, hour, a100) == pytest.approx(3600)
    drawn = workload.Work(steps=1000)
    weights = 2 * sum(memory.parameters(study.shape, False))
    assert estimate.work_seconds(study, drawn, t4) == pytest.approx(1000 * weights / (0.7 * 320e9))
    assert estimate.work_seconds(study, drawn, a100) == pytest.approx(1000 * 32 * 0.6e-3)


def test_a_models_own_config_wins(tmp_path):
    LlamaConfig(**SIZES, **HEADS, tie_word_embeddings=True).save_pretrained(tmp_path)
    shape, tied, said = shapes.of_source(Source(id=str(tmp_path)))
    assert (shape, tied) == (SHAPE, True) and str(tmp_path) in said
    with pytest.raises(UserError, match=r"shape of 'nobody/model'.*bench prefetch"):
        shapes.of_source(Source(id="nobody/model"))


def test_lengths_are_measured_where_the_data_is(tmp_path, tokenizer, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "runs/tiny/data"
    data.mkdir(parents=True)
    rows = [{"prompt": "review the a", "completion": " ".join(["take"] * n)} for n in (1, 5)]
    (data / "sft.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert lengths.lengths(load("tiny")).source == "as measured on this kind of data"
    tokenizer.save_pretrained(tmp_path / "runs/tiny/base")
    (tmp_path / "runs/tiny/base/config.json").write_text("{}")
    found = lengths.lengths(load("tiny"))
    assert found.demonstrations == [(4, 2), (4, 6)] and found.pairs == [(4, 2, 2), (4, 6, 6)]
    assert (found.prompt, found.answer) == (4, 6) and "measured on 2 rows" in found.source


# --- devices --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name,key",
    [
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA A10G", "a10g"),
        ("NVIDIA A10", "a10"),
        ("Tesla T4", "t4"),
        ("NVIDIA A100-SXM-64GB", None),
    ],
)
def test_a_device_is_known_by_the_drivers_name(name, key):
    assert devices.match(name) == key


def test_a_device_is_asked_for_found_or_assumed(monkeypatch):
    monkeypatch.setattr(devices, "listed", lambda: "NVIDIA L40S")
    assert devices.choose("t4", True)[0] is devices.DEVICES["t4"]
    assert devices.choose(None, True) == (devices.DEVICES["l40s"], "found here: NVIDIA L40S")
    monkeypatch.setattr(devices, "listed", lambda: "NVIDIA X1")
    assert devices.choose(None, True)[1].startswith(
        "assumed, since 'NVIDIA X1' is not in the table"
    )
    with pytest.raises(UserError, match="unknown gpu 'a1000'; known: h200"):
        devices.choose("a1000", True)


# --- out of memory --------------------------------------------------------------------------------


def advised(there: float, *, failed=False, section="model", **own) -> str:
    return memory.advice(case(**own), section, there, failed)


def test_the_least_change_that_fits_is_named():
    long = {"prompt": 200, "answer": 300}
    plain = case(**long)
    asked, smaller = memory.needed(plain), memory.needed(replace(plain, rows=1))
    text = advised(smaller / 0.95, **long)
    assert text.endswith(f"with model.micro_batch=1 it needs about {smaller / GB:.3g} GB")
    there = f"the device has {smaller / 0.95 / GB:.3g} GB"
    assert text.startswith(f"it needs about {asked / GB:.3g} GB, {there}")
    assert "with model.checkpointing=true model.micro_batch=2 it" in advised(0.15 * GB, **long)
    assert "with model.checkpointing=true model.lora.r=16 model.m" in advised(0.08 * GB, **long)
    assert "no micro_batch, checkpointing, lora, quantise" in advised(1.0)


def test_weights_in_four_bits_and_shards_come_last():
    worn = {"lora": UPPER, "dtype": "bfloat16", "checkpointing": True, "rows": 1}
    four = memory.needed(case(**worn, quantise="nf4"))
    assert "with model.quantise=nf4 it needs about" in advised(four / 0.95, **worn)
    settings = [text for text, _ in memory.remedies(case(), "model")]
    assert settings[:2] == ["model.micro_batch=2", "model.micro_batch=1"]
    assert settings[-1] == "launch.processes=8 launch.config=fsdp"
    assert not any("fsdp" in text for text, _ in memory.remedies(case("rollout"), "ppo"))


def test_an_estimate_that_was_too_low_is_scaled():
    there = 2 * memory.needed(case())
    text = advised(there, failed=True)
    assert text.startswith(
        f"it needs about {there / GB:.3g} GB, the device has {there / GB:.3g} GB; with model.micro"
    )
    assert "check what else uses the memory" in advised(2 * there, failed=True)


def exhausted(error, tokenizer, policy, monkeypatch):
    """A DPO run whose training raises ``error``, on a device of too little memory."""

    def train(run):
        raise error

    run = SimpleNamespace(
        policy=policy,
        tokenizer=tokenizer,
        model=Model(),
        settings=SimpleNamespace(batch=8),
        micro_batch=None,
        decode=load("tiny").decode,
        pairs=[{"prompt": "review", "chosen": "take this " * 50, "rejected": "do"}] * 16,
        ledger=SimpleNamespace(memory=SimpleNamespace(watched_bytes=1000)),
        monitor=SimpleNamespace(measure=SimpleNamespace(batch=1)),
    )
    method = SimpleNamespace(train=train, __name__="bench.methods.dpo")
    there = 0.8 * memory.needed(memory.case_of(method, run, "ddp"))
    monkeypatch.setattr("bench.estimate.memory.device_bytes", lambda device: there)
    return method, run


@pytest.mark.parametrize(
    "error,said",
    [
        (
            torch.OutOfMemoryError("CUDA out of memory.\nTried"),
            "CUDA out of memory; it needs about",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "DefaultCPUAllocator: can't"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_run_out_of_memory_is_recorded_with_what_would_fit(
    error, said, tokenizer, policy, monkeypatch
):
    status, reason = attempt(*exhausted(error, tokenizer, policy, monkeypatch))
    assert status == "oom" and reason.startswith(said) and "\n" not in reason
    assert " GB; with model.micro_batch=" in reason


def test_one_of_several_processes_out_of_memory_says_it_too(tokenizer, policy, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    error = torch.OutOfMemoryError("CUDA out of memory.")
    with pytest.raises(UserError, match=r"process 1 is out of memory: CUDA .* GB; with model\."):
        attempt(*exhausted(error, tokenizer, policy, monkeypatch))


def test_other_errors_pass(tokenizer, policy, monkeypatch):
    with pytest.raises(RuntimeError, match="a bug"):
        attempt(*exhausted(RuntimeError("a bug"), tokenizer, policy, monkeypatch))


def rows_of(study: str, *config: str) -> dict[str, list[tuple[int, float]]]:
    """{kind: [(runs, FLOPs each)]} of the estimate of a study of `tiny`."""
    cfg = load("tiny", [f"study={study}", *config])
    rows, _ = estimate.estimate(cfg, devices.DEVICES["cpu"])
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        found.setdefault(row.kind, []).append((row.runs, row.flops))
    return found


def test_a_model_of_an_arm_s_own_is_counted_with_all_that_it_needs():
    """The testbed's own comes first; of the small model each step costs less."""
    small = "sizes={models: {small: {rate: 2, model: {hidden: 16}}}, lr: [1, 3], seeds: [1, 2]}"
    found = rows_of("sizes", small)
    for kind in ("base", "SFT base", "reference", "reward model", "dpo"):
        (_, own), (_, less) = found[kind]
        assert 0 < less < own, kind
    (own, _), (tried, _) = found["dpo"]
    assert own == 2 and tried == 2 + 2 * len(load("tiny").pick_seeds)


def test_what_several_arms_share_is_counted_once_and_what_they_do_not_for_each():
    found = rows_of("bases", "bases={n: 3, seeds: [1]}")
    assert [n for n, _ in found["base"]] == [3] and [n for n, _ in found["SFT base"]] == [3]
    assert sum(n for n, _ in found["dpo"]) == 3 and sum(n for n, _ in found["evaluation"]) >= 3
    assert [n for n, _ in rows_of("compare")["base"]] == [1]


def test_the_sft_base_that_writes_the_pairs_is_counted():
    arms = (
        "arms={other: {method: dpo, sft: {steps: 3}}, mine: {method: dpo, pairs: {writer: other}}}"
    )
    found = rows_of("one", arms, "studies={one: [mine]}")
    assert sum(n for n, _ in found["SFT base"]) == 2 and sum(n for n, _ in found["dpo"]) == len(
        load("tiny").seeds
    )
