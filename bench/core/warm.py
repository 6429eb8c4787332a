"""Start steps warm: fork them from a process that has imported the libraries already.

Importing torch, transformers and TRL takes five core-seconds, a fork 0.2. The Snakefile starts the
warm process as its child (`start`). `python -m bench <step>` hands its command line, environment
and output over to it (`hand_over`); the warm process forks, and its child runs the step. The warm
process holds libraries only and nothing of ``bench``, so that a step always runs the code on disk.
This file is both sides: `python bench/core/warm.py` is the warm process (`Server`).

A step runs cold, by itself, wherever there is no warm process or its libraries or environment are
not the caller's. If the caller dies, so does its step; if Snakemake dies, so do the warm process
and all steps; if the warm process alone dies, its steps die too, and their callers run them cold.
"""

import atexit
import ctypes
import gc
import hashlib
import importlib
import json
import os
import re
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

ADDRESS, KEY, CALLER = "PREFBENCH_WARM", "PREFBENCH_WARM_KEY", "PREFBENCH_CALLER_CPU_S"
# Variables that differ between the jobs of one Snakemake, and that no library reads when it is
# imported; the numbers of threads are set again by each step.
PER_JOB = re.compile(
    r"\w+_THREADS|SNAKEMAKE\w*|PREFBENCH_\w+|TE?MP(DIR)?|TMPDIR|\w*PWD|SHLVL|PS\d|_"
)
COMMON = ("pydantic.main", "yaml", "psutil", "pandas")
TRAINING = (
    *COMMON, "torch", "transformers.trainer", "transformers.models.llama.modeling_llama", "peft",
    "datasets", "accelerate", "trl.trainer.reward_trainer",
    "vaderSentiment.vaderSentiment",
)  # fmt: skip
PAGES = (*COMMON, "scipy.stats", "matplotlib.backends.backend_svg", "matplotlib.figure", "jinja2")
LIBRARIES = {  # that a step's child finds imported; other steps run cold
    **dict.fromkeys(("base", "sft", "pairs", "reward", "reference", "align"), TRAINING),
    "evaluate": (*TRAINING, "lm_eval.evaluator", "lm_eval.models.huggingface", "lm_eval.tasks"),
    **dict.fromkeys(("contract", "collect", "report", "tune", "blog"), PAGES),
}
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
UNFLUSHED = 120  # Python's exit code if the last output could not be written
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent ends


def environment_key() -> str:
    """Hash what must be the same in two processes for their libraries to be the same."""
    kept = {k: v for k, v in os.environ.items() if not PER_JOB.fullmatch(k)}
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    installed = [(folder, os.stat(folder).st_mtime_ns) for folder in sorted(folders)]
    parts = json.dumps([sys.executable, sys.version, installed, sorted(kept.items())])
    return hashlib.sha256(parts.encode()).hexdigest()


# --- Snakemake's side


def start(record: Path) -> subprocess.Popen | None:
    """Start the warm process, and name it in the environment of the jobs.

    record: where it books its own seconds and Snakemake's. It ends when its standard input closes:
    at `stop`, or when this process ends or forgets what this returns. None if there can be no
    socket in the folder of temporary files, because its path is too long.
    """
    folder = tempfile.mkdtemp(prefix="prefbench-")
    door = socket.socket(socket.AF_UNIX)
    try:
        door.bind(os.path.join(folder, "door"))
    except OSError:
        os.rmdir(folder)
        return None
    door.listen(64)
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    one_thread["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # a fork copies one thread only
    # -P: this folder's modules must not stand in for libraries of the same name
    words = [sys.executable, "-P", __file__, folder, str(door.fileno()), str(record.resolve())]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, pass_fds=[door.fileno()], env=os.environ | one_thread
    )
    door.close()
    os.environ[ADDRESS], os.environ[KEY] = f"{os.getpid()} {folder}/door", environment_key()
    return process


def stop(process: subprocess.Popen) -> None:
    """End the warm process, and the steps that still run."""
    process.stdin.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
    door = os.environ.pop(ADDRESS, "").partition(" ")[2]
    shutil.rmtree(os.path.dirname(door), ignore_errors=True)  # left there if it was killed


# --- a step's side


def hand_over(words: list[str]) -> None:
    """Let the warm process run `python -m bench WORDS`, and exit as it did.

    Returns if the step has to run cold.
    """
    address = os.environ.pop(ADDRESS, "")
    if not words or words[0] not in LIBRARIES or not address:
        return
    if os.environ.pop(KEY, "") != environment_key():
        return
    snakemake, _, door = address.partition(" ")
    with socket.socket(socket.AF_UNIX) as line:
        try:
            line.connect(door)
            ask(line, words)
            status = answer(line)
        except OSError:
            status = None
    if status is not None:
        end_as(status)
    if not is_alive(int(snakemake)):
        end_as(signal.SIGTERM)


def ask(line: socket.socket, words: list[str]) -> None:
    """Send a step's command line, folder, environment and standard streams."""
    environment = dict(os.environ) | {CALLER: str(time.process_time())}
    text = json.dumps({"words": words, "folder": os.getcwd(), "environment": environment}).encode()
    socket.send_fds(line, [len(text).to_bytes(4, "big")], [0, 1, 2])
    line.sendall(text)


def answer(line: socket.socket) -> int | None:
    """Return the wait status of the step; None if the warm process died with it.

    Passes signals on to the step; a stop (Ctrl-Z) stops both. If a signal has ended all, that is
    the status. If the warm process died, ends what the step had started.
    """
    child = number(line)
    if child is None:
        return None
    last: list[int] = []
    usual = {name: signal.getsignal(name) for name in FORWARDED}
    for name in (name for name, handler in usual.items() if handler != signal.SIG_IGN):
        signal.signal(name, lambda received, _: pass_on(received, child, last))
    try:
        status = number(line)
    finally:
        for name, handler in usual.items():
            signal.signal(name, handler)
    if status is not None:
        return status
    send(child, signal.SIGKILL)  # the system ended the step alone
    return last[-1] if last else None


def cpu_seconds() -> float:
    """Return the CPU seconds of this step: of its process, and of its caller if it was forked."""
    return time.process_time() + float(os.environ.get(CALLER, 0))


def number(line: socket.socket) -> int | None:
    """Receive a number of 4 bytes; None at the end."""
    data = line.recv(4, socket.MSG_WAITALL)
    return int.from_bytes(data, "big") if len(data) == 4 else None


def send(child: int, received: int) -> None:
    """Send a signal to a step and to all that it started, unless it has ended."""
    with suppress(ProcessLookupError):
        os.killpg(child, received)


def pass_on(received: int, child: int, last: list[int]) -> None:
    """Send a signal on to a step, and note it; stop with it at Ctrl-Z, and go on together."""
    if received != signal.SIGTSTP:
        last.append(received)
        return send(child, received)
    send(child, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)
    send(child, signal.SIGCONT)


def is_alive(process: int) -> bool:
    """Tell whether a process of this machine runs; one that has ended counts as dead, even if
    nobody has asked how it ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):  # not on Linux, or gone by now
        return not os.path.isdir("/proc/self")


def end_as(status: int) -> NoReturn:
    """End this process with a wait status: with its exit code, or by its signal."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


# --- the warm process


class Server:
    """Imports libraries when a step first needs them; forks a child for each step.

    folder: where its door is; door: the socket that listens there; record: the file of its seconds.
    """

    def __init__(self, folder: str, door: socket.socket, record: Path):
        self.folder, self.door, self.record, self.process = folder, door, record, os.getpid()
        self.before = json.loads(record.read_text()) if record.exists() else []
        self.steps: dict[int, socket.socket] = {}  # {process of a step: line to its caller}
        self.wake, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        self.usual = {name: signal.getsignal(name) for name in FORWARDED}
        for name in FORWARDED:  # sent to all of Snakemake's group: Snakemake decides
            signal.signal(name, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> dict | None:
        """Fork steps until Snakemake ends, and return None; in each child, return its request."""
        while True:
            ready, *_ = select.select([0, self.wake, self.door, *self.steps.values()], [], [])
            if 0 in ready:
                return self.close()
            if self.wake in ready:
                os.read(self.wake, 512)
                self.reap()
            for child in [child for child, line in self.steps.items() if line in ready]:
                send(child, signal.SIGKILL)  # its caller is gone
                self.steps.pop(child).close()
            if self.door in ready and (request := self.admit()):
                return request

    def admit(self) -> dict | None:
        """Take a request and fork; return it in the child, and None in the warm process."""
        (line, _), streams = self.door.accept(), []
        try:
            request = received(line, streams)
            for library in LIBRARIES[request["words"][0]]:
                importlib.import_module(library)
            gc.freeze()  # a collection in a child would copy what all share
            signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # until the child heeds them
            child = os.fork()
        except Exception:  # the caller is gone; or it runs the step itself, and says what is wrong
            child = None
        if child == 0:
            self.leave()
            return request | {"streams": streams}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        for stream in streams:
            os.close(stream)
        if child is None:
            line.close()
        else:
            self.take(child, line)
        return None

    def take(self, child: int, line: socket.socket) -> None:
        """Note a step that was forked, and tell its caller which process it is."""
        self.steps[child] = line
        with suppress(OSError):
            os.setpgid(child, child)
            line.sendall(child.to_bytes(4, "big"))

    def leave(self) -> None:
        """Become a child: a group of its own, the usual signals, none of the server's files.

        It ends when the warm process ends, also if it has become another program by then.
        """
        os.setpgid(0, 0)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.process:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for name, handler in {**self.usual, signal.SIGCHLD: signal.SIG_DFL}.items():
            signal.signal(name, handler)
        for other in (self.door, *self.steps.values()):
            other.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)

    def reap(self) -> None:
        """Tell callers how their steps ended, and book the seconds so far."""
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                child, status = found
                if line := self.steps.pop(child, None):
                    with suppress(OSError):  # the disk is full: the next step's end books all
                        self.book()
                    with suppress(OSError):
                        line.sendall(status.to_bytes(4, "big"))
                    line.close()

    def book(self) -> None:
        """Write the seconds of this process and of Snakemake, besides those of earlier tries.

        Nothing is written while all that ran was pages.
        """
        if "torch" not in sys.modules:
            return
        import psutil

        caller = psutil.Process(os.getppid())
        spent = caller.cpu_times()
        rows = [
            seconds("snakemake", caller.create_time(), spent.user + spent.system),
            seconds("imports", psutil.Process().create_time(), time.process_time()),
        ]
        part = self.record.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps([*self.before, *rows]))
        part.replace(self.record)

    def close(self) -> None:
        """End with Snakemake: end all steps, and remove the door."""
        for child, line in self.steps.items():
            send(child, signal.SIGKILL)
            with suppress(OSError):
                line.sendall(int(signal.SIGTERM).to_bytes(4, "big"))
        shutil.rmtree(self.folder, ignore_errors=True)


def received(line: socket.socket, streams: list[int]) -> dict:
    """Receive a request; adds the caller's standard streams to ``streams``."""
    line.settimeout(10)
    size, found, *_ = socket.recv_fds(line, 4, 3)
    streams += found
    left, parts = int.from_bytes(size, "big"), []
    while left:
        parts.append(line.recv(left))
        left -= len(parts[-1])
        if not parts[-1]:
            raise ValueError("the caller is gone")
    line.setblocking(True)
    return json.loads(b"".join(parts))


def seconds(step: str, since: float, cpu_s: float) -> dict:
    """Return a row of the ledger."""
    return {"step": step, "arm": "", "process": step, "wall_s": time.time() - since, "cpu_s": cpu_s}


def run(request: dict) -> None:
    """Run a step in the child: as `python -m bench` does, with the caller's streams."""
    for mine, theirs in enumerate(request["streams"]):
        os.dup2(theirs, mine)
        os.close(theirs)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # found anew, in this environment
    sys.path.insert(0, request["folder"])
    sys.argv[1:] = request["words"]
    importlib.invalidate_caches()
    runpy.run_module("bench", run_name="__main__", alter_sys=True)


def finish(code: int) -> NoReturn:
    """End the child as Python does, but leave the libraries as they are.

    Taking them down would copy the memory that all children share, in 0.3 core-seconds.
    """
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            code = code or UNFLUSHED
    os._exit(code)


if __name__ == "__main__":
    place, descriptor, file = sys.argv[1:]
    os.environ["TQDM_DISABLE"] = "1"  # tqdm reads it when it is imported
    request = Server(place, socket.socket(fileno=int(descriptor)), Path(file)).serve()
    if request is not None:
        try:
            run(request)
        except SystemExit as left:
            if not isinstance(left.code, int | None):
                raise
            finish(left.code or 0)
        finish(0)
