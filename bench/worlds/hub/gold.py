"""Gold of the hub world: a published reward model, or a Python file of the user's.

The reward model is read by `bench.models.judge`. The file defines

    def gold(prompts: list[dict], completions: list[str]) -> list[float]

where prompts[i]["prompt"] is a prompt's text, and prompts[i]["messages"] its turns. The unit of the
scores is arbitrary: only their order and differences matter.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveFloat, computed_field, model_validator

from bench.core import registry
from bench.core.code import code_sha256
from bench.core.hub import Source
from bench.core.schema import UserError
from bench.core.turns import shown, turns

FILE = "gold.json"
OWN = "gold.py"  # a copy of the user's file, as it was when the data were made


class GoldModel(Source):
    """Gold: the reward model `id`, or else the Python file `file`."""

    id: str | None = None
    """Reward model: owner/name on the hub, or a local folder; null: gold is `file`."""
    file: str | None = None
    """Path of one Python file that defines gold(prompts, completions); null: gold is `id`."""
    batch: int = Field(8, ge=1)
    """Answers that a reward model scores at once."""
    scale: PositiveFloat = 1.0
    """Scale of on-policy labels: P(a preferred) = sigmoid(scale x (gold of a - gold of b))."""

    @model_validator(mode="after")
    def _one(self):
        if bool(self.id) == bool(self.file):
            raise ValueError("name a reward model as id, or a Python file as file, and not both")
        if self.file and not Path(self.file).is_file():
            raise ValueError(f"there is no file '{self.file}' in {Path.cwd()}: check the path")
        return self

    @computed_field
    @property
    def sha256(self) -> str | None:
        """Hash of the file's code: an edit reruns what used it, a new comment does not."""
        return code_sha256(self.file) if self.file else None


def keep(source: GoldModel, data_dir: Path) -> None:
    """Write to the data folder what ``Gold`` reads: the model's name, or a copy of the file."""
    model, own = Path(data_dir, FILE), Path(data_dir, OWN)
    for path in (model, own):
        path.unlink(missing_ok=True)
    if source.file:
        own.write_bytes(Path(source.file).read_bytes())
        load_own(own, source.file)
    else:
        model.write_text(source.model_dump_json(exclude={"sha256"}), encoding="utf-8")


def load_own(path: Path, name: str) -> Callable:
    """Load the function ``gold`` of a file; raises UserError if there is none.

    name: the path to show in messages.
    """
    module = registry.from_file(path, name)
    if not callable(getattr(module, "gold", None)):
        raise UserError(f"{name} defines no function gold(prompts, completions): add it")
    return module.gold


class Gold:
    """Scores completions; `data_dir` is the testbed's data folder."""

    def __init__(self, data_dir: Path):
        own = Path(data_dir, OWN)
        self.own = load_own(own, str(own)) if own.exists() else None
        if not self.own:
            from bench.models.judge import Judge  # with torch, which a dry run does without

            source = GoldModel(**json.loads(Path(data_dir, FILE).read_text(encoding="utf-8")))
            self.judge = Judge(source, source.batch)

    def __call__(self, prompts: list[dict], completions: list[str]) -> np.ndarray:
        """Return the (n,) scores of completions; prompts: rows with "prompt"."""
        return (self.by_rule if self.own else self.by_model)(prompts, completions)

    def by_rule(self, prompts: list[dict], completions: list[str]) -> np.ndarray:
        """Score with the user's function; raises UserError unless it returns n finite numbers."""
        asked = [row["prompt"] for row in prompts]
        rows = [{"prompt": shown(prompt), "messages": turns(prompt)} for prompt in asked]
        given = [row | told for row, told in zip(prompts, rows, strict=True)]
        scores = np.asarray(self.own(given, completions), dtype=float)
        if scores.shape != (len(completions),):
            raise UserError(
                f"data.gold.file: gold() returned scores of shape {scores.shape} for "
                f"{len(completions)} completions: return a number for each"
            )
        for i in np.flatnonzero(~np.isfinite(scores))[:1]:
            raise UserError(
                f"data.gold.file: gold() returned {scores[i]} for the completion "
                f"{completions[i]!r}: return a finite number for every text"
            )
        return scores

    def by_model(self, prompts: list[dict], completions: list[str]) -> np.ndarray:
        """Score with the reward model."""
        return self.judge([row["prompt"] for row in prompts], completions)

    @property
    def models(self) -> list:
        """Load and list the models whose memory counts; none for a user's file."""
        return [] if self.own else [self.judge.model]

    def parts(self, prompts: list[dict], completions: list[str]) -> list[dict[str, float]]:
        """Return an empty dict per completion: these scores have no parts."""
        return [{} for _ in completions]
