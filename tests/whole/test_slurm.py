"""The DAG on a real Slurm that these tests start on this machine: what a cluster's user relies on.

Of `tiny` one arm and one seed, begun on the machine, since each job on Slurm costs 15 s here. The
training job is killed; the job that replaces it outlives Snakemake and Slurm's controller, both
killed; a second Snakemake meets it; a third ends the study.

Slurm reads /etc/slurm alone, so they need root, and a machine with Slurm installed and not set up.
Elsewhere they are skipped, or fail with PREFBENCH_SLURM=1.
"""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest

from bench.core.machine import gpus, memory_mb
from bench.studies import load

REPO = Path(__file__).parents[2]
PROFILE = REPO / "bench/profiles/slurm"
ETC = Path("/etc/slurm")
HOW = (
    "needs root, Slurm (`apt-get install slurm-wlm munge`) without a slurm.conf of its own, and "
    "Snakemake's plugin (`pip install -e '.[cluster]'`)"
)
CONFIG = ("testbed=tiny", "seeds=[1]", "studies={one: [dpo]}", "study=one", "dpo={epochs: 12}")
# sacct has no database here. The plugin looks at its jobs after 14 s, then 24 s later, and so on;
# most take 10 to 14, and half of that are Snakemake's two starts.
ON_SLURM = ("--workflow-profile", PROFILE, "--slurm-status-command", "squeue")
ON_SLURM += ("--slurm-init-seconds-before-status-checks", "14")
SETTINGS = load("tiny", ["seeds=[1]", "studies.one=[dpo]", "study=one", "dpo.epochs=12"])
LAYOUT, MEMBER = SETTINGS.layout, SETTINGS.member("dpo", 1)
RUN, NAME = MEMBER.files.folder, LAYOUT.run_name(MEMBER.arm)
BEGUN = LAYOUT.pairs("gold", 1)  # and so data, base, SFT base and pool
JOBS = {"reward", "reference", "align", "evaluate"}

SLURM_CONF = """\
ClusterName=prefbench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
SchedulerParameters=sched_interval=1,batch_sched_delay=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AccountingStorageType=accounting_storage/none
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Gres=gpu:1
PartitionName=main Nodes=ALL Default=YES MaxTime=120
"""


def sh(*words, check=True) -> str:
    """The output of a command that must end within a minute: a drained node would hang it."""
    words = [str(word) for word in words]
    return subprocess.run(words, check=check, stdout=subprocess.PIPE, text=True, timeout=60).stdout


def until(true, what, seconds=120):
    """What `true` returns, once it is true."""
    end = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return value


def usable() -> bool:
    commands = all(map(shutil.which, ("slurmctld", "slurmd", "munged", "sbatch")))
    plugin = subprocess.run([sys.executable, "-c", "import snakemake_executor_plugin_slurm"])
    return (
        commands
        and plugin.returncode == 0
        and os.getuid() == 0
        and not (ETC / "slurm.conf").exists()
    )


@dataclass
class Slurm:
    """A controller and a node of this machine, with one stand-in GPU."""

    folder: Path

    def configure(self) -> None:
        self.folder.chmod(0o755)
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        sh("mknod", self.folder / "gpu0", "c", "1", "3")  # Slurm wants a character device
        values = {"host": platform.node().split(".")[0], "folder": self.folder}
        values |= {"cores": max(os.cpu_count(), 4), "memory": max(memory_mb(), 8000)}
        (ETC / "slurm.conf").write_text(SLURM_CONF.format(**values))
        gres = f"NodeName={values['host']} Name=gpu File={self.folder}/gpu0\n"
        (ETC / "gres.conf").write_text(gres)

    def start(self) -> None:
        options = [f"--{name}-file={self.folder}/munged.{name}" for name in ("pid", "log", "seed")]
        options += [f"--key-file={self.folder}/munge.key", f"--socket={self.folder}/munge.socket"]
        sh("munged", "--force", *options)
        self.start_controller()
        sh("slurmd", "-N", platform.node().split(".")[0])
        until(lambda: "idle" in sh("sinfo", "-h", "-o", "%T", check=False), "the node")

    def start_controller(self) -> None:
        sh("slurmctld")
        until(lambda: "UP" in sh("scontrol", "ping", check=False), "the controller")

    def kill_controller(self) -> None:
        os.kill(int((self.folder / "slurmctld.pid").read_text()), signal.SIGKILL)

    def stop(self) -> None:
        sh("scancel", "--user=root", check=False)
        sh("scancel", "--user=root", "--full", "--signal=KILL", check=False)  # suspended ones too
        with suppress(AssertionError):
            until(lambda: not self.busy(), "the end of all jobs", 30)
        for name in ("slurmctld", "slurmd", "munged"):
            pid = self.folder / f"{name}.pid"
            if pid.exists():
                sh("kill", pid.read_text().strip(), check=False)
        for name in ("slurm.conf", "gres.conf"):  # else each snakemake looks for this controller
            (ETC / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def busy(self) -> bool:
        return bool(sh("squeue", "-h", check=False).strip())

    def jobs(self) -> list[dict[str, str]]:
        """Every job so far, as `scontrol show job` has it; Rule is the rule's name."""
        lines = sh("scontrol", "-o", "show", "job").splitlines()
        jobs = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
        return [job | {"Rule": re.match("rule_([a-z]+)", job["Comment"])[1]} for job in jobs]


@pytest.fixture(scope="module")
def slurm():
    if not usable():
        (pytest.fail if os.environ.get("PREFBENCH_SLURM") == "1" else pytest.skip)(HOW)
    here = Slurm(Path(tempfile.mkdtemp(prefix="slurm-")))  # short: the path of a socket has a limit
    with ExitStack() as stack:
        stack.callback(here.stop)
        here.configure()
        here.start()
        yield here


@contextmanager
def snakemake(where, *words, config=CONFIG):
    """A Snakemake, while it runs; its output goes to snakemake.log."""
    command = [sys.executable, "-m", "snakemake", "-s", REPO / "Snakefile"]
    command += [*words, "--config", *config]
    env = os.environ | {"PYTHONPATH": str(REPO)}
    with open(where / "snakemake.log", "w") as log:
        command = [str(word) for word in command]
        process = subprocess.Popen(command, cwd=where, env=env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def ended(where, *words, config=CONFIG) -> tuple[int, str]:
    """Exit code and output of a Snakemake that ran to its end."""
    with snakemake(where, *words, config=config) as process:
        code = process.wait(timeout=600)
    return code, (where / "snakemake.log").read_text()


def trainer(where) -> psutil.Process | None:
    """The process of the step `align` that trains in a folder."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if words[1:4] == ["-m", "bench", "align"] and process.info["cwd"] == str(where):
            return process
    return None


def checkpoint(where) -> list[Path]:
    return list((where / LAYOUT.checkpoints(NAME)).rglob("checkpoint-*/manifest.json"))


@dataclass
class Story:
    """What happened in `where`: output of the Snakemakes, and the log of the resumed job."""

    where: Path
    resumed: str
    refused: tuple[int, str]
    last: tuple[int, str]
    jobs: list[dict[str, str]]


@pytest.fixture(scope="module")
def story(slurm, tmp_path_factory) -> Story:
    where = tmp_path_factory.mktemp("cluster")
    log = where / LAYOUT.log(f"align-{NAME}-seed1")
    ended(where, "--cores", "2", BEGUN)
    with snakemake(where, *ON_SLURM) as first:
        until(lambda: checkpoint(where) or first.poll() is not None, "a checkpoint", 300)
        assert first.poll() is None, (where / "snakemake.log").read_text()[-4000:]
        killed = trainer(where)
        killed.kill()
        killed.wait()
        until(lambda: trainer(where), "the job submitted in its place")
        until(lambda: log.exists() and "resuming from" in log.read_text(), "its first words")
        resumed, orphan = log.read_text(), trainer(where)
        orphan.suspend()  # so that it surely still holds the run when another comes
        slurm.kill_controller()
    slurm.start_controller()
    ended(where, *ON_SLURM, "--unlock")
    refused = ended(where, *ON_SLURM, "--retries", "0")
    orphan.resume()
    until(lambda: not slurm.busy(), "the orphan's end")
    return Story(where, resumed, refused, ended(where, *ON_SLURM), slurm.jobs())


def test_a_killed_job_is_submitted_again_with_more_and_resumes(story):
    asked = [(job["MinMemoryNode"], job["TimeLimit"]) for job in named(story, "align")][:2]
    assert asked == [("1200M", "00:30:00"), ("2400M", "01:00:00")]
    assert "resuming from" in story.resumed


def named(story, rule) -> list[dict[str, str]]:
    return [job for job in story.jobs if job["Rule"] == rule]


def test_a_second_writer_is_refused_and_names_the_first(story):
    code, said = story.refused
    orphan = named(story, "align")[1]["JobId"]
    assert code == 1 and f"Slurm job {orphan} on {platform.node()} is still at work on" in said
    states = [job["JobState"] for job in named(story, "align")]
    assert states == ["FAILED", "COMPLETED", "FAILED"]  # killed, the orphan, the second writer


def test_the_study_ends_whole(story):
    code, said = story.last
    assert code == 0, said[-4000:]
    assert list(pd.read_csv(story.where / LAYOUT.results / "runs.csv").status) == ["ok"]
    assert (story.where / LAYOUT.report / "index.html").stat().st_size
    leftovers = {".part", "checkpoint-"}
    paths = [path.name for path in (story.where / "runs").rglob("*")]
    assert not [name for name in paths if any(left in name for left in leftovers)]
    assert "Nothing to be done" in ended(story.where, *ON_SLURM, "-n")[1]


def test_the_run_is_what_it_would_have_been_undisturbed(story, tmp_path):
    """Killed, resumed and orphaned on Slurm: the trajectory of the step's own command here."""
    shutil.copytree(story.where / "runs", tmp_path / "runs")
    shutil.rmtree(tmp_path / RUN)
    command = [sys.executable, "-m", "bench", "align", "--testbed", "tiny", "--arm", "dpo"]
    command += ["--seed", "1", "--set", "dpo.epochs=12"]
    env = os.environ | {"PYTHONPATH": str(REPO)}
    subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)
    runs = [json.loads((root / RUN / "run.json").read_text()) for root in (tmp_path, story.where)]
    for field in ("trajectory_sha256", "model_sha256", "hashes"):
        assert runs[0][field] == runs[1][field]


def test_each_job_is_submitted_with_its_resources_and_what_was_there_is_not(story):
    asked = load("tiny").jobs
    limit = f"00:{asked.minutes.default}:00"
    assert {job["Rule"] for job in story.jobs} == JOBS
    for rule in JOBS:
        job = named(story, rule)[0]
        assert (job["MinMemoryNode"], job["TimeLimit"]) == (f"{asked.mem_mb}M", limit)
        assert job["NumCPUs"] == "1" and job["Requeue"] == "1" and "TresPerJob" not in job


@pytest.mark.skipif(gpus() > 0, reason="a CUDA device is here: the job would not fail")
def test_a_job_that_is_given_no_gpu_says_so_on_the_terminal(slurm, story, tmp_path):
    """Slurm's device is a stand-in: asked for, given, and nothing that torch could use."""
    shutil.copytree(story.where / "runs/tiny/data", tmp_path / "runs/tiny/data")
    words = ("--retries", "0", "--default-resources", "slurm_partition=main", "--until", "base")
    code, said = ended(tmp_path, *ON_SLURM, *words, config=(*CONFIG, "jobs={gpu: 1}"))
    job = slurm.jobs()[-1]
    assert code == 1 and (job["Rule"], job["TresPerJob"]) == ("base", "gres:gpu:1")
    assert "error: no CUDA device is visible (CUDA_VISIBLE_DEVICES: 0)" in said
