"""Train on pairs: DPO, IPO, ORPO and losses of one's own, on one forward pass of our own.

A loss is a function of the answers' log-probs, in the method's own file.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from accelerate.utils import send_to_device
from torch import Tensor

from bench.core import processes
from bench.models.passes import Pairs, pair_logps, paired, tokenised
from bench.training.answer_trainer import AnswerTrainer
from bench.training.trainer import fit


@dataclass
class Answers:
    """The chosen, or the rejected, answers of a batch of B pairs; each tensor is (B,).

    logps: log-prob of each answer, summed over its tokens; tokens: number of its tokens, EOS
    included; reference: its log-prob under the SFT base, 0 unless the method NEEDS "reference";
    nll: of the chosen, if the likelihood was asked for: -log-prob of prompt and answer, divided by
    the mean number of their predicted tokens, so that its mean over all pairs of the optimiser step
    is the mean over their tokens.
    """

    logps: Tensor
    tokens: Tensor
    reference: Tensor
    nll: Tensor | None = None

    @property
    def log_ratio(self) -> Tensor:
        """Return log(pi / pi_ref) of each answer."""
        return self.logps - self.reference


def train_own_loss(run, loss: Callable, likelihood: bool = False) -> None:
    """Train ``run.policy`` with a pairwise loss.

    loss: function of (chosen, rejected), both ``Answers``, to losses (B,); their mean over the
    pairs of an optimiser step is minimised. likelihood: whether it reads ``chosen.nll``. Raises
    Diverged if the loss is no number or the KL is too large.
    """
    trainer = PairTrainer(run, with_reference(run, run.pairs), loss, likelihood)
    fit(trainer, run, head="likelihood" if likelihood else "pair")
    if run.validation:
        with run.ledger.phase("heldout", charged=False):
            run.validation_loss = trainer.mean_loss(with_reference(run, run.validation))


def with_reference(run, pairs: list[dict]) -> list[dict]:
    """Return ``tokenised`` with "reference": the answers' log-probs under the SFT base."""
    rows = tokenised(run.tokenizer, pairs)
    return [row | {"reference": run.reference_logps(p)} for row, p in zip(rows, pairs, strict=True)]


def likely_tokens(rows: list[dict]) -> int:
    """Count the predicted tokens of prompts and chosen answers: all but each row's first."""
    return sum(len(row["prompt_ids"]) + len(row["chosen_ids"]) - 1 for row in rows)


class PairTrainer(AnswerTrainer):
    """Minimises a loss of (chosen, rejected), as in ``train_own_loss``.

    rows: of ``with_reference``. It logs the means of log-probs and of rewards, beta x log-ratio,
    over each optimiser step.
    """

    def __init__(self, run, rows: list[dict], loss: Callable, likelihood: bool):
        super().__init__(run, rows)
        self.loss, self.likelihood = loss, likelihood
        self.beta, self.noted = run.settings.beta, []

    def collate(self, rows: list[dict]) -> dict:
        """Return the fields of ``Pairs`` and "reference" (B, 2), with "counts" for a likelihood."""
        reference = torch.tensor([row["reference"] for row in rows])
        batch = {"pairs": vars(paired(rows, self.pad)), "reference": reference}
        return batch | ({"counts": (likely_tokens(rows), len(rows))} if self.likelihood else {})

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Compute the mean loss of a pass."""
        answers = self.answers(model, inputs)
        columns = [x.detach() for a in answers for x in (a.logps, a.log_ratio)]
        self.noted.append(torch.stack(columns, 1))
        return self.loss(*answers).mean()

    def answers(self, model, inputs: dict) -> tuple[Answers, Answers]:
        """Run the model on a batch of ``collate``; returns its chosen and rejected answers."""
        pairs = Pairs(**inputs["pairs"])
        prompt, *logps = pair_logps(model, pairs, self.likelihood)
        tokens = (mask.sum(1) for mask in pairs.mask.split(pairs.widths, 1))
        sides = zip(logps, tokens, inputs["reference"].unbind(1), strict=True)
        chosen, rejected = (Answers(*side) for side in sides)
        if self.likelihood:
            chosen.nll = -(prompt + chosen.logps) / self.mean_tokens
        return chosen, rejected

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means over the pairs of this step, of all processes."""
        if self.noted:
            logs |= means(processes.joined(torch.cat(self.noted)), self.beta)
            self.noted.clear()
        super().log(logs, start_time)

    @torch.no_grad()
    def mean_loss(self, rows: list[dict]) -> float:
        """Compute the mean loss of ``rows`` as one batch; each process reads all of them."""
        model, size, total = self.model_wrapped.eval(), self.args.train_batch_size, 0.0
        self.mean_tokens = likely_tokens(rows) / len(rows)
        for start in range(0, len(rows), size):
            batch = send_to_device(self.collate(rows[start : start + size]), self.args.device)
            total += self.loss(*self.answers(model, batch)).sum().item()
        return total / len(rows)


def means(table: Tensor, beta: float) -> dict[str, float]:
    """Average (log-prob, log-ratio) of chosen and of rejected answers (N, 4), by TRL's names."""
    chosen, ratio, rejected, other = table.unbind(1)
    columns = {
        "logps/chosen": chosen,
        "logps/rejected": rejected,
        "rewards/chosen": beta * ratio,
        "rewards/rejected": beta * other,
        "rewards/margins": beta * (ratio - other),
        "rewards/accuracies": (ratio > other).float(),
    }
    return {name: column.mean().item() for name, column in columns.items()}
