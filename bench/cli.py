"""What all steps share on the command line: arguments, errors, progress, threads, safe writing.

A step is `run(cfg, args)` and ends with

    if __name__ == "__main__":
        cli.main("sft", run)

where `cfg` is the slice of the settings that the step may read (bench/config.py, READS).
"""

import argparse
import csv
import errno
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import processes
from bench.schema import UserError

NO_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
QUIET_S = 10.0  # seconds between two progress lines of a process
NEED_MB = 500  # free disk space without which no step starts
ON_GPU = ("base", "sft", "pairs", "reward", "reference", "align", "evaluate")


def main(
    step: str,
    run: Callable[[Any, argparse.Namespace], None],
    options: Callable[[argparse.ArgumentParser], None] | None = None,
    argv: list[str] | None = None,
) -> None:
    """Run a step; a user's mistake is one line `error: ...` and exit code 1, no traceback."""
    args = arguments(step, options).parse_args(argv)
    try:
        from bench.config import load

        arm = getattr(args, "arm", None)
        cfg = load(args.testbed, args.set).slice(step, arm)
        check_disk(Path.cwd())
        set_threads(getattr(cfg.threads, step, cfg.threads.default))
        pin(step, cfg)  # before torch looks for a device: the driver hides none from then on
        if args.needs_gpu:
            check_gpu()
        processes.start()
        if cfg.overrides:
            say(label(step, args), "with " + " ".join(cfg.overrides))
        run(cfg, args)
        book(cfg.runs, step, label(step, args), arm)
    except UserError as error:
        fail(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "bench":
            raise
        fail(f"package '{error.name}' is missing: run `pip install -e .` in the repository")
    except OSError as error:
        if isinstance(error, FileNotFoundError) and str(error.filename).startswith("runs"):
            fail(f"{error.filename} is missing: run snakemake, which makes it")
        if error.errno != errno.ENOSPC:
            raise
        fail("the disk is full: free some space and run the same command again; what is done stays")
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        how = f"`python -m bench.estimate --testbed {args.testbed}` says how much"
        fail(f"{summary(error)}: lower model.micro_batch, or see what else saves memory; {how}")


def lacks_memory(error: BaseException) -> bool:
    """Whether that is why a step ended; torch has an error class for one allocator only."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def summary(error: BaseException) -> str:
    """The first line of what an error says, or its name."""
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


def pin(step: str, cfg: Any) -> None:
    """Take a GPU for this process alone, so that its seconds are honest; ``bench.launch`` takes
    those of several processes."""
    if step in ON_GPU and processes.count() == 1 and cfg.model.device != "cpu":
        from bench.machine import pin_gpus

        pin_gpus(1)


def book(runs: Path, step: str, head: str, arm: str | None) -> None:
    """Record what this step's processes took in all, imports included: ``ledger/<label>.json``."""
    import psutil

    wall = time.time() - psutil.Process().create_time()
    walls, cpus = zip(*processes.gathered((wall, time.process_time())), strict=True)
    row = {"step": step, "arm": arm or "", "process": head}
    row |= {"wall_s": sum(walls), "cpu_s": sum(cpus)}
    if processes.is_main():
        write_json(Path(runs, "ledger", head.replace(" ", "-") + ".json"), row)


def arguments(
    step: str, options: Callable[[argparse.ArgumentParser], None] | None = None
) -> argparse.ArgumentParser:
    """The arguments every step has, and its own."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{step}")
    parser.add_argument("--testbed", default="micro", help="a file of bench/testbeds (%(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting"
    )
    parser.add_argument("--needs-gpu", action="store_true", help="fail where no GPU is visible")
    if options:
        options(parser)
    return parser


def label(step: str, args: argparse.Namespace) -> str:
    """The words at the head of a step's lines: 'dpo seed 1', 'pairs pool', 'sft'."""
    arm, seed = getattr(args, "arm", None), getattr(args, "seed", None)
    what = getattr(args, "what", None) or getattr(args, "pool", None)
    labels = what if what not in (None, "draw") else getattr(args, "labels", None)
    words = [arm if arm and step == "align" else step]
    words += [arm] if arm and step != "align" else [labels] if labels else []
    return " ".join(words + ([f"seed {seed}"] if seed is not None else []))


def fail(message: str) -> None:
    """Print one line and exit with 1."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(1)


def say(head: str, message: str) -> None:
    """One line to the user: [head] message; of several processes the main one speaks."""
    if processes.is_main():
        print(f"[{head}] {message}", file=sys.stderr, flush=True)


def check_disk(where: Path, need_mb: int = NEED_MB) -> None:
    """Raise UserError unless `need_mb` MB are free where the artefacts go."""
    free = shutil.disk_usage(where).free // 2**20
    if free < need_mb:
        raise UserError(f"only {free} MB of disk are free in {where}, {need_mb} needed: free some")


def check_gpu() -> None:
    """Raise UserError where torch sees no CUDA device: a scheduler may give none in silence."""
    import torch

    if not torch.cuda.is_available():
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        raise UserError(
            f"no CUDA device is visible (CUDA_VISIBLE_DEVICES: {given}): on a cluster ask for one "
            "(partition, driver), or take the CPU with --config 'jobs={gpu: 0}'"
        )


def set_threads(n: int) -> None:
    """Compute with `n` threads in this process, whether torch is imported yet or not."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(n)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write a file or folder to; renamed if all went well.

    An old folder at `path` is removed first, since a rename cannot replace it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part{os.getpid()}-{platform.node()}")  # nodes share disks
    try:
        yield part
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(part, path)
    finally:
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON to a temporary name, then rename."""
    with atomic(path) as part:
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_lines(path: str | Path, rows: Iterable[dict]) -> None:
    """Write JSON lines to a temporary name, then rename."""
    with atomic(path) as part, open(part, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_table(path: str | Path, rows: list[dict], head: list[str]) -> None:
    """A CSV with every column that any row has; a header alone where there are no rows."""
    columns = list(dict.fromkeys(key for row in rows for key in row)) or head
    with atomic(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


class Progress:
    """Progress of a long loop: a bar on a terminal, else a line with rate and ETA each 10 s.

    with Progress("dpo seed 1", total=94, unit="step") as progress:
        progress.update(1, loss=0.61)
    """

    _spoke = time.monotonic()  # shared by all bars of the process: at most one line in QUIET_S

    def __init__(self, head: str, total: int | None, unit: str = "step"):
        self.head, self.total, self.unit = head, total, unit
        self.done, self.start, self.bar = 0, time.monotonic(), None
        if sys.stderr.isatty() and processes.is_main():
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc=head, unit=unit, leave=False, disable=False)

    def update(self, n: int = 1, **metrics: float) -> None:
        """`n` more are done; the metrics are shown beside."""
        self.done += n
        if self.bar is not None:
            self.bar.set_postfix({key: f"{value:.3g}" for key, value in metrics.items()}, False)
            self.bar.update(n)
        elif time.monotonic() - Progress._spoke >= QUIET_S:
            Progress._spoke = time.monotonic()
            say(self.head, self.line(metrics))

    def line(self, metrics: dict[str, float]) -> str:
        """'40/94 step, 2.3/s, 23 s left, loss 0.612'."""
        rate = self.done / max(time.monotonic() - self.start, 1e-9)
        parts = [f"{self.done}/{self.total or '?'} {self.unit}", f"{rate:.3g}/s"]
        if self.total:
            parts.append(f"{(self.total - self.done) / max(rate, 1e-9):.0f} s left")
        return ", ".join(parts + [f"{key} {value:.3g}" for key, value in metrics.items()])

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
