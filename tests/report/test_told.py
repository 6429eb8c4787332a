"""Marks of figures tell their values: in titles of the SVG, and in a table."""

import csv
import math
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from bench.report import style, svg
from bench.report.told import Told, Value

GAIN = SimpleNamespace(mean=0.7063, low=0.65, high=0.78)


@pytest.fixture
def drawn():
    """Two panels: a line with an interval at each point, single runs, a bar, a line with gaps."""
    with style.drawing("told"):
        yield _draw(style.Pen(style.looks([("ppo", "ppo")], ["ppo"])))


def _draw(pen):
    figure, (left, right) = pen.panels(2, 6, 3)
    (line,) = left.plot([0, 1, 2], [0.1, math.nan, 0.3], **pen.marker("ppo"))
    pen.told.add(line, "PPO", [(0, 0.1, 0.2), math.nan, 0.3], share=[0.0, 0.5, 1.0])
    (runs,) = left.plot([0, 1], [1, 2], ls="", **pen.marker("ppo"))
    pen.told.add(runs, "PPO", [1.0, 2.0], seed=[3, 4])
    (bar,) = right.barh(0, 85.6, color=pen("p1"))
    pen.told.add(bar, "PPO", 85.6, ".3g", phase="rollouts")
    (few,) = right.plot(range(5), range(5), markevery=(0, 2), **pen.marker("ppo"))
    pen.told.add(few, "PPO", [0, 1, 2, 3, 4], ".0f", k=[1, 2, 3, 4, 5])
    left.set_title("Gain")
    right.set_title("Cost of\na run")
    return figure, pen.told


WORDS = [
    "PPO · Gain · share 0: +0.10 (0.00 to +0.20)",
    "PPO · Gain · share 1: +0.30",
    "PPO · Gain · seed 3: +1.00",
    "PPO · Gain · seed 4: +2.00",
    "PPO · Cost of a run · phase rollouts: 85.6",
    "PPO · Cost of a run · k 1: 0",
    "PPO · Cost of a run · k 3: 2",
    "PPO · Cost of a run · k 5: 4",
]


def test_a_value_says_whose_it_is_where_it_lies_and_its_interval():
    value = Value("PPO", {"KL": 2.31}, GAIN.mean, GAIN.low, GAIN.high)
    assert value.said("Quality") == "PPO · Quality · KL 2.31: +0.71 (+0.65 to +0.78)"
    alone = Value("DPO", {}, 0.0, math.nan, math.nan, ".0%", "0 of 5")
    assert alone.said("") == "DPO: 0 of 5"


def test_each_mark_has_its_words_and_single_runs_are_known(drawn, tmp_path):
    figure, told = drawn
    root = ElementTree.parse(svg.save(figure, tmp_path / "told.svg", told)).getroot()
    titles = list(root.iter(f"{{{svg.SVG}}}title"))
    assert sorted(title.text for title in titles) == sorted(WORDS)
    seeds = [g for g in root.iter(f"{{{svg.SVG}}}g") if g.get("data-seed") is not None]
    assert [t.text for g in seeds for t in g.iter(f"{{{svg.SVG}}}title")] == WORDS[2:4]


def test_a_figure_has_a_table_of_its_values(drawn, tmp_path):
    _, told = drawn
    rows = list(csv.DictReader(told.save(tmp_path / "told.csv").open()))
    assert len(rows) == len(WORDS)
    assert rows[0] == {"panel": "Gain", "name": "PPO", "share": "0", "seed": "", "phase": "",
                       "k": "", "value": "0.1", "low": "0", "high": "0.2"}  # fmt: skip
    assert rows[2]["seed"] == "3" and rows[2]["low"] == "" and rows[4]["value"] == "85.6"
    assert Told().save(tmp_path / "none.csv") is None and not (tmp_path / "none.csv").exists()


def test_words_that_are_not_as_many_as_marks_are_refused(drawn, tmp_path):
    figure, told = drawn
    told.marks[0] = (told.marks[0][0], told.marks[0][1][:1])
    with pytest.raises(ValueError, match="1 values for 2 marks"):
        svg.save(figure, tmp_path / "told.svg", told)
