"""A finished model that was trained anywhere: measured under the contract, not trained."""

from pathlib import Path

from bench.core.schema import Section, UserError

NEEDS = ()
HEAD = "none"
OTHER_TOKENS = (
    "{} reads other tokens than the SFT base, so that their KL is undefined: measure models of one "
    "vocabulary, from an SFT base of the same family"
)


class Settings(Section):
    """Which finished model an arm measures."""

    path: str = ""
    """Folder of a model or of a LoRA adapter, or an id on the hub; `{seed}` stands for the run's
    seed. Without it the arm has one run, with the first seed."""

    def at(self, seed: int) -> str:
        """Return the folder, or the id on the hub, of a run's model."""
        return self.path.replace("{seed}", str(seed))


def train(run) -> None:
    """Put the finished model in the policy's place, and measure it.

    Raises UserError if it reads other tokens than the SFT base.
    """
    import math

    from bench.core.hub import Source, fetch_model
    from bench.models.loading import load_policy

    folder = Path(fetch_model(Source(id=run.settings.at(run.seed))))
    run.monitor.max_kl = math.inf  # it need not have been trained from this SFT base
    run.monitor.begin(1, run.policy)
    check_tokens(run.tokenizer, folder)
    usual, run.policy = run.policy, load_policy(folder, run.model)
    if run.policy.config.vocab_size != usual.config.vocab_size:
        raise UserError(OTHER_TOKENS.format(folder))
    run.monitor.last(run.policy)


def check_tokens(tokenizer, folder: Path) -> None:
    """Raise UserError if the tokenizer of a model has another vocabulary, or is not there."""
    from transformers import AutoTokenizer

    try:
        own = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError):
        raise UserError(
            f"{folder} holds no tokenizer: save the one that the model was trained with beside it"
        ) from None
    if own.get_vocab() != tokenizer.get_vocab():
        raise UserError(OTHER_TOKENS.format(folder))
