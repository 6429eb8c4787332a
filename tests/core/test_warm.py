"""bench/core/warm.py with a package `bench` of the test's own, whose steps do as they are told.

`snakemake` below stands for Snakemake: a process that starts the warm process and then reads from
its standard input. A `caller` is what `python -m bench <step>` does before anything else.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.core import warm

REPOSITORY = Path(__file__).parents[2]
# pytest in the background of a shell ignores Ctrl-C, under nohup SIGHUP, and would hand that on
HEEDING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""
SNAKEMAKE = (
    HEEDING
    + """
import json, os, sys
from pathlib import Path
from bench.core import warm
process = warm.start(Path(sys.argv[1]))
print(json.dumps([process.pid, os.environ[warm.ADDRESS], os.environ[warm.KEY]]), flush=True)
sys.stdin.read()
warm.stop(process)
"""
)
CALLER = (
    HEEDING
    + """
import sys
from bench.core import warm
warm.hand_over(sys.argv[1:])
print("cold")
"""
)
STEP = """
import json, os, signal, sys, time
words = sys.argv[2:]
if words[0] == "say":
    print(*words[1:])
    print("and an error", file=sys.stderr)
elif words[0] == "exit":
    sys.exit(int(words[1]))
elif words[0] == "fail":
    raise RuntimeError("broken")
elif words[0] == "show":
    import threading, torch
    ours = [name for name in sys.modules if name.partition(".")[0] == "bench"]
    status = dict(line.split(":\\t", 1) for line in open(f"/proc/{os.getppid()}/status"))
    print(json.dumps({
        "ours": ours, "folder": os.getcwd(), "environment": dict(os.environ),
        "input": sys.stdin.read(), "threads": int(status["Threads"]), "argv": sys.argv[1:],
        "cuda": [torch.cuda.is_initialized(), torch.cuda._cached_device_count],
        "cpu_s": time.process_time(), "imported": "torch" in sys.modules,
    }))
elif words[0] == "wait":
    try:
        print(os.getpid(), flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print("interrupted")
        sys.exit(3)
"""


class Warm:
    """A warm process, its Snakemake, and how to call it from the folder of the test's package."""

    def __init__(self, root: Path):
        self.folder, self.record = root / "work", root / "overhead.json"
        (self.folder / "bench").mkdir(parents=True, exist_ok=True)
        (self.folder / "bench" / "__init__.py").write_text("")
        self.write(STEP)
        self.caller = root / "caller.py"
        self.caller.write_text(CALLER)
        env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        words = [sys.executable, "-c", SNAKEMAKE, str(self.record)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.snakemake = subprocess.Popen(words, env=env, cwd=REPOSITORY, **pipes)
        self.pid, address, key = json.loads(self.snakemake.stdout.readline())
        self.door = Path(address.split()[1])
        self.env = env | {"PREFBENCH_WARM": address, "PREFBENCH_WARM_KEY": key}

    def write(self, code: str) -> None:
        (self.folder / "bench" / "__main__.py").write_text(code)

    def start(self, *words: str, step="report", env=None, **options) -> subprocess.Popen:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, str(self.caller), step, *words]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.env | (env or {}), **pipes | options
        )

    def call(self, *words: str, **options) -> tuple[int, str, str]:
        started = self.start(*words, **options)
        out, err = started.communicate(timeout=120)
        return started.returncode, out, err

    @contextmanager
    def waiting(self):
        """A caller whose step waits, and the step's process."""
        caller = self.start("wait")
        try:
            yield caller, int(caller.stdout.readline())
        finally:
            caller.kill()
            caller.communicate()

    def end(self) -> None:
        self.snakemake.stdin.close()
        self.snakemake.wait()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One warm process for the tests that leave it alive."""
    here = Warm(tmp_path_factory.mktemp("warm"))
    yield here
    here.end()


@pytest.fixture
def own(tmp_path):
    """A warm process that the test may kill."""
    here = Warm(tmp_path)
    yield here
    here.snakemake.kill()
    here.snakemake.wait()


def gone(process: int) -> bool:
    """Waits for the end of a process; a zombie, which nobody here collects, has ended too."""
    for _ in range(300):
        status = Path(f"/proc/{process}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("code", [0, 1, 7])
def test_exit_code(shared, code):
    assert shared.call("exit", str(code))[0] == code


def test_a_step_ends_as_in_python(own):
    """Its threads end, then what it left for its exit runs, and its last output is written."""
    own.write(
        "import atexit, sys, threading, time\n"
        "atexit.register(print, 'at exit', end='')\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), print('thread'))).start()\n"
        "sys.exit(4)"
    )
    assert own.call() == (4, "thread\nat exit", "")
    own.write("import sys; sys.exit('what is wrong')")
    assert own.call() == (1, "", "what is wrong\n")
    own.write("import sys; sys.stdout = open(1, 'w', closefd=False); print('much')")
    with open("/dev/full", "w") as full:
        assert own.start(stdout=full).wait(30) == warm.UNFLUSHED


def test_output_and_errors(shared):
    assert shared.call("say", "hello", "you") == (0, "hello you\n", "and an error\n")
    code, out, err = shared.call("fail")
    assert (code, out) == (1, "") and err.endswith("RuntimeError: broken\n")


def test_child_has_the_caller_s_world_and_the_libraries(shared):
    env = {"OMP_NUM_THREADS": "3", "SNAKEMAKE_PROFILE": "x"}
    with open(shared.caller) as given:
        code, out, _ = shared.call("show", "a b", step="align", env=env, stdin=given)
    found = json.loads(out)
    assert code == 0 and found["imported"] and found["argv"] == ["align", "show", "a b"]
    assert found["folder"] == str(shared.folder) and found["input"] == CALLER
    assert found["environment"]["OMP_NUM_THREADS"] == "3"
    assert not {"PREFBENCH_WARM", "PREFBENCH_WARM_KEY"} & {*found["environment"]}


def test_warm_process_holds_nothing_of_ours_no_cuda_and_no_threads(shared):
    found = json.loads(shared.call("show", step="evaluate", stdin=subprocess.DEVNULL)[1])
    assert found["ours"] == ["bench"]  # and `__main__`, which the step itself is
    assert found["cuda"] == [False, None]  # not initialised, nor its devices counted
    assert found["threads"] == 1  # a fork of a process with threads may hang


def test_seconds_of_the_warm_process_are_not_the_child_s(shared):
    found = json.loads(shared.call("show", step="align", stdin=subprocess.DEVNULL)[1])
    rows = {row["step"]: row for row in json.loads(shared.record.read_text())}
    assert found["cpu_s"] < rows["imports"]["cpu_s"]
    assert 0 < float(found["environment"]["PREFBENCH_CALLER_CPU_S"]) < 1
    assert rows["snakemake"]["cpu_s"] > 0


def test_changed_code_runs(shared):
    try:
        shared.write("print('new')")
        assert shared.call("say", "old")[1] == "new\n"
    finally:
        shared.write(STEP)


@pytest.mark.parametrize(
    "env", [{"HF_HOME": "/elsewhere"}, {"GOMP_SPINCOUNT": "5"}, {"HF_HUB_OFFLINE": "0"}]
)
def test_another_environment_runs_cold(shared, env):
    assert shared.call("say", "hello", env=env)[1] == "cold\n"


def test_other_commands_run_cold(shared):
    assert shared.call("say", step="launch")[1] == "cold\n"
    assert shared.call("say", env={"PREFBENCH_WARM": "1 /nowhere/door"})[1] == "cold\n"
    assert shared.call("say", env={"PREFBENCH_WARM": ""})[1] == "cold\n"


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_step(shared, name):
    with shared.waiting() as (caller, step):
        caller.send_signal(name)
        out, _ = caller.communicate(timeout=30)
    interrupted = name == signal.SIGINT
    assert (caller.returncode, out) == ((3, "interrupted\n") if interrupted else (-name, ""))
    assert gone(step)


def test_caller_ends_by_the_signal_that_ended_the_step(shared):
    with shared.waiting() as (caller, step):
        os.kill(step, signal.SIGKILL)
        assert caller.wait(30) == -signal.SIGKILL


def test_step_stops_and_goes_on_with_its_caller(shared):
    def state(process):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]

    def wait_for(letters, process):
        for _ in range(100):
            if state(process) in letters:
                return True
            time.sleep(0.1)
        return False

    with shared.waiting() as (caller, step):
        caller.send_signal(signal.SIGTSTP)
        assert wait_for("T", step) and wait_for("T", caller.pid)
        caller.send_signal(signal.SIGCONT)
        assert wait_for("SR", step)


def test_step_ends_with_its_caller(shared):
    with shared.waiting() as (caller, step):
        caller.kill()
        assert gone(step)
    assert shared.call("exit", "0")[0] == 0  # the warm process goes on


def test_without_the_warm_process_its_steps_run_cold(own):
    with own.waiting() as (caller, step):
        os.kill(own.pid, signal.SIGKILL)
        out, _ = caller.communicate(timeout=30)
        assert gone(step)
    assert (caller.returncode, out) == (0, "cold\n")
    assert own.call("say")[1] == "cold\n"
    own.end()
    assert not own.door.parent.exists()


def test_nothing_outlives_snakemake(own):
    with own.waiting() as (caller, step):
        own.snakemake.kill()
        own.snakemake.wait()
        assert caller.wait(30) == -signal.SIGTERM
        assert gone(step) and gone(own.pid)
    assert not own.door.parent.exists()


def test_two_side_by_side(own, shared):
    with own.waiting() as (_, step), shared.waiting():
        assert own.call("exit", "4")[0] == 4 and shared.call("exit", "5")[0] == 5
        assert int(Path(f"/proc/{step}/stat").read_text().rpartition(")")[2].split()[1]) == own.pid
    own.end()
    assert shared.call("exit", "6")[0] == 6
    assert not own.door.parent.exists()


def test_seconds_of_earlier_tries_stay(tmp_path):
    (tmp_path / "overhead.json").write_text('[{"step": "snakemake", "cpu_s": 5}]')
    here = Warm(tmp_path)
    here.call("exit", "0", step="align")
    here.end()
    found = [row["step"] for row in json.loads((tmp_path / "overhead.json").read_text())]
    assert found == ["snakemake", "snakemake", "imports"]


def test_pages_alone_are_not_booked(own):
    own.call("exit", "0", step="report")
    own.end()
    assert not own.record.exists()


def test_without_a_place_for_a_socket_all_runs_cold(tmp_path, monkeypatch):
    far = tmp_path / ("x" * 120)
    far.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(far))
    assert warm.start(tmp_path / "overhead.json") is None
    assert not [*far.iterdir()] and warm.ADDRESS not in os.environ


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_whole_group_ends_the_step_and_not_the_warm_process(own, name):
    with own.waiting() as (caller, step):
        for process in (own.pid, caller.pid):
            os.kill(process, name)
        out, _ = caller.communicate(timeout=30)
    assert "cold" not in out and caller.returncode != 0 and gone(step)
    assert own.call("exit", "0")[0] == 0


def test_a_step_that_has_become_another_program_ends_with_the_warm_process(own):
    """And so do those that it started."""
    own.write("import os; os.execvp('sh', ['sh', '-c', 'sleep 600 & echo $$ $!; wait'])")
    caller = own.start("wait")
    processes = caller.stdout.readline().split()
    own.write("")
    os.kill(own.pid, signal.SIGKILL)
    assert caller.communicate(timeout=30)[0] == "cold\n"
    assert all(gone(int(process)) for process in processes)


def test_a_library_that_cannot_be_imported_is_told_by_the_step_itself(own):
    """The log ends too: nobody holds the caller's output open."""
    code = "from bench.core import warm; warm.LIBRARIES['broken'] = (); warm.hand_over(['broken'])"
    command = f"{sys.executable} -P -c {shlex.quote(code)}; echo cold"
    done = subprocess.run(
        f"({command}) | cat", shell=True, cwd=own.folder, env=own.env, capture_output=True,
        timeout=60, text=True,
    )  # fmt: skip
    assert done.stdout == "cold\n"


def test_a_process_that_has_ended_is_dead_before_anybody_asks_how():
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet reaped
    assert not warm.is_alive(child.pid) and warm.is_alive(os.getpid())
    child.wait()
    assert not warm.is_alive(child.pid)
