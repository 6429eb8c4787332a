"""Start a step as several processes, each on its own GPU, or all on the CPU.

    python -m bench launch --processes 2 --config fsdp -- align --testbed micro --arm dpo --seed 1

Reserves as many GPUs as processes, then becomes ``accelerate launch``, so that the GPUs stay
reserved while that runs. On the CPU it becomes ``torchrun``, since accelerate starts several CPU
processes with MPI only.
"""

import argparse
import os
import sys
from pathlib import Path

from bench.core.machine import pin_gpus

CONFIGS = Path(__file__).parent.parent / "profiles" / "accelerate"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench launch")
    parser.add_argument("--processes", type=int, required=True, help="number of processes")
    parser.add_argument(
        "--config", default="ddp", help="name of a file in bench/profiles/accelerate (%(default)s)"
    )
    parser.add_argument("--cpu", action="store_true", help="use no GPU")
    parser.add_argument("step", nargs="+", help="after --: the step's name and its options")
    args = parser.parse_args(argv)
    on_gpus = not args.cpu and bool(pin_gpus(args.processes))
    words = command(args.processes, args.config, on_gpus, args.step)
    os.environ |= {} if on_gpus else {"ACCELERATE_USE_CPU": "true"}
    os.execv(words[0], words)


def command(processes: int, config: str, on_gpus: bool, step: list[str]) -> list[str]:
    """Return the launcher's command line; step: the step's name and its options."""
    name, *options = step
    port = ["--main_process_port", "0"]  # any free port, because runs may share a machine
    how = ["--config_file", str(CONFIGS / f"{config}.yaml"), "--num_processes", str(processes)]
    accelerate = ["accelerate.commands.launch", *how, *port]
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher = accelerate if on_gpus else torchrun
    return [sys.executable, "-m", *launcher, "-m", "bench", name, *options]
