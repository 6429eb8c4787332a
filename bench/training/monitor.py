"""Watch a training run: keep its log and curve, write checkpoints, stop it when it diverges."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd

from bench.core import processes
from bench.core.thresholds import MAX_KL
from bench.evaluation.samples import summarise
from bench.training import checkpoints
from bench.training.live import Live


class Diverged(RuntimeError):
    """The run failed: its loss is no number, or its KL is too large. The message says which."""


class Monitor:
    """Watches one run; the trainer calls ``step`` once per optimiser step (PPO: per rollout, whose
    ``inner_steps`` are its optimiser steps).

    measure: function from a policy to a table of samples, or None for no curve; fractions: shares
    of the steps at which to add a point to the curve and to write a checkpoint; held_out: of
    ``bench.evaluation.samples``, for the accuracy at each point; tuned: prompt families that count
    in the mean over all samples; ledger: books the curve in a phase that is not
    charged; progress: ``bench.core.progress.Progress``; root: folder of the checkpoints, and of the
    rows as they happen; max_kl: KL from the SFT base, in nats per sequence, by which the run may at
    most leave its start; live: where else its rows go.
    """

    def __init__(
        self, measure, fractions, tuned, ledger, progress, root: Path, max_kl=MAX_KL, held_out=None,
        live=None,
    ):  # fmt: skip
        self.measure, self.fractions, self.tuned = measure, fractions, tuned
        self.held_out = held_out
        self.ledger, self.progress, self.root = ledger, progress, root
        self.log: list[dict] = []
        self.curve: list[dict] = []
        self.samples: list[dict] = []
        self.total, self.max_kl = 0, max_kl
        self.live = live or Live(root)

    def begin(self, total: int, policy) -> None:
        """Plan the curve for ``total`` steps; measure the untrained policy if it starts at 0."""
        self.total = self.progress.total = total
        self.due = {max(1, round(f * total)) if f else 0: f for f in self.fractions}
        self.live.begin(self.log, self.curve)
        if 0 in self.due and not self.curve:
            self.point(0, policy)

    def step(self, step: int, metrics: dict[str, float], policy) -> bool:
        """Record the means of a step; return True if a checkpoint should now be written.

        Raises Diverged if the loss or the gradient norm is no number, or the KL is too large.
        """
        self.log.append({"step": step} | metrics)
        self.live.step(self.log[-1])
        bad = [k for k, v in metrics.items() if k in ("loss", "grad_norm") and not math.isfinite(v)]
        if bad:
            raise Diverged(f"{bad[0]} is {metrics[bad[0]]} at step {step} of {self.total}")
        self.near(metrics.get("kl", 0.0), step)
        self.progress.update(step - self.progress.done, loss=metrics.get("loss", math.nan))
        if step not in self.due:
            return False
        self.point(step, policy)
        return step < self.total

    def last(self, policy) -> None:
        """Measure a policy that was not trained here, as the last point of the curve."""
        self.point(max(self.due), policy)

    def point(self, step: int, policy) -> None:
        """Add a point to the curve: measure the policy, and note what was charged so far.

        Raises Diverged if the KL from the SFT base is too large.
        """
        if self.measure is None:
            return
        spent = self.ledger.totals()
        with self.ledger.phase("curve", charged=False):
            table = self.measure(policy)
            accuracy = self.held_out.accuracy(policy) if self.held_out else math.nan
        rows = summarise(table, self.tuned)
        fraction = self.due[step]
        here = {"fraction": fraction, "step": step}
        rows["accuracy"] = np.where(rows.family == "all", accuracy, math.nan)
        points = [here | row | spent for row in rows.to_dict("records")]
        self.curve += points
        self.live.point(points)
        self.samples += self._sampled(table, fraction)
        self.near(float(rows.set_index("family").kl["all"]), step)

    def near(self, kl: float, step: int) -> None:
        """Raise Diverged if ``kl``, in nats per sequence, exceeds what it was at the start by more
        than ``max_kl``, or is no number."""
        kl = processes.gathered(kl)[0]  # the main process's: all stop, or none
        limit = self.max_kl + self.start
        if not kl <= limit:
            raise Diverged(
                f"KL from the SFT base is {kl:.1f} nats at step {step}, above {limit:.1f}"
            )

    @property
    def start(self) -> float:
        """Return the KL of the untrained policy: 0 unless it starts from another model than the SFT
        base."""
        first = (row["kl"] for row in self.curve if (row["step"], row["family"]) == (0, "all"))
        return float(next(first, 0.0))

    def _sampled(self, table: pd.DataFrame, fraction: float) -> list[dict]:
        """Keep four samples per prompt family to show in the report."""
        keep = ["prompt_id", "family", "prompt", "completion", "gold", "kl"]
        few = table.groupby("family").head(4)
        return [{"fraction": fraction} | row for row in few[keep].to_dict("records")]

    def save(self, folder: Path) -> None:
        """Add this state to a checkpoint that all processes have written; mark it as complete."""
        state = {
            "log": self.log,
            "curve": self.curve,
            "samples": self.samples,
            "cost": self.ledger.table(),  # waits for all processes
        }
        if not processes.is_main():
            return
        (folder / "monitor.json").write_text(json.dumps(state))
        checkpoints.seal(folder)
        checkpoints.keep_last(self.root)

    def load(self, folder: Path) -> None:
        """Restore log, curve, samples and cost from a checkpoint."""
        state = json.loads((folder / "monitor.json").read_text())
        self.log, self.curve = state["log"], state["curve"]
        self.samples = state["samples"]
        self.ledger.restore(state["cost"])
