"""The study `claims`: rules, effects over SFT bases, and a verdict on each statement."""

import ast
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import fake_claims
import fake_runs
import numpy as np
import pandas as pd
import pytest
from fake_claims import BASES, CFG

from bench.analysis import statistics as st
from bench.analysis.results import Arm
from bench.analysis.statistics import Interval
from bench.core import registry
from bench.core.schema import UserError
from bench.report.study import Study
from bench.studies import load
from bench.studies.claims import analysis, cells, declared, effects, page, units, words
from bench.studies.claims import map as cells_map
from bench.studies.claims.analysis import Word
from bench.studies.claims.cells import CELLS, Cell
from bench.studies.claims.claim import Part, Rule
from bench.studies.claims.conditions import condition
from bench.studies.claims.effects import Effect
from bench.studies.claims.tested import every

SUPPORTED, CONTRADICTED, UNDECIDED = Word


def interval(mean, half):
    """A t interval over ten units."""
    se = half / 2.262
    return Interval(mean, mean - half, mean + half, se, 9.0, 10, 0, "seeds")


def part(rule, margin=0.1):
    return Part("It is so.", rule, margin, "gold", "it", lambda results: None)


def decided(rule, *found):
    return analysis.decided(part(rule), [Effect.of(own) for own in found])


@pytest.mark.parametrize(
    "rule,mean,half,word",
    [
        (Rule.MORE, 0.3, 0.1, SUPPORTED),
        (Rule.MORE, 0.08, 0.05, UNDECIDED),  # above 0, but it may not matter
        (Rule.MORE, 0.3, 0.4, UNDECIDED),
        (Rule.MORE, 0.0, 0.05, CONTRADICTED),  # if there is an effect, it does not matter
        (Rule.MORE, -0.5, 0.3, CONTRADICTED),
        (Rule.MATCHES, 0.0, 0.05, SUPPORTED),
        (Rule.MATCHES, -0.2, 0.05, CONTRADICTED),
        (Rule.MATCHES, -0.05, 0.2, UNDECIDED),
        (Rule.MATCHES, 0.4, 0.1, SUPPORTED),
    ],
)
def test_the_verb_of_a_claim_decides(rule, mean, half, word):
    found, p = decided(rule, interval(mean, half))
    assert found is word and (p < 0.05) == (word is not UNDECIDED)


def test_always_is_contradicted_by_one_reversal_and_needs_every_effect():
    up, down, open_ = interval(0.3, 0.1), interval(-0.3, 0.1), interval(0.1, 0.3)
    missing = st.over_seeds([])
    assert decided(Rule.ALWAYS, up, up)[0] is SUPPORTED
    assert decided(Rule.ALWAYS, up, down)[0] is CONTRADICTED
    assert decided(Rule.ALWAYS, up, open_)[0] is UNDECIDED
    assert decided(Rule.ALWAYS, missing, down)[0] is CONTRADICTED  # one reversal is enough
    assert decided(Rule.ALWAYS, missing, up)[0] is UNDECIDED
    slight = interval(-0.11, 0.1)  # alone p < .05, not as one of four
    assert decided(Rule.ALWAYS, up, up, up, slight)[0] is UNDECIDED


def test_without_an_interval_nothing_is_decided():
    one, two = st.over_seeds([0.3]), effects.over(pd.DataFrame([[1.0, 1.1], [1.2, 1.0]]))
    assert two.mean == pytest.approx(1.075) and math.isnan(two.half)  # two units are too few
    for rule in set(Rule) - {Rule.FACT}:
        assert decided(rule, one)[0] is UNDECIDED and decided(rule, two)[0] is UNDECIDED


def test_a_verdict_must_survive_the_correction_over_all_claims():
    """Each claim weighs the same; the parts of one share its weight."""
    one, many = every()["C7"], every()["C3"]
    effect, n = (Effect.of(interval(0.3, 0.1)),), len(every())
    cases = ((one, 1e-6), (one, 0.003), (many, 1e-5), (one, float("nan")))
    rows = [analysis.Outcome(c, c.parts[0], effect, SUPPORTED, p) for c, p in cases]
    first, second, half, open_ = analysis.corrected(rows)
    assert first.word is SUPPORTED and first.p_holm == pytest.approx(n * 1e-6)
    assert half.p_holm == pytest.approx((n - 1) * 1e-5 / 0.8)  # one of two parts, four fifths
    assert second.p_holm == pytest.approx((n - 1.8) * 0.003) and second.word is SUPPORTED
    assert open_.word is UNDECIDED
    assert first.detectable > st.detectable(first.effect)  # at the level of the correction


def test_a_fact_is_decided_by_its_number_and_corrects_nothing():
    fact = replace(part(Rule.FACT, 0.2))
    for value, word in ((0.3, SUPPORTED), (0.1, CONTRADICTED), (float("nan"), UNDECIDED)):
        found = replace(interval(0.3, 0.0), mean=value)
        assert analysis.decided(fact, [Effect.of(found)])[0] is word
    claim = every()["C2"]
    rows = [analysis.Outcome(claim, p, (Effect.of(interval(0.3, 0.1)),), SUPPORTED, 1e-6)
            for p in claim.parts]  # fmt: skip
    *tests, last = analysis.corrected(rows)
    assert last.part.rule is Rule.FACT and last.word is SUPPORTED and math.isnan(last.p_holm)
    first, second = (row.p_holm for row in tests)
    assert first == pytest.approx(1e-6 / 0.8 * len(every()))
    assert second == pytest.approx(1e-6 / 0.2 * (len(every()) - 0.8))
    assert sum(map(analysis.weight, rows)) == 1


def test_holm_s_weights_are_those_of_bonferroni_at_the_first_step():
    ps, weights = [0.01, 0.02, 0.03], [1.0, 0.5, 0.5]
    assert st.holm(ps, weights=weights) == pytest.approx([0.02, 0.04, 0.04])
    assert st.holm(ps) == pytest.approx([0.03, 0.04, 0.04])
    assert st.holm([0.01, float("nan")], 4)[0] == pytest.approx(0.04)


def test_a_gate_leaves_a_statement_undecided_and_says_why():
    claim = every()["C7"]
    gated = replace(claim.parts[0], measure=lambda r: interval(0.3, 0.1), gate=lambda r: "no cost")
    found = analysis.outcome(claim, gated, None)
    assert found.alone is UNDECIDED and "No verdict: no cost." in words.of_part(found)
    assert analysis.outcome(claim, replace(gated, gate=lambda r: ""), None).alone is SUPPORTED


# --- effects


def test_leaving_out_units_gives_the_t_interval_of_a_mean_and_follows_a_ratio():
    rng = np.random.default_rng(0)
    a, b = (pd.DataFrame(rng.normal(mu, 0.1, (8, 30))) for mu in (1.0, 2.0))
    plain = effects.jackknife([a], lambda means: means[0])
    expected = st.over_seeds(a.mean(axis=1))
    assert (plain.mean, plain.half) == pytest.approx((expected.mean, expected.half))
    ratio = effects.jackknife([a, b], lambda means: means[0] / means[1])
    assert ratio.low < 0.5 < ratio.high and ratio.half < 0.05


def tables(rng, means, units=8, prompts=60, noise=0.06):
    """Gains of conditions on the same bases and prompts, each with its own luck."""
    ease, base = rng.normal(0, 0.3, prompts), rng.normal(0, 0.1, (units, 1))
    return [
        pd.DataFrame(mean + base + ease + rng.normal(0, noise, (units, 1))
                     + rng.normal(0, 0.3, (units, prompts)))
        for mean in means
    ]  # fmt: skip


COSTS = (1.0, 2.0, 4.0, 8.0)


def test_the_cost_to_reach_a_level_is_covered_by_its_interval():
    """At cost 3 of a curve that rises by 0.2 a doubling."""
    hits, ps, draws = 0, [], 500
    truth = math.log(3)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        level = 0.2 * math.log2(3)
        curve = [0.2 * math.log2(cost) for cost in COSTS]
        of_level, *own = tables(rng, [level, *curve])
        found = effects.reached(of_level, list(zip(COSTS, own, strict=True)), steps=12)
        hits += found.interval.low <= truth <= found.interval.high
        ps.append(found.p(truth))
    assert hits / draws == pytest.approx(0.95, abs=0.025)
    assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.025)


def test_a_level_out_of_reach_is_beyond_all_that_was_run_and_p_errs_on_the_safe_side():
    rng = np.random.default_rng(0)
    high, low, *own = tables(rng, [1.5, -1.0, 0.0, 0.2, 0.4, 0.6])
    points = list(zip(COSTS, own, strict=True))
    never, at_once = effects.reached(high, points), effects.reached(low, points)
    assert never.interval.mean == never.interval.low == math.inf
    assert at_once.interval.mean == at_once.interval.high == -math.inf
    assert never.p(0.0) < 1e-4 and never.p(math.log(8)) < 1e-4
    assert math.isnan(never.p(math.log(100)))  # nothing was run there
    assert at_once.p(math.log(100)) < 1e-4 and math.isnan(at_once.p(math.log(0.1)))
    times = replace(part(Rule.MORE, math.log(1.25)), logarithm=True)
    assert analysis.decided(times, [never])[0] is SUPPORTED
    assert analysis.decided(times, [at_once])[0] is CONTRADICTED
    moved = effects.shifted(never, 1.0)
    assert moved.p(-1.0) == never.p(0.0) and moved.interval.low == math.inf
    assert words.in_words(times, never) == "> 8" and words.in_words(times, at_once) == "< 1"


def shares(both: int, only_a: int, only_b: int, n: int):
    """The difference of paired shares of which so many failed."""
    a = [True] * (both + only_a) + [False] * (n - both - only_a)
    b = [True] * both + [False] * only_a + [True] * only_b
    return effects.share_difference(a, b + [False] * (n - len(b)))


def test_shares_without_a_failure_are_no_proof_that_they_are_equal():
    none = shares(0, 0, 0, 60)
    assert none.interval.mean == 0 and none.interval.high > 5 and none.p(0.0) == pytest.approx(1)
    assert analysis.decided(part(Rule.MORE, 10), [none])[0] is CONTRADICTED  # below 10 points
    assert analysis.decided(part(Rule.MORE, 10), [shares(0, 0, 0, 10)])[0] is UNDECIDED
    much = shares(3, 15, 0, 60)
    assert analysis.decided(part(Rule.MORE, 10), [much])[0] is SUPPORTED
    assert much.p(0.0) < 0.01 and much.p(much.interval.low) == pytest.approx(0.05, abs=1e-6)
    apart = shares(1, 17, 2, 60)  # the same shares, but not of the same settings
    assert apart.interval.mean == much.interval.mean and apart.interval.low < much.interval.low
    one_way = shares(3, 15, 0, 60).p(0.0), shares(0, 18, 3, 60).p(0.0)
    assert one_way[0] < one_way[1]


@pytest.mark.parametrize("a,b,same", [(0.05, 0.05, 0.0), (0.25, 0.05, 0.5), (0.3, 0.3, 0.8)])
def test_the_difference_of_shares_covers_the_truth(a, b, same):
    """same: the share of settings whose luck is the same for both."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(300):
        one, other, both = rng.random(90), rng.random(90), rng.random(90) < same
        found = effects.share_difference(one < a, np.where(both, one, other) < b)
        hits += found.interval.low <= 100 * (a - b) <= found.interval.high
    assert hits / 300 > 0.92


# --- all claims, on invented results


@pytest.fixture(scope="module")
def results():
    return fake_claims.results()


def test_every_claim_is_decided_as_the_truth_is(results):
    found = {words.name_of(row): row for row in analysis.outcomes(results)}
    said = {name: row.alone for name, row in found.items()}
    assert said == {
        "C1": SUPPORTED,
        "C2.1": SUPPORTED, "C2.2": CONTRADICTED, "C2.3": SUPPORTED,
        "C3.1": CONTRADICTED, "C3.2": CONTRADICTED,
        "C4.1": SUPPORTED, "C4.2": CONTRADICTED,
        "C5.1": SUPPORTED, "C5.2": CONTRADICTED, "C5.3": SUPPORTED,
        "C6.1": CONTRADICTED, "C6.2": SUPPORTED,
        "C7": UNDECIDED,
        "C8": SUPPORTED,
        "C9.1": SUPPORTED, "C9.2": SUPPORTED,
        "C10.1": CONTRADICTED, "C10.2": CONTRADICTED,
        "C11": SUPPORTED,
        "C12.1": CONTRADICTED, "C12.2": CONTRADICTED,
        "C13.1": CONTRADICTED, "C13.2": CONTRADICTED,
        "C14.1": SUPPORTED, "C14.2": SUPPORTED,
    }  # fmt: skip
    assert found["C3.1"].effect.mean == pytest.approx(-0.3, abs=0.02)
    assert found["C4.1"].effect.mean == pytest.approx(0.3, abs=0.03)
    assert found["C4.2"].effect.mean == pytest.approx(-0.08, abs=0.02)
    assert found["C1"].effect.mean == pytest.approx(100 / 3, abs=1)
    assert found["C6.1"].effect.mean == pytest.approx(100 * 0.06 / 0.76, abs=1)  # at gold 0.2
    assert found["C6.2"].effect.mean == pytest.approx(20)
    assert found["C8"].effect.mean == pytest.approx(0.1, abs=0.02)
    assert found["C14.1"].effect.mean == pytest.approx(80, abs=6)
    assert found["C14.2"].effect.mean == pytest.approx(20, abs=6)
    assert "rereading costs neither" in found["C7"].gate
    assert found["C11"].effect.mean == pytest.approx(0.2, abs=0.02)
    assert found["C12.2"].effect.mean == pytest.approx(0.1 - 0.4 * 0.8, abs=0.02)
    assert np.exp(found["C2.3"].effect.mean) == pytest.approx(2)
    assert np.exp(found["C5.3"].effect.mean) == pytest.approx(9)
    assert {row.effect.seeds for name, row in found.items() if name not in ("C1", "C10.2")} == {
        BASES
    }


def test_pairs_of_another_writer_must_be_less_probable_than_own_ones(results):
    (_, foreign), (without, note) = every()["C3"].parts, every()["C3"].notes(results)
    assert without.startswith("Without the first base") and "−0.3" in without
    assert not foreign.gate(results) and "by 4.0 (4.0 to 4.0) nats an answer" in note
    alike = replace(results, log=results.log.assign(logps_chosen=-10.0))
    assert "not shown to be less probable" in foreign.gate(alike)
    assert {*results.log.step} == {1}  # all that travels


def test_a_gain_of_few_labels_is_found_at_its_number(results):
    """PPO gains 0.08 less for each halving of its labels, and 0.3 more than DPO from half."""
    (one, _) = every()["C13"].parts
    found = one.measure(results)
    assert found.interval.mean == -math.inf and words.in_words(one, found) == "< 0.2"


def test_flips_at_which_few_exact_pairs_gain_what_all_noisy_ones_do(results):
    """Planted: at (1 - 0.1 / 0.4) / 2 of DPO's pairs, between 30 and 40 %, and never for PPO."""
    (said,) = (note for note in every()["C12"].notes(results) if "gain the same" in note)
    numbers = r"DPO (\d+) \((\d+) to (\d+)\) %; PPO (.*)$"
    mean, low, high, ppo = re.search(numbers, said).groups()
    assert int(low) <= 37 <= int(high) and int(mean) == pytest.approx(37.5, abs=1)
    assert ppo == "> 40 (no interval) %."  # of two units


def test_runs_that_failed_count_as_no_gain_and_runs_that_are_missing_do_not_count(results):
    runs = results.runs.copy()
    runs.loc[(runs.arm == "dpo-sft2") & (runs.seed == 1), "status"] = "diverged"
    other = replace(results, runs=runs[runs.arm != "dpo-sft3"])
    table, whole = units.gains(other, "dpo"), units.gains(results, "dpo")
    assert {*table.index} == {"", "-sft2", "-sft4"}  # a base with no run at all is left out
    second = results.scores("dpo-sft2").loc[2] - results.scores(results.base["dpo-sft2"]).iloc[0]
    np.testing.assert_allclose(table.loc["-sft2"], second / 2)  # of its two runs one gained nothing
    np.testing.assert_allclose(table.loc[""], whole.loc[""])
    assert units.failed(other, ["dpo"]) == (1, 2 * (BASES - 1))
    (said,) = page.failures(Study(other), every()["C9"])
    assert said.startswith("1 of ") and "in a gain each counts as none" in said


def test_variety_beyond_the_base_s_best_answers_is_left_out(results):
    claim = every()["C6"]
    row, mixed = claim.notes(results)
    assert mixed.startswith("Trained on pairs of all kinds, DPO refuses 0.0 ")
    assert f"PPO {BASES} of {BASES}" in row
    far = results.variety.assign(gold=lambda t: t.gold + 5 * (t.arm == "ppo"))
    row, _ = claim.notes(replace(results, variety=far))
    assert f"PPO {BASES - 1} of {BASES}" in row


def test_the_page_says_it_all(results):
    study = Study(results)
    assert page.headline(study)[0].startswith("With a model of 0.18 million parameters on micro")
    table = page.verdict_table(study)
    assert len(table.rows) == len(page.results(study)) == len(analysis.outcomes(results))
    sections = page.sections(study)
    keys = [key.lower() for key in analysis.by_claim(results)]
    assert [s.anchor for s in sections] == ["verdicts", "map", *keys]
    assert "'claims=[C4]'" in sections[5].lines[-1]
    text = " ".join(line for section in sections for line in section.lines)
    odd = re.findall(r".{60}\bnan\b.{20}|.{30}dpo-\w+", text)
    assert not odd


def test_a_claim_that_was_not_asked_for_is_not_decided_from_runs_that_others_share(results):
    some = replace(results, meta=replace(results.meta, noted={"C3": {"time": "2026", "later": []}}))
    assert list(analysis.by_claim(some)) == ["C3"]
    weighed = min(row.p / analysis.weight(row) for row in analysis.outcomes(some))
    corrected = min(row.p_holm for row in analysis.outcomes(some))
    assert corrected == pytest.approx(len(every()) * weighed)  # of all claims, not of this one


def test_the_map_finds_the_border_that_is_there():
    """PPO leads by 0.3 with all labels, less with fewer, and more where labels are turned round."""
    rng, rows = np.random.default_rng(0), []
    for cell in CELLS:
        true = 0.3 - 0.15 * np.log2(cell.share) + 0.5 * cell.flip / 100
        true -= 0.2 * (cell.origin != "own")
        for base in cells.bases_of(cell, [0, 1, 2, 3]):
            gap = true + 0.05 * base + rng.normal(0, 0.06)
            rows.append({**vars(cell), "base": f"sft@{base}", "gap": gap})
    empty = fake_runs.by_hand([], {}, seeds=[1])
    empty.known[(cells_map.cells.__wrapped__,)] = pd.DataFrame(rows)
    fit = cells_map.fitted(empty)
    expected = [0.3 + 0.05 * 1.5, 0.15, 0.5, -0.2, 0, 0, 0]
    np.testing.assert_allclose(fit.coefficients, expected, atol=0.12)
    assert fit.noise == pytest.approx(0.06, abs=0.015) and fit.left_out < 0.12
    ahead = {cell: cells_map.winner(empty, cell) for cell in CELLS}
    assert ahead[Cell(1, 40, "own")] == "ppo" and ahead[Cell(10, 0, "foreign")] == "dpo"
    assert None in ahead.values()
    lead, half = fit.lead(1, 0, False)
    assert float(lead) - float(half) < 0.375 < float(lead) + float(half)
    effective = cells_map.predicted(empty)  # 0.375 is lost at 2.5 halvings
    assert np.log2(effective) == pytest.approx(-2.5, abs=0.3)
    share, flips = cells_map.informed(effective)
    assert share[0] == effective and flips[-1] == 40
    assert share[-1] == pytest.approx(25 * effective)  # 1 / (1 - 2 x 0.4)^2


def test_a_map_of_which_cells_are_missing_is_none():
    rows = pd.DataFrame([{**vars(cell), "base": base, "gap": 0.1}
                         for cell in CELLS[:-1] for base in "ab"])  # fmt: skip
    empty = fake_runs.by_hand([], {}, seeds=[1])
    empty.known[(cells_map.cells.__wrapped__,)] = rows
    assert cells_map.fitted(empty) is None


@pytest.mark.parametrize("many", [4, 6, 10])
def test_no_sft_base_stands_for_a_share_a_flip_or_an_origin(many):
    for key in ("share", "flip", "origin"):
        for value in {getattr(cell, key) for cell in CELLS}:
            mine = [cell for cell in CELLS if getattr(cell, key) == value]
            found = [base for cell in mine for base in cells.bases_of(cell, list(range(many)))]
            assert set(found) == set(range(many))


def test_cells_share_the_arms_of_claims():
    runs = cells.arms(CFG, range(1, BASES + 1))
    claims = {name: spec for claim in every().values() if claim.key in ("C3", "C4", "C12", "C13")
              for name, spec in claim.arms(CFG, range(1, BASES + 1)).items()}  # fmt: skip
    shared = [name for name in runs if name in claims]
    assert all(runs[name] == claims[name] for name in shared)
    alone = {condition(name) for name in runs if name not in claims}
    assert "ppo-flip10" in alone and not {"ppo", "dpo-flip20", "ppo-few4", "ppo-foreign"} & alone


# --- the plan


def test_claims_share_runs_with_each_other_and_with_the_study_of_bases():
    own = load("micro", ["study=bases"])
    shared = {name for name in own.study_arms if name in CFG.study_arms}
    assert {f"{m}-sft{b}" for m in ("ppo", "dpo") for b in (2, 3, 4)} <= shared
    for name in shared:
        assert own.layout.run_name(own.arm(name)) == CFG.layout.run_name(CFG.arm(name))
        assert own.of(name).layout.sft == CFG.of(name).layout.sft
    specs: dict = {}
    for claim in every().values():
        for name, spec in claim.arms(CFG, range(1, BASES + 1)).items():
            assert specs.setdefault(name, spec) == spec, name


def test_no_other_study_has_an_arm_of_the_same_name_and_other_settings():
    own = {name: spec for name, spec in CFG.arms_of("claims").items()}
    for study in set(CFG.computed_studies) - {"claims"}:
        for name, spec in CFG.arms_of(study).items():
            assert name not in own or own[name] == spec, (study, name)


def test_candidates_are_tried_from_the_first_base_and_all_bases_follow():
    few = load("micro", ["study=claims", "claims={only: [C4], bases: 3}"])
    assert few.arm("dpo-flip20").candidates and few.arm("dpo-flip20-sft3").follows == "dpo-flip20"
    tried = {member.arm.name for member in few.tried}
    assert tried == {f"{m}-flip{f}-try-{c}" for m in ("ppo", "dpo", "ipo", "orpo") for f in (20, 40)
                     for c in ("own", "weak", "strong", "slow")}  # fmt: skip
    leader, other = few.member("dpo-flip20", 1), few.member("dpo-flip20-sft3", 1)
    assert other.layout.pick(other.arm) == leader.layout.pick(leader.arm)


def test_foreign_pairs_are_picked_for_on_the_first_base_by_its_own_writer():
    first, third = CFG.arm("dpo-foreign"), CFG.arm("dpo-foreign-sft3")
    assert first.candidates and CFG.of(first.name).pairs.writer == "writer"
    assert third.follows == "dpo-foreign" and CFG.of(third.name).pairs.writer == "writer-sft3"
    cell = next(a for a in CFG.study_arms if condition(a) == "dpo-few4-foreign")
    assert CFG.arm(cell).follows == "dpo-foreign"
    flipped = next(a for a in CFG.study_arms if condition(a) == "dpo-few4-flip20-foreign")
    assert CFG.arm(flipped).follows == "dpo-flip20"


def test_both_read_each_pair_once_a_pass():
    for method in ("dpo", "ipo"):
        once, again = (CFG.arm(f"{method}-{how}").settings for how in ("once", "copies"))
        assert once == again and once.epochs == 1
    assert CFG.arm("ipo-once").settings.lr != CFG.ipo.lr  # IPO's tuned setting reads pairs twice


def test_random_settings_start_from_the_bases_in_turn_and_fall_to_zero():
    arms = [CFG.arm(f"{m}-random{k:02d}") for m in ("ppo", "dpo") for k in (1, 2, BASES + 2)]
    assert {arm.settings.decay for arm in arms} == {0.5}
    assert [CFG.of(arm.name).sft.seed - CFG.sft.seed for arm in arms] == [0, 1, 1] * 2


def test_a_part_of_the_claims_trains_its_own_arms_alone():
    few = load("micro", ["study=claims", "claims={only: [C7], bases: 2}"])
    ends = [f"-{how}{base}" for how in ("once", "copies", "fresh") for base in ("", "-sft2")]
    assert set(few.study_arms) == {f"{m}{end}" for m in ("dpo", "ipo") for end in ends}
    with pytest.raises(UserError, match="unknown claim 'C99'"):
        load("micro", ["study=claims", "claims.only=[C99]"])


def test_a_testbed_says_which_claims_it_cannot_test():
    other = load("reviews-cpu", ["study=claims"])
    assert not [name for name in other.study_arms if "worked" in name or "foreign" in name]
    from bench.studies import PLANS

    noted = PLANS["claims"].noted(other)
    assert "its pairs are given" in noted["map"]["cannot"] and "cannot" not in noted["C9"]
    with pytest.raises(UserError, match="cannot test C14: no worked answers"):
        load("reviews-cpu", ["study=claims", "claims=[C14]"])


def test_pairs_of_another_writer_are_of_the_same_base():
    writer, off = (CFG.of(name).layout for name in ("writer-sft3", "ppo-foreign-sft3"))
    assert off.writer == writer.sft != off.sft == CFG.of("ppo-sft3").layout.sft
    assert writer.base == off.base


def test_worked_sums_are_other_pairs_for_each_base():
    runs = dict(CFG.study_runs)
    assert [runs[f"dpo-worked-look{end}"] for end in ("", "-sft2", "-sft3")] == [1, 2, 3]


def test_each_file_declares_one_claim_under_its_own_number():
    folder = Path(page.__file__).parent / "tested"
    for path in folder.glob("c*.py"):
        tree = ast.parse(path.read_text())
        names = [ast.unparse(n.targets[0]) for n in tree.body if isinstance(n, ast.Assign)]
        assert names.count("CLAIM") == 1
    keys = [int(key[1:]) for key in every()]
    assert keys == sorted(keys) == [int(p.name[1:3]) for p in sorted(folder.glob("c*.py"))]


def test_a_declaration_is_kept_and_a_change_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = load("micro", ["study=claims", "claims={only: [C7], bases: 2}"])
    from bench.studies import PLANS

    plan = PLANS["claims"]
    assert plan.noted(cfg)["C7"] == {"time": None, "later": []}
    plan.begin(cfg)
    first = plan.noted(cfg)["C7"]
    assert first["time"] and first["later"] == [] and first["runs"] == 0
    other = load("micro", ["study=claims", "claims={only: [C7], bases: 2}", "reward.epochs=5"])
    paths = {name: declared.hashes(c, plan.plans(c, ["C7"])["C7"])["arms"]
             for name, c in (("own", cfg), ("other", other))}  # fmt: skip
    assert paths["own"] != paths["other"]  # what runs are made from counts
    plan.begin(cfg)
    assert plan.noted(cfg)["C7"] == first
    monkeypatch.setattr(declared, "MADE_FROM", declared.MADE_FROM[:-1])
    assert plan.noted(cfg)["C7"]["later"] == ["after the last run"]
    plan.begin(cfg)
    (later,) = plan.noted(cfg)["C7"]["later"]
    assert later.startswith("arms on ") and plan.noted(cfg)["C7"]["time"] == first["time"]
    monkeypatch.setattr(declared, "RULES", declared.RULES[:-1])
    plan.begin(cfg)
    assert plan.noted(cfg)["C7"]["later"][-1].startswith("rules on ")
    assert len(json.loads((cfg.layout.study / "claims.json").read_text())["C7"]) == 3


def test_the_docs_name_every_claim():
    text = " ".join((Path(page.__file__).parents[3] / "docs" / "claims.md").read_text().split())
    assert [k for k, claim in every().items() if f"{k} {claim.sentence}" not in text] == []


def test_the_claim_of_the_docs_is_decided(tmp_path):
    """One file is enough: arms, conditions, what is measured, the rule."""
    text = (Path(page.__file__).parents[3] / "docs" / "claims.md").read_text()
    (block,) = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    path = tmp_path / "c15_epochs.py"
    path.write_text(block)
    claim = registry.from_file(path).CLAIM
    planned = claim.arms(CFG, [1, 2, 3])
    assert set(planned) == {f"{c}{n}" for c in claim.conditions for n in ("", "-sft2", "-sft3")}
    arms = [Arm(name, "dpo", base=f"sft{name[-1]}")
            for name in planned]  # fmt: skip
    rng, ease = np.random.default_rng(0), np.arange(20.0)
    level = {"dpo": 0.3, "dpo-twice": 0.6}
    rows = [{"arm": base, "seed": 0, "gold": 0.0} for base in {arm.base for arm in arms}]
    rows += [{"arm": a.name, "seed": 1, "gold": level[condition(a.name)]} for a in arms]
    prompts = [
        row | {"prompt_id": p, "draw": 0, "family": "review"}
        | {"gold": row["gold"] + ease[p] + rng.normal(0, 0.02)}
        for row in rows for p in range(len(ease))
    ]  # fmt: skip
    made = fake_runs.by_hand(
        arms,
        {"prompts": prompts, "runs": [{"arm": a.name, "seed": 1, "status": "ok"} for a in arms]},
        seeds=[1],
        tuned_families=["review"],
        planned={arm.name: [1] for arm in arms},
    )
    found = analysis.outcome(claim, claim.parts[0], made)
    assert found.alone is SUPPORTED and found.effect.mean == pytest.approx(0.3, abs=0.02)
