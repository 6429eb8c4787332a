"""Find the figures of a comparison: one module each, whose ``FIGURE`` says which section shows it.

To add one, write its module: `bench.report.figure.Figure` lists its parts.
"""

from bench.core import registry

FIRST = (
    "variants",
    "scorecard",
    "frontier",
    "curves",
    "overoptimisation",
    "writing",
    "cost",
    "waterfall",
)
FIGURES = [registry.member(__name__, name).FIGURE for name in registry.members(__name__, FIRST)]
