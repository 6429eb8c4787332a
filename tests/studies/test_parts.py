"""Gold in parts: what a method gained it with."""

import fake_runs
import numpy as np
import pytest

from bench.analysis.results import Arm
from bench.report.study import Study
from bench.studies.compare import parts


def study(moved: float) -> Study:
    """DPO raises `praise` of reviews by `moved`, and leaves `cover` as it is."""
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 1, (2, 40))
    answers = [
        {"arm": arm, "seed": seed, "prompt_id": p, "family": "review", "gold": 0.0}
        | {"praise": luck[0, p] + rise, "cover": luck[1, p], "never": 0.0}
        for arm, seed, rise in (("sft", 0, 0.0), *(("dpo", s, moved) for s in (1, 2, 3)))
        for p in range(40)
    ]
    runs = [{"arm": "dpo", "seed": s, "status": "ok"} for s in (1, 2, 3)]
    more = {"tuned_families": ["review"], "seeds": (1, 2, 3)}
    tables = {"prompts": answers, "runs": runs}
    return Study(fake_runs.by_hand([Arm("dpo", "dpo")], tables, **more))


def test_each_part_has_a_row_with_the_means_and_intervals_of_all_arms():
    found = parts.table(study(2.0))
    rows = {(row[0].text, row[0].quiet): row[1:] for row in found.rows}
    assert set(rows) == {("review", "praise"), ("review", "cover")}  # none of what is 0 for all
    base, dpo = rows["review", "praise"]
    assert dpo.value == pytest.approx(base.value + 2)
    assert [cell.text for cell in rows["review", "cover"]] == [rows["review", "cover"][0].text] * 2


def test_what_moved_is_named_in_sds_and_nothing_else():
    (line,) = parts.lines(study(2.0))
    assert line.startswith("What rose and fell most from SFT (the largest moves in SDs of SFT's")
    assert "DPO praise of review by +" in line and "cover" not in line
    assert parts.lines(study(0.05)) == []


def test_the_gain_on_each_family_is_said_where_there_are_several():
    rng, rise = np.random.default_rng(1), {"review": 0.5, "request": 0.25}
    answers = [
        {"arm": arm, "seed": seed, "prompt_id": f"{family}{p}", "family": family}
        | {"gold": base + (rise[family] if arm == "dpo" else 0.0)}
        for family in rise
        for p, base in enumerate(rng.normal(0, 1, 30))
        for arm, seed in (("sft", 0), ("dpo", 1), ("dpo", 2))
    ]
    tables = {
        "prompts": answers,
        "runs": [{"arm": "dpo", "seed": s, "status": "ok"} for s in (1, 2)],
    }

    def said(*families: str) -> list[str]:
        more = {"tuned_families": list(families), "seeds": (1, 2)}
        return parts.by_family(Study(fake_runs.by_hand([Arm("dpo", "dpo")], tables, **more)))

    (line,) = said("review", "request")
    assert line == "Mean gain, untested: on review DPO +0.50; on request DPO +0.25."
    assert said("review") == []
