"""Load models and data sets from the Hugging Face hub, or from a local folder of the same layout.

An id is ``owner/name`` or a path. If loading fails, the UserError names cause and remedy.
"""

import os
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from pydantic import Field, computed_field

from bench.core import json_rows
from bench.core.disk import causes
from bench.core.files import file_sha256
from bench.core.schema import Section, UserError


class Source(Section):
    """A model or data set of the hub, or a local folder of the same layout."""

    id: str
    """Name on the hub, owner/name, or a local path."""
    revision: str = "main"
    """Branch, tag or commit on the hub; a commit makes results that others can repeat."""

    @property
    def where(self) -> dict[str, str]:
        """{"revision": ...} for calls of transformers and datasets; {} for a local path."""
        return {} if Path(self.id).exists() else {"revision": self.revision}

    def __str__(self) -> str:
        return f"'{self.id}'" + (f" at {self.revision}" if self.where else "")


class Scorer(Source):
    """A published reward model."""

    batch: int = Field(8, ge=1)
    """Answers that it scores at once."""


LONG = 200  # characters of a library's error that are shown
FORMATS = {"jsonl": "json", "json": "json", "csv": "csv", "parquet": "parquet"}


class Rows(Source):
    """A data set; `id` may also be one local file (.jsonl, .json, .csv or .parquet, also .gz) with
    only the split "train"."""

    folder: str | None = None
    """Folder inside the data set, such as helpful-base of hh-rlhf; null: its default."""

    @computed_field
    @property
    def sha256(self) -> str | None:
        """sha256 of a local file, so that an edit reruns what was made from it; else None."""
        return content(self.id)


def content(path: str) -> str | None:
    """Hash a file, again only if it has changed; returns None if there is no such file."""
    if not Path(path).is_file():
        return None
    state = os.stat(path)
    return _sha256(path, state.st_mtime_ns, state.st_size)


@cache
def _sha256(path: str, changed: int, size: int) -> str:
    return file_sha256(path)


@contextmanager
def reaching(source: Source | str):
    """Turn an error of the hub into a UserError; other errors pass through."""
    try:
        yield
    except (OSError, ValueError) as error:
        line = remedy(source, [*causes(error)])
        if line is None:
            raise
        raise UserError(line) from None


def remedy(source: Source | str, causes: list[BaseException]) -> str | None:
    """Return cause and remedy in one line; None if none of the causes is an error of the hub."""
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import errors

    refused = (errors.RepositoryNotFoundError, errors.HFValidationError, DatasetNotFoundError)
    unreachable = (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, ConnectionError)
    if any(isinstance(cause, errors.RevisionNotFoundError) for cause in causes):
        return f"{source}: the hub has no such revision: name a branch, a tag or a commit"
    if any(isinstance(cause, refused) for cause in causes):
        return (
            f"{source}: the hub has no such repository, or hides it from you: check the id; if it "
            "is gated, accept its licence on https://huggingface.co and set HF_TOKEN"
        )
    if any(isinstance(cause, unreachable) for cause in causes):
        why = "HF_HUB_OFFLINE is set" if offline() else "the hub cannot be reached"
        without = "without HF_HUB_OFFLINE, " * offline()
        return (
            f"{source} is not in the cache and {why}: run `python -m bench prefetch` with the same "
            f"--testbed {without}on a machine with a network and this HF_HOME, or name a local "
            "folder"
        )
    return None


def offline() -> bool:
    """True if an environment variable tells the libraries not to use the network."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


def load_rows(source: Rows, split: str):
    """Load a split of a data set; raises UserError if it cannot be read or has no such split."""
    from datasets import load_dataset
    from datasets.data_files import EmptyDatasetError
    from datasets.exceptions import DatasetGenerationError

    kind = file_format(source.id)
    if kind == "json" and split == "train":
        return json_rows.read(source.id)
    with reaching(source):
        try:
            if kind:
                return load_dataset(kind, data_files=source.id, split=split)
            return load_dataset(source.id, split=split, data_dir=source.folder, **source.where)
        except (DatasetGenerationError, EmptyDatasetError) as error:
            raise UserError(f"{source} cannot be read: {shortly(error)}") from None
        except ValueError as error:
            if kind and split == "train":
                raise UserError(f"{source} cannot be read: {shortly(error)}") from None
            if "split" not in str(error).lower():
                raise
            raise UserError(f"{source} has no split '{split}': {error}") from None


def shortly(error: Exception) -> str:
    """Return the cause of an error of a library on one line, cut where it is long."""
    reason = " ".join(str(error.__cause__ or error).split())
    return f"{reason[:LONG]}..." if len(reason) > LONG else reason


def file_format(name: str) -> str | None:
    """Return the format of a data file as ``datasets`` names it; None if `name` is no data file.

    Raises UserError if the file is missing or its format is not supported.
    """
    if Path(name).is_dir():
        return None
    found = FORMATS.get(Path(name.removesuffix(".gz")).suffix.removeprefix("."))
    if found and not Path(name).is_file():
        raise UserError(f"there is no file '{name}' in {Path.cwd()}: check the path")
    if Path(name).is_file() and not found:
        raise UserError(f"'{name}' is not a data file: its name must end in {', '.join(FORMATS)}")
    return found


def fetch_model(source: Source) -> str:
    """Return the folder of a model's safetensors, configuration and tokenizer: a local one, or the
    hub's cache, to which they are downloaded.

    Raises UserError if the hub has no such model, or cannot be reached.
    """
    from huggingface_hub import snapshot_download

    if Path(source.id).is_dir():
        return source.id
    files = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
    with reaching(source):
        return snapshot_download(source.id, allow_patterns=files, **source.where)
