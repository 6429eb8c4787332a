"""The base class of every section of the configuration (no heavy import)."""

from pydantic import BaseModel, ConfigDict


class UserError(Exception):
    """A mistake the user can put right: shown as one line, without a traceback."""


class Section(BaseModel):
    """A frozen set of settings that refuses unknown keys and takes '4' for 4 and '1e-5' for 1e-5."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)
