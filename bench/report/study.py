"""Present a study to its page: its results, the studies beside it, how its arms are drawn."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from bench.analysis import comparisons, costs, measures
from bench.analysis import statistics as st
from bench.analysis.comparisons import Family
from bench.analysis.results import Meta, Results
from bench.core.grouping import grouped
from bench.core.names import SFT
from bench.report import style
from bench.report.words import label, parameters

MANY = 6


@dataclass(eq=False)
class Study:
    """The results of a study, and other studies of the same SFT base that its page shows too.

    companions: those studies, by name.
    """

    results: Results
    companions: dict[str, "Study"] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Study":
        """Read a study from the folder of its results."""
        return cls(Results.read(folder))

    @property
    def meta(self) -> Meta:
        """Return what the tables belong to."""
        return self.results.meta

    @property
    def runs(self) -> pd.DataFrame:
        """Return one row per run."""
        return self.results.runs

    @property
    def arms(self) -> list[str]:
        """Return the names of the arms, in the study's order."""
        return self.results.arms

    @property
    def bases(self) -> list[str]:
        """Return the SFT bases that arms start from, `sft` first."""
        return self.results.bases

    @cached_property
    def base(self) -> dict[str, str]:
        """Return {arm: its SFT base}."""
        return self.results.base

    @cached_property
    def method(self) -> dict[str, str]:
        """Return {arm: method}."""
        return self.results.method

    @cached_property
    def methods(self) -> list[str]:
        """Return the methods that the study's arms belong to, in the order of all methods."""
        return [method for method in self.meta.methods if method in {*self.method.values()}]

    @property
    def model_size(self) -> str:
        """Return '0.18 million parameters'; '' if unknown."""
        return f"{parameters(self)} parameters" if self.runs.parameters.any() else ""

    @property
    def sweeps(self) -> list[list[str]]:
        """Return groups of two or more arms of one method that differ only in its strength."""
        groups = grouped(
            ((arm.method, arm.label_set, arm.base), arm.name)
            for arm in self.meta.arms
            if set(arm.varies) <= {"beta"} and not arm.n and arm.start == "sft"
        )
        return [arms for arms in groups.values() if len(arms) > 1]

    @cached_property
    def looks(self) -> dict[str, style.Look]:
        """Return how each arm is drawn, and each method, even if it is no arm here."""
        arms = [(arm.name, arm.method) for arm in self.meta.arms]
        absent = [(m, m) for m in self.meta.methods if m not in self.arms]
        return style.looks([*absent, *arms], self.meta.methods)

    @property
    def legend(self) -> dict[str, style.Look]:
        """Return the look of each method, by its name for readers."""
        by_method = {self.method[arm]: self.looks[arm] for arm in reversed(self.arms)}
        return {label(method): by_method[method] for method in self.methods}

    def interval(self, arm: str, measure: str) -> st.Interval | None:
        """Return the interval of a measure of an arm; None if it could not be measured."""
        return measures.interval(self.results, arm, measure)

    def known(self, measure: str, arms=None) -> dict[str, st.Interval]:
        """Return {arm: the interval of a measure} of the arms for which it could be measured."""
        found = {arm: self.interval(arm, measure) for arm in (arms or self.arms)}
        return {arm: i for arm, i in found.items() if i is not None}

    def by_seed(self, arm: str, measure: str) -> pd.Series:
        """Return a measure of each ended run of an arm, by seed."""
        return measures.by_seed(self.results, arm, measure)

    @property
    def base_gold(self) -> float:
        """Return mean gold of the SFT base on the test prompts."""
        scores = self.results.scores(SFT)
        return float(scores.to_numpy().mean()) if scores.size else float("nan")

    @property
    def versus(self) -> Family:
        """Compare the declared pairs of methods."""
        return comparisons.between_methods(self.results)

    @property
    def versus_sft(self) -> Family:
        """Compare each arm with its SFT base."""
        return comparisons.against_sft(self.results)

    @property
    def versus_tuned(self) -> Family:
        """Compare each variant with its method as tuned."""
        return comparisons.against_tuned(self.results)

    @property
    def margin(self) -> float:
        """Return the difference in gold below which two arms count as equal."""
        return comparisons.margin(self.results)

    @property
    def failures(self) -> pd.DataFrame:
        """Return the runs that failed: diverged or out of memory."""
        return self.runs[self.runs.status != "ok"]

    @property
    def timed(self) -> bool:
        """Return True if seconds compare: no run shared a GPU with others."""
        return costs.timed(self.meta)

    @property
    def seeds(self) -> int:
        """Return how many seeds the study has."""
        return len(self.meta.seeds)

    @property
    def few(self) -> bool:
        """Return True if the study has too few seeds for a verdict."""
        return self.seeds < st.VERDICT_SEEDS

    @property
    def ended(self) -> dict[str, st.Share]:
        """Return {arm: how many of its runs ended}."""
        return {arm: self.results.share_ended(arm) for arm in self.arms}

    @property
    def prompts(self) -> int:
        """Return how many test prompts of the tuned families the SFT base answered."""
        return self.results.scores(SFT).shape[1]

    @property
    def draws(self) -> int:
        """Return how many answers the runs gave to each test prompt."""
        return max(map(self.results.draws, self.arms), default=0)

    @property
    def base_draws(self) -> int:
        """Return how many answers the SFT base gave to each test prompt."""
        return self.results.draws(SFT)

    @property
    def many(self) -> bool:
        """Return True if there are more arms than sentences can list and lines can show."""
        return len(self.arms) > MANY

    @property
    def listed(self) -> list[str]:
        """Return the arms that sentences list: all, or if they are many the methods as tuned."""
        tuned = [arm.name for arm in self.meta.arms if arm.tuned]
        return tuned if self.many and tuned else self.arms

    def setting(self, arm: str, key: str):
        """Return the value of a setting of an arm, as its runs recorded it."""
        return json.loads(self.runs[self.runs.arm == arm].settings.iloc[0])[key]
