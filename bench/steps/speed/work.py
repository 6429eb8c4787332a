"""Models of random weights and texts of random tokens, at three sizes."""

from dataclasses import dataclass

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from bench.estimate.stand_ins import unending, words
from bench.models.tokens import word_level
from bench.settings.sections import Lora, Model


@dataclass(frozen=True)
class Work:
    """What one optimiser step works on.

    sizes: of a Llama; pairs, episodes: in a batch; prompt, answer: most tokens of each; lora: of
    ours and of TRL's pair trainers (TRL's PPO trains whole models); eos_bias: added to the logit of
    EOS, or None if it cannot be drawn; micro_batch: rows of a pass of our PPO; steps: of the pair
    trainers in a piece of work.
    """

    sizes: dict
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
        special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        return LlamaConfig(**self.sizes, tie_word_embeddings=True, num_labels=1, **special)

    @property
    def settings(self) -> Model:
        return Model(lora=self.lora)

    def model(self) -> LlamaForCausalLM:
        """Make a policy; answers end at random with an ``eos_bias``, else at full length."""
        model = LlamaForCausalLM(self.config)
        if self.eos_bias is None:
            unending(model)
        else:
            bias = torch.zeros(self.config.vocab_size)
            bias[self.config.eos_token_id] = self.eos_bias
            model.lm_head.bias = torch.nn.Parameter(bias)
        return model

    def scorer(self) -> LlamaForSequenceClassification:
        return LlamaForSequenceClassification(self.config)

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Make a tokenizer of one word a token."""
        return word_level(words(self.config.vocab_size), self.config.max_position_embeddings)

    def texts(self, n: int, longest: int, ragged: bool = True) -> list[list[int]]:
        """Draw ``n`` texts of random tokens; ragged: of half the length to all of it."""
        draw = torch.Generator().manual_seed(n)
        least = longest // 2 if ragged else longest
        lengths = torch.randint(least, longest + 1, (n,), generator=draw).tolist()
        top = self.config.vocab_size
        return [torch.randint(3, top, (length,), generator=draw).tolist() for length in lengths]

    def rows(self, n: int) -> list[dict]:
        """Make ``n`` tokenised pairs, as ``bench.training.pair_engine.tokenised`` returns them."""
        keys = {"prompt_ids": self.prompt, "chosen_ids": self.answer, "rejected_ids": self.answer}
        columns = [self.texts(n, longest) for longest in keys.values()]
        return [dict(zip(keys, texts, strict=True)) for texts in zip(*columns, strict=True)]


MICRO = {
    "vocab_size": 252,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
SMALL = {
    "vocab_size": 2048,
    "hidden_size": 128,
    "intermediate_size": 344,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}
SMOLLM2 = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
WORKS = {
    "micro": Work(MICRO, pairs=32, episodes=64, prompt=12, answer=16),
    "1M": Work(SMALL, pairs=64, episodes=64, prompt=16, answer=32),
    "1M-ends": Work(SMALL, 64, 64, prompt=16, answer=32, eos_bias=4.5, micro_batch=16),
    "smollm2": Work(
        SMOLLM2, 8, 8, prompt=24, answer=32, lora=Lora(r=16, alpha=32, layers=10), steps=2
    ),
}
