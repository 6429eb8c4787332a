"""Train on pairs with an estimate of the policy's KL from the SFT base, as KTO needs it.

The estimate is the mean log-ratio of answers to other prompts than they were given to, over the
optimiser step (Ethayarajh et al. 2024, arXiv 2402.01306, section 4.1; TRL's KTOTrainer).
"""

from collections.abc import Callable

import torch
from accelerate.utils import send_to_device
from torch import Tensor

from bench.core import processes
from bench.models.loading import load_policy
from bench.models.passes import Pairs, pair_logps, paired
from bench.training.batches import REFERENCE_BATCH
from bench.training.pair_engine import PairTrainer, with_reference
from bench.training.trainer import fit, reading_cost

ANSWERS = ("chosen_ids", "rejected_ids")


def train_with_kl(run, loss: Callable) -> None:
    """Train ``run.policy`` with a loss of (chosen, rejected, kl); kl: the estimate, at least 0.

    Otherwise as `bench.training.pair_engine.train_own_loss`.
    """
    trainer = MismatchedTrainer(run, with_others(run, with_reference(run, run.pairs)), loss)
    fit(trainer, run, head="pair")
    if run.validation:
        with run.ledger.phase("heldout", charged=False):
            rows = with_others(run, with_reference(run, run.validation))
            run.validation_loss = trainer.mean_loss(rows)


def with_others(run, rows: list[dict]) -> list[dict]:
    """Add "other" to each row: the answers of the row before it, to this row's prompt, with their
    log-probs under the SFT base."""
    others = [
        {"prompt_ids": row["prompt_ids"]} | {side: before[side] for side in ANSWERS}
        for before, row in zip([rows[-1], *rows[:-1]], rows, strict=True)
    ]
    with run.ledger.phase("load"):
        base = load_policy(run.sft, run.model).eval()
    size, found = run.micro_batch or REFERENCE_BATCH, []
    with run.ledger.phase("reference") as ledger, torch.no_grad():
        for start in range(0, len(others), size):
            part = others[start : start + size]
            if processes.is_main():  # every process reads all of them
                ledger.add(**reading_cost(base, part))
            pairs = paired(part, run.tokenizer.pad_token_id, base.device)
            found += torch.stack(pair_logps(base, pairs)[1:], 1).tolist()
    made = zip(rows, others, found, strict=True)
    return [row | {"other": other | {"reference": logps}} for row, other, logps in made]


class MismatchedTrainer(PairTrainer):
    """Minimises a loss of (chosen, rejected, kl); rows: of ``with_others``."""

    def __init__(self, run, rows: list[dict], loss: Callable):
        super().__init__(run, rows, self.losses, likelihood=False)
        self.own_loss, self.ledger, self.kl = loss, run.ledger, None

    def losses(self, chosen, rejected) -> Tensor:
        """Compute the loss of each pair, (B,), with the step's estimate."""
        return self.own_loss(chosen, rejected, self.kl)

    def collate(self, rows: list[dict]) -> dict:
        """Add "other", a batch of its own, and "cost", what reading it takes."""
        others = [row["other"] for row in rows]
        batch = super().collate(rows) | {"other": super().collate(others)}
        return batch | {"cost": reading_cost(self.model, others)}

    def get_batch_samples(self, *args):
        """Estimate the KL before the passes of this optimiser step, over all of them."""
        batches, items = super().get_batch_samples(*args)
        self.kl = self.estimated(batches)
        for batch in batches:
            self.ledger.add(**batch["cost"])
        return batches, items

    @torch.no_grad()
    def estimated(self, batches: list[dict]) -> Tensor:
        """Return the mean log-ratio of the batches' mismatched answers, or 0 if that is below."""
        ratios = []
        for batch in batches:
            given = send_to_device(batch["other"], self.args.device)
            _, *logps = pair_logps(self.model_wrapped, Pairs(**given["pairs"]))
            ratios.append(torch.stack(logps, 1) - given["reference"])
        return processes.joined(torch.cat(ratios)).mean().clamp(min=0)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs["kl_estimate"] = self.kl.item()
        super().log(logs, start_time)

    def mean_loss(self, rows: list[dict]) -> float:
        """Compute the mean loss of ``rows``, with the estimate from all of them."""
        size = self.args.train_batch_size
        self.model_wrapped.eval()
        parts = (rows[start : start + size] for start in range(0, len(rows), size))
        self.kl = self.estimated([self.collate(part) for part in parts])
        return super().mean_loss(rows)
