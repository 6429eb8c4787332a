"""Find the studies: which runs they make, how they are analysed, what their page shows.

A declared study is a list of arms in a testbed's file. A computed one is a folder here, which is
found:

- ``__init__.py``, its plan: ``Settings``, a ``Section`` with a default each, under the name of the
  study in the settings, and ``arms(cfg)``: {arm: spec}, from the tuned settings, for methods
  from outside too, which have no settings but ``lr`` and ``beta`` for sure. Optional:
  ``members(cfg)``, the names of its arms (else the methods as tuned, then those of ``arms``);
  ``seeds(cfg, arm)`` (else all); ``EVALUATED = False`` where its runs answer no test prompts;
  ``SEARCHES = True`` where it picks settings, which the step ``tune`` writes;
  ``COMPANION = True`` where the report of ``compare`` shows its results too; ``completed(cfg)``:
  its section, with what follows from others; ``check(cfg)``: raises UserError for what cannot work;
  ``begin(cfg)``: called before the first job; ``noted(cfg)``: what it noted then, for `Meta`;
  ``slim(results)``: its results without what its page does not read;
- ``page.py``, whose ``KIND`` (``bench.report.sections.Kind``) says how its page is made; a study
  without one has the page of ``compare``. Analysis and figures stand beside it.
"""

from collections.abc import Iterable
from pathlib import Path

from bench.core import registry
from bench.core.names import DEFAULT_STUDY
from bench.settings.config import Config
from bench.settings.load import load as load_settings

FOLDERS = registry.members(__name__, folders=True)
PLANS = {name: registry.member(__name__, name) for name in FOLDERS if name != DEFAULT_STUDY}


def load(testbed: str, overrides: Iterable[str] = ()) -> Config:
    """Load a testbed's settings with overrides, computed studies included; all steps use this."""
    return load_settings(testbed, overrides, PLANS)


def kind_of(study: str):
    """Return how the page of a study is made, a ``bench.report.sections.Kind``."""
    own = study in PLANS and Path(PLANS[study].__file__).with_name("page.py").exists()
    name = study if own else DEFAULT_STUDY
    return registry.member(f"{__name__}.{name}", "page").KIND
