"""Gold of the hub world: a published reward model, a sequence classifier with one output.

It reads a dialogue by its own chat template, or prompt and answer as a pair of texts where it has
none. Its scores are in its own unit, and only their order and differences mean anything.
"""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import Field

from bench.hub import Source, reaching
from bench.schema import UserError

FILE = "gold.json"
HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


class Judge(Source):
    """The reward model; batch: answers scored at once."""

    batch: int = Field(8, ge=1)


class Gold:
    """Gold of completions of prompts; `data_dir` is the testbed's data folder."""

    def __init__(self, data_dir: Path):
        self.judge = Judge(**json.loads(Path(data_dir, FILE).read_text(encoding="utf-8")))

    def __call__(self, prompts: list[dict], completions: list[str]) -> np.ndarray:
        """(n,) scores; `prompts` are rows with "prompt". Answers of like lengths go together."""
        inputs = [self.encoded(row["prompt"], text)
                  for row, text in zip(prompts, completions, strict=True)]  # fmt: skip
        order = sorted(range(len(inputs)), key=lambda i: len(inputs[i]["input_ids"]))
        scores = np.zeros(len(inputs))
        for start in range(0, len(order), self.judge.batch):
            rows = order[start : start + self.judge.batch]
            scores[rows] = self.scored([inputs[i] for i in rows])
        return scores

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

        with reaching(self.judge):
            tokenizer = AutoTokenizer.from_pretrained(self.judge.id, **self.judge.where)
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        return tokenizer

    @cached_property
    def model(self):
        """In bfloat16 on a GPU, where it only looks on; in float32 elsewhere."""
        import torch
        from transformers import AutoModelForSequenceClassification

        from bench.models import pick_device

        device = pick_device("auto")
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        options = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
        with reaching(self.judge):
            model, found = AutoModelForSequenceClassification.from_pretrained(
                self.judge.id, **options, **self.judge.where
            )
        if found["missing_keys"] or model.config.num_labels != 1:  # a fresh head would be noise
            raise UserError(f"{self.judge} is no reward model with one output: change data.gold")
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
