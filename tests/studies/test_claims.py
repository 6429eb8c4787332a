"""The study `claims`: rules, units over SFT bases, and a verdict on each statement."""

import ast
import re
from pathlib import Path

import fake_runs
import numpy as np
import pandas as pd
import pytest

from bench.analysis import picks
from bench.analysis import statistics as st
from bench.analysis.results import Arm
from bench.analysis.statistics import Interval
from bench.core import registry
from bench.core.schema import UserError
from bench.report.study import Study
from bench.steps.collect import described
from bench.studies import load
from bench.studies.claims import analysis, cells, page, units
from bench.studies.claims import map as cells_map
from bench.studies.claims.analysis import Word, decided
from bench.studies.claims.cells import CELLS, Cell
from bench.studies.claims.claim import Part, Rule
from bench.studies.claims.slimming import slimmed
from bench.studies.claims.tested import c13_labels, every

SUPPORTED, CONTRADICTED, UNDECIDED = Word
BASES, PROMPTS, ITEMS = 4, 40, 200


def interval(mean, half):
    """A t interval over ten seeds."""
    se = half / 2.262
    return Interval(mean, mean - half, mean + half, se, 9.0, 10, 0, "seeds")


def part(rule, margin=0.1):
    return Part("It is so.", rule, margin, "gold", "it", lambda results: None)


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
    found, p = decided(part(rule), [interval(mean, half)])
    assert found is word and (p < 0.05) == (word is not UNDECIDED)


def test_always_is_contradicted_by_one_reversal_and_needs_every_effect():
    up, down, open_ = interval(0.3, 0.1), interval(-0.3, 0.1), interval(0.1, 0.3)
    assert decided(part(Rule.ALWAYS), [up, up])[0] is SUPPORTED
    assert decided(part(Rule.ALWAYS), [up, down])[0] is CONTRADICTED
    assert decided(part(Rule.ALWAYS), [up, open_])[0] is UNDECIDED
    slight = interval(-0.11, 0.1)  # alone p < .05, not as one of four
    assert decided(part(Rule.ALWAYS), [up, up, up, slight])[0] is UNDECIDED


def test_without_an_interval_nothing_is_decided():
    one = st.over_seeds([0.3])
    for rule in Rule:
        assert decided(part(rule), [one])[0] is UNDECIDED


def test_a_verdict_must_survive_the_correction_over_all_declared_parts():
    claim = every()["C7"]
    rows = [analysis.Outcome(claim, part(Rule.MORE), (interval(0.3, 0.1),), SUPPORTED, p)
            for p in (1e-6, 0.02, float("nan"))]  # fmt: skip
    first, second, open_ = analysis.corrected(rows, 14)
    assert first.word is SUPPORTED and first.p_holm == pytest.approx(14e-6)
    assert second.alone is SUPPORTED and second.word is UNDECIDED
    assert second.p_holm == pytest.approx(13 * 0.02)
    assert open_.word is UNDECIDED


def test_leaving_out_units_gives_the_t_interval_of_a_mean_and_follows_a_ratio():
    rng = np.random.default_rng(0)
    a, b = (pd.DataFrame(rng.normal(mu, 0.1, (8, 30))) for mu in (1.0, 2.0))
    plain = units.jackknife([a], lambda means: means[0])
    expected = st.over_seeds(a.mean(axis=1))
    assert (plain.mean, plain.half) == pytest.approx((expected.mean, expected.half))
    ratio = units.jackknife([a, b], lambda means: means[0] / means[1])
    assert ratio.low < 0.5 < ratio.high and ratio.half < 0.05


# --- all claims, on invented results

CFG = load("micro", ["study=claims", f"claims.bases={BASES}"])
GAIN = {"ppo": 0.7, "dpo": 0.4, "ipo": 0.45, "orpo": 0.5, "simpo": 0.4}


def level(condition: str) -> float:
    """The true gain of a condition: PPO is ahead, flips hurt DPO more, fresh labels change
    nothing, few exact labels lose, and so on."""
    method, _, rest = condition.partition("-")
    gain = GAIN[method]
    if found := re.search(r"flip(\d+)", rest):
        gain *= 1 - int(found[1]) / 100 * (2 if method == "dpo" else 0.5)
    if found := re.search(r"(few|all-prompts)(\d)", rest):
        gain *= 1 - 0.1 * int(found[2])
    known = {"betax": 0.1, "exact": 0.1, "free": 0.0, "lrx": 0.2}
    return next((low for start, low in known.items() if rest.startswith(start)), gain)


@pytest.fixture(scope="module")
def results():
    rng, names = np.random.default_rng(1), CFG.study_arms
    arms = [described(CFG, name) for name in names]
    ease, bases = rng.normal(0, 1, PROMPTS), {arm.base for arm in arms}
    of_base = {base: rng.normal(0, 0.02) for base in bases}
    prompts = pd.DataFrame([
        {"arm": base, "method": "sft", "seed": 0, "prompt_id": p, "draw": 0}
        | {"refused": 0, "right": 1, "family": ("review", "request")[p % 2], "gold": ease[p]}
        for base in bases for p in range(PROMPTS)
    ])  # fmt: skip
    tables, runs, curve = [prompts], [], []
    items = [
        {"arm": base, "seed": 0, "task": f"worked_{t}", "metric": "exact_match", "item": i}
        | {"value": float(i % 5 < 2)}
        for base in bases for t in ("result", "steps") for i in range(ITEMS)
    ]  # fmt: skip
    variety = [
        {"arm": base, "seed": 0, "best_of": n, "gold": gold, "between": between}
        for base in bases
        for n, gold, between in ((1, 0.0, 0.8), (2, 0.3, 0.74), (4, 0.6, 0.68))
    ]
    for arm in arms:
        condition = arm.condition
        for seed in [seed for name, seed in CFG.study_runs if name == arm.name]:
            key = {"arm": arm.name, "method": arm.method, "seed": seed}
            gain = level(condition) + of_base[arm.base]
            fails = "random" in condition and arm.method == "ppo" and int(condition[-2:]) % 3 == 0
            loss = 1.0 - 0.5 * condition.endswith("lrx10")  # the lowest loss is of a bad rate
            more = {"parameters": 176_320, "resident_models": {"ppo": 4}.get(arm.method, 2)}
            status = "diverged" if fails else "ok"
            runs.append(key | {"status": status, "validation_loss": loss} | more)
            gold = ease + gain + rng.normal(0, 0.02, PROMPTS)
            refuses = condition == "ppo-harmful"  # a fifth of what it should help with
            wrong = {"refused": refuses * (np.arange(PROMPTS) % 5 == 0), "right": 1 - refuses}
            tables.append(prompts.iloc[:PROMPTS].assign(**key, gold=gold, **wrong))
            between = {"ppo": 0.5, "dpo": 0.7}.get(condition)
            part = {"worked-steps": 0.6, "worked-outcome": 0.5}.get(
                condition.partition("-")[2], 0.4
            )
            items += [
                key | {"task": f"worked_{t}", "metric": "exact_match", "item": i}
                | {"value": float(rng.random() < part)}
                for t in ("result", "steps") for i in range(ITEMS) if "worked" in condition
            ]  # fmt: skip
            variety += [key | {"best_of": 1, "gold": gain, "between": between}] * bool(between)
            curve += [
                key | {"fraction": f, "family": "all", "gold": 1 + f * gain, "gold_se": 0.05,
                       "n": 192, "accuracy": 0.7}
                for f in (0.0, 1.0)
            ]  # fmt: skip
    costs = [
        {"arm": r["arm"], "method": r["method"], "seed": r["seed"], "step": "align"}
        | {"phase": "train", "charged": True, "flops": {"ppo": 9e11}.get(r["method"], 1e11)}
        for r in runs
    ]
    made = fake_runs.by_hand(
        arms,
        {
            "prompts": pd.concat(tables).to_dict("records"),
            "runs": runs,
            "curve": curve,
            "cost": costs,
            "variety": variety,
            "items": items,
        },
        seeds=[1],
        methods=list(GAIN),
        tuned_families=["review", "request"],
        study="claims",
        planned={arm.name: [s for name, s in CFG.study_runs if name == arm.name] for arm in arms},
    )
    return slimmed(picks.reduced(made))


def test_every_claim_is_decided_as_the_truth_is(results):
    found = {page.name_of(row): row for row in analysis.outcomes(results)}
    words = {name: row.alone for name, row in found.items()}
    assert words == {
        "C1": SUPPORTED,
        "C2.1": SUPPORTED, "C2.2": SUPPORTED,
        "C3.1": CONTRADICTED, "C3.2": CONTRADICTED,
        "C4": SUPPORTED,
        "C5.1": SUPPORTED, "C5.2": SUPPORTED,
        "C6.1": SUPPORTED, "C6.2": CONTRADICTED, "C6.3": SUPPORTED, "C6.4": CONTRADICTED,
        "C7": CONTRADICTED,
        "C8": SUPPORTED,
        "C9.1": SUPPORTED, "C9.2": SUPPORTED,
        "C10.1": CONTRADICTED, "C10.2": CONTRADICTED,
        "C11": SUPPORTED,
        "C12.1": CONTRADICTED, "C12.2": CONTRADICTED,
        "C13.1": CONTRADICTED, "C13.2": CONTRADICTED,
        "C14.1": SUPPORTED, "C14.2": SUPPORTED, "C14.3": SUPPORTED, "C14.4": SUPPORTED,
    }  # fmt: skip
    assert found["C3.1"].effect.mean == pytest.approx(-0.3, abs=0.02)
    assert found["C4"].effect.mean == pytest.approx(0.3, abs=0.03)
    assert found["C1"].effect.mean == pytest.approx(100 / 3, abs=1)
    assert found["C6.1"].effect.mean == pytest.approx(100 * 0.18 / 0.68, abs=1)  # gold is above 0.6
    assert found["C6.2"].effect.mean == pytest.approx(100 * 0.02 / 0.72, abs=1)
    assert found["C6.3"].effect.mean == pytest.approx(20)
    assert found["C8"].effect.mean == pytest.approx(0.1, abs=0.02)
    assert found["C14.1"].effect.mean == pytest.approx(20, abs=6)
    assert found["C11"].effect.mean == pytest.approx(0.2, abs=0.02)
    assert found["C12.2"].effects[0].mean == pytest.approx(0.1 - 0.7 * 0.95, abs=0.02)
    needed = -3 + (0.32 - 0.14) / 0.28 + 1  # log2: PPO between an eighth and a quarter, DPO half
    assert found["C13.1"].effect.mean == pytest.approx(needed * np.log(2), abs=0.15)
    assert np.exp(found["C5.2"].effect.mean) == pytest.approx(9)
    assert len({row.effect.seeds for name, row in found.items() if name != "C1"}) == 1


def test_the_page_says_it_all(results):
    study = Study(results)
    assert page.headline(study)[0].startswith("With a model of 0.18 million parameters on micro")
    table = page.verdict_table(study)
    assert len(table.rows) == len(page.results(study)) == len(analysis.outcomes(results))
    sections = page.sections(study)
    keys = [key.lower() for key in analysis.by_claim(results)]
    assert [s.anchor for s in sections] == ["verdicts", "map", *keys]
    assert "claims={only: [C4]}" in sections[5].lines[-1]


def test_the_map_finds_the_border_that_is_there():
    """PPO leads by 0.3 with all labels, less with fewer, and more where labels are turned round."""
    rng, rows = np.random.default_rng(0), []
    for cell in CELLS:
        true = 0.3 - 0.15 * np.log2(cell.share) + 0.5 * cell.flip / 100
        true -= 0.2 * (cell.origin != "own")
        for base in cells.bases_of(cell, [0, 1, 2, 3]):
            gap = true + 0.05 * base + rng.normal(0, 0.03)
            rows.append({**vars(cell), "base": f"sft@{base}", "gap": gap})
    empty = fake_runs.by_hand([], {}, seeds=[1])
    empty.known[(cells_map.cells.__wrapped__,)] = pd.DataFrame(rows)
    fit = cells_map.fitted(empty)
    expected = [0.3 + 0.05 * 1.5, 0.15, 0.5, -0.2, 0, 0, 0]
    np.testing.assert_allclose(fit.coefficients, expected, atol=0.06)
    assert fit.noise == pytest.approx(0.03, abs=0.01) and fit.left_out < 0.06
    ahead = {cell: cells_map.winner(empty, cell) for cell in CELLS}
    assert ahead[Cell(1, 40, "own")] == "ppo" and ahead[Cell(8, 0, "foreign")] == "dpo"
    assert None in ahead.values()
    lead, half = fit.lead(1, 0, False)
    assert float(lead) - float(half) < 0.375 < float(lead) + float(half)


@pytest.mark.parametrize("many", [4, 6, 10])
def test_no_sft_base_stands_for_a_share_a_flip_or_an_origin(many):
    for key in ("share", "flip", "origin"):
        for value in {getattr(cell, key) for cell in CELLS}:
            mine = [cell for cell in CELLS if getattr(cell, key) == value]
            found = [base for cell in mine for base in cells.bases_of(cell, list(range(many)))]
            assert set(found) == set(range(many))


def test_cells_share_the_arms_of_claims():
    runs = cells.arms(CFG, range(1, BASES + 1))
    trained = [name for name in runs if not name.startswith("writer")]
    assert len(trained) == 2 * cells.UNITS * len(CELLS)
    shared = [name for name in trained if name in every()["C13"].arms(CFG, range(1, BASES + 1))]
    assert len(shared) == 2 * 2 * 4  # two bases of the four label counts without flips, two methods


def test_the_claim_of_the_docs_is_decided(tmp_path):
    """One file is enough: arms, conditions, what is measured, the rule."""
    text = (Path(page.__file__).parents[3] / "docs" / "claims.md").read_text()
    (block,) = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    path = tmp_path / "c15_epochs.py"
    path.write_text(block)
    claim = registry.from_file(path).CLAIM
    planned = claim.arms(CFG, [1, 2, 3])
    assert set(planned) == {f"{c}{n}" for c in claim.conditions for n in ("", "-sft2", "-sft3")}
    arms = [Arm(name, "dpo", base=f"sft{name[-1]}", condition=spec["condition"])
            for name, spec in planned.items()]  # fmt: skip
    rng, ease = np.random.default_rng(0), np.arange(20.0)
    level = {"dpo": 0.3, "dpo-twice": 0.6}
    rows = [{"arm": base, "seed": 0, "gold": 0.0} for base in {arm.base for arm in arms}]
    rows += [{"arm": a.name, "seed": 1, "gold": level[a.condition]} for a in arms]
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


def test_labels_needed_are_read_off_the_curve():
    gains = [0.1, 0.2, 0.3, 0.4]  # at an eighth, a quarter, half, all
    assert c13_labels.log_labels(gains, 0.3) == pytest.approx(-1)
    assert c13_labels.log_labels(gains, 0.25) == pytest.approx(-1.5)
    assert c13_labels.log_labels(gains, 0.5) == pytest.approx(1)


# --- the plan


def test_claims_share_runs_with_each_other_and_with_the_study_of_bases():
    bases = {
        name: CFG.arm(name).model_dump(exclude={"settings"})
        for name in load("micro", ["study=bases"]).study_arms
        if name in CFG.study_arms
    }
    own = load("micro", ["study=bases"])
    assert {f"{m}-sft{b}" for m in ("ppo", "dpo") for b in (2, 3, 4)} <= set(bases)
    for name in bases:
        assert own.layout.run_name(own.arm(name)) == CFG.layout.run_name(CFG.arm(name))
        assert own.of(name).layout.sft == CFG.of(name).layout.sft


def test_a_part_of_the_claims_trains_its_own_arms_alone():
    few = load("micro", ["study=claims", "claims={only: [C7], bases: 2}"])
    ends = ("", "-copies", "-fresh", "-sft2", "-copies-sft2", "-fresh-sft2")
    assert set(few.study_arms) == {f"{m}{end}" for m in ("dpo", "ipo") for end in ends}
    with pytest.raises(UserError, match="unknown claim 'C99'"):
        load("micro", ["study=claims", "claims.only=[C99]"])


def test_pairs_of_another_writer_are_of_the_same_base():
    writer, off = (CFG.of(name).layout for name in ("writer-sft3", "ppo-foreign-sft3"))
    assert off.writer == writer.sft != off.sft == CFG.of("ppo-sft3").layout.sft
    assert writer.base == off.base


def test_each_file_declares_one_claim_under_its_own_number():
    folder = Path(page.__file__).parent / "tested"
    for path in folder.glob("c*.py"):
        tree = ast.parse(path.read_text())
        names = [ast.unparse(n.targets[0]) for n in tree.body if isinstance(n, ast.Assign)]
        assert names.count("CLAIM") == 1
    keys = [int(key[1:]) for key in every()]
    assert keys == sorted(keys) == [int(p.name[1:3]) for p in sorted(folder.glob("c*.py"))]
