"""Race a warm start, of a step that is forked, against a cold one, which imports its libraries."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.core import warm
from bench.steps.speed.racing import ratios, spread

# A step's libraries and nothing else; it stands for `python -m bench align`.
STEP = "from bench.core import warm; warm.hand_over(['align']); import bench_imports"


def race(args) -> None:
    """Print how many times as fast as a cold start a warm one is."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        (where / "bench").mkdir()
        (where / "bench" / "__init__.py").write_text("")
        (where / "bench" / "__main__.py").write_text("")
        imports = "\n".join(f"import {name}" for name in warm.LIBRARIES["align"])
        (where / "bench_imports.py").write_text(imports)
        os.environ["PYTHONPATH"] = str(Path(__file__).parents[3])
        cold, process = dict(os.environ), warm.start(where / "overhead.json")
        given = dict(os.environ)
        sides = {"warm": lambda: start(where, given), "cold": lambda: start(where, cold)}
        found, own = ratios(sides, args.rounds, time.perf_counter)
        warm.stop(process)
    print(f"starts, warm against cold: {spread(found)} times; warm {spread(own)} s", flush=True)


def start(folder: Path, environment: dict) -> None:
    """Start a step that does nothing, and wait for its end."""
    # -P: `bench` is the suite's here, and the folder's in the step
    words = [sys.executable, "-P", "-c", f"import sys; sys.path.append({str(folder)!r}); {STEP}"]
    subprocess.run(words, cwd=folder, env=environment, check=True)
