"""What a killed Snakemake left is freed, and nothing that another may still hold."""

import json
import os
import socket
import subprocess
import sys

import pytest

from bench.core import holders


@pytest.fixture
def left(tmp_path, monkeypatch):
    """A lock, and the mark of a job, in a folder of Snakemake's."""
    monkeypatch.chdir(tmp_path)
    for folder in holders.LEFT:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0.lock").write_text("runs/x")
    return lambda: [path for folder in holders.LEFT for path in (tmp_path / folder).iterdir()]


def note(name: str, **known) -> None:
    holders.FOLDER.mkdir(exist_ok=True)
    (holders.FOLDER / f"{name}.json").write_text(json.dumps(known))


def ended() -> dict:
    """A process of this host that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = holders._identity(process.pid)
    process.communicate(b"\n")
    return known


def test_what_the_dead_left_is_freed_and_their_notes_are_gone(left):
    note("a", **ended())
    note("b", **ended())
    assert holders.free() and not left()
    assert not [*holders.FOLDER.iterdir()] and not holders.free()


def test_what_the_living_hold_stays(left):
    holders.enter()
    note("dead", **ended())
    assert not holders.free() and len(left()) == 2
    holders.leave()
    assert holders.free() and not left()


@pytest.mark.parametrize("known", [{"host": "elsewhere", "pid": 1, "began": 0.0}, {"pid": 1}, {}])
def test_nobody_frees_what_another_host_or_who_knows_who_holds(left, known):
    note("other", **known)
    assert not holders.free() and len(left()) == 2


def test_a_number_that_another_process_has_now_is_no_holder(left):
    note("before", host=socket.gethostname(), pid=os.getpid(), began=1.0)
    assert holders.free() and not left()


def test_the_mark_of_a_killed_job_goes_if_its_snakemake_ended_by_itself(left):
    (holders.LOCKS / "0.lock").unlink()
    assert holders.free() and not left() and not holders.free()


def test_without_a_note_a_lock_is_snakemake_s_own_matter(left):
    assert not holders.free() and len(left()) == 2
