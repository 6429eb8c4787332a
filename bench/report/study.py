"""What figures, tables and sentences share: a study's tables with its summary, computed once."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from bench.analysis import measures as ms
from bench.analysis import stability, tune, views
from bench.analysis import statistics as st
from bench.analysis import tables as stored
from bench.analysis.catalogue import BY_KEY
from bench.report import style

MANY = 6


@dataclass
class Study:
    """tables, samples and meta as `bench.analysis.tables.read` gives them.

    companions: other studies of the same SFT base, by name, that this one's page shows too;
    folder: where the tables lie, if they were read from files.
    """

    tables: dict[str, pd.DataFrame]
    samples: list[dict]
    meta: dict
    companions: dict[str, "Study"] = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def read(cls, folder: Path) -> "Study":
        """A study from its results."""
        return cls(*stored.read(folder), folder=folder)

    @property
    def runs(self) -> pd.DataFrame:
        """One row a run."""
        return self.tables["runs"]

    @property
    def arms(self) -> list[str]:
        """Names of the arms, in the study's order."""
        return ms.arms_of(self.meta)

    @cached_property
    def method(self) -> dict[str, str]:
        """{arm: method}."""
        return {arm["name"]: arm["method"] for arm in self.meta["arms"]}

    @property
    def sweeps(self) -> list[list[str]]:
        """Arms of one method that differ in nothing but its strength, where there are several."""
        groups = {}
        for arm in self.meta["arms"]:
            if set(arm["varies"]) <= {"beta"} and not arm["n"] and arm["start"] == "sft":
                key = arm["method"], arm["label_set"], self.base[arm["name"]]
                groups.setdefault(key, []).append(arm["name"])
        return [arms for arms in groups.values() if len(arms) > 1]

    @cached_property
    def base(self) -> dict[str, str]:
        """{arm: its SFT base}, by its name in the tables; a base is its own."""
        return ms.base_of(self.meta)

    @property
    def bases(self) -> list[str]:
        """The SFT bases that arms start from, `sft` first."""
        return ms.bases_of(self.meta)

    def from_sft(self, base: str = style.SFT) -> list[str]:
        """The arms whose curves start as an SFT base, all on the same prompts and draws."""
        starts = {arm["name"]: arm["start"] for arm in self.meta["arms"]}
        return [arm for arm, start in starts.items() if (start, self.base[arm]) == ("sft", base)]

    @cached_property
    def looks(self) -> dict[str, style.Look]:
        """How each arm is drawn, and each method, whether it is an arm here or not."""
        methods = self.meta["methods"]
        absent = [{"name": m, "method": m} for m in methods if m not in self.arms]
        return style.looks([*absent, *self.meta["arms"]], methods)

    @cached_property
    def summary(self) -> pd.DataFrame:
        return ms.summary(self.tables, self.meta)

    @cached_property
    def values(self) -> pd.DataFrame:
        """Every measure of every run (`bench.analysis.measures.of_runs`)."""
        return ms.of_runs(self.tables, self.meta)

    def interval(self, arm: str, measure: str) -> st.Interval | None:
        """The interval of a measure of an arm; None where it could not be measured."""
        rows = self.summary[(self.summary.arm == arm) & (self.summary.measure == measure)]
        if not len(rows):
            return None
        return st.Interval(**rows.iloc[0][list(st.Interval.__dataclass_fields__)].to_dict())

    @cached_property
    def answers(self) -> pd.DataFrame:
        """The table of prompts with `proxy` in SDs above the pool's answers."""
        return ms.with_scaled_proxy(self.tables["prompts"], self.tables["reward"], self.meta)

    def scores(self, arm: str, column: str = "gold") -> pd.DataFrame:
        """Seeds x prompts of the tuned families."""
        return ms.scores(self.answers, arm, column, self.meta["tuned_families"])

    def by_seed(self, arm: str, column: str = "gold") -> pd.Series:
        """The mean of a column over prompts, a value a seed."""
        table = self.scores(arm, column)
        return table.mean(axis=1) if table.size else pd.Series(dtype=float)

    @cached_property
    def base_gold(self) -> float:
        """Mean gold of the SFT base on the test prompts."""
        values = self.by_seed(style.SFT)
        return float(values.mean()) if len(values) else float("nan")

    def gains(self, arm: str) -> pd.Series:
        """Gold above the arm's own SFT base on the test prompts, a value a seed."""
        return self.by_seed(arm) - self.by_seed(self.base[arm]).mean()

    def curve(self, arm: str, family: str = "all") -> pd.DataFrame:
        """The training curve of an arm; `gain`: gold less its SFT base's; `proxy` in SDs."""
        rows = self.tables["curve"]
        if "family" not in rows or "gold" not in rows:
            return rows[:0]
        rows = rows[rows.family == family].sort_values(["seed", "fraction"])
        starts = rows[(rows.fraction == 0) & rows.arm.isin(self.from_sft(self.base[arm]))]
        rows = rows[rows.arm == arm]
        rows = rows.assign(gain=rows.gold - starts.gold.mean())
        return ms.with_scaled_proxy(rows, self.tables["reward"], self.meta)

    @cached_property
    def failed(self) -> dict[str, tuple[int, int]]:
        """{arm: (how many of its runs failed, how many it has)}."""
        if not len(self.runs):
            return {}
        statuses = self.runs.groupby("arm").status
        return {arm: (int((s != "ok").sum()), len(s)) for arm, s in statuses}

    @property
    def failures(self) -> pd.DataFrame:
        """The runs that failed: diverged or out of memory."""
        runs = self.runs
        return runs[runs.status != "ok"] if len(runs) else runs

    @property
    def seeds(self) -> int:
        """How many seeds the study has."""
        return len(self.meta["seeds"])

    @property
    def many(self) -> bool:
        """More arms than sentences can list and lines can show."""
        return len(self.arms) > MANY

    @cached_property
    def prompts(self) -> int:
        """How many test prompts of the tuned families the SFT base answered."""
        return self.scores(style.SFT).shape[1]

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The declared comparisons: all pairs of arms that are a method as it is tuned.

        Variants of a method (`dpo-beta0.3`) take no part, so that a sweep does not dilute Holm's
        correction and nobody picks the best of many: see `variants`.
        """
        plain = [arm for arm in self.arms if arm == self.method[arm]]
        return [(a, b) for i, a in enumerate(plain) for b in plain[i + 1 :]]

    @cached_property
    def variants(self) -> list[tuple[str, str]]:
        """Each variant with its method as it is tuned, where the study has both."""
        return [
            (arm, own) for arm in self.arms if (own := self.method[arm]) != arm and own in self.arms
        ]

    @cached_property
    def margin(self) -> float:
        return ms.margin(self.tables["prompts"], self.meta["tuned_families"])

    @cached_property
    def versus(self) -> pd.DataFrame:
        """The declared pairs, Holm-corrected."""
        return self._compare(self.pairs)

    @cached_property
    def versus_sft(self) -> pd.DataFrame:
        """Each arm against its SFT base, which is called `sft` here: a family of its own."""
        scores = {arm: (self.scores(arm), self.scores(self.base[arm])) for arm in self.arms}
        found = {(arm, style.SFT): views.paired(*both) for arm, both in scores.items()}
        return ms.versus(found, self.margin)

    @cached_property
    def versus_tuned(self) -> pd.DataFrame:
        """Each variant against its method as tuned: a family of its own."""
        return self._compare(self.variants)

    def _compare(self, pairs) -> pd.DataFrame:
        families = self.meta["tuned_families"]
        return ms.comparisons(self.tables["prompts"], pairs, families, self.margin)

    def setting(self, arm: str, key: str):
        """The value of a setting of an arm, as its runs recorded it."""
        runs = self.runs
        return json.loads(runs[runs.arm == arm].settings.iloc[0])[key]

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The runs of a grid (`bench.analysis.stability.cells`)."""
        return stability.cells(self.tables, self.meta)

    @cached_property
    def rates(self) -> pd.DataFrame:
        """How often each method failed on its grid (`bench.analysis.stability.rates`)."""
        return stability.rates(self.cells, stability.margin(self.tables["curve"]))

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The trials of the search, this study's own or those that its settings come from."""
        own = self.meta["study"] == "tune"
        return tune.trials(self.tables, self.meta) if own else tune.recorded(self.meta)

    @property
    def spending(self) -> dict[str, str]:
        """{column of cost: its unit in words} of the two ways to count compute."""
        return {"flops": "FLOPs", self.second: self.second_name}

    @cached_property
    def views(self) -> dict[str, pd.DataFrame]:
        """Comparisons of all pairs of methods in each view (`bench.analysis.views.every`)."""
        return views.every(self.tables, self.meta, self.spending)

    @cached_property
    def costs(self) -> pd.DataFrame:
        """What each run was charged by phase, in `second` (`bench.analysis.measures.run_costs`)."""
        return ms.run_costs(self.tables["cost"], self.second).rename(
            columns={self.second: "seconds"}
        )

    @property
    def second(self) -> str:
        """The column that seconds are counted in."""
        return ms.seconds(self.meta)

    @property
    def second_name(self) -> str:
        return ms.unit_of(BY_KEY["cost"], self.meta)
