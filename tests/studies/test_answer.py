"""The first screen of a comparison: its numbers and its sentences, on invented results."""

import fake_runs
import pytest

from bench.analysis import statistics as st
from bench.analysis.results import Arm
from bench.studies.compare import answer
from bench.studies.compare.headline import finding

FOUR = {m: m for m in ("ppo", "dpo", "ipo", "orpo")}


def texts(study) -> dict[str, list[str]]:
    """{arm: what its cells say} of the table."""
    rows = answer.table(study).rows
    return {row[0].text: [cell.text for cell in row[1:]] for row in rows}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four methods of three seeds; one run of DPO diverged."""
    folder = tmp_path_factory.mktemp("four")
    return fake_runs.study(folder, arms=FOUR, seeds=(1, 2, 3), fail={("dpo", 2): "diverged"})


def test_a_method_has_its_wins_gain_cost_and_failures(study):
    found = texts(study)
    assert list(found) == ["PPO", "DPO", "IPO", "ORPO"]
    assert found["DPO"][3] == "1 of 3" and found["PPO"][3] == "0 of 3"
    gains = {arm: study.interval(arm, "gold_delta").mean for arm in FOUR}
    assert float(found["PPO"][1].replace("−", "-")) == pytest.approx(gains["ppo"], abs=0.005)
    flops = {arm: study.interval(arm, "flops").mean for arm in FOUR}
    cheap = min(flops, key=flops.get)
    assert found[cheap.upper()][2] == "1×"
    for arm, spent in flops.items():
        if spent > 1.02 * flops[cheap]:
            times = float(found[arm.upper()][2].rstrip("×"))
            assert times == pytest.approx(spent / flops[cheap], abs=0.06)


def test_a_share_of_wins_stays_within_its_bounds():
    cell = answer.won(st.Interval(6.7, -8.2, 21.6, 5.0, 4.0, 5, 9, "seeds and prompts"))
    assert (cell.text, cell.quiet) == ("7 %", "0 to 22 %")


def test_one_seed_decides_nothing_and_has_no_finding(tmp_path):
    one = fake_runs.study(tmp_path, arms=FOUR, seeds=(1,))
    assert any("prompts only" in line for line in answer.sure(one))
    assert finding(one) == ""
    assert all(cells[3].endswith("of 1") for cells in texts(one).values())


def test_a_study_in_which_all_failed_has_an_answer_of_dashes(tmp_path):
    lost = {(arm, seed): "diverged" for arm in FOUR for seed in (1, 2, 3)}
    none = fake_runs.study(tmp_path, arms=FOUR, seeds=(1, 2, 3), fail=lost)
    assert {tuple(cells) for cells in texts(none).values()} == {("–", "–", "–", "3 of 3")}
    assert answer.nearest(none) == [] and finding(none) == ""
    assert len(answer.points(none)) == 3


def test_variants_are_told_against_their_method_and_their_own_settings_named(tmp_path):
    arms = {"ppo": "ppo", "dpo": "dpo", "dpo-fast": "dpo"}
    some = fake_runs.study(tmp_path, arms=arms, seeds=(1, 2, 3))
    sets = {"dpo-fast": {"lr": 1e-3}}
    own = [Arm(a, m, sets=sets.get(a, {})) for a, m in arms.items()]
    some = fake_runs.changed(some, arms=own)
    assert any("DPO fast" in line for line in answer.sure(some))
    ((_, fair, _),) = [point for point in answer.points(some) if point[0] == "Fair?"]
    assert "DPO fast has a rate or strength of their own" in " ".join(fair)
