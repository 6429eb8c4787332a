"""Gold of the hub world: a published reward model, or a Python file of the user's.

The reward model is a sequence classifier with one output. It reads a dialogue by its own chat
template, or prompt and answer as a pair of texts where it has none. The file defines

    def gold(prompts: list[dict], completions: list[str]) -> list[float]

where a prompt's text is its "prompt". Scores are in a unit of their own, and only their order and
differences mean anything.
"""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field, PositiveFloat, computed_field, model_validator

from bench.core import registry
from bench.core.code import code_sha256
from bench.core.hub import Source, reaching
from bench.core.schema import UserError

FILE = "gold.json"
OWN = "gold.py"  # the user's file, as it was when the data were made
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


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
            raise ValueError("name a reward model as id, or a Python file as file")
        if self.file and not Path(self.file).is_file():
            raise ValueError(f"there is no file '{self.file}' in {Path.cwd()}")
        return self

    @computed_field
    @property
    def sha256(self) -> str | None:
        """Of the file's code: an edit reruns all that gold was part of, a comment nothing."""
        return code_sha256(self.file) if self.file else None


def keep(source: GoldModel, data_dir: Path) -> None:
    """Leaves in the data folder what ``Gold`` reads: the model's name, or a copy of the file."""
    model, own = Path(data_dir, FILE), Path(data_dir, OWN)
    for path in (model, own):
        path.unlink(missing_ok=True)
    if source.file:
        own.write_bytes(Path(source.file).read_bytes())
        load_own(own, source.file)
    else:
        model.write_text(source.model_dump_json(exclude={"sha256"}), encoding="utf-8")


def load_own(path: Path, name: str) -> Callable:
    """The function ``gold`` of a file; raises UserError, which calls it ``name``, without one."""
    module = registry.from_file(path, name)
    if not callable(getattr(module, "gold", None)):
        raise UserError(f"{name} defines no function gold(prompts, completions)")
    return module.gold


class Gold:
    """Gold of completions of prompts; `data_dir` is the testbed's data folder."""

    def __init__(self, data_dir: Path):
        own = Path(data_dir, OWN)
        self.own = load_own(own, str(own)) if own.exists() else None
        if not self.own:
            self.source = GoldModel(**json.loads(Path(data_dir, FILE).read_text(encoding="utf-8")))

    def __call__(self, prompts: list[dict], completions: list[str]) -> np.ndarray:
        """(n,) scores; `prompts` are rows with "prompt"."""
        return (self.by_rule if self.own else self.by_model)(prompts, completions)

    def by_rule(self, prompts: list[dict], completions: list[str]) -> np.ndarray:
        """Of the user's function; raises UserError unless they are n finite numbers."""
        scores = np.asarray(self.own(prompts, completions), dtype=float)
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
        """Of the reward model; answers of like lengths go together."""
        inputs = [self.encoded(row["prompt"], text)
                  for row, text in zip(prompts, completions, strict=True)]  # fmt: skip
        order = sorted(range(len(inputs)), key=lambda i: len(inputs[i]["input_ids"]))
        scores = np.zeros(len(inputs))
        for start in range(0, len(order), self.source.batch):
            rows = order[start : start + self.source.batch]
            scores[rows] = self.scored([inputs[i] for i in rows])
        return scores

    @property
    def models(self) -> list:
        """Those that take memory, once they are loaded, as they are by this."""
        return [] if self.own else [self.model]

    def parts(self, prompts: list[dict], completions: list[str]) -> list[dict[str, float]]:
        """One number has no parts."""
        return [{} for _ in completions]

    def encoded(self, prompt: str, answer: str) -> dict[str, list[int]]:
        """Token ids and mask of a dialogue."""
        if not self.tokenizer.chat_template:
            return dict(self.tokenizer(prompt, answer))
        dialogue = [*turns(prompt), {"role": "assistant", "content": answer}]
        ids = self.tokenizer.apply_chat_template(dialogue, return_dict=False)
        return {"input_ids": ids, "attention_mask": [1] * len(ids)}

    def scored(self, inputs: list[dict]) -> np.ndarray:
        """(B,) scores of a batch."""
        import torch

        padded = self.tokenizer.pad(inputs, padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = self.model(**padded.to(self.model.device)).logits
        return logits[:, 0].float().cpu().numpy()

    @cached_property
    def tokenizer(self):
        from transformers import AutoTokenizer

        with reaching(self.source):
            tokenizer = AutoTokenizer.from_pretrained(self.source.id, **self.source.where)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        return tokenizer

    @cached_property
    def model(self):
        """In bfloat16 on a GPU, where it only looks on; in float32 elsewhere."""
        import torch
        from transformers import AutoModelForSequenceClassification

        from bench.models.loading import pick_device

        device = pick_device("auto")
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        options = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
        with reaching(self.source):
            model, found = AutoModelForSequenceClassification.from_pretrained(
                self.source.id, **options, **self.source.where
            )
        if found["missing_keys"] or model.config.num_labels != 1:  # a fresh head would be noise
            raise UserError(f"{self.source} is no reward model with one output: change data.gold")
        model.config.pad_token_id = self.tokenizer.pad_token_id
        return model.to(device).eval().requires_grad_(False)


def turns(prompt: str) -> list[dict[str, str]]:
    """A prompt as messages: a dialogue as HH-RLHF writes it, or one user's turn."""
    if not (prompt.startswith(HUMAN) and prompt.endswith(ASSISTANT)):
        return [{"role": "user", "content": prompt}]
    found = []
    for exchange in prompt.removesuffix(ASSISTANT).split(HUMAN)[1:]:
        asked, _, answered = exchange.partition(ASSISTANT)
        found.append({"role": "user", "content": asked.strip()})
        if answered.strip():
            found.append({"role": "assistant", "content": answered.strip()})
    return found
