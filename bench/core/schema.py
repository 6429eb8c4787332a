"""The base class of all sections of the settings. Imports nothing heavy."""

from pydantic import BaseModel, ConfigDict


class UserError(Exception):
    """A mistake that the user can correct; shown as one line, without a traceback."""


class Section(BaseModel):
    """Frozen settings that refuse unknown keys and read '4' as 4 and '1e-5' as 1e-5.

    The docstring under a field is its description: `python -m bench help <setting>` prints it.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
    )
