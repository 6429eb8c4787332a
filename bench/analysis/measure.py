"""Define a measure: a function of results and an arm, with its label, unit, direction and source.

    @measure("Length", "tokens", NEITHER, shown=("writing",))
    def length(results, arm):
        \"\"\"Mean tokens of an answer, EOS included.\"\"\"
        return results.scores(arm, "length")

The function's name is the key of the measure, and its docstring the formula that readers see. The
function returns a table of seeds x prompts, whose interval covers both, or one value per seed,
whose interval covers seeds, or an `Interval`; empty or None if the arm was not measured. With
``interval=False`` it returns one number, or a `statistics.Share`. Tables, axes, results.csv,
results.json and the glossary are made from these entries.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.results import Meta

UP, DOWN, NEITHER = "higher is better", "lower is better", "neither"
PLAIN, SIGNED, SCALED = ",", "+", "scaled"  # forms of a number: 1,234, +0.98, 901 G
TABLES = ("scorecard", "writing", "training", "ledger")
ARROW = {UP: " ↑", DOWN: " ↓", NEITHER: ""}
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Measure:
    """A measure and how it is shown.

    unit: in words; unit_of: a function of `Meta` that returns the unit, if that depends on the
    study; source: the paper or instrument that it rests on; form: PLAIN, SIGNED or SCALED; words:
    the formula, if it is not the docstring; made_by: the functions that measure what is collected,
    as file:name within bench/; shown: the tables of a comparison that have a column of it
    (TABLES).
    """

    function: Callable
    label: str
    unit: str
    better: str
    source: str = ""
    digits: int = 2
    form: str = PLAIN
    shown: tuple[str, ...] = ()
    made_by: tuple[str, ...] = ()
    interval: bool = True
    words: str = ""
    unit_of: Callable[[Meta], str] | None = None

    def __post_init__(self):
        if unknown := set(self.shown).difference(TABLES):
            raise ValueError(f"measure {self.key}: shown in {unknown}, not in one of {TABLES}")

    def __call__(self, *args):
        """Compute the measure of an arm."""
        return self.function(*args)

    @property
    def key(self) -> str:
        """Return its name in results.csv and results.json."""
        return self.function.__name__

    @property
    def formula(self) -> str:
        """Say how it is computed."""
        return " ".join((self.words or self.function.__doc__ or "").split())

    @property
    def where(self) -> tuple[str, ...]:
        """Return the functions that compute it, as file:name within bench/."""
        path = Path(inspect.getsourcefile(self.function)).relative_to(PACKAGE)
        return (*self.made_by, f"{path.as_posix()}:{self.key}")

    def unit_in(self, meta: Meta) -> str:
        """Return the unit that it has in a study."""
        return self.unit_of(meta) if self.unit_of else self.unit


def measure(label: str, unit: str, better: str, **more) -> Callable:
    """Make a measure of a function; further arguments are fields of `Measure`."""
    return lambda function: Measure(function, label, unit, better, **more)
