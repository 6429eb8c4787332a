"""Everything that comes from the Hugging Face hub, or from a local folder of the same layout.

An id is ``owner/name`` or a path. What cannot be had is one line that names cause and remedy.
"""

import os
from contextlib import contextmanager
from pathlib import Path

from bench.schema import Section, UserError


class Source(Section):
    """A model or data set; a commit as ``revision`` makes results that others can repeat."""

    id: str
    revision: str = "main"

    @property
    def where(self) -> dict[str, str]:
        """The revision, as transformers and datasets take it; a local folder has none."""
        return {} if Path(self.id).is_dir() else {"revision": self.revision}

    def __str__(self) -> str:
        return f"'{self.id}'" + (f" at {self.revision}" if self.where else "")


class Rows(Source):
    """A data set; folder: one of those inside it (helpful-base of hh-rlhf), null: its default."""

    folder: str | None = None


@contextmanager
def reaching(source: Source | str):
    """Turns a failure of the hub into UserError; other errors pass."""
    try:
        yield
    except (OSError, ValueError) as error:
        line = remedy(source, chain(error))
        if line is None:
            raise
        raise UserError(line) from None


def chain(error: BaseException | None) -> list[BaseException]:
    """An error and what caused it: transformers and datasets wrap the hub's."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def remedy(source: Source | str, causes: list[BaseException]) -> str | None:
    """Cause and remedy in one line; None where none of the causes is the hub's."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import errors

    refused = (errors.RepositoryNotFoundError, errors.HFValidationError, DatasetNotFoundError)
    unreachable = (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, ConnectionError)
    if any(isinstance(cause, errors.RevisionNotFoundError) for cause in causes):
        return f"{source}: the hub has no such revision; name a branch, a tag or a commit"
    if any(isinstance(cause, refused) for cause in causes):
        return (
            f"{source}: the hub shows no such repository, or not to you; check the id and, where "
            "it is gated, accept its licence on https://huggingface.co and set HF_TOKEN"
        )
    if any(isinstance(cause, unreachable) for cause in causes):
        why = "HF_HUB_OFFLINE is set" if offline() else "the hub cannot be reached"
        return (
            f"{source} is not in the cache and {why}: run `python -m bench.prefetch` with the "
            "same --testbed on a machine with a network and this HF_HOME, or name a local folder"
        )
    return None


def offline() -> bool:
    """Whether the environment forbids the network."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


def load_rows(source: Rows, split: str):
    """A split of a data set; raises UserError where it cannot be had or has no such split."""
    from datasets import load_dataset

    with reaching(source):
        try:
            return load_dataset(source.id, split=split, data_dir=source.folder, **source.where)
        except ValueError as error:
            if "split" not in str(error).lower():
                raise
            raise UserError(f"{source} has no split '{split}': {error}") from None


def fetch_model(source: Source) -> None:
    """Brings a model's safetensors, configuration and tokenizer into the cache."""
    from huggingface_hub import snapshot_download

    if Path(source.id).is_dir():
        return
    files = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
    with reaching(source):
        snapshot_download(source.id, allow_patterns=files, **source.where)
