"""What the jobs of a study do: how often each runs, its passes in FLOPs, the memory it needs.

FLOPs are counted by the formulas that the ledger books with (``bench.models.flops``,
``bench.methods.ppo.roles``), on lengths of texts that are measured where the data is here, and
declared elsewhere.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import mean
from types import SimpleNamespace

from bench.core.names import DEMONSTRATIONS, POOL, parsed, pool_of
from bench.estimate import memory
from bench.estimate.memory import Case, trained
from bench.estimate.shapes import of_source
from bench.models.flops import Shape, forward, sampling, training
from bench.training.batches import REFERENCE_BATCH
from bench.worlds import world

SAMPLE = 400  # rows whose lengths stand for all
A_TOKEN = 4  # characters of English text
# Tokens where the data is not here: prompt, answer, and the longest of each, as they were measured.
TYPICAL = {"micro": (10, 16, 11, 26), "reviews": (13, 19, 17, 47)}
PHASES = ("rollout", "score", "reference", "update")  # of PPO
# lm-eval's tasks: documents, sequences read for each, tokens of one, tokens drawn for each
TASKS = {
    "arc_easy": (2376, 4, 40, 0),
    "hellaswag": (10042, 4, 110, 0),
    "truthfulqa_mc2": (817, 7, 220, 0),
    "gsm8k": (1319, 1, 900, 256),
    "ifeval": (541, 1, 60, 1280),
}


@dataclass(frozen=True)
class Lengths:
    """Tokens of demonstrations (prompt, answer) and of pairs (prompt, answer, other answer); the
    longest prompt and answer; where these numbers come from."""

    demonstrations: list[tuple[int, int]]
    pairs: list[tuple[int, int, int]]
    prompt: int
    answer: int
    source: str


@dataclass(frozen=True)
class Work:
    """FLOPs of passes forward and back, of passes forward, and of sampling; how many passes forward
    and back, and token steps of sampling, follow one another; bytes of cache that these read."""

    trained: float = 0.0
    read: float = 0.0
    drawn: float = 0.0
    passes: float = 0.0
    steps: float = 0.0
    cache: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return Work(*(a + b for a, b in both))

    def __mul__(self, n: float) -> "Work":
        return Work(*(n * value for value in vars(self).values()))

    @property
    def flops(self) -> float:
        return self.trained + self.read + self.drawn


@dataclass(frozen=True)
class Job:
    """kind: a step, or a run's method; name: one of those of its kind; own, needed: bytes at the
    peak, without and with what only looks on; charged, watched: work that is booked, and work that
    is not; loads: bytes of weights read from the disk; case: of a training."""

    kind: str

    name: str
    own: float
    needed: float
    charged: Work
    watched: Work = Work()
    loads: float = 0.0
    case: Case | None = None


# --- lengths --------------------------------------------------------------------------------------


def lengths(cfg) -> Lengths:
    """Measured where the data and the model's tokenizer are here, else declared."""
    data, base = cfg.layout.data, cfg.layout.base
    if (data / "sft.jsonl").exists() and (base / "tokenizer.json").exists():
        return measured(data, base, cfg.layout.pool(POOL))
    if cfg.data.kind in TYPICAL:
        p, a, longest, answer = TYPICAL[cfg.data.kind]
        return Lengths([(p, a)], [(p, a, a)], longest, answer, "as measured on this kind of data")
    p, a = (n // A_TOKEN for n in (cfg.data.max_prompt, cfg.data.max_answer))
    said = f"{A_TOKEN} characters a token, texts of half the length that the data section allows"
    return Lengths([(p // 2, a // 2)], [(p // 2, a // 2, a // 2)], p, a, said)


def measured(data: Path, base: Path, pool: Path) -> Lengths:
    from bench.models.loading import load_tokenizer

    tokenizer = load_tokenizer(base)
    pool = next((path for path in (pool, data / "pool.jsonl") if path.exists()), None)
    shown = sizes(tokenizer, data / "sft.jsonl", "completion")
    pairs = sizes(tokenizer, pool, "a", "b") if pool else [(p, a, a) for p, a in shown]
    longest = max(max(answers) for _, *answers in [*shown, *pairs])
    prompt = max(row[0] for row in [*shown, *pairs])
    return Lengths(shown, pairs, prompt, longest, f"measured on {SAMPLE} rows of {data}")


def sizes(tokenizer, path: Path, *answers: str) -> list[tuple[int, ...]]:
    """Tokens of prompt and answers of a file's first rows."""
    from bench.models.tokens import completion_ids, prompt_ids

    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in islice(file, SAMPLE)]
    return [
        (
            len(prompt_ids(tokenizer, row["prompt"])),
            *(len(completion_ids(tokenizer, row[key])) for key in answers),
        )
        for row in rows
    ]


# --- the jobs -------------------------------------------------------------------------------------


class Workload:
    """The jobs of the chosen study.

    shape, tied: of the policy, without adapters; tiled: whether they run on a GPU.
    """

    def __init__(self, cfg, shape: Shape, tied: bool, found: Lengths, tiled: bool):
        self.cfg, self.shape, self.tied, self.tiled = cfg, shape, tied, tiled
        self.lengths, self.made = found, cfg.decode.max_new_tokens
        self.drawn = [(p, min(a, self.made)) for p, *both in found.pairs for a in both]
        self.whole = [(p + a, a) for p, *both in found.pairs for a in both]
        self.bare = self.case("fused", rows=1)  # for what is held by a model alone
        self.gold = gold_model(cfg, tiled)

    def jobs(self) -> Iterator[Job]:
        """Each job; alike ones once, with their number."""
        cfg, arms = self.cfg, [(self.cfg.arm(name), seed) for name, seed in self.cfg.study_runs]
        yield from self.starts()
        pools = {pool_of(arm.label_set) for arm, _ in arms}
        yield from (self.pool(name) for name in sorted(pools | {POOL}))
        asked = {(pool_of(a.label_set), "") for a, _ in arms if "reference" in a.needs}
        yield from (self.reference() for _ in asked)
        models = {(a.label_set, seed) for a, seed in arms if "reward" in a.needs}
        models |= {(a.proxy, seed) for a, seed in arms} if cfg.evaluated else set()
        yield from (self.reward(data) for data, _ in sorted(models))
        yield from (self.align(arm) for arm, _ in arms)
        if cfg.evaluated:
            yield from (self.evaluate(arm) for arm in [None, *(arm for arm, _ in arms)])

    def case(self, head: str, **own) -> Case:
        longest = self.lengths.prompt, self.lengths.answer, self.made
        return Case(self.cfg.model, self.shape, self.tied, head, *longest, tiled=self.tiled, **own)

    @property
    def demonstrations(self) -> int:
        """How many become pairs; as many as SFT reads, where their number is not a setting."""
        cfg = self.cfg
        declared = cfg.pairs.demonstrations or getattr(cfg.data, "demonstrations", None)
        return declared or cfg.sft.steps * cfg.sft.batch

    def starts(self) -> Iterator[Job]:
        """The base, where it is trained here, and the SFT base."""
        cfg, width = self.cfg, self.cfg.model.context
        if cfg.base.steps:
            case = self.case("full", rows=cfg.base.batch, sequences=1)
            case = replace(case, prompt=width, answer=0)
            yield self.training("base", case, cfg.base.steps * cfg.base.batch, [(width, width)])
        rows = [(p + a, a) for p, a in self.lengths.demonstrations]
        n = cfg.sft.steps * cfg.sft.batch
        yield self.training("SFT base", self.split("fused", cfg.sft, n, sequences=1), n, rows)

    def split(self, head: str, settings, n: int, **own) -> Case:
        """The case of a trainer, with the rows that it passes at once."""
        launch, micro_batch = self.cfg.launch, self.cfg.model.micro_batch
        own |= memory.at_once(head, settings, micro_batch, n, launch.processes)
        return self.case(head, processes=launch.processes, config=launch.config, **own)

    def training(self, name: str, case: Case, n: float, rows, kind="", watched=Work(), loads=1):
        """A job on ``n`` rows that cost the mean of ``rows``, (tokens, labelled) of a sequence."""
        of_row = training(trained(self.shape, case.model), rows, case.head, self.tiled) / len(rows)
        work = Work(trained=n * case.sequences * of_row, passes=n / case.rows)
        peak = memory.own(case), memory.needed(case)
        loads = loads * memory.held(self.bare)
        return Job(kind or name, name, *peak, work, watched, loads, case)

    def pool(self, name: str) -> Job:
        """Pairs with gold's scores of both answers, and sampled unless they were given;
        demonstrations are answered once and not scored."""
        cfg, n = self.cfg, self.cfg.pairs.pool or 2 * self.cfg.pairs.n
        if name == POOL and world(cfg.data.kind).GIVEN_PAIRS:
            work, most = self.scored(2 * getattr(cfg.data, "pool", n)), self.gold.bytes
            return Job("pool", "pool", most, most, Work(), work, loads=most)
        held = memory.held(self.bare)
        most = held + memory.sampling_pass(self.bare, cfg.pairs.batch)
        if name == DEMONSTRATIONS:
            work = self.sampled(self.demonstrations, cfg.pairs.batch)
            return Job("pool", name, most, most, work, loads=held)
        held, most = held + self.gold.bytes, most + self.gold.bytes
        work = self.sampled(2 * n, cfg.pairs.batch), self.scored(2 * n)
        return Job("pool", name, most, most, *work, loads=held)

    def reference(self) -> Job:
        """Log-probs of a pool under the SFT base."""
        n = getattr(self.cfg.data, "pool", None) or self.cfg.pairs.pool or 2 * self.cfg.pairs.n
        held, batch = memory.held(self.bare), self.cfg.model.micro_batch or REFERENCE_BATCH
        most = held + memory.reading_pass(self.bare, batch, self.lengths.answer)
        work = Work(read=2 * n * self.read(mean(labelled for _, labelled in self.whole)))
        return Job("reference", "reference", most, most, work, loads=held)

    def reward(self, label_set: str) -> Job:
        """A reward model, and the check of its order on the pairs that it has not seen."""
        cfg, n = self.cfg, parsed(label_set)[1] or self.cfg.pairs.n
        case = self.split("scalar", cfg.reward, n)
        rest = max(0, getattr(cfg.data, "pool", 2 * n) - n)
        check = Work(read=2 * rest * self.read())
        rows = [(length, length) for length, _ in self.whole]
        name = "reward model" + ("" if label_set == "gold" else f" {label_set}")
        return self.training(name, case, n * cfg.reward.epochs, rows, "reward model", check)

    def align(self, arm) -> Job:
        """A run, and the points of its curve."""
        method, cfg, n = self.cfg.known_methods[arm.method], self.cfg, arm.n or self.cfg.pairs.n
        scorer = "reward" in arm.needs
        if arm.preference == DEMONSTRATIONS:
            n = self.demonstrations // 2
        points = len(arm.curve or cfg.curve.fractions)
        curve = self.measured(cfg.curve.prompts, cfg.curve.batch, scorer) * points
        head = getattr(method, "HEAD", "fused")
        if head == "rollout":
            return self.rollouts(arm, n, curve)
        case = self.split(head, arm.settings, n, **self.watching(False))
        check = Work(read=2 * cfg.pairs.validation * self.read(self.lengths.answer))
        n *= getattr(arm.settings, "epochs", 1)
        return self.training(arm.name, case, n, self.whole, arm.method, curve + check, loads=2)

    def rollouts(self, arm, n: int, curve: Work) -> Job:
        """A run that samples: PPO."""
        s, case = arm.settings, self.split("rollout", arm.settings, n, **self.watching(True))
        episodes = math.ceil(n * s.epochs / s.batch) * s.batch
        cost = {phase: episodes * self.cost(s, phase) for phase in PHASES}
        read = cost["score"] + cost["reference"]
        passes = 2 * s.inner_epochs * episodes / case.rows  # of policy and critic
        work = Work(trained=s.inner_epochs * cost["update"], read=read, passes=passes)
        drawn = replace(self.sampled(episodes, case.batch), drawn=cost["rollout"])
        loads = (3 if self.cfg.model.lora else 5) * memory.held(self.bare)
        peak = memory.own(case), memory.needed(case)
        return Job(arm.method, arm.name, *peak, work + drawn, curve, loads, case)

    def cost(self, settings, phase: str) -> float:
        """FLOPs of an episode in a phase of PPO, by the very code that books them."""
        import torch

        from bench.methods.ppo.roles import Roles

        roles = Roles()
        roles.shape, roles.moving = trained(self.shape, self.cfg.model), settings.reference_ema > 0
        roles.below = roles.shape.first
        prompts, made = (torch.tensor(column)[:, None] for column in zip(*self.drawn, strict=True))
        samples = SimpleNamespace(prompt_mask=prompts, mask=made, attention=prompts + made)
        return roles.cost(phase, samples)["flops"] / len(self.drawn)

    def evaluate(self, arm) -> Job:
        """Test prompts, and the tasks of lm-eval that are known here."""
        cfg, case = self.cfg, self.bare
        work = self.measured(cfg.eval.prompts, cfg.eval.batch, arm is not None)
        tasks = cfg.eval.tasks if arm is None or arm.tasks else ()
        work = sum(map(self.task, tasks), work)
        models = 2 * memory.held(case) + (memory.held(case, scorer=True) if arm else 0)
        most = models + self.gold.bytes + memory.measuring(case, cfg.eval.batch)
        return Job("evaluation", "evaluation", most, most, Work(), work, models + self.gold.bytes)

    def task(self, name: str) -> Work:
        """A task of lm-eval."""
        documents, sequences, tokens, made = TASKS.get(name, (0, 0, 0, 0))
        documents, batch = min(documents, self.cfg.eval.limit or documents), self.cfg.eval.batch
        outputs = tokens * self.shape.vocabulary
        read = documents * sequences * forward(self.shape, [tokens], outputs)
        return Work(read=read) + self.sampled(
            documents if made else 0, batch, [(tokens, made)], made
        )

    # --- passes without backward

    def watching(self, scorer: bool) -> dict:
        """What looks on during a run: SFT base, gold, and a reward model that PPO holds itself
        where it holds copies."""
        own = memory.held(self.bare, scorer=True) if scorer and self.cfg.model.lora else 0
        bytes_ = memory.held(self.bare) + self.gold.bytes + own
        return {"watching": bytes_, "curve": self.cfg.curve.batch}

    def measured(self, n: int, batch: int, scorer: bool) -> Work:
        """Samples on ``n`` prompts; then policy, SFT base, gold and any reward model read them."""
        batch = min(n, batch)
        read = n * self.read(self.made) * (3 if scorer else 2)
        return self.sampled(n, batch) + Work(read=read) + self.scored(n)

    def scored(self, n: int) -> Work:
        """Gold of ``n`` answers."""
        return Work(read=n * forward(self.gold.shape, [mean(length for length, _ in self.whole)]))

    def read(self, outputs: float = 0) -> float:
        """FLOPs of a pass over a sequence with logits at ``outputs`` positions."""
        lengths = [length for length, _ in self.whole]
        logits = len(lengths) * outputs * self.shape.vocabulary
        return forward(self.shape, lengths, logits) / len(lengths)

    def sampled(self, n: float, batch: int, rows=None, made: int = 0) -> Work:
        """``n`` samples, ``batch`` at once: a batch takes as many steps as its longest sample."""
        rows, steps = rows or self.drawn, math.ceil(n / batch) * (made or self.made)
        prompts, answers = map(list, zip(*rows, strict=True))
        each = sampling(self.shape, prompts, answers)["flops"] / len(rows)
        seen = mean(m * (p + m / 2) for p, m in rows)  # tokens of cache that a sample reads
        return Work(drawn=n * each, steps=steps, cache=n * seen * memory.cached(self.bare))


@dataclass(frozen=True)
class GoldModel:
    """Gold, where it is a model."""

    shape: Shape
    bytes: float


def gold_model(cfg, tiled: bool) -> GoldModel:
    """In bfloat16 on a GPU, else in float32 (``bench.worlds.hub.gold``); a gold that is no model of
    the hub is not counted."""
    if cfg.data.kind != "hub" or not cfg.data.gold.id:
        return GoldModel(Shape(0, 0, 0, 0, 0, 0, 0), 0.0)
    shape, tied, _ = of_source(cfg.data.gold)
    return GoldModel(shape, (2 if tiled else 4) * sum(memory.parameters(shape, tied, scorer=True)))
