"""Snakemake's scheduler looks for jobs when one has ended, and at no other time."""

import subprocess
import sys

SNAKEFILE = """
from bench.core.scheduling import lighten

LOOKS = []


rule all:
    input:
        ["a", "b", "c"],


rule one:
    output:
        "{name}",
    wildcard_constraints:
        name="[abc]",
    shell:
        "sleep 1.3; touch {output}"


onstart:
    lighten(workflow.scheduler)
    look = workflow.scheduler.job_selector
    workflow.scheduler.job_selector = lambda jobs: LOOKS.append(len(jobs)) or look(jobs)


onsuccess:
    print(f"LOOKS {LOOKS}")
"""


def test_it_looks_once_for_each_job(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    words = [sys.executable, "-m", "snakemake", "--cores", "1"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "LOOKS [3, 2, 1, 1]" in done.stdout, done.stdout  # the last is the rule "all"
