"""`python -m bench`, its `list` and `help`: every setting is described, every answer found."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import steps
from bench.__main__ import main
from bench.settings import layers
from bench.settings.described import all_settings, default_of, settings_in, type_of, value_of
from bench.settings.sections import Arm
from bench.steps import _guide
from bench.studies import load

REPO = Path(__file__).parents[2]
HEAVY = ("torch", "matplotlib", "transformers", "trl", "datasets", "sklearn")
TABLES = ("pandas", "scipy")  # which measures import
STEPS = _guide.step_names()


def said(capsys, *words: str) -> str:
    """What `python -m bench` prints for these words."""
    main(list(words))
    return capsys.readouterr().out


def in_new_process(code: str) -> str:
    """What a program prints in a process of its own."""
    command, env = [sys.executable, "-c", code], os.environ | {"PYTHONPATH": str(REPO)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


# --- every setting is described -------------------------------------------------------------------


@pytest.mark.parametrize("testbed", ["micro", "reviews", "zephyr-7b"])
def test_every_setting_of_a_testbed_is_described(testbed):
    found = list(settings_in(type(load(testbed))))
    keys = {setting.key for setting in found}
    assert {"pairs.n", "ppo.clip", "model.lora.r", "data.kind", "tune.trials", "seeds"} <= keys
    assert [setting.key for setting in found if not setting.description] == []


def test_every_key_of_an_arm_is_described():
    assert [setting.key for setting in settings_in(Arm) if not setting.description] == []


@pytest.mark.parametrize(
    "key,words",
    [
        ("ppo.kl_stop", "this, in nats per token; null: never."),
        ("data.sft.split", "demonstrations"),  # of the class itself
        ("data.sft.revision", "Branch, tag or commit"),  # inherited over two classes
        ("data.gold.id", "Reward model"),  # overrides an inherited one
        ("data.kind", "bench/worlds"),  # of a class that is made while loading
        ("sft.batch", "Rows per optimiser step."),  # inherited
    ],
)
def test_a_description_is_the_docstring_under_the_field(key, words):
    described = {setting.key: setting.description for setting in all_settings(load("zephyr-7b"))}
    assert words in described[key]


def test_every_testbed_has_a_value_type_and_default_for_every_setting():
    for testbed in layers.testbeds():
        cfg = load(testbed)
        for setting in settings_in(type(cfg)):
            assert value_of(cfg, setting.key) and setting.path.is_file()
            assert setting.section or (default_of(setting) and type_of(setting.schema))


def test_a_setting_is_declared_where_its_path_says():
    for setting in all_settings(load("zephyr-7b")):
        if not setting.section:
            assert f"    {setting.name}: " in setting.path.read_text() or setting.name == "kind"


# --- list -----------------------------------------------------------------------------------------


def test_the_overview_names_everything(capsys):
    text = said(capsys)
    assert said(capsys, "--help") == text and said(capsys, "help") == text
    names = [*STEPS, *layers.testbeds(), "ppo", "compare", "stability", "kl", "better", "pairs"]
    assert [name for name in names if name not in text] == []
    assert len(text.splitlines()) <= 40


@pytest.mark.parametrize(
    "kind,words",
    [
        ("testbeds", ["micro ", "The controlled world", "zephyr-7b"]),
        ("methods", ["dpo ", "2305.18290"]),
        ("studies", ["views ", "whether the winner changes", "compare ", "ppo, dpo, ipo, orpo"]),
        ("measures", ["KL from SFT", "nats", "higher is better"]),
        ("steps", ["align ", "Train one run: an arm with a seed"]),
    ],
)
def test_list_has_a_line_each(capsys, kind, words):
    text = said(capsys, "list", kind)
    assert [word for word in words if word not in text] == []
    assert text in said(capsys, "list")


def test_list_shows_the_studies_of_the_chosen_testbed(capsys):
    assert "orpo-from-instruct" in said(capsys, "list", "studies", "--testbed", "reviews")
    assert "orpo-from-instruct" not in said(capsys, "list", "studies")


def test_every_entry_of_a_list_says_something():
    for rows in _guide.LISTS.values():
        assert [name for name, *cells in rows(load("micro")) if not any(cells)] == []


def test_list_settings_names_every_setting_with_type_default_and_meaning(capsys):
    lines = said(capsys, "list", "settings").splitlines()
    for testbed in ("micro", "reviews", "zephyr-7b"):
        for setting in all_settings(load(testbed)):
            if "." in setting.key and setting.key != "data.kind":
                line = f"  {setting.key}: "
                assert any(text.startswith(line) for text in lines), setting.key
    at = lines.index("  pairs.n: whole number >= 1; default: 1500")
    assert lines[at + 1] == "      Pairs that each seed draws from the pool and trains on."
    assert "  model.lora: section or null; default: null" in lines
    assert (
        "  seeds: list of: whole number >= 0 and < 4294967296; "
        "default: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]" in lines
    )  # by base.yaml


def test_the_page_of_settings_is_what_the_command_prints(capsys):
    page = (REPO / "docs/settings.md").read_text(encoding="utf-8")
    again = "python -m bench list settings --markdown > docs/settings.md"
    for testbed in ("micro", "zephyr-7b"):
        printed = said(capsys, "list", "settings", "--markdown", "--testbed", testbed)
        assert page == printed, f"docs/settings.md is stale: {again}"


# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word,words",
    [
        # what a newcomer is told to find
        ("kl", ["bench/evaluation/samples.py (kl_and_entropy)", "nats"]),
        ("better", ["bench/analysis/comparisons.py (Comparison.verdict)", "Holm"]),
        ("ppo.clip", ["bench/methods/ppo/trainer.py", "policy_loss", "0.2"]),
        ("pairs.n", ["whole number >= 1", "3000", "1500", "bench/steps/pairs.py:"]),
        ("dpo", ["bench/methods/dpo.py", "-log sigmoid(beta"]),
        # one of each kind
        ("pairs", ["Step pairs", "--label-set", "Settings pairs", "temperature", "sections.py"]),
        ("align", ["bench/steps/align.py", "--arm ARM"]),
        ("blog", ["--of ARM"]),  # a step whose module imports pandas
        ("quote", ["--check"]),
        ("diff", ["--out OUT", "a report's folder"]),  # a step without a testbed
        ("gold_delta", ["minus the SFT base's gold", "higher is better", "worlds/*/gold.py"]),
        ("views", ["Study views", "ppo-n300", "bench/studies/views/page.py", "Settings views"]),
        ("compare", ["40 on micro, of 4 arms", "testbeds/base.yaml"]),
        ("micro", ["The controlled world", "micro.tuned.yaml"]),
        ("arms.preference", ["Whose preference", "gold"]),
        ("ppo-no-clip", ["clip: null", "ablation"]),
        ("model.lora.r", ["not set", "Rank"]),
        ("data.train.review", ["1500"]),  # the default is that of the section, not of its class
        ("seeds", ["[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "must be set"]),
        ("KL", ["Measure kl"]),
        ("clip", ["Setting ppo.clip"]),
    ],
)
def test_help_answers(capsys, word, words):
    text = said(capsys, "help", word)
    assert [part for part in words if part not in text] == []


def test_help_shows_the_chosen_testbeds_value(capsys):
    text = said(capsys, "help", "model.lora.r", "--testbed", "reviews")
    assert "in reviews  16" in text


def test_everything_has_an_answer_within_the_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for testbed in ("micro", "zephyr-7b"):
        cfg = load(testbed)
        for word, tell in _guide.answers_about_runs(cfg) + _guide.answers_about_results(cfg):
            assert [line for line in tell() if len(line) > _guide.WIDTH] == [], word


@pytest.mark.parametrize(
    "word,said",
    [
        ("arm", "a method with named overrides"),
        ("Cell", "settings around a method's tuned one"),
        ("SFT base", "the model after SFT"),
        ("reward model", "it learns from pairs. Also called proxy."),
        ("C4", "DPO is highly sensitive to the quality of its pairs."),
    ],
)
def test_words_of_the_docs_and_claims_are_explained(capsys, word, said):
    main(["help", word])
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    "words,hint",
    [
        (["help", "pairs.m"], "did you mean 'pairs.n'?"),
        (["help", "pairs.held_out"], "'pairs.held_out' is called 'pairs.test' now"),
        (["help", "qqqqzzzz"], "`python -m bench list` to see all names"),
        (["list", "mesures"], "did you mean 'measures'?"),
        (["list", "setings"], "did you mean 'settings'?"),
        (["list", "steps", "--markdown"], "--markdown goes with `list settings` alone"),
        (["help", "data.gold.file"], "other testbeds have this setting: add --testbed smol-hub"),
        (["help", "dpo", "--testbed", "micra"], "did you mean 'micro'?"),
        (["alin"], "did you mean 'align'?"),
    ],
)
def test_an_unknown_word_is_one_line_with_the_nearest(capsys, words, hint):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and hint in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("entry", _guide.known_measures(), ids=lambda entry: entry.key)
def test_what_computes_a_measure_is_where_the_catalogue_says(entry):
    assert entry.where
    for place in entry.where:
        pattern, _, name = place.partition(":")
        files = list((REPO / "bench").glob(pattern))
        assert files, place
        for path in files:
            defined = {getattr(node, "name", "") for node in ast.parse(path.read_text()).body}
            assert name in defined, place


# --- nothing heavy --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words,none_of",
    [
        ([], HEAVY),
        (["list"], HEAVY),
        (["help", "kl"], HEAVY),
        (["list", "settings"], (*HEAVY, *TABLES)),
        *((["help", word], (*HEAVY, *TABLES)) for word in ("pairs", "align", "ppo")),
    ],
)
def test_answers_import_nothing_heavy(words, none_of):
    code = f"import sys; from bench.__main__ import main; main({words}); print(*sys.modules)"
    loaded = in_new_process(code).splitlines()[-1].split()
    assert "bench.steps._guide" in loaded
    assert set(none_of).isdisjoint(loaded)


def test_no_measure_is_called_like_anything_else():
    """Or `help` would explain one of the two alone."""
    cfg = load("micro")
    runs, results = _guide.answers_about_runs(cfg), _guide.answers_about_results(cfg)
    assert {name for name, _ in runs}.isdisjoint(name for name, _ in results)


def test_no_step_imports_torch_before_it_runs():
    """Or a GPU could not be taken by hiding the others: torch looks for devices once."""
    names = [f"bench.steps.{name}" for name in (*STEPS, *steps.SHARED)]
    code = f"""
import importlib, sys
for name in {names}:
    importlib.import_module(name)
    assert "torch" not in sys.modules, name
"""
    in_new_process(code)
