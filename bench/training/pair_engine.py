"""Train DPO, IPO and ORPO with TRL's trainers, on the same token ids that every method gets."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from trl import DPOConfig, DPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from bench.core import processes
from bench.models.tokens import completion_ids, prompt_ids
from bench.training.trainer import TrainerMixin, arguments, dataset, fit


def tokenised(run, pairs: list[dict]) -> list[dict]:
    """Return a row of token ids for each pair: prompt_ids, chosen_ids, rejected_ids."""
    tokenizer = run.tokenizer
    return [
        {
            "prompt_ids": prompt_ids(tokenizer, pair["prompt"]),
            "chosen_ids": completion_ids(tokenizer, pair["chosen"]),
            "rejected_ids": completion_ids(tokenizer, pair["rejected"]),
        }
        for pair in pairs
    ]


def with_reference(run, pairs: list[dict]) -> list[dict]:
    """Return ``tokenised`` with log-probs under the SFT base, named as in TRL's DPOTrainer."""
    rows = tokenised(run, pairs)
    for row, pair in zip(rows, pairs, strict=True):
        row["ref_chosen_logps"], row["ref_rejected_logps"] = run.reference_logps(pair)
    return rows


class PreferenceTrainer(TrainerMixin, DPOTrainer):
    """TRL's DPOTrainer, for rows that are already tokenised and hold the reference log-probs."""

    def _prepare_dataset(self, dataset, *args):
        return dataset

    def _precompute_ref_logps(self, dataset, *args):
        return dataset


class SummedTrainer(PreferenceTrainer):
    """TRL's DPOTrainer for IPO with log-ratios summed over tokens (Azar et al. 2023, equation 17).

    TRL divides each log-ratio by the sum of its mask, the answer's tokens; masks that sum to 1 undo
    that.
    """

    def _compute_loss(self, model, inputs, return_outputs):
        mask = inputs["completion_mask"]
        inputs["completion_mask"] = mask / mask.sum(1, keepdim=True)  # each row's sum is 1
        return super()._compute_loss(model, inputs, return_outputs)


@dataclass
class Answers:
    """The chosen, or the rejected, answers of a batch of B pairs; each tensor is (B,).

    logps: log-prob of each answer, summed over its tokens; tokens: number of its tokens, EOS
    included; reference: its log-prob under the SFT base, 0 unless the method NEEDS "reference".
    """

    logps: Tensor
    tokens: Tensor
    reference: Tensor


class OwnLossTrainer(PreferenceTrainer):
    """TRL's DPOTrainer with a loss of your own on the same forward pass; it logs TRL's metrics.

    own_loss: function of (chosen, rejected), both ``Answers``, to losses (B,); their mean is
    minimised.
    """

    own_loss: Callable

    def _compute_loss(self, model, inputs, return_outputs):
        noted = []

        def forward(**ids):
            noted.append(model(**ids))
            return noted[0]

        super()._compute_loss(forward, inputs, False)  # logs the metrics; its loss is dropped
        logps = noted[0].log_probs.sum(1).chunk(2)
        tokens = inputs["completion_mask"][:, 1:].sum(1).chunk(2)
        reference = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        sides = zip(logps, tokens, reference, strict=True)
        loss = self.own_loss(*(Answers(*side) for side in sides)).mean()
        return (loss, noted[0]) if return_outputs else loss


def train_own_loss(run, loss: Callable) -> None:
    """Train ``run.policy`` with your own pairwise loss (see ``OwnLossTrainer.own_loss``)."""
    if not run.reference:
        run.reference = {pair["id"]: {"a": 0.0, "b": 0.0} for pair in run.pairs + run.validation}
    own = type("Trainer", (OwnLossTrainer,), {"own_loss": staticmethod(loss)})
    train_preference(run, "sigmoid", own)


def train_preference(run, loss_type: str, trainer_class=PreferenceTrainer) -> None:
    """Train ``run.policy`` with TRL's DPOTrainer; loss_type: "sigmoid" for DPO, "ipo" for IPO.

    Raises Diverged if the loss is no number or the KL is too large.
    """
    config = arguments(
        DPOConfig,
        run,
        len(run.pairs),
        beta=run.settings.beta,
        loss_type=[loss_type],
        precompute_ref_log_probs=True,
        max_length=None,
    )
    trainer = trainer_class(
        model=run.policy,
        args=config,
        train_dataset=dataset(with_reference(run, run.pairs)),
        eval_dataset=validation(with_reference(run, run.validation)),
        processing_class=run.tokenizer,
    )
    if "ref" in getattr(run.policy, "peft_config", {}):
        run.policy.delete_adapter("ref")  # TRL's copy of the start: not needed, log-probs are given
    fit(trainer, run)
    look_back(trainer, run)


class OddsTrainer(TrainerMixin, ORPOTrainer):
    """TRL's ORPOTrainer, for rows that are already tokenised."""

    def tokenize_row(self, feature, model=None) -> dict:
        return feature

    def get_batch_samples(self, *args):
        """Note the mean number of likelihood tokens per forward pass of this optimiser step."""
        batches, items = super().get_batch_samples(*args)
        counts = [sum(likelihood_tokens(batch) for batch in batches), len(batches)]
        tokens, passes = map(sum, zip(*processes.gathered(counts), strict=True))
        self.mean_tokens = tokens / passes
        return batches, items

    def concatenated_forward(self, model, batch):
        """Weight a pass's NLL by its tokens: the passes then average to the batch's token mean."""
        *rest, nll = super().concatenated_forward(model, batch)
        share = likelihood_tokens(batch) / self.mean_tokens if model.training else 1.0
        return *rest, nll * share


def likelihood_tokens(batch: dict) -> int:
    """Count the predicted tokens of prompts and chosen answers: all but each row's first."""
    return int(batch["chosen_attention_mask"][:, 1:].sum())


def orpo_row(row: dict) -> dict:
    """Turn a row of ``tokenised`` into columns of TRL's ORPO collator; labels skip the prompt."""
    columns = {"prompt": "", "chosen": "", "rejected": ""}
    prompt = row["prompt_ids"]
    columns |= {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
    for side in ("chosen", "rejected"):
        ids = prompt + row[f"{side}_ids"]
        columns[f"{side}_input_ids"] = ids
        columns[f"{side}_attention_mask"] = [1] * len(ids)
        columns[f"{side}_labels"] = [-100] * len(prompt) + row[f"{side}_ids"]
    return columns


def train_orpo(run) -> None:
    """Train ``run.policy`` with TRL's ORPOTrainer.

    Raises Diverged if the loss is no number or the KL is too large.
    """
    config = arguments(
        ORPOConfig, run, len(run.pairs), beta=run.settings.beta, remove_unused_columns=False
    )
    trainer = OddsTrainer(
        model=run.policy,
        args=config,
        train_dataset=dataset([orpo_row(row) for row in tokenised(run, run.pairs)]),
        eval_dataset=validation([orpo_row(row) for row in tokenised(run, run.validation)]),
        processing_class=run.tokenizer,
    )
    fit(trainer, run, head="full")
    look_back(trainer, run)


def validation(rows: list[dict]):
    """Return the rows as a data set; None if there are none."""
    return dataset(rows) if rows else None


def look_back(trainer, run) -> None:
    """Set ``run.validation_loss``, by which one would tune without a gold reward."""
    if run.validation:
        with run.ledger.phase("heldout", charged=False):
            run.validation_loss = trainer.evaluate()["eval_loss"]
