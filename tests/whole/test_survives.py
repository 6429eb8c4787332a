"""Whatever ends a study, the same command goes on, to the results of one that nothing ended.

PREFBENCH_KILLS=100 ends as many processes, by all methods, PREFBENCH_DISKS=20 fills as many disks;
without these one. Prints what it did: `pytest -s`.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import same_runs

REPO = Path(__file__).parents[2]
KILLS, DISKS = (int(os.environ.get(f"PREFBENCH_{name}", "1")) for name in ("KILLS", "DISKS"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ALL = "studies={all: [ppo, dpo, ipo, orpo, simpo, kto, rloo, grpo, online_dpo]}"
ASKED = ["testbed=tiny", "seeds=[1]", *(["study=all", ALL] if KILLS > 10 else [])]
LIMIT_S = 300  # for what a study needs at most


def start(where: Path, repo: Path, log: Path) -> subprocess.Popen:
    """Start the study in a group of its own, as a terminal does."""
    words = ["-s", repo / "Snakefile", "--cores", "2", "--config", *ASKED]
    command = [sys.executable, "-m", "snakemake", *map(str, words)]
    env = os.environ | {"PYTHONPATH": str(repo)}
    with open(log, "w") as out:
        return subprocess.Popen(
            command, cwd=where, env=env, stdout=out, stderr=out, start_new_session=True
        )


def finish(where: Path, repo: Path = REPO) -> Path:
    """Run the study to its end; returns its runs."""
    log = where / "last.txt"
    assert start(where, repo, log).wait(LIMIT_S) == 0, log.read_text()[-4000:]
    return where / "runs/tiny"


def assert_same(undisturbed: Path, found: Path) -> None:
    """Weights, trajectories and inputs of all runs are the same."""
    assert not [*same_runs.same_runs(undisturbed, found)]
    assert not [*found.rglob(".*.part*")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    return finish(tmp_path_factory.mktemp("undisturbed"))


def ended_by(luck: random.Random, study: subprocess.Popen) -> str:
    """Send a signal to Snakemake, to its whole group, or to a process that it started."""
    name = luck.choice(SIGNALS)
    group = luck.random() < 0.2
    started = [study, *psutil.Process(study.pid).children(recursive=True)]
    one = study if luck.random() < 0.3 else luck.choice(started)
    try:
        what = " ".join(psutil.Process(one.pid).cmdline()[:6])[-60:]
        os.killpg(study.pid, name) if group else os.kill(one.pid, name)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return "nothing: it had ended"
    return f"{name.name} to {'the group' if group else what}"


def gone(processes: list[psutil.Process]) -> bool:
    """True if all processes end within some seconds."""
    return not psutil.wait_procs(processes, timeout=20)[1]


def test_after_any_signal_to_any_process_the_same_command_goes_on(undisturbed, tmp_path):
    luck = random.Random(KILLS)
    place, round_ = tmp_path / "0", 0
    place.mkdir()
    for kill in range(KILLS):
        study = start(place, REPO, tmp_path / "log.txt")
        time.sleep(luck.uniform(1, 14))
        all_ = []
        if study.poll() is None:
            all_ = psutil.Process(study.pid).children(recursive=True)
            print(kill, ended_by(luck, study), flush=True)
        code = study.wait(LIMIT_S)
        assert gone(all_), [p.cmdline() for p in all_ if p.is_running()]
        if code == 0:  # it ended before the signal, or in spite of it
            assert_same(undisturbed, place / "runs/tiny")
            round_ += 1
            place = tmp_path / str(round_)
            place.mkdir()
    assert_same(undisturbed, finish(place))


@pytest.fixture
def small(disk_of):
    """A disk of 400 MB, with a copy of the code that wants no room to spare."""
    place = disk_of("400M")
    shutil.copytree(REPO / "bench", place / "bench")
    shutil.copy(REPO / "Snakefile", place)
    code = place / "bench/core/disk.py"
    code.write_text(code.read_text().replace("SPARE = 500_000_000", "SPARE = 0"))
    return place


def fill(place: Path, left: int) -> None:
    """Fill a disk but for some bytes, while a study writes there, too."""
    with open(place / "filler", "wb") as filler:
        while (room := shutil.disk_usage(place).free - left) > 0:
            with suppress(OSError):  # the study took some of it meanwhile
                os.posix_fallocate(filler.fileno(), os.fstat(filler.fileno()).st_size, room)


def test_a_full_disk_is_said_and_the_same_command_goes_on(undisturbed, small, tmp_path):
    luck = random.Random(DISKS)
    for disk in range(DISKS):
        shutil.rmtree(small / "runs", ignore_errors=True)
        study = start(small, small, tmp_path / "log.txt")
        time.sleep(luck.uniform(2, 20))
        left = luck.choice((0, 4, 40, 400))
        fill(small, left * 1024)
        code, said = study.wait(LIMIT_S), (tmp_path / "log.txt").read_text()
        print(disk, left, "KB left, exit code", code, flush=True)
        full = ("the disk is full", "of disk in", "could not be written whole")
        own = "Error recording metadata"  # Snakemake's line
        assert code == 0 or any(words in said for words in (*full, own)), said[-4000:]
        assert "/bench/steps/" not in said, said[-4000:]  # as in a traceback of a step
        (small / "filler").unlink()
        assert_same(undisturbed, finish(small, small))
