"""Hold the results of a study: its collected tables, with declared columns, and their `Meta`.

`bench.steps.collect` writes them as results/*.csv, samples.jsonl and meta.json; `Results.read`
reads them once. All analysis is functions of `Results`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import wraps
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis.statistics import Share
from bench.core.files import file_sha256, plain, read_csv, read_json, write_text
from bench.core.names import SFT
from bench.core.records import WRITTEN, sealed
from bench.core.schema import UserError

SCHEMA = "prefbench.tables/3"
AGAIN = "run `snakemake` to collect the study again"
RUN = ("arm", "method", "seed")
# the columns of each table that the analysis reads; tables may hold more
COLUMNS = {
    "runs": (*RUN, "status", "reason", "settings", "parameters", "peak_mb", "peak_reserved_mb",
             "reference_peak_mb", "resident_models", "generated_tokens", "validation_loss",
             "model_sha256"),
    "cost": (*RUN, "step", "phase", "charged", "wall_s", "cpu_s", "flops", "joules"),
    "curve": (*RUN, "fraction", "family", "n", "gold", "gold_se", "proxy", "kl", "length",
              "distinct2", "entropy", "accuracy", "wall_s", "cpu_s", "flops"),
    "log": (*RUN, "step", "grad_norm", "logps_chosen"),
    "prompts": (*RUN, "prompt_id", "draw", "family", "gold", "proxy", "kl", "entropy", "length"),
    "variety": (*RUN, "draw", "distinct2", "best_of", "gold", "between"),
    "tasks": (*RUN, "task", "metric", "value", "stderr", "n", "higher_is_better"),
    "items": (*RUN, "task", "metric", "item", "value"),
    "reward": ("reward_model", "label_set", "seed", "peak_mb", "gold_order_accuracy", "score_mean",
               "score_sd", "external"),
    "ledger": ("step", "processes", "wall_s", "cpu_s"),
}  # fmt: skip
FILES = (*(f"{name}.csv" for name in COLUMNS), "samples.jsonl")


@dataclass(frozen=True)
class Arm:
    """An arm as its study configures it.

    label_set: the pairs that it learns from; n: their number, None for all; start: what its runs
    start from; base: its SFT base; proxy: the reward model that scores it; varies: the settings
    that differ from its method's tuned ones; factors: the ratio to the tuned value, for some of
    them; sets: {setting: value} of all that it is configured to set, `reward.lr` of its reward
    model; trains: whether anything is trained.
    """

    name: str
    method: str
    label_set: str = "gold"
    n: int | None = None
    start: str = "sft"
    base: str = SFT
    proxy: str = "gold"
    varies: tuple[str, ...] = ()
    factors: Mapping[str, float] = field(default_factory=dict)
    sets: Mapping[str, Any] = field(default_factory=dict)
    trains: bool = True

    @property
    def tuned(self) -> bool:
        """Return True for a method as tuned and for a model that was not trained here, False for a
        variant of a method."""
        return self.name == self.method or not self.trains


@dataclass(frozen=True)
class Pick:
    """Which of an arm's candidates its runs have the settings of.

    seeds: on which they were tried; candidates: {name: {"settings": ..., "gains": by seed}}, with
    gains in gold on validation prompts.
    """

    picked: str
    seeds: list[int]
    candidates: dict[str, dict]


@dataclass(frozen=True)
class Meta:
    """What a study's tables belong to: meta.json.

    world: the kind of the testbed's data; about: the testbed in one line; source: the testbed's
    name on the command line; planned: {arm: the seeds that it was to run with}; own_methods: files
    of methods from outside the package; picks: {arm: its `Pick`} of arms with candidates;
    noted: what the study's plan noted before the first job.
    """

    schema: str
    testbed: str
    world: str
    about: str
    source: str
    study: str
    commit: str
    version: str
    complete: bool
    default_settings: bool
    overrides: list[str]
    seeds: list[int]
    planned: dict[str, list[int]]
    pairs: int
    arms: list[Arm]
    methods: list[str]
    own_methods: dict[str, str]
    tuned_families: list[str]
    provenance: dict | None
    tune: dict
    price: dict
    pool: dict
    gold: dict
    breaches: list[dict]
    machine: dict
    versions: dict
    decode: dict
    picks: dict[str, Pick] = field(default_factory=dict)
    noted: dict = field(default_factory=dict)

    @classmethod
    def of(cls, known: dict) -> "Meta":
        """Return Meta from the content of meta.json; raises UserError if it has another schema."""
        names = {f.name for f in fields(cls)} - {"picks", "noted"}
        if known.get("schema") != SCHEMA:
            was = known.get("schema")
            raise UserError(f"is of the schema {was}, not {SCHEMA}: {AGAIN}")
        if lost := sorted(names - known.keys()):
            raise UserError(f"lacks {', '.join(lost)}: {AGAIN}")
        arms = [Arm(**arm | {"varies": tuple(arm["varies"])}) for arm in known["arms"]]
        picks = {arm: Pick(**pick) for arm, pick in known.get("picks", {}).items()}
        more = {"arms": arms, "picks": picks, "noted": known.get("noted", {})}
        return cls(**{name: known[name] for name in names} | more)


@dataclass(eq=False)
class Results:
    """A study's tables, the answers of its models, and its Meta.

    One row of a table is: in runs, a run; in cost, a phase of a step of a run; in curve, a point of
    a training curve, on validation prompts; in log, an optimiser step; in prompts, an answer to a
    test prompt; in variety, all answers of a draw, one to a prompt, or the answers to each prompt
    that are the best of so many by gold; in tasks, a score of lm-eval; in items, that of one of its
    documents; in reward, a reward model; in ledger, all processes of a
    step.
    """

    meta: Meta
    runs: pd.DataFrame
    cost: pd.DataFrame
    curve: pd.DataFrame
    log: pd.DataFrame
    prompts: pd.DataFrame
    variety: pd.DataFrame
    tasks: pd.DataFrame
    items: pd.DataFrame
    reward: pd.DataFrame
    ledger: pd.DataFrame
    samples: list[dict] = field(default_factory=list)
    folder: Path | None = None
    known: dict = field(default_factory=dict, init=False, repr=False)  # what `once` has computed

    @classmethod
    def of(cls, tables: Mapping[str, pd.DataFrame], samples: list[dict], meta: Meta) -> "Results":
        """Return Results from tables by name; a missing table or declared column becomes an empty
        one."""
        found = {name: declared(tables.get(name), name) for name in COLUMNS}
        return cls(meta=meta, samples=samples, **found)

    @classmethod
    def read(cls, folder: Path) -> "Results":
        """Read Results from the folder that `write` wrote.

        Raises UserError if a file is missing, or is not as it was written.
        """
        path = folder / "meta.json"
        known = read_json(path, needed=True)
        try:
            meta = Meta.of(known)
            if sealed(known) != known:
                raise UserError(f"was changed: {AGAIN}")
        except UserError as error:
            raise UserError(f"{path} {error}") from None
        for name in FILES:
            if not (folder / name).is_file() or file_sha256(folder / name) != known[WRITTEN][name]:
                raise UserError(f"{folder / name} is missing or was changed: {AGAIN}")
        tables = {name: read_csv(folder / f"{name}.csv") for name in COLUMNS}
        texts = (folder / "samples.jsonl").read_text(encoding="utf-8").split("\n")
        samples = [json.loads(line) for line in texts if line.strip()]
        found = cls.of(tables, samples, meta)
        found.folder = folder
        return found

    def write(self, folder: Path) -> None:
        """Write the tables as csv, samples.jsonl and, last, meta.json, each renamed into place."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in COLUMNS:
            text = getattr(self, name).to_csv(index=False, lineterminator="\n")
            write_text(folder / f"{name}.csv", text)
        write_text(folder / "samples.jsonl", json_lines(self.samples))
        hashes = {name: file_sha256(folder / name) for name in FILES}
        write_text(folder / "meta.json", meta_json(asdict(self.meta), hashes))

    @property
    def arms(self) -> list[str]:
        """Return the names of the arms, in the study's order."""
        return [arm.name for arm in self.meta.arms]

    @property
    def method(self) -> dict[str, str]:
        """Return {arm: method}."""
        return {arm.name: arm.method for arm in self.meta.arms}

    @property
    def base(self) -> dict[str, str]:
        """Return {arm: its SFT base, as the tables call it}; each base is its own."""
        own = {arm.name: arm.base for arm in self.meta.arms}
        return {base: base for base in (SFT, *own.values())} | own

    @property
    def bases(self) -> list[str]:
        """Return the SFT bases that arms start from, `sft` first."""
        return list(dict.fromkeys([SFT, *(arm.base for arm in self.meta.arms)]))

    def answers(self, arm: str, column: str = "gold") -> pd.DataFrame:
        """Return the scores of an arm's answers [(seed, draw) x prompts] on the tuned families,
        without prompts that have a gap.

        Empty if the arm has no answers, since all its runs failed.
        """
        return _answers(self, arm, column)

    def scores(self, arm: str, column: str = "gold") -> pd.DataFrame:
        """Return an arm's scores [seeds x prompts], each the mean over the answers to a prompt."""
        return _scores(self, arm, column)

    def draws(self, arm: str) -> int:
        """Return how many answers an arm's runs gave to each test prompt; 0 if it has none."""
        return int(self.prompts[self.prompts.arm == arm].draw.nunique())

    def ended(self) -> pd.DataFrame:
        """Return arm and seed of the runs that did not fail."""
        return self.runs[self.runs.status == "ok"][["arm", "seed"]]

    def share_ended(self, arm: str) -> Share:
        """Return how many of an arm's planned runs ended without failing."""
        status = self.runs[self.runs.arm == arm].status
        planned = self.meta.planned.get(arm, [])
        return Share(int((status == "ok").sum()), max(len(planned), len(status)))


def meta_json(meta: dict, hashes: dict[str, str]) -> str:
    """Return the text of meta.json; hashes: {file: sha256} of FILES."""
    known = sealed(plain(meta) | {WRITTEN: hashes})
    return json.dumps(known, indent=1) + "\n"


def declared(table: pd.DataFrame | None, name: str) -> pd.DataFrame:
    """Return a table with all columns that are declared for it."""
    if table is None:
        return pd.DataFrame(columns=COLUMNS[name])
    return table.reindex(columns=list(dict.fromkeys([*table.columns, *COLUMNS[name]])))


def json_lines(rows: list[dict]) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows)


def once(function: Callable) -> Callable:
    """Compute a function of results, and of further hashable arguments, once for each `Results`."""

    @wraps(function)
    def remembered(results: Results, *more) -> Any:
        key = (function, *more)
        if key not in results.known:
            results.known[key] = function(results, *more)
        return results.known[key]

    return remembered


@once
def _answers(results: Results, arm: str, column: str) -> pd.DataFrame:
    rows = results.prompts
    rows = rows[(rows.arm == arm) & rows.family.isin(results.meta.tuned_families)]
    if rows[column].isna().all():
        return pd.DataFrame()
    at = ["seed", "draw"]
    return rows.pivot_table(index=at, columns="prompt_id", values=column).dropna(axis=1)


@once
def _scores(results: Results, arm: str, column: str) -> pd.DataFrame:
    answers = results.answers(arm, column)
    return answers.groupby(level="seed").mean() if answers.size else answers
