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


def hashes(root, *overrides) -> dict[str, str]:
    """Fingerprint of every step, by the code that lies in ``root``."""
    command = [sys.executable, "-c", SHOW, json.dumps(ALL), *overrides]
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
    edit = ("methods/dpo.py", 'loss_type="sigmoid"', 'loss_type="hinge"')
    assert changed(copy, edit) == {"align dpo"}


def test_the_ppo_trainer_reruns_ppo_alone(copy):
    assert changed(copy, ("methods/ppo/trainer.py", "ADAM_EPS = 1e-5", "ADAM_EPS = 1e-6")) == {
        "align ppo"
    }


def test_a_shared_module_reruns_all_that_use_it(copy):
    touched = changed(copy, ("models/sampling.py", "if temperature == 0", "if temperature <= 0"))
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
