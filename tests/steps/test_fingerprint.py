"""What reruns what: hashes of code, settings and versions, on a copy of the package."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.steps.fingerprint import fingerprint
from bench.studies import load

REPO = Path(__file__).parents[2]
STEPS = [("data", None), ("sft", None), ("pairs", None), ("reward", None), ("reference", None)]
RUNS = [("align", arm) for arm in ("ppo", "dpo", "ipo", "orpo")]
ALL = [*STEPS, *RUNS, ("evaluate", "dpo"), ("report", None)]

SHOW = """
import json, sys
from bench.studies import load
from bench.steps.fingerprint import fingerprint
cfg = load("tiny", sys.argv[2:])
print(json.dumps({f"{s} {a}": fingerprint(cfg, s, a) for s, a in json.loads(sys.argv[1])}))
"""


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(REPO / "bench", tmp_path / "bench")
    return tmp_path


def hashes(root, *overrides, steps=ALL) -> dict[str, str]:
    """Fingerprint of every step, by the code that lies in ``root``."""
    command = [sys.executable, "-c", SHOW, json.dumps(steps), *overrides]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def changed(root, edit=None, *overrides) -> set[str]:
    before = hashes(root)
    if edit:
        name, old, new = edit
        path = root / "bench" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
    after = hashes(root, *overrides)
    return {key for key in before if before[key] != after[key]}


def test_a_comment_or_docstring_changes_nothing(copy):
    path = copy / "bench" / "methods" / "dpo.py"
    before = hashes(copy)
    path.write_text('"""Another text."""\n# a comment\n' + path.read_text().split('"""', 2)[2])
    assert hashes(copy) == before


def test_a_method_file_reruns_its_own_runs_alone(copy):
    edit = ("methods/dpo.py", "return -logsigmoid", "return -2 * logsigmoid")
    assert changed(copy, edit) == {"align dpo"}


def test_the_ppo_trainer_reruns_ppo_alone(copy):
    edit = ("methods/ppo/trainer.py", "ADAM_EPS = 1e-5", "ADAM_EPS = 1e-6")
    assert changed(copy, edit) == {"align ppo"}


@pytest.mark.parametrize("said", ['PAPER = "', 'TRAINER = "'])
def test_what_a_method_says_of_itself_reruns_the_page_too(copy, said):
    edit = ("methods/dpo.py", said, f"{said}another ")
    assert changed(copy, edit) == {"align dpo", "report None"}


@pytest.mark.parametrize(
    "name,old,new",
    [
        ("analysis/measures/quality.py", "50 * (1", "49 * (1"),
        ("studies/compare/figures/scorecard.py", "import math", "import cmath, math"),
        ("studies/views/page.py", '"Equal data"', '"The same data"'),
        ("report/words.py", '"diverged": "diverged"', '"diverged": "gone"'),
    ],
)
def test_what_only_a_page_loads_reruns_it_alone(copy, name, old, new):
    assert changed(copy, (name, old, new)) == {"report None"}


def test_a_measure_that_is_added_reruns_the_page(copy):
    before = hashes(copy)
    (copy / "bench/analysis/measures/mine.py").write_text("X = 1")
    after = hashes(copy)
    assert {key for key in before if before[key] != after[key]} == {"report None"}


def test_a_shared_module_reruns_all_that_use_it(copy):
    touched = changed(copy, ("models/draws.py", "right=True", "right=False"))
    assert {"align ppo", "align dpo", "pairs None", "evaluate dpo"} <= touched
    assert "data None" not in touched


def test_a_task_template_reruns_the_evaluation_alone(copy):
    edit = ("worlds/micro/tasks/grammar.yaml", "version: 1.0", "version: 1.1")
    assert changed(copy, edit) == {"evaluate dpo"}


def test_the_content_of_a_task_of_one_s_own_reruns_the_evaluation_alone(tmp_path):
    task, found = tmp_path / "task.yaml", []
    for text in ("task: mine", "task: other"):
        task.write_text(text)
        cfg = load("tiny", [f"eval.tasks=[{task}, gsm8k]"])
        found.append([fingerprint(cfg, step, "dpo") for step in ("evaluate", "align")])
    (evaluate, align), (evaluate_again, align_again) = found
    assert evaluate != evaluate_again and align == align_again


def test_the_page_retrains_nothing(copy):
    page = "report/templates/base.html"
    assert changed(copy, (page, "<", "<!-- x --><")) == {"report None"}


def test_a_setting_reruns_only_the_steps_that_read_it(copy):
    assert changed(copy, None, "dpo.lr=1e-9") == {"align dpo", "evaluate dpo", "report None"}
    assert "data None" not in changed(copy, None, "sft.steps=41")
    assert changed(copy, None, "threads.sft=1") <= {"report None"}


# --- a method outside the package -----------------------------------------------------------------

OWN = """
from bench.core.schema import Section
from ._shared import FACTOR

NEEDS = ()


class Settings(Section):
    lr: float = 1e-3
    beta: float = 1.0


def train(run):
    return FACTOR
"""


def put_own(folder) -> None:
    folder.mkdir()
    (folder / "mine.py").write_text(OWN)
    (folder / "_shared.py").write_text("FACTOR = 1\n")


@pytest.fixture
def outside(copy):
    """A copy of the package with a method beside it."""
    put_own(copy / "my")
    return copy


def of_own(root, folder="my") -> dict[str, str]:
    """Fingerprints with the method; those of a built-in one must be among what stays."""
    steps = [*ALL, ("align", "mine"), ("evaluate", "mine")]
    return hashes(root, f"methods=[{folder}/mine.py]", steps=steps)


def test_a_method_outside_changes_no_run_of_the_others(outside):
    with_own, without = of_own(outside), hashes(outside)
    assert {key for key in without if without[key] != with_own[key]} == {"report None"}


@pytest.mark.parametrize(
    "name,old,new,again",
    [
        ("mine.py", "return FACTOR", "return 2 * FACTOR", {"align mine"}),
        ("_shared.py", "1", "2", {"align mine"}),
        ("mine.py", "beta: float = 1.0", "beta: float = 2.0",
         {"align mine", "evaluate mine", "report None"}),
        ("mine.py", "NEEDS = ()", 'NEEDS = ()\nPAPER = "mine2026"', {"align mine", "report None"}),
        ("mine.py", "NEEDS = ()", '"""Words."""\nNEEDS = ()  # a comment', set()),
    ],
)  # fmt: skip
def test_an_edit_of_a_method_outside_reruns_its_runs_alone(outside, name, old, new, again):
    before, file = of_own(outside), outside / "my" / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    after = of_own(outside)
    assert {key for key in before if before[key] != after[key]} == again


def test_a_method_in_another_folder_is_the_same_method(outside):
    put_own(outside / "elsewhere")
    here, there = of_own(outside), of_own(outside, "elsewhere")
    assert {key for key in here if here[key] != there[key]} == {"report None"}
