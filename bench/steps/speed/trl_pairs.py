"""TRL 1.16's DPOTrainer and ORPOTrainer, beside which our pair methods are tested and timed.

They get our token ids and reference log-probs.
"""

from trl import DPOConfig, DPOTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from bench.training.trainer import arguments, dataset

LOSSES = {"dpo": "sigmoid", "ipo": "ipo"}


class Preference(DPOTrainer):
    """Takes rows that are already tokenised and hold the reference log-probs."""

    def _prepare_dataset(self, dataset, *args):
        return dataset

    def _precompute_ref_logps(self, dataset, *args):
        return dataset


class Odds(ORPOTrainer):
    """Takes rows that are already tokenised.

    TRL averages the likelihood over the tokens of a pass, and then over passes, so that a token
    counts the more the fewer there are beside it. Here a pass is weighted by its tokens: the mean
    over passes is then the mean over the batch's tokens, whatever the passes.
    """

    def tokenize_row(self, feature, model=None) -> dict:
        return feature

    def get_batch_samples(self, *args):
        batches, items = super().get_batch_samples(*args)
        self.mean_tokens = sum(map(likely_tokens, batches)) / len(batches)
        return batches, items

    def concatenated_forward(self, model, batch):
        *rest, nll = super().concatenated_forward(model, batch)
        return *rest, nll * likely_tokens(batch) / self.mean_tokens


def likely_tokens(batch: dict) -> int:
    """The predicted tokens of prompts and chosen answers: all but each row's first."""
    return int(batch["chosen_attention_mask"][:, 1:].sum())


def odds_row(row: dict) -> dict:
    """Columns of TRL's ORPO collator; labels skip the prompt."""
    columns = {"prompt": "", "chosen": "", "rejected": ""}
    prompt = row["prompt_ids"]
    columns |= {"prompt_input_ids": prompt, "prompt_attention_mask": [1] * len(prompt)}
    for side in ("chosen", "rejected"):
        ids = prompt + row[f"{side}_ids"]
        columns[f"{side}_input_ids"] = ids
        columns[f"{side}_attention_mask"] = [1] * len(ids)
        columns[f"{side}_labels"] = [-100] * len(prompt) + row[f"{side}_ids"]
    return columns


def preference_row(row: dict) -> dict:
    """Columns of TRL's DPO collator."""
    chosen, rejected = row["reference"]
    ids = {key: row[key] for key in ("prompt_ids", "chosen_ids", "rejected_ids")}
    return ids | {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}


def trainer(name: str, run, rows: list[dict]):
    """Return TRL's trainer of method ``name``; rows: of ``pair_engine.with_reference``."""
    if name == "orpo":
        return stock(name, run, rows, None)
    rows = [preference_row(row) for row in rows]
    made = Preference(**given(name, run, rows, precompute_ref_log_probs=True))
    if "ref" in getattr(run.policy, "peft_config", {}):
        run.policy.delete_adapter("ref")  # its copy of the start: log-probs are given
    return made


def stock(name: str, run, rows: list[dict], reference):
    """Return TRL's trainer as it comes: DPO's and IPO's runs the reference, a model, as it goes.

    rows: of ``bench.models.passes.tokenised``.
    """
    if name == "orpo":
        return Odds(**given(name, run, [odds_row(row) for row in rows]))
    return Preference(ref_model=reference, **given(name, run, rows))


def given(name: str, run, rows: list[dict], **extra) -> dict:
    """Return the arguments of TRL's trainer; extra: of its config."""
    if name == "orpo":
        config, own = ORPOConfig, {"remove_unused_columns": False}
    else:
        config, own = DPOConfig, {"loss_type": [LOSSES[name]], "max_length": None}
    return {
        "model": run.policy,
        "args": arguments(config, run, len(rows), beta=run.settings.beta, **own, **extra),
        "train_dataset": dataset(rows),
        "processing_class": run.tokenizer,
    }
