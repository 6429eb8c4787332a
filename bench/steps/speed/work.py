"""Models of random weights and texts of random tokens, at three sizes."""

from dataclasses import dataclass

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from bench.estimate import shapes, stand_ins
from bench.models.flops import Shape
from bench.models.tokens import word_level
from bench.settings.sections import Lora, Model

CONTEXT = 2048  # tokens


@dataclass(frozen=True)
class Work:
    """What one optimiser step works on.

    shape: of a Llama; pairs, episodes: in a batch; prompt, answer: most tokens of each; lora: of
    ours and of TRL's pair trainers (TRL's PPO trains whole models); eos_bias: added to the logit of
    EOS, or None if it cannot be drawn; micro_batch: rows of a pass of our PPO; steps: of the pair
    trainers in a piece of work.
    """

    shape: Shape
    pairs: int
    episodes: int
    prompt: int
    answer: int
    lora: Lora | None = None
    eos_bias: float | None = None
    micro_batch: int | None = None
    steps: int = 20

    @property
    def config(self) -> LlamaConfig:
        made = stand_ins.config(self.shape, tied=True, context=CONTEXT)
        made.num_labels = 1
        return made

    @property
    def settings(self) -> Model:
        return Model(lora=self.lora)

    def model(self) -> LlamaForCausalLM:
        """Make a policy; answers end at random with an ``eos_bias``, else at full length."""
        model = LlamaForCausalLM(self.config)
        if self.eos_bias is None:
            stand_ins.unending(model)
        else:
            bias = torch.zeros(self.shape.vocabulary)
            bias[self.config.eos_token_id] = self.eos_bias
            model.lm_head.bias = torch.nn.Parameter(bias)
        return model

    def scorer(self) -> LlamaForSequenceClassification:
        return LlamaForSequenceClassification(self.config)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Make a tokenizer of one word a token."""
        return word_level(stand_ins.words(self.shape.vocabulary), CONTEXT)

    def texts(self, n: int, longest: int, ragged: bool = True) -> list[list[int]]:
        """Draw ``n`` texts of random tokens; ragged: of half the length to all of it."""
        draw = torch.Generator().manual_seed(n)
        least = longest // 2 if ragged else longest
        lengths = torch.randint(least, longest + 1, (n,), generator=draw).tolist()
        top = self.shape.vocabulary
        return [torch.randint(3, top, (length,), generator=draw).tolist() for length in lengths]

    def rows(self, n: int) -> list[dict]:
        """Make ``n`` tokenised pairs, as ``bench.models.passes.tokenised`` returns them."""
        keys = {"prompt_ids": self.prompt, "chosen_ids": self.answer, "rejected_ids": self.answer}
        columns = [self.texts(n, longest) for longest in keys.values()]
        return [dict(zip(keys, texts, strict=True)) for texts in zip(*columns, strict=True)]


MICRO = Shape(3, 64, 4, 4, 16, 192, 252)
SMALL = Shape(4, 128, 4, 4, 32, 344, 2048)
SMOLLM2, _ = shapes.SMOLLM2
WORKS = {
    "micro": Work(MICRO, pairs=32, episodes=64, prompt=12, answer=16),
    "1M": Work(SMALL, pairs=64, episodes=64, prompt=16, answer=32),
    "1M-ends": Work(SMALL, 64, 64, prompt=16, answer=32, eos_bias=4.5, micro_batch=16),
    "smollm2": Work(
        SMOLLM2, 8, 8, prompt=24, answer=32, lora=Lora(r=16, alpha=32, layers=10), steps=2
    ),
}
