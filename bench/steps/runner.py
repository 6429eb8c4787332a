"""What all steps share: arguments, errors, threads, the GPU, the ledger of processes.

A step is a module here with ``run(cfg, args)`` and, where it has some, ``options(parser)``; `cfg`
is the slice of the settings that the step may read. ``python -m bench <step>`` calls ``main`` on
it.
"""

import argparse
import errno
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.core import processes
from bench.core.files import MISSING, write_json
from bench.core.names import SFT
from bench.core.progress import say
from bench.core.schema import UserError

NO_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
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
        cfg = settings_of(step, args)
        check_disk(Path.cwd())
        set_threads(getattr(cfg.threads, step, cfg.threads.default))
        pin(step, cfg)  # before torch looks for a device: the driver hides none from then on
        if args.needs_gpu:
            check_gpu()
        processes.start()
        if cfg.overrides:
            say(label(step, args), "with " + " ".join(cfg.overrides))
        run(cfg, args)
        book(cfg, step, args)
    except UserError as error:
        fail(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "bench":
            raise
        fail(f"package '{error.name}' is missing: run `pip install -e .` in the repository")
    except OSError as error:
        if isinstance(error, FileNotFoundError) and str(error.filename).startswith("runs"):
            fail(f"{error.filename} {MISSING}")
        if error.errno != errno.ENOSPC:
            raise
        fail("the disk is full: free some space and run the same command again; what is done stays")
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        how = f"`python -m bench estimate --testbed {args.testbed}` says how much"
        fail(f"{summary(error)}: lower model.micro_batch, or see what else saves memory; {how}")


def lacks_memory(error: BaseException) -> bool:
    """True if the error means out of memory. Most allocators raise a plain RuntimeError, so match
    its text."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def summary(error: BaseException) -> str:
    """The first line of what an error says, or its name."""
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


def pin(step: str, cfg: Any) -> None:
    """Take a GPU for this process alone, so that its seconds are honest; ``bench.steps.launch``
    takes those of several processes."""
    if step in ON_GPU and processes.count() == 1 and cfg.model.device != "cpu":
        from bench.core.machine import pin_gpus

        pin_gpus(1)


def settings_of(step: str, args: argparse.Namespace) -> Any:
    """The slice of the settings that a step may read; of an arm's run, or --of it, the arm's."""
    from bench.studies import load

    arm = getattr(args, "arm", None)
    cfg = load(args.testbed, args.set)
    owner = args.of or (arm if arm != SFT else None)
    return (cfg.of(owner) if owner else cfg).slice(step, arm)


def book(cfg: Any, step: str, args: argparse.Namespace) -> None:
    """Record what this step's processes took in all, imports included, in ``ledger/``."""
    import psutil

    wall = time.time() - psutil.Process().create_time()
    walls, cpus = zip(*processes.gathered((wall, time.process_time())), strict=True)
    row = {"step": step, "arm": getattr(args, "arm", None) or "", "process": label(step, args)}
    row |= {"wall_s": sum(walls), "cpu_s": sum(cpus)}
    if processes.is_main():
        write_json(cfg.layout.ledger(step, made(cfg, step, args), getattr(args, "seed", None)), row)


def made(cfg: Any, step: str, args: argparse.Namespace) -> str:
    """The name of what a step made, as ``core.layout`` has it; '' where it is the step's own."""
    if (arm := getattr(args, "arm", None)) is not None:
        names = {"align": cfg.layout.run_name, "evaluate": cfg.layout.evaluation_name}
        return names[step](None if arm == SFT else cfg.arm(arm))
    name = thing(args)
    if name or step in ("data", "base", "sft"):
        return cfg.layout.names(step, name)
    return ""


def thing(args: argparse.Namespace) -> str:
    """The label set or pool that a step was asked for."""
    what = getattr(args, "what", None) or getattr(args, "pool", None)
    return (what if what not in (None, "draw") else getattr(args, "label_set", None)) or ""


def arguments(
    step: str, options: Callable[[argparse.ArgumentParser], None] | None = None
) -> argparse.ArgumentParser:
    """The arguments every step has, and its own."""
    parser = argparse.ArgumentParser(prog=f"python -m bench {step}")
    parser.add_argument(
        "--testbed", default="micro", help="a built-in testbed, or a YAML file (%(default)s)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting"
    )
    parser.add_argument("--of", metavar="ARM", help="with the base, pairs, ... of this arm's own")
    parser.add_argument("--needs-gpu", action="store_true", help="fail where no GPU is visible")
    if options:
        options(parser)
    return parser


def label(step: str, args: argparse.Namespace) -> str:
    """The words at the head of a step's lines: 'dpo seed 1', 'pairs pool', 'sft'."""
    arm, seed = getattr(args, "arm", None), getattr(args, "seed", None)
    words = [arm] if arm and step == "align" else [step, arm or thing(args)]
    return " ".join([*filter(None, words), *([f"seed {seed}"] if seed is not None else [])])


def fail(message: str) -> None:
    """Print one line and exit with 1."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(1)


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
