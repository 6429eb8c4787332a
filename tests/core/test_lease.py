"""One process alone writes an artefact; the second is told who does."""

import errno
import os
import platform

import pytest

from bench.core.lease import lease
from bench.core.schema import UserError
from bench.steps import runner


@pytest.fixture
def job(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return lambda number: monkeypatch.setenv("SLURM_JOB_ID", number)


@pytest.mark.parametrize("number,name", [(None, "process {pid}"), ("17", "Slurm job 17")])
def test_a_second_writer_is_told_who_holds_it(tmp_path, job, number, name):
    if number:
        job(number)
    name = name.format(pid=os.getpid())
    said = f"^{name} on {platform.node()} is still at work on dpo seed 1 of tiny .*run the same"
    refused = pytest.raises(UserError, match=said)
    with (
        lease(tmp_path / "dpo", "dpo seed 1 of tiny"),
        refused,
        lease(tmp_path / "dpo", "dpo seed 1 of tiny"),
    ):
        pass
    with lease(tmp_path / "dpo", "dpo seed 1 of tiny"):
        pass


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")  # Lustre without -o flock

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(UserError, match="has no file locks"), lease(tmp_path / "x", "x"):
        pass


def test_another_setting_of_the_same_run_is_the_same_lease(tmp_path, monkeypatch, job, capsys):
    """The testbed's file was edited while a job that a killed Snakemake left still trains."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("extends: tiny\n")
    words = ["--testbed", "own.yaml", "--arm", "dpo", "--seed", "1"]

    def first(cfg, args):
        (tmp_path / "own.yaml").write_text("extends: tiny\ndpo: {lr: 0.001}\n")
        with pytest.raises(SystemExit):
            runner.main("align", never, align.options, words)

    def never(cfg, args):
        raise AssertionError("two jobs write one run")

    from bench.steps import align

    runner.main("align", first, align.options, words)
    assert "is still at work on dpo seed 1 of own" in capsys.readouterr().err


def test_runs_that_lie_side_by_side_have_leases_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--testbed", "tiny", "--arm", "dpo", "--seed", "1"]
    done = []

    from bench.steps import align

    def other(cfg, args):
        done.append(args.set)

    def first(cfg, args):
        runner.main("align", other, align.options, [*words, "--set", "dpo.lr=0.001"])
        runner.main("align", other, align.options, [*words[:-1], "2"])

    runner.main("align", first, align.options, words)
    assert done == [["dpo.lr=0.001"], []]
