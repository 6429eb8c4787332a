"""Find the studies: which runs they make, how they are analysed, what their page shows.

A declared study is a list of arms in a testbed's file. A computed one is a folder here whose module
is its plan:

- ``Settings``: a ``Section`` in which every field has a default; the study's name is that of the
  section;
- ``arms(cfg)``: {arm: spec} that it computes from the tuned settings;
- ``members(cfg)``: the names of its arms; ``seeds(cfg, arm)``: the seeds of one of them;
- ``EVALUATED``: whether its runs answer the test prompts; ``COMPANION``: whether its results are
  also shown in the report of ``compare``;
- ``completed(cfg)``: its section, with values that follow from other sections; ``check(cfg)``:
  raises UserError.

``<study>/page.py`` holds ``KIND``, which says how its page is made; a study without one has the
page of ``compare``.
"""

from collections.abc import Iterable

from bench.core import registry
from bench.settings.config import Config
from bench.settings.load import load as load_settings

COMPARE = "compare"  # arms side by side: the default study, and the page of every declared one
FOLDERS = registry.members(__name__, folders=True)
PLANS = {name: registry.member(__name__, name) for name in FOLDERS if name != COMPARE}


def load(testbed: str, overrides: Iterable[str] = ()) -> Config:
    """Load a testbed's settings with overrides, computed studies included; all steps use this."""
    return load_settings(testbed, overrides, PLANS)


def kind_of(study: str):
    """Return how the page of a study is made, a ``bench.report.sections.Kind``."""
    name = study if study in PLANS else COMPARE
    return registry.member(f"{__name__}.{name}", "page").KIND
