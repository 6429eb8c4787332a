"""The base class of every section of the configuration (no heavy import)."""

from pydantic import BaseModel, ConfigDict


class UserError(Exception):
    """A mistake the user can put right: shown as one line, without a traceback."""


class Section(BaseModel):
    """Frozen settings that refuse unknown keys and take '4' for 4 and '1e-5' for 1e-5.

    The docstring under a field is its description: `python -m bench help <setting>` prints it.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
