"""List the jobs of a study, with the FLOPs of their passes and the memory they need.

FLOPs come from the formulas that the ledger uses (``bench.models.flops``,
``bench.methods.ppo.roles``).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import Any

from bench.core.layout import Member
from bench.core.names import DEMONSTRATIONS, POOL, parsed, pool_of
from bench.estimate import memory
from bench.estimate.lengths import Lengths, lengths
from bench.estimate.memory import Case, trained
from bench.estimate.shapes import of_policy, of_source
from bench.methods import head_of
from bench.models.flops import Shape, forward, pair, sampling, training
from bench.training.batches import REFERENCE_BATCH, total_steps
from bench.worlds import world

PHASES = ("rollout", "score", "reference", "update")  # of PPO
# {lm-eval task: (documents, sequences read per document, tokens per sequence, tokens sampled)}
TASKS = {
    "arc_easy": (2376, 4, 40, 0),
    "hellaswag": (10042, 4, 110, 0),
    "truthfulqa_mc2": (817, 7, 220, 0),
    "gsm8k": (1319, 1, 900, 256),
    "ifeval": (541, 1, 60, 1280),
}


@dataclass(frozen=True)
class Work:
    """Work of a job.

    trained, read, drawn: FLOPs of forward and backward passes, of forward passes alone, and of
    sampling; passes, steps: how many training passes, and token steps of sampling, run one after
    another; cache: bytes of key-value cache that the sampling reads.
    """

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
        """Return all FLOPs."""
        return self.trained + self.read + self.drawn


@dataclass(frozen=True)
class Job:
    """A job of the study.

    kind: its step, or a run's method; name: the job among those of its kind; own, needed: bytes at
    the peak, without and with models that only measure; charged, watched: work that is charged to a
    method, and work that is not; loads: bytes of weights read from the disk; case: for a training;
    of: the arm of a run or of its evaluation, the label set of a reward model; times: how often the
    job does what: "step": an optimiser step (PPO: a rollout with its updates); "heldout", "check",
    "reference": reads a pair; "sample": answers a prompt; "measure": answers one and measures the
    answer; "gold": scores an answer; a task of lm-eval: reads or answers one of its texts.
    """

    kind: str
    name: str
    own: float
    needed: float
    charged: Work
    watched: Work = Work()
    loads: float = 0.0
    case: Case | None = None
    of: Any = None
    times: dict[str, float] = field(default_factory=dict)


def of_study(cfg, gpu: bool) -> Iterator["Workload"]:
    """Yield a workload for each set of settings that arms of the chosen study have: an arm may have
    a model, an SFT base or pairs of its own. What several share is in the first of them."""
    runs: dict[int, tuple[Any, list[Member], list[Member]]] = {}
    for place, members in ((1, cfg.members), (2, cfg.tried)):
        for member in members:
            for own in (member.layout.cfg.writer, member.layout.cfg):
                part = runs.setdefault(id(own), (own, [], []))
            part[place].append(member)
    made: set[Path] = set()
    for own, compared, tried in runs.values():
        shape, tied, _ = of_policy(own)
        yield Workload(own, shape, tied, lengths(own), gpu, (compared, tried), made)


class Workload:
    """Makes the jobs of the chosen study, or of those of its runs that have the same settings.

    shape: sizes of the policy without adapters; tied: whether its embeddings are one; found:
    lengths of texts; gpu: whether the jobs run on one; members: runs that are compared, and runs
    that try candidates; made: what other jobs of the study make, to which these add theirs.
    """

    def __init__(
        self, cfg, shape: Shape, tied: bool, found: Lengths, gpu: bool, members=None, made=None
    ):
        self.cfg, self.shape, self.tied = cfg, shape, tied
        self.compared, self.tried = members or (cfg.members, cfg.tried)
        self.made_before = set() if made is None else made
        self.lengths, self.made = found, cfg.decode.max_new_tokens
        self.drawn = [(p, min(a, self.made)) for p, *both in found.pairs for a in both]
        self.whole = [(p + a, a) for p, *both in found.pairs for a in both]
        self.bare = self.case("answer", rows=1)  # for the memory of a single model
        gold = cfg.data.gold if cfg.data.kind == "hub" and cfg.data.gold.id else None
        self.gold = judge_model(gold, gpu)
        self.judge = judge_model(cfg.reward.model, gpu)

    def jobs(self) -> Iterator[Job]:
        """Yield every job that no other workload of the study has."""
        cfg, layout, runs = self.cfg, self.cfg.layout, [*self.compared, *self.tried]
        yield from self.starts()
        pools = {pool_of(m.arm.label_set) for m in runs} | ({POOL} if runs else set())
        yield from (self.pool(name) for name in sorted(pools) if self.is_new(layout.pool(name)))
        asked = {pool_of(m.arm.label_set) for m in runs if "reference" in m.arm.needs}
        for name in sorted(asked):
            if self.is_new(layout.reference(name)):
                yield self.reference()
        models = {(m.arm.rewarded, m.seed) for m in runs if "reward" in m.arm.needs}
        if cfg.evaluated:
            models |= {(m.arm.proxy, m.seed) for m in self.compared if m.arm.proxy}
        for label_set, seed in sorted(models):
            if not cfg.reward.model and self.is_new(layout.reward(label_set, seed)):
                yield self.reward(label_set)
        yield from (self.align(member.arm) for member in runs)
        if cfg.evaluated and self.compared:
            if self.is_new(layout.evaluation(None).folder):
                yield self.evaluate(None)
            yield from (self.evaluate(member.arm) for member in self.compared)

    def is_new(self, path: Path) -> bool:
        """Note that a job makes this; return whether no other does."""
        if path in self.made_before:
            return False
        self.made_before.add(path)
        return True

    def case(self, head: str, **own) -> Case:
        longest = self.lengths.prompt, self.lengths.answer, self.made
        return Case(self.cfg.model, self.shape, self.tied, head, *longest, **own)

    @property
    def demonstrations(self) -> int:
        """Return how many become pairs: the setting, else as many as SFT reads."""
        cfg = self.cfg
        declared = cfg.pairs.demonstrations or getattr(cfg.data, "demonstrations", None)
        return declared or cfg.sft.steps * cfg.sft.batch

    def starts(self) -> Iterator[Job]:
        """Yield the training of the base, if it is pretrained here, and of the SFT base."""
        cfg, width = self.cfg, self.cfg.model.context
        if cfg.base.steps and self.is_new(cfg.layout.base):
            case = self.case("full", rows=cfg.base.batch, sequences=1)
            case = replace(case, prompt=width, answer=0)
            n = cfg.base.steps * cfg.base.batch
            job = self.training("base", case, n, [(width, width)])
            yield replace(job, times={"step": cfg.base.steps})
        if not cfg.sft.steps or not self.is_new(cfg.layout.sft):
            return
        rows = [(p + a, a) for p, a in self.lengths.demonstrations]
        n = cfg.sft.steps * cfg.sft.batch
        job = self.training("SFT base", self.split("answer", cfg.sft, n, sequences=1), n, rows)
        yield replace(job, times={"step": cfg.sft.steps})

    def split(self, head: str, settings, n: int, **own) -> Case:
        """Return the case of a trainer, with its rows per pass; n: rows of its data set."""
        launch, micro_batch = self.cfg.launch, self.cfg.model.micro_batch
        own |= memory.at_once(head, settings, micro_batch, n, launch.processes)
        return self.case(head, processes=launch.processes, config=launch.config, **own)

    def training(self, name: str, case: Case, n: float, rows, kind="", watched=Work(), loads=1):
        """Return a training job on ``n`` rows of the mean cost of ``rows``.

        rows: (tokens, tokens with a label) of each sequence; loads: models read from the disk.
        """
        of_row = training(trained(self.shape, case.model), rows, case.head) / len(rows)
        work = Work(trained=n * case.sequences * of_row, passes=n / case.rows)
        peak = memory.own(case), memory.needed(case)
        loads = loads * memory.held(self.bare)
        return Job(kind or name, name, *peak, work, watched, loads, case)

    def pool(self, name: str) -> Job:
        """Return the job that makes a pool of pairs.

        It samples both answers, unless the pairs were given, and scores them with gold. For a pool
        of demonstrations it samples one answer each and scores none.
        """
        cfg, n = self.cfg, self.cfg.pairs.sampled
        if name == POOL and world(cfg.data.kind).GIVEN_PAIRS:
            n, most = getattr(cfg.data, "pool", n), self.gold.bytes
            job = Job("pool", "pool", most, most, Work(), self.scored(2 * n), loads=most)
            return replace(job, times={"gold": 2 * n})
        held = memory.held(self.bare)
        most = held + memory.sampling_pass(self.bare, cfg.pairs.batch)
        if name == DEMONSTRATIONS:
            n = self.demonstrations
            job = Job("pool", name, most, most, self.sampled(n, cfg.pairs.batch), loads=held)
            return replace(job, times={"sample": n})
        held, most = held + self.gold.bytes, most + self.gold.bytes
        work = self.sampled(2 * n, cfg.pairs.batch), self.scored(2 * n)
        times = {"sample": 2 * n, "gold": 2 * n}
        return Job("pool", name, most, most, *work, loads=held, times=times)

    def reference(self) -> Job:
        """Return the job that computes log-probs of a pool under the SFT base."""
        n = getattr(self.cfg.data, "pool", None) or self.cfg.pairs.sampled
        held, batch = memory.held(self.bare), self.cfg.model.micro_batch or REFERENCE_BATCH
        most = held + memory.reading_pass(self.bare, batch, 2 * self.lengths.answer)
        work = Work(read=n * self.read_pair())
        return Job("reference", "reference", most, most, work, loads=held, times={"reference": n})

    def reward(self, label_set: str) -> Job:
        """Return the job that trains a reward model and tests it on the pairs left over."""
        cfg, own = self.cfg, parsed(label_set)
        n = own.copies * (own.n or cfg.pairs.n)
        case = self.split("scalar", cfg.reward, n)
        rest = max(0, getattr(cfg.data, "pool", 2 * n) - n)
        check = Work(read=2 * rest * self.read())
        rows = [(length, length) for length, _ in self.whole]
        name = "reward model" + ("" if label_set == "gold" else f" {label_set}")
        job = self.training(name, case, n * cfg.reward.epochs, rows, "reward model", check)
        return replace(job, of=label_set, times={"step": total_steps(cfg.reward, n), "check": rest})

    def align(self, arm) -> Job:
        """Return the job of a run, with the points of its curve."""
        method, cfg, n = self.cfg.known_methods[arm.method], self.cfg, self.pairs(arm)
        scorer, points = "reward" in arm.needs, len(arm.curve or cfg.curve.fractions)
        curve = self.measured(cfg.curve.prompts * cfg.curve.draws, cfg.curve.batch, scorer) * points
        head = head_of(method)
        if head == "rollout":
            return self.rollouts(arm, n, curve)
        if head == "none":
            return self.untrained(arm, curve)
        case = self.split(head, arm.settings, n, **self.watching(False))
        check = Work(read=cfg.pairs.validation * self.read_pair(head))
        n *= getattr(arm.settings, "epochs", 1)
        rows = [row for lengths in self.lengths.pairs for row in pair(head, *lengths)]
        job = self.training(arm.name, case, n, rows, arm.method, curve + check, loads=2)
        return replace(job, of=arm, times=self.times(arm) | {"heldout": cfg.pairs.validation})

    def untrained(self, arm, curve: Work) -> Job:
        """Return the job of an arm that is only measured; curve: the work of measuring it."""
        most = 2 * memory.held(self.bare) + self.gold.bytes
        most += memory.measuring(self.bare, self.cfg.curve.batch)
        return Job(arm.method, arm.name, most, most, Work(), curve, most, of=arm, times={})

    def pairs(self, arm) -> int:
        """Return how many pairs a run of an arm trains on."""
        shown = arm.preference == DEMONSTRATIONS
        return self.demonstrations // 2 if shown else arm.listed(self.cfg.pairs.n)

    def times(self, arm) -> dict[str, float]:
        """Return how often a run of an arm takes a step, and measures a batch for its curve."""
        curve = self.cfg.curve
        points = len(arm.curve or curve.fractions)
        steps = total_steps(arm.settings, self.pairs(arm))
        return {"step": steps, "measure": points * curve.prompts * curve.draws}

    def rollouts(self, arm, n: int, curve: Work) -> Job:
        """Return the job of a run of PPO on ``n`` prompts; curve: work of measuring its curve."""
        s, case = arm.settings, self.split("rollout", arm.settings, n, **self.watching(True))
        episodes = total_steps(s, n) * s.batch
        cost = {phase: episodes * self.cost(s, phase) for phase in PHASES}
        read = cost["score"] + cost["reference"]
        models = 1 + hasattr(s, "critic_init")  # policy and critic
        passes = models * s.inner_epochs * episodes / case.rows
        work = Work(trained=s.inner_epochs * cost["update"], read=read, passes=passes)
        drawn = replace(self.sampled(episodes, case.batch), drawn=cost["rollout"])
        loads = (3 if self.cfg.model.lora else 5) * memory.held(self.bare)
        peak = memory.own(case) + self.judge.bytes, memory.needed(case) + self.judge.bytes
        work += drawn
        return Job(arm.method, arm.name, *peak, work, curve, loads, case, arm, self.times(arm))

    def cost(self, settings, phase: str) -> float:
        """Return the FLOPs of an episode in a phase of PPO, from the code that books them."""
        import torch

        from bench.methods.ppo.roles import Roles, moves

        roles = Roles()
        roles.shape, roles.moving = trained(self.shape, self.cfg.model), moves(settings)
        roles.criticised = hasattr(settings, "critic_init")
        roles.below = roles.shape.first
        prompts, made = (torch.tensor(column)[:, None] for column in zip(*self.drawn, strict=True))
        samples = SimpleNamespace(prompt_mask=prompts, mask=made, attention=prompts + made)
        return roles.cost(phase, samples)["flops"] / len(self.drawn)

    def evaluate(self, arm) -> Job:
        """Return the job that evaluates an arm's run (None: the SFT base).

        It counts the test prompts and those tasks of lm-eval that are in TASKS.
        """
        cfg, case = self.cfg, self.bare
        answers = cfg.eval.prompts * (cfg.eval.draws if arm else cfg.eval.base_draws)
        work = self.measured(answers, cfg.eval.batch, arm is not None)
        tasks = cfg.eval.tasks if arm is None or arm.tasks is True else ()
        work = sum(map(self.task, tasks), work)
        read = {name: self.sequences(name) for name in tasks if name in TASKS}
        models = 2 * memory.held(case) + (memory.held(case, scorer=True) if arm else 0)
        most = models + self.gold.bytes + memory.measuring(case, cfg.eval.batch)
        own = {"of": arm, "times": {"measure": answers} | read}
        loads = models + self.gold.bytes
        return Job("evaluation", "evaluation", most, most, Work(), work, loads, **own)

    def sequences(self, name: str) -> int:
        """Return how many texts a task of lm-eval, one of TASKS, reads or answers."""
        documents, sequences, *_ = TASKS[name]
        return sequences * min(documents, self.cfg.eval.limit or documents)

    def task(self, name: str) -> Work:
        """Return the work of a task of lm-eval; none if it is not in TASKS."""
        documents, sequences, tokens, made = TASKS.get(name, (0, 0, 0, 0))
        documents, batch = min(documents, self.cfg.eval.limit or documents), self.cfg.eval.batch
        outputs = tokens * self.shape.vocabulary
        read = documents * sequences * forward(self.shape, [tokens], outputs)
        return Work(read=read) + self.sampled(
            documents if made else 0, batch, [(tokens, made)], made
        )

    # --- passes without backward

    def watching(self, scorer: bool) -> dict:
        """Return the memory of the models that measure a run: SFT base, gold, reward model.

        The reward model counts only with LoRA: without, PPO itself holds it as a copy.
        """
        own = memory.held(self.bare, scorer=True) if scorer and self.cfg.model.lora else 0
        bytes_ = memory.held(self.bare) + self.gold.bytes + own
        return {"watching": bytes_, "curve": self.cfg.curve.batch}

    def measured(self, n: int, batch: int, scorer: bool) -> Work:
        """Return the work of sampling on ``n`` prompts and reading the samples with each model."""
        batch = min(n, batch)
        read = n * self.read(self.made) * (3 if scorer else 2)
        return self.sampled(n, batch) + Work(read=read) + self.scored(n)

    def scored(self, n: int) -> Work:
        """Return the work of scoring ``n`` answers with gold."""
        return Work(read=n * forward(self.gold.shape, [mean(length for length, _ in self.whole)]))

    def read(self, outputs: float = 0) -> float:
        """Return the FLOPs of a forward pass over a sequence, with logits at ``outputs`` tokens."""
        lengths = [length for length, _ in self.whole]
        logits = len(lengths) * outputs * self.shape.vocabulary
        return forward(self.shape, lengths, logits) / len(lengths)

    def read_pair(self, head: str = "pair") -> float:
        """Return the FLOPs of a forward pass over both answers of a pair; head: as in ``pair``."""
        rows = [row for lengths in self.lengths.pairs for row in pair(head, *lengths)]
        tokens, labelled = zip(*rows, strict=True)
        return forward(self.shape, tokens, sum(labelled) * self.shape.vocabulary) / len(rows)

    def sampled(self, n: float, batch: int, rows=None, made: int = 0) -> Work:
        """Return the work of drawing ``n`` samples, ``batch`` at once.

        rows: (tokens of prompt, of sample) of each; made: longest sample, whose tokens are the
        steps of a batch.
        """
        rows, steps = rows or self.drawn, math.ceil(n / batch) * (made or self.made)
        prompts, answers = map(list, zip(*rows, strict=True))
        each = sampling(self.shape, prompts, answers)["flops"] / len(rows)
        seen = mean(m * (p + m / 2) for p, m in rows)  # tokens of cache that a sample reads
        return Work(drawn=n * each, steps=steps, cache=n * seen * memory.cached(self.bare))


@dataclass(frozen=True)
class JudgeModel:
    """A reward model that others have trained: gold, or PPO's."""

    shape: Shape
    bytes: float


def judge_model(source, gpu: bool) -> JudgeModel:
    """Return the size of a published reward model; of zero size if there is none.

    It is held in bfloat16 on a GPU, else in float32 (``bench.models.judge``).
    """
    if source is None:
        return JudgeModel(Shape(0, 0, 0, 0, 0, 0, 0), 0.0)
    shape, tied, _ = of_source(source)
    return JudgeModel(shape, (2 if gpu else 4) * sum(memory.parameters(shape, tied, scorer=True)))
