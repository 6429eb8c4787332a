"""Run a step: arguments, errors, threads, the GPU, the record of its time.

A step is a module of this package with ``run(cfg, args)`` and, if it has options of its own,
``options(parser)``; ``python -m bench <step>`` calls ``main`` with both. `cfg` holds only the
settings that the step may read.
"""

import argparse
import errno
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from bench.core import disk, machine, processes, warm
from bench.core.files import MISSING
from bench.core.lease import lease
from bench.core.names import DEFAULT_TESTBED, SFT
from bench.core.progress import say
from bench.core.records import write_record
from bench.core.schema import UserError
from bench.steps._plain_text import first_line

NO_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
OF_STUDY = ("contract", "collect", "join", "tune", "report", "blog")  # one for a study
OF_RUNS = ("base", "sft", "pairs", "reward", "reference", "align", "evaluate")
WRITERS = ("data", "pick", *OF_RUNS, *OF_STUDY)
ON_GPU = (*OF_RUNS, "rehearse")


def main(
    step: str,
    run: Callable[[Any, argparse.Namespace], None],
    options: Callable[[argparse.ArgumentParser], None] | None = None,
    argv: list[str] | None = None,
) -> None:
    """Run a step; on a user's mistake, print one line `error: ...` and exit with 1."""
    args = arguments(step, options).parse_args(argv)
    try:
        cfg = settings_of(step, args)
        disk.check(cfg.layout.root)
        set_threads(getattr(cfg.threads, step, cfg.threads.default))
        pin(step, cfg)  # before torch first looks for devices: later, none can be hidden from it
        if args.needs_gpu:
            check_gpu()
        processes.start()
        if cfg.overrides:
            say(label(step, args), "with " + " ".join(cfg.overrides))
        with leased(cfg, step, args):
            run(cfg, args)
            book(cfg, step, args)
    except UserError as error:
        fail(str(error))
    except Exception as error:
        if lacks_memory(error) and machine.is_shared():
            say(label(step, args), "out of memory beside other runs: begins again, alone")
            machine.begin_alone([step, *(sys.argv[1:] if argv is None else argv)])
        if (said := explained(error, args.testbed)) is None:
            raise
        fail(said)


def explained(error: Exception, testbed: str) -> str | None:
    """Return cause and remedy of an error in one line; None if a user cannot mend it."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] != "bench":
        return f"package '{error.name}' is missing: run `pip install -e .` in the repository"
    if isinstance(error, FileNotFoundError) and str(error.filename).startswith("runs"):
        return f"{error.filename} {MISSING}"
    if said := disk.explained(error):
        return said
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS) and error.filename:
        return f"{error.filename}: {error.strerror}: change that, or work in another folder"
    if lacks_memory(error):
        how = f"`python -m bench estimate --testbed {testbed}` shows what is needed"
        return f"{summary(error)}: lower model.micro_batch or set model.checkpointing=true; {how}"
    return None


def leased(cfg: Any, step: str, args: argparse.Namespace):
    """Return a context in which no other process makes what this step makes."""
    if not (step in WRITERS and processes.is_main()):
        return nullcontext()
    name = cfg.layout.study.name if step in OF_STUDY else made(cfg, step, args)
    kind = "collect" if step == "join" else step  # both write a study's results
    path = cfg.layout.lease(kind, name, getattr(args, "seed", None))
    return lease(path, f"{label(step, args)} of {cfg.testbed}")


def lacks_memory(error: BaseException) -> bool:
    """True if the error means out of memory. Most allocators raise a plain RuntimeError, so match
    its text."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def summary(error: BaseException) -> str:
    """Return the first line of an error's message; its class name if the message is empty."""
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__


def pin(step: str, cfg: Any) -> None:
    """Reserve a GPU for this process, so that no other run slows it while its time is measured.

    With ``jobs.per_gpu`` it reserves a slot and its share of the memory. For several processes,
    ``bench.steps.launch`` reserves the GPUs.
    """
    if step not in ON_GPU or processes.count() > 1 or cfg.model.device == "cpu":
        return
    if machine.pin_gpus(1, slots=cfg.jobs.per_gpu):
        cap_memory()


def cap_memory() -> None:
    """Limit this process to its share of its GPU's memory, if other runs may be on the GPU."""
    if not machine.is_shared():
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(1 / machine.gpu_slots())


def settings_of(step: str, args: argparse.Namespace) -> Any:
    """Load the settings that a step may read; with --arm or --of, those of that arm."""
    from bench.studies import load

    arm = getattr(args, "arm", None)
    cfg = load(args.testbed, args.set)
    owner = args.of or (arm if arm != SFT else None)
    return (cfg.of(owner) if owner else cfg).slice(step, arm)


def book(cfg: Any, step: str, args: argparse.Namespace) -> None:
    """Record in ``ledger/`` the time that the step's processes took in all, imports included."""
    import psutil

    wall = time.time() - psutil.Process().create_time()
    walls, cpus = zip(*processes.gathered((wall, warm.cpu_seconds())), strict=True)
    row = {"step": step, "arm": getattr(args, "arm", None) or "", "process": label(step, args)}
    row |= {"wall_s": sum(walls), "cpu_s": sum(cpus)}
    if processes.is_main():
        place = cfg.layout.ledger(step, made(cfg, step, args), getattr(args, "seed", None))
        write_record(place, row)


def made(cfg: Any, step: str, args: argparse.Namespace) -> str:
    """Return the name of what a step made, as ``core.layout`` names it; '' if it has none."""
    if (arm := getattr(args, "arm", None)) is not None:
        named = cfg.layout.evaluation_name if step == "evaluate" else cfg.layout.run_name
        return named(None if arm == SFT else cfg.arm(arm))
    name = thing(args)
    if name or step in ("data", "base", "sft"):
        return cfg.layout.names(step, name)
    return ""


def thing(args: argparse.Namespace) -> str:
    """Return the label set or pool that a step was asked for."""
    what = getattr(args, "what", None) or getattr(args, "pool", None)
    return (what if what not in (None, "draw") else getattr(args, "label_set", None)) or ""


def arguments(
    step: str, options: Callable[[argparse.ArgumentParser], None] | None = None
) -> argparse.ArgumentParser:
    """Make the parser of a step: the options of all steps, and its own."""
    module = sys.modules.get(f"{__package__}.{step}")  # its caller has imported it
    about = first_line(getattr(module, "__doc__", None))
    parser = argparse.ArgumentParser(prog=f"python -m bench {step}", description=about)
    parser.add_argument(
        "--testbed",
        default=DEFAULT_TESTBED,
        help="a built-in testbed, or a YAML file (%(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a setting; repeat it",
    )
    parser.add_argument(
        "--of", metavar="ARM", help="make the base, pairs, ... that this arm has of its own"
    )
    parser.add_argument("--needs-gpu", action="store_true", help="fail if no GPU is visible")
    if options:
        options(parser)
    return parser


def label(step: str, args: argparse.Namespace) -> str:
    """Return the label of a step's printed lines: 'dpo seed 1', 'pairs pool', 'sft'."""
    arm, seed = getattr(args, "arm", None), getattr(args, "seed", None)
    words = [arm] if arm and step == "align" else [step, arm or thing(args)]
    return " ".join([*filter(None, words), *([f"seed {seed}"] if seed is not None else [])])


def fail(message: str) -> None:
    """Print one line `error: ...` and exit with 1."""
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(1)


def check_gpu() -> None:
    """Raise UserError if torch sees no CUDA device; a scheduler may give none without a message."""
    import torch

    if not torch.cuda.is_available():
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "not set")
        raise UserError(
            f"no CUDA device is visible (CUDA_VISIBLE_DEVICES: {given}): check the driver and, on "
            "a cluster, the partition; or use the CPU with --config 'jobs={gpu: 0}'"
        )


def set_threads(n: int) -> None:
    """Let torch compute with `n` threads, whether it is imported yet or not; and numpy, if not."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(n)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n)
