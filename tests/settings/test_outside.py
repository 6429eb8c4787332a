"""Testbeds and methods named by their paths: what they add, and what a mistake looks like."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.core import registry
from bench.core.schema import UserError
from bench.estimate import memory
from bench.methods import METHODS
from bench.settings import renamed
from bench.studies import load

REPO = Path(__file__).parents[2]
METHOD = """
from bench.core.schema import Section

NEEDS = ()


class Settings(Section):
    lr: float = 1e-3
    beta: float = 1.0
    gamma: float = 0.5


def train(run):
    pass
"""
UNFIT = """
class Settings(Settings):
    def model_post_init(self, _):
        if self.beta != 2:
            raise ValueError("beta must be 2")
"""
OWN = "methods=[my/mine.py]"
LAB = "extends: tiny\nmethods: [my/mine.py]\nstudies: {compare: [dpo, mine]}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of one's own files, in the folder in which one runs."""
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "my"
    own.mkdir()
    (own / "mine.py").write_text(METHOD)
    (own / "lab.yaml").write_text(LAB)
    return own


def refused(testbed, *overrides) -> str:
    with pytest.raises(UserError) as error:
        load(testbed, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def run_of(cfg, arm: str) -> str:
    return cfg.member(arm, 1).files.folder.parent.as_posix()


# --- what they add --------------------------------------------------------------------------------


def test_a_testbed_by_path_is_called_as_its_file_and_lies_beside_no_other():
    cfg = load("my/lab.yaml")
    assert (cfg.testbed, cfg.source, cfg.overrides) == ("lab", "my/lab.yaml", ())
    assert run_of(cfg, "mine") == "runs/lab/align/mine"
    assert cfg.layout.study == Path("runs/lab")
    assert cfg.dpo == load("tiny").dpo


def test_methods_by_path_follow_the_built_in_ones_and_join_the_default_study():
    cfg = load("tiny", [OWN])
    assert list(cfg.known_methods) == [*METHODS, "mine"]
    assert cfg.study_arms == ("ppo", "dpo", "ipo", "orpo", "mine")
    assert load("my/lab.yaml").study_arms == ("dpo", "mine")
    assert "mine" not in load("tiny", [OWN, "study=x", "studies.x=[dpo]"]).study_arms
    assert load("tiny", ["methods=my/mine.py"]).known_methods == cfg.known_methods


def test_a_method_of_the_command_line_overwrites_nothing_of_the_testbed():
    plain, cfg = load("tiny"), load("tiny", [OWN])
    assert run_of(cfg, "dpo") == run_of(plain, "dpo") == "runs/tiny/align/dpo"
    assert run_of(cfg, "mine").startswith("runs/tiny/align/mine@")
    assert cfg.layout.study != plain.layout.study
    assert run_of(cfg, "mine") != run_of(load("tiny", [OWN, "mine.gamma=1"]), "mine")


def test_only_what_is_no_default_of_the_method_is_an_override():
    assert load("tiny", [OWN]).overrides == (OWN,)
    assert load("tiny", [OWN, "mine.gamma=1"]).overrides == (OWN, "mine.gamma=1.0")


def test_arms_of_a_method_outside_have_overrides_too(folder):
    own = "arms={mine-wide: {method: mine, gamma: 2}}"
    arm = load("tiny", [OWN, own]).arm("mine-wide")
    assert (arm.settings.gamma, arm.settings.beta, arm.needs) == (2.0, 1.0, ())
    variant = load("my/lab.yaml", ["arms={m: {method: mine, sft: {seed: 7}}}"]).of("m")
    assert variant.sft.seed == 7


def test_a_file_may_name_arms_of_a_method_that_the_command_line_brings(folder):
    text = "extends: tiny\narms: {m: {method: mine}}\nstudies: {compare: [dpo, m, mine]}\n"
    (folder / "open.yaml").write_text(text)
    assert "unknown method 'mine' of arm 'm'" in refused("my/open.yaml")
    cfg = load("my/open.yaml", [OWN])
    assert run_of(cfg, "dpo") == "runs/open/align/dpo"
    assert run_of(cfg, "m").startswith("runs/open/align/m@")
    assert cfg.layout.study.as_posix().startswith("runs/open/study-compare@")


def test_a_testbed_extends_another_by_its_path_from_where_one_runs(folder):
    (folder / "child.yaml").write_text("extends: my/lab.yaml\nmine: {gamma: 3}\n")
    cfg = load("my/child.yaml")
    assert (cfg.testbed, cfg.mine.gamma, cfg.study_arms) == ("child", 3.0, ("dpo", "mine"))


def test_tuned_settings_lie_beside_the_testbed_s_file(folder):
    (folder / "lab.tuned.yaml").write_text("mine: {lr: 0.5}\n")
    assert load("my/lab.yaml").mine.lr == 0.5


def test_an_edited_method_is_read_anew_and_may_import_files_beside_it(folder):
    assert load("my/lab.yaml").mine.gamma == 0.5
    (folder / "_shared.py").write_text("GAMMA = 0.7\n")
    text = METHOD.replace("0.5", "GAMMA").replace("NEEDS", "from ._shared import GAMMA\n\nNEEDS")
    (folder / "mine.py").write_text(text)
    assert load("my/lab.yaml").mine.gamma == 0.7


def test_a_file_of_the_same_size_and_second_is_no_cached_one(folder):
    for value in ("0.1", "0.2", "0.3"):
        (folder / "mine.py").write_text(METHOD.replace("0.5", value))
        assert registry.from_file("my/mine.py").Settings().gamma == float(value)


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "testbed,text,line",
    [
        ("my/none.yaml", None, "there is no testbed file 'my/none.yaml' in /"),
        ("my/lab", None, "unknown testbed 'my/lab'; a path to a file must end in .yaml"),
        ("my/micro.yaml", "extends: tiny", "'micro' is the name of a built-in testbed: rename"),
        ("my/a b.yaml", "extends: tiny", "'a b' cannot name a testbed"),
        ("my/x.yaml", "extends: tiny\ndpo: {lr: 1\nx: {n: 2}", "my/x.yaml, line 3, is no valid"),
        ("my/x.yaml", "- 1", "my/x.yaml holds no settings: write lines of the form"),
        ("my/x.yaml", "extends: my/x.yaml", "'my/x.yaml' extends itself"),
        ("my/x.yaml", "extends: my/y.yaml", "there is no testbed file 'my/y.yaml'"),
        ("my/x.yaml", "extends: tinny", "unknown testbed 'tinny'; did you mean 'tiny'?"),
        ("my/x.yaml", "extends: tiny\ndpo: {bta: 1}", "did you mean 'dpo.beta'?"),
        ("my/x.yaml", "extends: tiny\nmethods: [my/no.py]", "there is no file 'my/no.py' in /"),
    ],
)  # fmt: skip
def test_a_testbed_file_that_will_not_do_is_one_line(testbed, text, line):
    if text:
        Path(testbed).write_text(text)
    assert line in refused(testbed)


def test_a_file_that_is_no_text_is_one_line(folder):
    (folder / "x.yaml").write_bytes(b"\xff\xfe\x00")
    assert refused("my/x.yaml").startswith("my/x.yaml is no valid YAML")


@pytest.mark.parametrize(
    "name,text,line",
    [
        ("no.py", None, "there is no file 'my/no.py' in /"),
        ("x.txt", "", "'my/x.txt' is not a Python file: its name must end in .py"),
        ("x.py", "import os\n\ndef f(:\n", "my/x.py, line 3, cannot be imported: SyntaxError"),
        ("x.py", "\n\n\ny = z\n", "my/x.py, line 4, cannot be imported: NameError: name 'z'"),
        ("x.py", "import no_such", "my/x.py, line 1, cannot be imported: ModuleNotFoundError"),
        ("x.py", "NEEDS = ()", "my/x.py lacks Settings"),
        (
            "x.py",
            METHOD + "\n\nHEAD = 'half'\n",
            "my/x.py lacks HEAD, one of pair, likelihood, rollout",
        ),
        ("x.py", METHOD + UNFIT, "x: beta must be 2"),
        ("dpo.py", METHOD, "methods: 'dpo' is the name of another method: rename 'my/dpo.py'"),
        ("reward.py", METHOD, "a method cannot be called 'reward'"),
        ("tune.py", METHOD, "a method cannot be called 'tune'"),
        ("layout.py", METHOD, "a method cannot be called 'layout'"),
        ("sim-po.py", METHOD, "methods: 'sim-po' is no valid name"),
        ("_x.py", METHOD, "methods: '_x' is no valid name"),
    ],
)
def test_a_method_file_that_will_not_do_is_one_line(folder, name, text, line):
    if text is not None:
        (folder / name).write_text(text)
    assert line in refused("tiny", f"methods=[my/{name}]")


@pytest.mark.parametrize(
    "override,line",
    [
        ("methods=null", "methods=null is not valid"),
        ("methods={a: b}", "methods={'a': 'b'} is not valid"),
        ("methods=[my/mine.py, my/mine.py]", "methods: my/mine.py stands there twice: drop one"),
        ("mine.gama=1", "unknown key 'mine.gama'; did you mean 'mine.gamma'?"),
        ("arms={m: {method: mine, gama: 1}}", "did you mean 'arms.m.gamma'?"),
        ("arms={m: {method: mina}}", "unknown method 'mina' of arm 'm'; did you mean 'mine'?"),
        ("arms={mine: {method: dpo}}", "'mine' is the name of a method or of a computed"),
        ("mine.gamma=much", "mine.gamma='much' is not valid"),
    ],
)
def test_settings_of_a_method_outside_are_checked_as_those_of_one_inside(override, line):
    assert line in refused("my/lab.yaml", override)


def test_a_step_by_hand_says_the_same(folder):
    (folder / "mine.py").write_text("def f(:\n")
    words = ["align", "--testbed", "my/lab.yaml", "--arm", "mine", "--seed", "1"]
    command = [sys.executable, "-m", "bench", *words]
    env = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    line = "error: my/mine.py, line 1, cannot be imported: SyntaxError: invalid syntax\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_out_of_memory_names_the_section_of_the_method(monkeypatch):
    said = []
    case = SimpleNamespace(head="rollout")
    monkeypatch.setattr(memory, "case_of", lambda *_: case)
    monkeypatch.setattr(memory, "unwrap", lambda policy: SimpleNamespace(device=None))
    monkeypatch.setattr(memory, "device_bytes", lambda device: 1)
    monkeypatch.setattr(memory, "advice", lambda case, section, *_, failed: said.append(section))
    for method in (registry.from_file("my/mine.py"), METHODS["ppo"], METHODS["dpo"]):
        memory.advice_after(method, SimpleNamespace(policy=None), "ddp")
    assert said == ["mine", "ppo", "dpo"]


def test_files_that_run_as_code_are_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("task.yaml").write_text("task: own\n")
    Path("gold.py").write_text("def gold(prompts, completions):\n    return [0] * len(prompts)\n")
    assert load("smol-hub", ["eval.tasks=[gsm8k]"]).foreign_code == []
    asked = ["data.gold={id: null, file: gold.py}", "eval.tasks=[gsm8k, task.yaml]"]
    assert load("smol-hub", asked).foreign_code == ["gold.py", "task.yaml"]


# --- keys that had another name -------------------------------------------------------------------

IN_A_FILE = [
    ("grid: {lr: [1]}", "'grid' is called 'stability' now: rename it"),
    ("tuning: {rule: x}", "'tuning' is called 'provenance' now: rename it"),
    ("pairs: {held_out: 9}", "'pairs.held_out' is called 'pairs.test' now: rename it"),
    ("views: {labels: [0.5]}", "'views.labels' is called 'views.shares' now: rename it"),
    ("stability: {centre_seeds: 3}",
     "'stability.centre_seeds' is called 'stability.seeds' now: rename it"),
    ("arms: {m: {method: dpo, labels: biased}}",
     "'arms.m.labels' is called 'arms.m.preference' now: rename it"),
]  # fmt: skip
ON_THE_COMMAND_LINE = ["grid.lr=[1]", "tuning.rule=x", "pairs.held_out=9", "views.labels=[0.5]"]
ON_THE_COMMAND_LINE += ["stability.centre_seeds=3", "arms.orpo-from-base.labels=biased"]


def test_every_old_key_is_tried_here():
    assert len(IN_A_FILE) == len(ON_THE_COMMAND_LINE) == len(renamed.RENAMED | renamed.OF_ARMS)


@pytest.mark.parametrize("text,line", IN_A_FILE)
def test_an_old_key_in_a_file_is_one_line_with_the_new_one(folder, text, line):
    (folder / "old.yaml").write_text(f"extends: tiny\n{text}\n")
    assert refused("my/old.yaml") == line


@pytest.mark.parametrize("override", ON_THE_COMMAND_LINE)
def test_an_old_key_on_the_command_line_is_one_line_with_the_new_one(override):
    line = refused("tiny", override)
    assert "' is called '" in line and line.endswith("now: rename it")


def test_an_old_key_of_a_section_is_known_inside_an_arm_too():
    line = refused("tiny", "arms={dpo-b0.3: {method: dpo, pairs: {held_out: 3}}}")
    assert line.startswith("'arms.dpo-b0.3.pairs.held_out' is called 'arms.dpo-b0.3.pairs.test'")


def test_what_never_had_another_name_is_unknown():
    assert renamed.of("labels") is None and renamed.of("dpo.labels") is None
