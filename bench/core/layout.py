"""Where every artefact lies, what it is made from, and what a run needs: once, for all who ask.

    layout = load("micro").layout
    layout.sft                                  # runs/micro/sft
    layout.run(cfg.arm("dpo"), 1).record        # runs/micro/align/dpo/seed1/run.json

An artefact has a readable name. Where a setting that it is made from, or that any of its inputs is
made from, differs from the testbed's file, a short hash of these settings follows the name:
``runs/micro/sft@3f9a1c2e``. So several SFT bases, reward models and runs of one arm lie side by
side, and an override overwrites nobody's run.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.core.names import DEFAULT_STUDY, POOL, SFT, pool_of

KEY = r"(@[0-9a-f]{8})?"  # what may follow a name


@dataclass(frozen=True)
class Recipe:
    """reads: sections of the settings ("arm": the arm of a run); of: artefacts it starts from."""

    reads: tuple[str, ...]
    of: tuple[str, ...] = ()


# Of the SFT base; lm-eval's task `preference` asks about pairs of its own.
BASE_EVALUATION = "evaluate-sft"
# What each step makes, and from what. A step reads nothing else of the settings (settings.config).
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
UPSTREAM = ("base", "sft", "pairs", "reward")  # sections that an arm may override for its runs


def sections(kind: str, *more: str) -> set[str]:
    """All sections that an artefact is made from, those of its inputs too; more: other inputs."""
    recipe = RECIPES[kind]
    return {*recipe.reads}.union(*(sections(other) for other in (*recipe.of, *more)))


@dataclass(frozen=True)
class RunFiles:
    """What a run leaves in its folder."""

    folder: Path

    @property
    def record(self) -> Path:
        """run.json: what the contract compares, and the cost."""
        return self.folder / "run.json"

    @property
    def log(self) -> Path:
        """A row an optimiser step."""
        return self.folder / "log.csv"

    @property
    def curve(self) -> Path:
        """Means by family at each point of the curve."""
        return self.folder / "curve.csv"

    @property
    def samples(self) -> Path:
        """Answers at each point of the curve."""
        return self.folder / "samples.jsonl"

    @property
    def model(self) -> Path:
        """The trained policy; empty where training failed."""
        return self.folder / "model"


@dataclass(frozen=True)
class EvaluationFiles:
    """What the evaluation of a run leaves in its folder."""

    folder: Path

    @property
    def record(self) -> Path:
        """eval.json: what the contract compares of an evaluation."""
        return self.folder / "eval.json"

    @property
    def prompts(self) -> Path:
        """A row a test prompt: numbers only."""
        return self.folder / "prompts.csv"

    @property
    def tasks(self) -> Path:
        """A row a task of lm-eval and metric."""
        return self.folder / "tasks.csv"

    @property
    def samples(self) -> Path:
        """The answers to the test prompts."""
        return self.folder / "samples.jsonl"


class Layout:
    """The artefacts of one testbed under some settings, ``cfg``.

    plain: the settings of the testbed's file alone; None: nothing is named without a hash.
    """

    def __init__(self, cfg: Any, plain: Any):
        self.cfg, self.plain = cfg, plain
        self._keys: dict[str, str] = {}

    @property
    def root(self) -> Path:
        return Path("runs", self.cfg.testbed)

    # --- names

    def key(self, kind: str) -> str:
        """'' or '@' and eight digits: which settings an artefact is made from."""
        if kind not in self._keys:
            own = self._values(sections(kind) - {"arm"}, self.cfg)
            theirs = self.plain and self._values(sections(kind) - {"arm"}, self.plain)
            self._keys[kind] = _key(own, theirs)
        return self._keys[kind]

    def _values(self, names: set[str], cfg: Any) -> dict:
        return {name: cfg.section(name) for name in sorted(names)}

    def _of_run(self, kind: str, arm: Any) -> str:
        """The key of a run, or of its evaluation, under this layout's settings."""
        cached = f"{kind} {arm.name}"
        if cached not in self._keys:
            own = self._run_values(kind, arm, self.cfg)
            theirs = None
            if self.plain and self.plain.has_arm(arm.name):
                usual = self.plain.arm(arm.name)
                theirs = self._run_values(kind, usual, self.plain.of(arm.name))
            self._keys[cached] = _key(own, theirs)
        return self._keys[cached]

    def _run_values(self, kind: str, arm: Any, cfg: Any) -> dict:
        needs = ("reward",) if kind == "evaluate" else arm.needs
        values = self._values(sections(kind, *needs) - {"arm"}, cfg)
        return values | {"arm": arm.model_dump(mode="json", exclude={"name", "upstream"})}

    def names(self, kind: str, name: str = "") -> str:
        """The name of an artefact's folder or file: 'sft@3f9a1c2e', 'gold@...'."""
        return f"{name or kind}{self.key(kind)}"

    # --- what all runs share

    @property
    def data(self) -> Path:
        """Texts, prompts and tasks of the world."""
        return self.root / self.names("data")

    @property
    def manifest(self) -> Path:
        """The last file of the data step."""
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
        """How a pool was made, and its cost."""
        return self.pairs_folder / ("step.json" if name == POOL else f"{name}.json")

    @property
    def test_pairs(self) -> Path:
        """Documents of the lm-eval task ``preference``; absent where the world has its own."""
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
        """{what: where} of all that a run of an arm trains from."""
        found = {
            "start": self.start(arm),
            "sft": self.sft,
            "pairs": self.pairs(arm.label_set, seed),
            "validation": self.validation(arm.label_set, seed),
        }
        artefacts = {
            "reward": self.reward(arm.label_set, seed),
            "reference": self.reference(pool_of(arm.label_set)),
        }
        return found | {need: artefacts[need] for need in arm.needs}

    # --- runs

    def run_name(self, arm: Any) -> str:
        """'dpo', or 'dpo@3f9a1c2e' where a setting differs from the testbed's."""
        return f"{arm.name}{self._of_run('align', arm)}"

    def run(self, arm: Any, seed: int | str) -> RunFiles:
        """The folder of a run."""
        return RunFiles(self.root / "align" / self.run_name(arm) / f"seed{seed}")

    def evaluation_name(self, arm: Any | None) -> str:
        """The same of an evaluation; arm None: of the SFT base."""
        if arm is not None:
            return f"{arm.name}{self._of_run('evaluate', arm)}"
        return SFT + self.key(BASE_EVALUATION)

    def evaluation(self, arm: Any | None, seed: int | str = 0) -> EvaluationFiles:
        """The folder of an evaluation; arm None: of the SFT base."""
        return EvaluationFiles(self.root / "evaluate" / self.evaluation_name(arm) / f"seed{seed}")

    # --- studies

    @cached_property
    def study(self) -> Path:
        """Contract, tables, page and post of the chosen study."""
        name = self.cfg.study
        key = _key(self.cfg.decisive(name), self.plain and self.plain.decisive(name))
        return self.root if name == DEFAULT_STUDY and not key else self.root / f"study-{name}{key}"

    @property
    def contract(self) -> Path:
        return self.study / "contract.json"

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
        """What was fetched from the hub beforehand."""
        return self.root / "prefetch.json"

    def log(self, name: str) -> Path:
        """What a step says."""
        return self.root / "logs" / f"{name}.log"

    def study_log(self, name: str) -> Path:
        """What a step of the chosen study says."""
        return self.study / "logs" / f"{name}.log"

    def checkpoints(self, name: str) -> Path:
        """Where a training keeps what it resumes from."""
        return self.root / "checkpoints" / name

    def ledger(self, step: str, name: str = "", seed: int | None = None) -> Path:
        """What the processes of a step took in all, by the name of what they made."""
        words = [step, name, f"seed{seed}" if seed is not None else ""]
        return self.root / "ledger" / f"{'-'.join(filter(None, words))}.json"


class Patterns(Layout):
    """The same places with Snakemake's wildcards, {arm} and {key}, for what the rules make."""

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
        """{what: where} of all that it trains from."""
        return self.layout.needed(self.arm, self.seed)

    @property
    def proxy(self) -> Path:
        """The reward model that scores its samples."""
        return self.layout.reward(self.arm.proxy, self.seed)

    def reward_models(self, evaluated: bool) -> list[str]:
        """Label sets of the reward models that it trains against, or is scored by if evaluated."""
        own = [self.arm.label_set] if "reward" in self.arm.needs else []
        return sorted({*own, *([self.arm.proxy] if evaluated else [])})

    def ledgers(self, evaluated: bool) -> list[Path]:
        """What its own processes took, and those of all that it needs."""
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


def _key(own: dict, theirs: dict | None) -> str:
    """'' where both are the same, else a short hash of one's own."""
    if own == theirs:
        return ""
    text = json.dumps(own, sort_keys=True, default=str)
    return "@" + hashlib.sha256(text.encode()).hexdigest()[:8]
