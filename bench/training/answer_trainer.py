"""Train on answers: what SFT and the pair methods share, and SFT's own trainer.

transformers' ``Trainer`` drives the loop, so that accelerate's ways of using several devices work.
The passes are those of ``bench.models.passes``.
"""

import torch
from transformers import Trainer, TrainingArguments

from bench.core import processes
from bench.models.passes import Rows, completion_logps, pad_left, pad_right
from bench.training.trainer import arguments


class AnswerTrainer(Trainer):
    """transformers' Trainer without dropout, for means over all tokens of an optimiser step.

    A subclass has ``collate``, which makes a batch of rows. Where its loss reads ``mean_tokens``, a
    batch holds "counts": (tokens of the likelihood, rows).
    """

    loss_is_scaled_for_ga = False  # it is the mean over a pass; the passes of a step are equal
    mean_tokens = 1.0  # in the likelihood of a row, over the rows of this optimiser step

    def __init__(self, job, rows: list[dict]):
        args = arguments(TrainingArguments, job, len(rows), remove_unused_columns=False)
        super().__init__(job.policy, args, self.collate, train_dataset=rows)
        self.pad = job.tokenizer.pad_token_id
        for module in self.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "attention_dropout"):
                module.attention_dropout = 0.0

    def get_batch_samples(self, *args):
        """Note ``mean_tokens`` of this optimiser step, over all passes and processes."""
        batches, items = super().get_batch_samples(*args)
        if "counts" in batches[0]:
            counts = [sum(column) for column in zip(*(b["counts"] for b in batches), strict=True)]
            tokens, rows = map(sum, zip(*processes.gathered(counts), strict=True))
            self.mean_tokens = tokens / rows
        return batches, items


class DemonstrationTrainer(AnswerTrainer):
    """Minimises the negative log-likelihood of demonstrations: the mean over the answers' tokens.

    rows: token ids ``prompt_ids`` and ``answer_ids``.
    """

    def collate(self, rows: list[dict]) -> dict:
        """Return "rows", the fields of ``Rows``, and "counts"."""
        prompts = pad_left([row["prompt_ids"] for row in rows], self.pad, "cpu")
        answers = pad_right([row["answer_ids"] for row in rows], self.pad, "cpu")
        counts = int(answers[1].sum()), len(rows)
        return {"rows": vars(Rows(*prompts, *answers)), "counts": counts}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Compute a pass's share of the mean over the tokens of the optimiser step."""
        logps = completion_logps(model, Rows(**inputs["rows"]))
        return -logps.sum(1).mean() / self.mean_tokens
