"""Score texts with a reward model that others have trained: a sequence classifier with one output.

It reads a dialogue in its own chat template; without a template, prompt and answer as a pair of
texts. Gold can be one, and PPO's reward model.
"""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from bench.core.hub import Scorer, Source, reaching
from bench.core.schema import UserError
from bench.core.turns import plain, turns
from bench.models.loading import weights_sha256
from bench.models.tokens import decode, prompt_ids

EXTERNAL = "external.json"  # in the folder of a reward model: its source, in place of weights


class Judge:
    """Scores answers with a published reward model; raises UserError if it is none."""

    def __init__(self, source: Source, batch: int):
        self.source, self.batch = source, batch

    def __call__(self, prompts: list[str], answers: list[str]) -> np.ndarray:
        """Return the (n,) scores of answers, in batches of answers of similar length."""
        inputs = [self.encoded(*texts) for texts in zip(prompts, answers, strict=True)]
        order = sorted(range(len(inputs)), key=lambda i: len(inputs[i]["input_ids"]))
        scores = np.zeros(len(inputs))
        # without PAD one by one: EOS in its place would hide the end of a text
        size = self.batch if self.tokenizer.pad_token else 1
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            scores[rows] = self.scored([inputs[i] for i in rows])
        return scores

    def encoded(self, prompt: str, answer: str) -> dict[str, list[int]]:
        """Return the token ids and the mask of a prompt with its answer."""
        if not self.tokenizer.chat_template:
            return dict(self.tokenizer(plain(prompt), answer))
        dialogue = [*turns(prompt), {"role": "assistant", "content": answer}]
        ids = self.tokenizer.apply_chat_template(dialogue, return_dict=False)
        return {"input_ids": ids, "attention_mask": [1] * len(ids)}

    @torch.no_grad()
    def scored(self, inputs: list[dict]) -> np.ndarray:
        """Return the (B,) scores of a batch."""
        padded = self.tokenizer.pad(inputs, padding=len(inputs) > 1, return_tensors="pt")
        logits = self.model(**padded.to(self.model.device)).logits
        return logits[:, 0].float().cpu().numpy()

    @cached_property
    def tokenizer(self):
        from transformers import AutoTokenizer

        with reaching(self.source):
            return AutoTokenizer.from_pretrained(self.source.id, **self.source.where)

    @cached_property
    def model(self):
        """The reward model: in bfloat16 on a GPU, to save memory, and in float32 on the CPU."""
        from transformers import AutoModelForSequenceClassification

        from bench.models.loading import pick_device

        device = pick_device("auto")
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        options = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
        with reaching(self.source):
            model, found = AutoModelForSequenceClassification.from_pretrained(
                self.source.id, **options, **self.source.where
            )
        if found["missing_keys"] or model.config.num_labels != 1:  # a new head gives random scores
            raise UserError(
                f"{self.source} is not a reward model with one output: name another model"
            )
        if model.config.pad_token_id is None:
            model.config.pad_token_id = self.tokenizer.pad_token_id
        return model.to(device).eval().requires_grad_(False)


class External(torch.nn.Module):
    """PPO's reward model if others have trained it: scores samples by their texts.

    folder: that of the reward model; tokenizer: the policy's; prompts: all that may be asked.
    """

    def __init__(self, folder: Path, tokenizer, prompts: list[str]):
        super().__init__()
        known = json.loads(Path(folder, EXTERNAL).read_text(encoding="utf-8"))
        revision = known["commit"] or known["revision"]  # a branch may have moved
        self.judge = Judge(Source(id=known["id"], revision=revision), known["batch"])
        if known["sha256"] not in (None, weights_sha256(Path(known["id"]))):
            raise UserError(
                f"the reward model in {known['id']} has changed since {folder} noted it: delete "
                f"{folder}, and run the same command again"
            )
        self.model, self.tokenizer = self.judge.model, tokenizer
        self.prompts = {tuple(prompt_ids(tokenizer, prompt)): prompt for prompt in prompts}

    @property
    def device(self) -> torch.device:
        return self.model.device

    def of_samples(self, samples) -> torch.Tensor:
        """Return the (B,) scores of samples."""
        real = zip(samples.prompts, samples.prompt_mask.bool(), strict=True)
        prompts = [self.prompts[tuple(ids[kept].tolist())] for ids, kept in real]
        answers = [decode(self.tokenizer, ids) for ids in samples.rows()]
        scores = self.judge(prompts, answers)
        return torch.tensor(scores, dtype=torch.float32, device=samples.mask.device)


def is_external(folder: Path) -> bool:
    """Return whether the reward model in a folder is one that others have trained."""
    return Path(folder, EXTERNAL).exists()


def write(source: Scorer, folder: Path) -> str:
    """Write which reward model a folder stands for, with the hash of its weights; return that."""
    model = Judge(source, source.batch).model
    found = source.model_dump(round_trip=True)
    found["commit"] = getattr(model.config, "_commit_hash", None)  # of a branch, which may move
    found["sha256"] = weights_sha256(Path(source.id)) if Path(source.id).is_dir() else None
    text = json.dumps(found, indent=1) + "\n"
    Path(folder, EXTERNAL).write_text(text, encoding="utf-8")
    return text
