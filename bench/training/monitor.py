"""Watches a training run: its log, its curve on held-out prompts, its checkpoints, its health."""

import json
import math
from pathlib import Path

import pandas as pd

from bench.core import processes
from bench.core.thresholds import MAX_KL
from bench.evaluation.samples import summarise
from bench.training import checkpoints


class Diverged(RuntimeError):
    """Training left the region in which its result means anything; the message says how."""


class Monitor:
    """Called once an optimiser step.

    measure: callable from a policy to a table of samples, or None; fractions: of the budget, at
    which the curve has a point and a checkpoint is written; ledger: books the curve as a phase that
    is not charged; progress: of ``bench.steps.runner``; root: where the checkpoints lie; max_kl:
    nats a sample, beyond which a run has diverged.
    """

    def __init__(self, measure, fractions, tuned, ledger, progress, root: Path, max_kl=MAX_KL):
        self.measure, self.fractions, self.tuned = measure, fractions, tuned
        self.ledger, self.progress, self.root = ledger, progress, root
        self.log: list[dict] = []
        self.curve: list[dict] = []
        self.samples: list[dict] = []
        self.total, self.max_kl = 0, max_kl

    def begin(self, total: int, policy) -> None:
        """``total`` optimiser steps are to come; the curve starts with the untrained policy."""
        self.total = self.progress.total = total
        self.due = {max(1, round(f * total)) if f else 0: f for f in self.fractions}
        if 0 in self.due and not self.curve:
            self.point(0, policy)

    def step(self, step: int, metrics: dict[str, float], policy) -> bool:
        """Records a step's means; returns whether a checkpoint should now be written.

        Raises Diverged where the loss is no number or the policy has run away.
        """
        self.log.append({"step": step} | metrics)
        bad = [k for k, v in metrics.items() if k in ("loss", "grad_norm") and not math.isfinite(v)]
        if bad:
            raise Diverged(f"{bad[0]} is {metrics[bad[0]]} at step {step} of {self.total}")
        self.near(metrics.get("kl", 0.0), step)
        self.progress.update(step - self.progress.done, loss=metrics.get("loss", math.nan))
        if step not in self.due:
            return False
        self.point(step, policy)
        return step < self.total

    def point(self, step: int, policy) -> None:
        """Measures the policy, beside what was spent so far on charged phases.

        Raises Diverged where it has left the SFT base behind.
        """
        if self.measure is None:
            return
        spent = self.ledger.totals()
        with self.ledger.phase("curve", charged=False):
            table = self.measure(policy)
        rows = summarise(table, self.tuned)
        fraction = self.due[step]
        here = {"fraction": fraction, "step": step}
        self.curve += [here | row | spent for row in rows.to_dict("records")]
        self.samples += self._sampled(table, fraction)
        self.near(float(rows.set_index("family").kl["all"]), step)

    def near(self, kl: float, step: int) -> None:
        """Raises Diverged where a KL, in nats a sequence, is beyond ``max_kl`` or no number."""
        kl = processes.gathered(kl)[0]  # the main one's, so that all stop, or none
        if not kl <= self.max_kl:
            raise Diverged(
                f"KL from the SFT base is {kl:.1f} nats at step {step}, above {self.max_kl}"
            )

    def _sampled(self, table: pd.DataFrame, fraction: float) -> list[dict]:
        keep = ["prompt_id", "family", "prompt", "completion", "gold", "kl"]
        few = table.groupby("family").head(4)
        return [{"fraction": fraction} | row for row in few[keep].to_dict("records")]

    def save(self, folder: Path) -> None:
        """Adds this state to a checkpoint that all processes have written, and seals it."""
        state = {
            "log": self.log,
            "curve": self.curve,
            "samples": self.samples,
            "cost": self.ledger.table(),  # waits for all
        }
        if not processes.is_main():
            return
        (folder / "monitor.json").write_text(json.dumps(state))
        checkpoints.seal(folder)
        checkpoints.keep_last(self.root)

    def load(self, folder: Path) -> None:
        state = json.loads((folder / "monitor.json").read_text())
        self.log, self.curve = state["log"], state["curve"]
        self.samples = state["samples"]
        self.ledger.restore(state["cost"])
