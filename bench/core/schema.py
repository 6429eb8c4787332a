"""The base class of all sections of the settings. Imports nothing heavy."""

from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat


class UserError(Exception):
    """A mistake that the user can correct; shown as one line, without a traceback."""


def listed(value: Any) -> Any:
    """Turn a single value into a list of one, so that shares=0.5 means shares=[0.5]."""
    return [value] if isinstance(value, int | float | str) else value


def seeds(value: Any) -> Any:
    """Return a list of seeds; raises ValueError for a single number, which may be meant as many."""
    if isinstance(value, int | float):
        raise ValueError(f"write [{value}] for the one seed {value}, [1, 2, 3] for three seeds")
    return value


def distinct(values: tuple) -> tuple:
    """Return values; raises ValueError if one of them stands there twice."""
    twice = next((value for i, value in enumerate(values) if value in values[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice} stands there twice: drop one")
    return values


def rising(values: tuple) -> tuple:
    """Return values; raises ValueError if they do not rise."""
    if any(a >= b for a, b in pairwise(values)):
        raise ValueError(f"{', '.join(f'{v:g}' for v in values)} do not rise: sort them")
    return values


Seed = Annotated[int, Field(ge=0, lt=2**32)]  # numpy takes no larger one
Share = Annotated[float, Field(gt=0, lt=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
_Once = AfterValidator(distinct), BeforeValidator(listed)
Seeds = Annotated[tuple[Seed, ...], AfterValidator(distinct), BeforeValidator(seeds)]
Shares = Annotated[tuple[Share, ...], *_Once]
Factors = Annotated[tuple[PositiveFloat, ...], *_Once]
Names = Annotated[tuple[str, ...], *_Once]
Fractions = Annotated[tuple[Fraction, ...], AfterValidator(rising), BeforeValidator(listed)]


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
