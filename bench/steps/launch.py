"""Starts a step as several processes, each on a GPU of its own, or all on the cores.

    python -m bench launch --processes 2 --config fsdp -- align --testbed micro --arm dpo --seed 1

Takes as many GPUs as processes and then becomes ``accelerate launch``, so that they are held for as
long as that runs. On the cores it becomes ``torchrun``, since accelerate starts processes there by
MPI alone.
"""

import argparse
import os
import sys
from pathlib import Path

from bench.core.machine import pin_gpus
from bench.core.schema import UserError
from bench.steps import runner

CONFIGS = Path(__file__).parent.parent / "profiles" / "accelerate"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench launch")
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--config", default="ddp", help="a file of bench/profiles/accelerate")
    parser.add_argument("--cpu", action="store_true", help="leave GPUs alone")
    parser.add_argument("step", nargs="+", help="a step's name and its options, after --")
    args = parser.parse_args(argv)
    try:
        on_gpus = not args.cpu and bool(pin_gpus(args.processes))
    except UserError as error:
        runner.fail(str(error))
    words = command(args.processes, args.config, on_gpus, args.step)
    os.environ |= {} if on_gpus else {"ACCELERATE_USE_CPU": "true"}
    os.execv(words[0], words)


def command(processes: int, config: str, on_gpus: bool, step: list[str]) -> list[str]:
    """The launcher's command line for ``step``, its name and options."""
    name, *options = step
    port = ["--main_process_port", "0"]  # any that is free: runs may share a machine
    how = ["--config_file", str(CONFIGS / f"{config}.yaml"), "--num_processes", str(processes)]
    accelerate = ["accelerate.commands.launch", *how, *port]
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher = accelerate if on_gpus else torchrun
    return [sys.executable, "-m", *launcher, "-m", "bench", name, *options]
