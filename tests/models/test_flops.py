"""The cost ledger: booked FLOPs against counted ones, energy counters, peaks, resumed totals."""

import copy
import math
import time
from types import SimpleNamespace

import pytest
import torch
from conftest import ending
from test_losses import Recorder
from torch.utils.flop_counter import FlopCounterMode

from bench.methods import dpo, ipo, orpo, ppo
from bench.methods.ppo.roles import Copies, Shared
from bench.methods.ppo.trainer import PPO
from bench.models.draws import uniforms
from bench.models.flops import Shape, forward, train
from bench.models.loading import adapt, load_policy, load_scorer, save, unwrap
from bench.models.passes import tokenised
from bench.models.sampling import sample
from bench.settings.sections import Lora, Model
from bench.steps import base, pairs, reference, reward, sft
from bench.steps.align import watched_bytes
from bench.studies import load
from bench.training import job, trainer
from bench.training.answer_trainer import DemonstrationTrainer
from bench.training.energy import Nvml, Rapl, counter
from bench.training.ledger import MIB, Ledger, MemoryMeter
from bench.training.monitor import Monitor

SIZES = {
    "narrow": load("tiny").model.model_copy(update={"layers": 3}),
    "wide": load("tiny").model.model_copy(
        update={"hidden": 128, "heads": 4, "intermediate": 384, "layers": 2}
    ),
}
VOCABULARY = {128: 3000}  # of the wide one: its head is as large as its layers
LORA = Lora(r=4, alpha=8, layers=1)
PROMPT, ANSWER, LENGTH = "review the a but an", "take then do this", 8
PAIRS = [{"prompt": PROMPT, "chosen": ANSWER, "rejected": "do this then take"}] * 8


def inplace(shape, a, b, *args, **kwargs):
    """Of ``addmm_``, with which TRL's kernel adds up its gradients, and which torch leaves out."""
    return 2 * a[0] * a[1] * b[1]


class Counted(Ledger):
    """A ledger that counts as well what it books."""

    def __init__(self):
        mapping = {torch.ops.aten.addmm_: inplace}
        self.counter = FlopCounterMode(display=False, custom_mapping=mapping)
        self.counted, self.seen = {}, 0
        super().__init__()

    def _flush(self):
        total, name = self.counter.get_total_flops(), (self._stack or ["other"])[-1]
        self.counted[name] = self.counted.get(name, 0) + total - self.seen
        self.seen = total
        super()._flush()

    def check(self, *phases, tolerance=0.05):
        for name in phases:
            ratio = self.rows[name]["flops"] / self.counted[name]
            print(f"{name}: booked / counted = {ratio:.4f}")
            assert ratio == pytest.approx(1, abs=tolerance)
        idle = sum(n for name, n in self.counted.items() if name not in phases)
        assert idle == 0


@pytest.fixture(scope="module", params=SIZES)
def settings(request):
    return SIZES[request.param]


@pytest.fixture(scope="module")
def folders(settings, tokenizer, tmp_path_factory):
    """An SFT base, a reward model and a reward adapter, of random weights and eager attention."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("flops")
    model = base.small_llama(settings, tokenizer)
    model.resize_token_embeddings(VOCABULARY.get(settings.hidden, len(tokenizer)))
    save(model, tokenizer, root / "sft")
    save(load_scorer(root / "sft", settings), tokenizer, root / "reward")
    lora = settings.model_copy(update={"lora": LORA})
    save(adapt(load_scorer(root / "sft", lora), lora, "SEQ_CLS"), tokenizer, root / "adapter")
    return root


def eager(model):
    unwrap(model).set_attn_implementation("eager")
    return model


def policy_in(folders, settings, lora=False):
    model = eager(load_policy(folders / "sft", settings))
    return adapt(model, settings.model_copy(update={"lora": LORA if lora else None}))


def endless(policy, tokenizer):
    return ending(policy, tokenizer, bias=-100.0)  # no EOS, so that rows are of equal length


def job_of(policy, tokenizer, tmp_path, **own):
    plain = {"lr": 1e-3, "batch": 4, "epochs": 1, "warmup": 0}
    parts = {
        "name": "test",
        "policy": policy,
        "tokenizer": tokenizer,
        "settings": SimpleNamespace(**plain),
        "seed": 0,
        "root": tmp_path,
        "monitor": Recorder(),
        "ledger": Counted(),
        "micro_batch": 2,
        "pairs": PAIRS,
        "validation": [],
        "reference_logps": lambda pair: (-9.0, -8.0),
    }
    return SimpleNamespace(**parts | own)


def test_a_forward_pass(folders, settings):
    for lora in (False, True):
        model, ids = policy_in(folders, settings, lora), torch.zeros(3, 17, dtype=torch.long)
        with torch.no_grad(), FlopCounterMode(display=False) as counted:
            model(input_ids=ids, logits_to_keep=5)
        shape = Shape.of(model)
        booked = forward(shape, [17] * 3, 15 * shape.vocabulary)
        assert booked == pytest.approx(counted.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("adapted", [0, 1, 3])
def test_grouped_heads_and_any_number_of_adapted_layers(adapted, checkpointing):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 48, "num_hidden_layers": 3, "intermediate_size": 80, "vocab_size": 90}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10}
    lora = Lora(r=4, alpha=8, layers=adapted) if adapted else None
    model = eager(LlamaForCausalLM(LlamaConfig(**sizes, **heads)))
    model = adapt(model, Model(lora=lora, checkpointing=checkpointing)).train()
    with FlopCounterMode(display=False) as counted:
        model(input_ids=torch.zeros(2, 19, dtype=torch.long)).logits.sum().backward()
    booked = train(Shape.of(model), [19, 19], 38 * 90)
    assert booked == pytest.approx(counted.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("name", ["dpo", "ipo", "ipo-sum", "orpo"])
def test_preferences(name, lora, folders, settings, tokenizer, tmp_path):
    method = {"dpo": dpo, "orpo": orpo}.get(name, ipo)
    form = {"log_ratios": "sum"} if name == "ipo-sum" else {}
    todo = job_of(policy_in(folders, settings, lora), tokenizer, tmp_path)
    todo.settings = method.Settings(lr=1e-3, batch=4, warmup=0, **form)
    with todo.ledger.counter:
        method.train(todo)
    todo.ledger.check("train", tolerance=0.01)
    prompt = tokenised(tokenizer, todo.pairs)[0]["prompt_ids"]
    assert todo.ledger.rows["train"]["tokens"] == 8 * (len(prompt) + 5 + 5)


@pytest.mark.parametrize("lora", [False, True])
def test_fine_tuning(lora, folders, settings, tokenizer, tmp_path):
    todo = job_of(policy_in(folders, settings, lora), tokenizer, tmp_path)
    rows = sft.tokenised(tokenizer, [{"prompt": PROMPT, "completion": ANSWER}] * 8)
    with todo.ledger.counter:
        trainer.fit(DemonstrationTrainer(todo, rows), todo, head="answer")
    todo.ledger.check("train")


def test_pretraining(folders, settings, tokenizer, tmp_path):
    from transformers import Trainer, TrainingArguments

    todo = job_of(policy_in(folders, settings), tokenizer, tmp_path)
    rows = trainer.dataset(base.packed(tokenizer, [PROMPT] * 40, 16))
    config = trainer.arguments(TrainingArguments, todo, len(rows))
    with todo.ledger.counter:
        hugging = Trainer(model=todo.policy, args=config, train_dataset=rows)
        trainer.fit(hugging, todo, head="full")
    todo.ledger.check("train")


@pytest.mark.parametrize("lora", [False, True])
def test_the_reward_model(lora, folders, settings, tokenizer, tmp_path):
    scorer = eager(load_scorer(folders / "sft", settings))
    adapted = settings.model_copy(update={"lora": LORA if lora else None})
    todo = job_of(adapt(scorer, adapted, "SEQ_CLS"), tokenizer, tmp_path)
    todo.settings.center = 0.01
    with todo.ledger.counter:
        rows = reward.tokenised(tokenizer, PAIRS)
        trainer.fit(reward.reward_trainer(todo, rows), todo, head="scalar")
    todo.ledger.check("train")


@pytest.mark.parametrize("form", ["copies", "shared", "moving"])
def test_the_phases_of_ppo(form, folders, settings, tokenizer):
    if form == "copies":
        models = [endless(policy_in(folders, settings), tokenizer) for _ in range(2)]
        roles = Copies(*models, *(eager(load_scorer(folders / "reward", settings)) for _ in "12"))
    else:
        bare = endless(policy_in(folders, settings), tokenizer)
        worn = adapt(bare, settings.model_copy(update={"lora": LORA}))
        roles = Shared(worn, folders / "adapter", moving=form == "moving")
        assert roles.below == settings.layers - 1
    run = SimpleNamespace(
        settings=ppo.Settings(batch=4, minibatch=2, micro_batch=2, kl_stop=1e9),
        seed=3,
        tokenizer=tokenizer,
        prompts=[pair["prompt"] for pair in PAIRS],
        decode=SimpleNamespace(max_new_tokens=LENGTH),
        cuda_graph=False,
        ledger=Counted(),
    )
    loop = PPO(run, roles)
    with run.ledger.counter:
        loop.update(1)
    run.ledger.check("rollout", "score", "reference", "update")
    rows = run.ledger.rows
    assert rows["rollout"]["generated"] == 4 * LENGTH
    assert rows["score"]["tokens"] == 2 * rows["reference"]["tokens"]


def test_the_pool_and_its_reference(folders, settings, tokenizer):
    model, ledger = endless(policy_in(folders, settings), tokenizer), Counted()
    cfg = SimpleNamespace(
        decode=SimpleNamespace(max_new_tokens=LENGTH),
        pairs=SimpleNamespace(temperature=1.0),
        launch=SimpleNamespace(cuda_graph=False),
    )
    pool = [{"id": i, "prompt": PROMPT, "a": ANSWER, "b": "do this then take"} for i in range(3)]
    with ledger.counter:
        with ledger.phase("pool"):
            assert pairs.texts(cfg, model, tokenizer, pool, torch.Generator(), ledger) == [None] * 3
        with ledger.phase("reference"):
            reference.logps(model, tokenizer, pool, ledger)
    ledger.check("pool", "reference")
    assert ledger.rows["pool"]["generated"] == 3 * LENGTH


def test_sampling_books_what_has_ended_no_more(folders, settings, tokenizer):
    """A row that ends leaves the batch; prompts of one length, so that nothing is padded."""
    policy = policy_in(folders, settings)
    policy = ending(policy, tokenizer, bias=math.log(policy.config.vocab_size / 4))
    prompts = [[1, 5, 6, 7]] * 8
    with FlopCounterMode(display=False) as counted:
        draws = uniforms(LENGTH, len(prompts), torch.Generator().manual_seed(0))
        drawn = sample(policy, tokenizer, prompts, LENGTH, draws)
    assert len(set(drawn.mask.sum(1).tolist())) > 1
    roles = SimpleNamespace(shape=Shape.of(policy))
    booked = Copies.cost(roles, "rollout", drawn)
    assert booked["flops"] == pytest.approx(counted.get_total_flops(), rel=0.05)
    assert booked["generated"] == drawn.mask.sum()


@pytest.fixture
def tiny(tokenizer):
    return base.small_llama(load("tiny").model, tokenizer)


def sft_job(tiny, tokenizer, root, monitor=None, epochs=2):
    ledger = Ledger()
    monitor = monitor or job.plain_monitor("sft", 6, ledger, root)
    todo = job_of(copy.deepcopy(tiny), tokenizer, root, ledger=monitor.ledger, monitor=monitor)
    todo.settings.epochs = epochs
    rows = sft.tokenised(tokenizer, [{"prompt": PROMPT, "completion": ANSWER}] * 10)
    return todo, DemonstrationTrainer(todo, rows)


def test_a_resumed_run_has_the_totals_of_a_whole_one(tiny, tokenizer, tmp_path, monkeypatch):
    """10 rows in batches of 4: an epoch's last step has 2."""
    whole, hugging = sft_job(tiny, tokenizer, tmp_path / "whole")
    trainer.fit(hugging, whole, head="answer")
    first, hugging = sft_job(tiny, tokenizer, tmp_path / "parts")
    save = first.monitor.save

    def saved(folder):
        save(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(first.monitor, "save", saved)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(hugging, first, head="answer")
    stop = first.ledger.totals("tokens", "flops")
    again, hugging = sft_job(tiny, tokenizer, tmp_path / "parts")
    trainer.fit(hugging, again, head="answer")
    totals = [t.ledger.totals("tokens", "flops") for t in (whole, again)]
    assert totals[0] == pytest.approx(totals[1]) and 0 < stop["flops"] < totals[0]["flops"]
    row = sft.tokenised(tokenizer, [{"prompt": PROMPT, "completion": ANSWER}])[0]
    length = len(row["prompt_ids"]) + len(row["answer_ids"])
    assert totals[0]["tokens"] == 20 * length


def test_a_point_of_the_curve_has_the_cost_so_far(tmp_path, monkeypatch):
    import pandas as pd

    from bench.training import monitor as module

    rows = pd.DataFrame({"family": ["a", "all"], "kl": [0.0, 0.0]})
    monkeypatch.setattr(module, "summarise", lambda *a: rows)
    monkeypatch.setattr(Monitor, "_sampled", lambda *a: [])
    ledger, progress = Ledger(), SimpleNamespace(done=0, total=0, update=lambda *a, **k: None)
    monitor = Monitor(lambda policy: time.sleep(0.2), (0.0, 1.0), (), ledger, progress, tmp_path)
    with ledger.phase("train"):
        monitor.begin(1, None)
        ledger.add(tokens=5, flops=70.0)
        monitor.step(1, {"loss": 1.0}, None)
    assert [row["flops"] for row in monitor.curve] == [0, 0, 70, 70]
    assert monitor.curve[-1]["wall_s"] < 0.2 and monitor.curve[-1]["cpu_s"] > 0


def test_the_rows_add_up_to_the_process():
    import psutil

    ledger = Ledger()
    with ledger.phase("train"), ledger.phase("curve", charged=False):
        time.sleep(0.05)
    sum(range(10**6))
    table = ledger.table()
    assert [(row["phase"], row["charged"]) for row in table[:1]] == [("start", False)]
    wall = time.time() - psutil.Process().create_time()
    assert sum(row["wall_s"] for row in table) == pytest.approx(wall, rel=0.01, abs=0.05)
    assert sum(row["cpu_s"] for row in table) == pytest.approx(time.process_time(), abs=0.05)
    assert ledger.totals()["wall_s"] == ledger.rows["train"]["wall_s"]


def zone(folder, name, kind, energy, top=1000_000_000):
    (folder / name).mkdir(parents=True)
    for file, value in (("name", kind), ("energy_uj", energy), ("max_energy_range_uj", top)):
        (folder / name / file).write_text(f"{value}\n")


def test_rapl_counts_packages_and_survives_its_counters_end(tmp_path):
    zone(tmp_path, "intel-rapl:0", "package-0", 999_000_000)
    zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 1)
    zone(tmp_path, "intel-rapl:2", "psys", 1)
    meter = counter(tmp_path) if not torch.cuda.is_available() else Rapl(tmp_path)
    assert meter.joules() == 0
    for name, energy in (("intel-rapl:0", 2_000_000), ("intel-rapl:1", 9_000_000)):
        (tmp_path / name / "energy_uj").write_text(str(energy))
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("77000000")
    assert meter.joules() == pytest.approx(3 + 4)
    assert meter.joules() == pytest.approx(3 + 4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="NVML is read where there is CUDA")
def test_without_a_counter_joules_are_unknown(tmp_path, monkeypatch):
    assert counter(tmp_path) is None
    zone(tmp_path, "intel-rapl:0", "package-0", "no number")
    assert counter(tmp_path) is None
    monkeypatch.setattr("bench.training.ledger.counter", lambda: None)
    ledger = Ledger()
    with ledger.phase("train"):
        ledger.add(tokens=1)
    assert {row["joules"] for row in ledger.table()} == {None}


class FakeNvml:
    """Stands in for pynvml; mJ."""

    energy = 7000

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        assert handle == "GPU-1"
        return self.energy


def test_joules_are_booked_by_phase(monkeypatch):
    library = FakeNvml()
    monkeypatch.setattr("bench.training.ledger.counter", lambda: Nvml(library, "GPU-1"))
    ledger = Ledger()
    with ledger.phase("train"):
        library.energy += 2000
        with ledger.phase("curve", charged=False):
            library.energy += 500
        library.energy += 1000
    booked = {row["phase"]: row["joules"] for row in ledger.table()}
    assert booked == {"start": None, "train": 3.0, "curve": 0.5, "other": 0.0}
    ledger.restore([row | {"joules": None} for row in ledger.table() if row["phase"] == "curve"])
    assert ledger.rows["curve"]["joules"] is None


def test_what_a_resumed_run_does_again_is_counted_once():
    """KTO reads its mismatched answers under the SFT base before it resumes."""
    first, second = Ledger(), Ledger()
    for ledger in (first, second):
        with ledger.phase("reference"):
            ledger.add(tokens=10, flops=100.0)
    with first.phase("train"):
        first.add(tokens=4, flops=40.0)
    second.restore(first.table())
    with second.phase("train"):
        second.add(tokens=6, flops=60.0)
    whole = {row["phase"]: (row["tokens"], row["flops"]) for row in second.table()}
    assert whole["reference"] == (10, 100.0) and whole["train"] == (10, 100.0)
    seconds = [ledger.rows["reference"]["wall_s"] for ledger in (first, second)]
    assert seconds[1] > seconds[0]


def test_models_that_only_watch_are_no_memory_of_the_method(monkeypatch, tiny):
    monkeypatch.setattr("bench.training.ledger.resident_bytes", lambda: 100 * MIB)
    meter = MemoryMeter(interval=60)
    monkeypatch.setattr("bench.training.ledger.resident_bytes", lambda: 160 * MIB)
    meter.watched_bytes = 20 * MIB
    meter.watch(True)
    meter.watch(False)
    monkeypatch.setattr("bench.training.ledger.resident_bytes", lambda: 900 * MIB)
    assert meter.peaks["peak_mb"] == 40
    size = sum(p.nbytes for p in tiny.parameters())
    measure = SimpleNamespace(reference=tiny, scorer=tiny, gold=SimpleNamespace())
    lora = load("tiny").model.model_copy(update={"lora": LORA})
    assert watched_bytes(tiny, measure) == size  # PPO's four copies have the scorer as theirs
    assert watched_bytes(adapt(copy.deepcopy(tiny), lora), measure) == 2 * size
    measure.gold.models = [tiny]
    assert watched_bytes(tiny, measure) == 2 * size


def test_cuda_s_peaks_are_those_of_charged_phases(monkeypatch):
    peaks = {"allocated": 50 * MIB, "reserved": 80 * MIB}
    resets = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: resets.append(1))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peaks["allocated"])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: peaks["reserved"])
    meter = MemoryMeter()
    for charged in (True, True, False):
        meter.watch(charged)
    peaks.update(allocated=500 * MIB)  # of the curve
    assert meter.peaks == {"peak_mb": 50, "peak_reserved_mb": 80} and len(resets) == 1
