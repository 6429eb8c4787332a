"""Show a training as it happens: rows on disk, and a tracker of the user's choice.

Rows lie beside the run's checkpoints, `log.jsonl` (one a step) and `curve.jsonl` (one a point and
family), until the run ends and writes them as tables.
"""

import json
import os
from pathlib import Path

from bench.core import processes, registry
from bench.core.schema import UserError

LOG, CURVE = "log.jsonl", "curve.jsonl"


class Live:
    """Writes each row at once; only the main process writes.

    root: folder of the checkpoints; tracker: of ``started``, or None.
    """

    def __init__(self, root: Path, tracker=None):
        self.root, self.tracker = Path(root), tracker

    def begin(self, log: list[dict], curve: list[dict]) -> None:
        """Begin the files with the rows that a checkpoint had."""
        for name, rows in ((LOG, log), (CURVE, curve)):
            self._write(name, rows, "w")

    def step(self, row: dict) -> None:
        """Add the row of a step."""
        self._write(LOG, [row], "a")
        self._track(row, row["step"])

    def point(self, rows: list[dict]) -> None:
        """Add the rows of a point of the curve."""
        self._write(CURVE, rows, "a")
        for row in rows:
            named = {f"curve/{row['family']}/{k}": v for k, v in row.items() if k != "family"}
            self._track(named, row["step"])

    def end(self) -> None:
        """Close the tracker."""
        if self.tracker:
            self.tracker.finish()

    def _write(self, name: str, rows: list[dict], mode: str) -> None:
        if processes.is_main() and self.root.is_dir():
            with open(self.root / name, mode, encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)

    def _track(self, row: dict, step: int) -> None:
        if self.tracker:
            numbers = {k: v for k, v in row.items() if isinstance(v, int | float) and k != "step"}
            self.tracker.log(numbers, step=step)


def started(track: str | None, project: str, name: str, folder: Path, settings: dict):
    """Start one of accelerate's trackers, in the main process; None if none is asked for.

    project: what the run belongs to; name: of the run; folder: where it may write; settings: what
    it notes of the run. Raises UserError if its package is not installed.
    """
    if not track or not processes.is_main():
        return None
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    if not registry.is_installed(track):
        raise UserError(f"track={track} needs the package {track}: run `pip install {track}`")
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("WANDB_MODE", "offline")  # set it to online to send what is tracked
    os.environ.setdefault("WANDB_DIR", str(folder))
    os.environ.setdefault("TRACKIO_DIR", str(folder))
    os.environ.setdefault("MLFLOW_TRACKING_URI", (folder / "mlruns").resolve().as_uri())
    name = name.replace("/", "-")
    words = {
        "tensorboard": {"run_name": name, "logging_dir": str(folder)},
        "mlflow": {"experiment_name": project, "run_name": name},
    }
    given = words.get(track, {"run_name": project, "name": name})
    tracker = LOGGER_TYPE_TO_CLASS[track](**given)
    tracker.start()
    plain = (int, float, str, bool)
    known = {k: v if isinstance(v, plain) else str(v) for k, v in settings.items()}
    tracker.store_init_configuration(known)
    return tracker
