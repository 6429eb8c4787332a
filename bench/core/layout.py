"""Paths of all artefacts, what each is made from, and what a run needs. All code asks here.

    layout = load("micro").layout
    layout.sft                                  # runs/micro/sft
    layout.run(cfg.arm("dpo"), 1).record        # runs/micro/align/dpo/seed1/run.json

An artefact has a readable name. If a setting that it depends on, directly or through its inputs,
differs from the testbed's file, a short hash of these settings follows the name:
``runs/micro/sft@3f9a1c2e``. So several SFT bases, reward models and runs of one arm lie side by
side, and an override never overwrites another run.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.core.names import DEFAULT_STUDY, POOL, SFT, pool_of

KEY = r"(@[0-9a-f]{8})?"  # the hash that may follow a name


@dataclass(frozen=True)
class Recipe:
    """What an artefact is made from.

    reads: sections of the settings, "arm" being the run's arm; of: kinds of artefacts it reads.
    """

    reads: tuple[str, ...]
    of: tuple[str, ...] = ()


# The SFT base's evaluation. It needs the pairs step, which makes lm-eval's task `preference`.
BASE_EVALUATION = "evaluate-sft"
# What each step's artefact is made from. A step can read no other settings (settings.config).
RECIPES = {
    "data": Recipe(("data",)),
    "base": Recipe(("data", "model", "base"), ("data",)),
    "sft": Recipe(("data", "model", "sft"), ("data", "base")),
    "pairs": Recipe(("data", "model", "pairs", "decode"), ("data", "sft")),
    "reward": Recipe(("data", "model", "reward"), ("sft", "pairs")),
    "reference": Recipe(("data", "model"), ("sft", "pairs")),
    "align": Recipe(("data", "model", "decode", "curve", "arm"), ("sft", "pairs")),
    "evaluate": Recipe(("data", "model", "decode", "eval", "arm"), ("align", "reward")),
    BASE_EVALUATION: Recipe(("data", "model", "decode", "eval"), ("pairs",)),
}
# Sections that an arm may override for its runs.
UPSTREAM = ("model", "base", "sft", "pairs", "reward")


def sections(kind: str, *more: str) -> set[str]:
    """List the sections of the settings that an artefact and its inputs are made from.

    more: kinds of further inputs.
    """
    recipe = RECIPES[kind]
    return {*recipe.reads}.union(*(sections(other) for other in (*recipe.of, *more)))


@dataclass(frozen=True)
class RunFiles:
    """Paths of the files that a run writes."""

    folder: Path

    @property
    def record(self) -> Path:
        """run.json: what the fairness contract compares, and the cost."""
        return self.folder / "run.json"

    @property
    def log(self) -> Path:
        """The training log, one row per optimiser step."""
        return self.folder / "log.csv"

    @property
    def curve(self) -> Path:
        """The training curve: means by family at each of its points."""
        return self.folder / "curve.csv"

    @property
    def samples(self) -> Path:
        """Answers at each point of the training curve."""
        return self.folder / "samples.jsonl"

    @property
    def model(self) -> Path:
        """The folder of the trained policy; empty if training failed."""
        return self.folder / "model"

    @property
    def written(self) -> tuple[Path, ...]:
        """The files that numbers come from, besides the record, which has their hashes."""
        return self.log, self.curve, self.samples


@dataclass(frozen=True)
class EvaluationFiles:
    """Paths of the files that an evaluation writes."""

    folder: Path

    @property
    def record(self) -> Path:
        """eval.json: what the fairness contract compares of an evaluation."""
        return self.folder / "eval.json"

    @property
    def prompts(self) -> Path:
        """The measures of each answer to a test prompt, one row per answer, without texts."""
        return self.folder / "prompts.csv"

    @property
    def tasks(self) -> Path:
        """The results of lm-eval, one row per task and metric."""
        return self.folder / "tasks.csv"

    @property
    def items(self) -> Path:
        """The results of lm-eval on single documents, one row per task, metric and document."""
        return self.folder / "items.csv"

    @property
    def samples(self) -> Path:
        """The answers to the test prompts."""
        return self.folder / "samples.jsonl"

    @property
    def written(self) -> tuple[Path, ...]:
        """The files that numbers come from, besides the record, which has their hashes."""
        return self.prompts, self.tasks, self.items, self.samples


class Layout:
    """Names and paths of one testbed's artefacts under the settings ``cfg``.

    plain: the settings of the testbed's file alone; None: every name gets a hash.
    """

    def __init__(self, cfg: Any, plain: Any):
        self.cfg, self.plain = cfg, plain
        self._keys: dict[str, str] = {}

    @property
    def root(self) -> Path:
        return Path("runs", self.cfg.testbed)

    # --- names

    def key(self, kind: str) -> str:
        """Return '' if an artefact's settings are the testbed's, else '@' and a hash of them."""
        if kind not in self._keys:
            own = self._values(sections(kind) - {"arm"}, self.cfg)
            theirs = self.plain and self._values(sections(kind) - {"arm"}, self.plain)
            self._keys[kind] = _key(own, theirs)
        return self._keys[kind]

    def _values(self, names: set[str], cfg: Any) -> dict:
        found = {name: cfg.section(name) for name in sorted(names)}
        if "pairs" in names and cfg.pairs.writer:
            found["writer"] = self._values(sections("sft"), cfg.writer)
        return found

    def _of_run(self, kind: str, arm: Any) -> str:
        """Return the key of an arm's runs or evaluations, by its settings before any pick."""
        cached = f"{kind} {arm.name}"
        if cached not in self._keys:
            configured = self.cfg.arm(arm.name) if self.cfg.has_arm(arm.name) else arm
            own = self._run_values(kind, configured, self.cfg)
            theirs = None
            if self.plain and self.plain.has_arm(arm.name):
                usual = self.plain.arm(arm.name)
                theirs = self._run_values(kind, usual, self.plain.of(arm.name))
            self._keys[cached] = _key(own, theirs)
        return self._keys[cached]

    def _run_values(self, kind: str, arm: Any, cfg: Any) -> dict:
        needs = ("reward",) if kind == "evaluate" else arm.needs
        values = self._values(sections(kind, *needs) - {"arm"}, cfg)
        own = {"arm": arm.model_dump(mode="json", exclude={"name", "upstream"})}
        if arm.follows:
            own["candidates"] = cfg.root.arm(arm.follows).candidates
        return values | own

    def names(self, kind: str, name: str = "") -> str:
        """Return the name of an artefact's folder or file: 'sft@3f9a1c2e', 'gold@...'."""
        return f"{name or kind}{self.key(kind)}"

    # --- what all runs share

    @property
    def data(self) -> Path:
        """Texts, prompts and tasks of the world."""
        return self.root / self.names("data")

    @property
    def manifest(self) -> Path:
        """The file that the data step writes last."""
        return self.data / "manifest.json"

    @property
    def prompts(self) -> Path:
        """Prompts of all splits."""
        return self.data / "prompts.jsonl"

    @property
    def base(self) -> Path:
        """The pretrained or published model."""
        return self.root / self.names("base")

    @property
    def sft(self) -> Path:
        """The SFT base."""
        return self.root / self.names("sft")

    @property
    def writer(self) -> Path:
        """The SFT base that writes the answers of the pool."""
        return self.cfg.writer.layout.sft

    def start(self, arm: Any) -> Path:
        """The weights that an arm's runs start from."""
        return {"base": self.base, "sft": self.sft}[arm.start]

    # --- pairs

    @property
    def pairs_folder(self) -> Path:
        return self.root / self.names("pairs")

    def pool(self, name: str) -> Path:
        """The pairs that every seed draws from: ``pool``, ``demonstrations`` or ``on-policy``."""
        return self.pairs_folder / f"{name}.jsonl"

    def pool_record(self, name: str) -> Path:
        """The record of how a pool was made, and its cost."""
        return self.pairs_folder / ("step.json" if name == POOL else f"{name}.json")

    @property
    def test_pairs(self) -> Path:
        """Documents of the lm-eval task ``preference``; absent if the world writes its own."""
        return self.pairs_folder / "preference.jsonl"

    def pairs(self, label_set: str, seed: int | str) -> Path:
        """The pairs that a seed learns from."""
        return self.pairs_folder / label_set / f"seed{seed}.jsonl"

    def validation(self, label_set: str, seed: int | str) -> Path:
        """Pairs of the pool that the seed does not learn from."""
        return self.pairs_folder / label_set / f"validation{seed}.jsonl"

    # --- what methods need

    def reward(self, label_set: str, seed: int | str) -> Path:
        """The reward model of a seed and label set."""
        return self.root / "reward" / self.names("reward", label_set) / f"seed{seed}"

    def reference(self, pool: str) -> Path:
        """Log-probs of a pool's answers under the SFT base."""
        return self.root / "reference" / self.names("reference", pool) / "logps.csv"

    def needed(self, arm: Any, seed: int | str) -> dict[str, Path]:
        """Return {input: path} of everything that a run of an arm trains from."""
        found = {
            "start": self.start(arm),
            "sft": self.sft,
            "pairs": self.pairs(arm.label_set, seed),
            "validation": self.validation(arm.label_set, seed),
        }
        artefacts = {
            "reward": self.reward(arm.rewarded, seed),
            "reference": self.reference(pool_of(arm.label_set)),
        }
        return found | {need: artefacts[need] for need in arm.needs} | self.given(arm, seed)

    def given(self, arm: Any, seed: int | str) -> dict[str, Path]:
        """Return {"checkpoint": the folder of a finished model}; {} if an arm is none, or if its
        model lies on the hub."""
        path = arm.finished(seed)
        return {"checkpoint": Path(path)} if path and Path(path).is_dir() else {}

    # --- runs

    def run_name(self, arm: Any) -> str:
        """Return 'dpo', or 'dpo@3f9a1c2e' if a setting differs from the testbed's file."""
        return f"{arm.name}{self._of_run('align', arm)}"

    def run(self, arm: Any, seed: int | str) -> RunFiles:
        """Return the paths of a run."""
        return RunFiles(self.root / "align" / self.run_name(arm) / f"seed{seed}")

    def pick(self, arm: Any) -> Path:
        """The record of which candidate an arm's runs have the settings of: its own, or that of the
        arm that it follows."""
        if arm and arm.follows:
            root = self.cfg.root
            return root.of(arm.follows).layout.pick(root.arm(arm.follows))
        return self.root / "pick" / f"{self.run_name(arm)}.json"

    def evaluation_name(self, arm: Any | None) -> str:
        """Return the name of an arm's evaluations; arm None: of the SFT base's."""
        if arm is not None:
            return f"{arm.name}{self._of_run('evaluate', arm)}"
        return SFT + self.key(BASE_EVALUATION)

    def evaluation(self, arm: Any | None, seed: int | str = 0) -> EvaluationFiles:
        """Return the paths of an evaluation; arm None: of the SFT base."""
        return EvaluationFiles(self.root / "evaluate" / self.evaluation_name(arm) / f"seed{seed}")

    # --- studies

    @cached_property
    def study(self) -> Path:
        """The folder of the chosen study: its contract, tables, page and post."""
        name = self.cfg.study
        key = _key(self.cfg.decisive(name), self.plain and self.plain.decisive(name))
        return self.root if name == DEFAULT_STUDY and not key else self.root / f"study-{name}{key}"

    @property
    def contract(self) -> Path:
        return self.study / "contract.json"

    @property
    def overhead(self) -> Path:
        """The time of Snakemake and of the warm process, which no step books."""
        return self.study / "overhead.json"

    @property
    def results(self) -> Path:
        """The study's runs as tables."""
        return self.study / "results"

    @property
    def report(self) -> Path:
        """The page and its figures."""
        return self.study / "report"

    @property
    def report_record(self) -> Path:
        """sha256 of every file of the report."""
        return self.study / "report.json"

    @property
    def blog(self) -> Path:
        """The draft of a post and its figures."""
        return self.study / "blog"

    @property
    def blog_record(self) -> Path:
        """sha256 of every file of the post."""
        return self.study / "blog.json"

    @property
    def tuned(self) -> Path:
        """The settings that the study ``tune`` picked."""
        return (self.root if self.study == self.root / "study-tune" else self.study) / "tuned.yaml"

    # --- beside the artefacts

    @property
    def prefetched(self) -> Path:
        """The list of what the step `prefetch` downloaded from the hub."""
        return self.root / "prefetch.json"

    def log(self, name: str) -> Path:
        """The file of what a step prints."""
        return self.root / "logs" / f"{name}.log"

    def study_log(self, name: str) -> Path:
        """The file of what a step of the chosen study prints."""
        return self.study / "logs" / f"{name}.log"

    def checkpoints(self, name: str) -> Path:
        """The folder of a training's checkpoints."""
        return self.root / "checkpoints" / name

    def ledger(self, step: str, name: str = "", seed: int | None = None) -> Path:
        """The record of the time that a step's processes took; name: of what they made."""
        return self.root / "ledger" / f"{_joined(step, name, seed)}.json"

    def lease(self, step: str, name: str = "", seed: int | None = None) -> Path:
        """The file that a step locks while it works; name: of what it makes."""
        return self.root / "leases" / _joined(step, name, seed)


class Patterns(Layout):
    """The same paths with Snakemake's wildcards {arm} and {key}, for the outputs of rules."""

    def names(self, kind: str, name: str = "") -> str:
        return f"{name or kind}{{key}}"

    def run_name(self, arm: Any = None) -> str:
        return "{arm}{key}"

    evaluation_name = run_name


@dataclass(frozen=True)
class Member:
    """A run of a study: its arm, its seed, and the layout of its arm."""

    arm: Any
    seed: int
    layout: Layout

    @property
    def files(self) -> RunFiles:
        return self.layout.run(self.arm, self.seed)

    @property
    def evaluation(self) -> EvaluationFiles:
        return self.layout.evaluation(self.arm, self.seed)

    @property
    def needed(self) -> dict[str, Path]:
        """{input: path} of everything that it trains from."""
        return self.layout.needed(self.arm, self.seed)

    @property
    def proxy(self) -> Path | None:
        """The reward model that scores its samples."""
        return self.layout.reward(self.arm.proxy, self.seed) if self.arm.proxy else None

    def reward_models(self, evaluated: bool) -> list[str]:
        """List the label sets of the reward models that train it and, if evaluated, score it."""
        own = [self.arm.rewarded] if "reward" in self.arm.needs else []
        return sorted({*own, *([self.arm.proxy] if evaluated and self.arm.proxy else [])})

    def ledgers(self, evaluated: bool) -> list[Path]:
        """List the time records of its own steps and of those that made its inputs."""
        layout, arm, seed = self.layout, self.arm, self.seed
        pool, rewards = pool_of(arm.label_set), self.reward_models(evaluated)
        found = [
            layout.ledger("align", layout.run_name(arm), seed),
            layout.ledger("pairs", layout.names("pairs", arm.label_set), seed),
            layout.ledger("pairs", layout.names("pairs", pool)),
            *(layout.ledger("reward", layout.names("reward", r), seed) for r in rewards),
        ]
        if "reference" in arm.needs:
            found.append(layout.ledger("reference", layout.names("reference", pool)))
        evaluation = layout.ledger("evaluate", layout.evaluation_name(arm), seed)
        return [*found, evaluation] if evaluated else found


def _joined(step: str, name: str, seed: int | None) -> str:
    return "-".join(filter(None, [step, name, f"seed{seed}" if seed is not None else ""]))


def _key(own: dict, theirs: dict | None) -> str:
    """Return '' if both settings are the same, else '@' and a short hash of ``own``."""
    if own == theirs:
        return ""
    text = json.dumps(own, sort_keys=True, default=str)
    return "@" + hashlib.sha256(text.encode()).hexdigest()[:8]
