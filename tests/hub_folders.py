"""Local folders in the layout of the hub: data sets in their real schemas, and tiny models."""

import gzip
import json
from pathlib import Path

WORDS = [
    "river",
    "stone",
    "cloud",
    "garden",
    "copper",
    "winter",
    "letter",
    "candle",
    "harbour",
    "meadow",
]
SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def message(role: str, content: str) -> dict[str, str]:
    return {"content": content, "role": role}


def ask(i: int) -> str:
    return f"Tell me about the {WORDS[i % 10]} and the {WORDS[i // 10 % 10]}, number {i}."


def answer(i: int, kind: str) -> str:
    return f"A {kind} answer: the {WORDS[i % 10]} is {WORDS[(i + 3) % 10]}."


def feedback_row(i: int) -> dict:
    """A row of HuggingFaceH4/ultrafeedback_binarized."""
    asked = message("user", ask(i))
    chosen = [asked, message("assistant", answer(i, "good"))]
    rejected = [asked, message("assistant", answer(i, "poor"))]
    scores = {"score_chosen": 8.5, "score_rejected": 6.0}
    head = {"prompt": ask(i), "prompt_id": f"{i:064x}"}
    return head | {"chosen": chosen, "rejected": rejected, "messages": chosen} | scores


def chat_row(i: int) -> dict:
    """A row of HuggingFaceH4/ultrachat_200k: four turns."""
    turns = [ask(i), answer(i, "first"), "And more?", answer(i, "second")]
    roles = ["user", "assistant"] * 2
    messages = [message(role, text) for role, text in zip(roles, turns, strict=True)]
    return {"prompt": ask(i), "prompt_id": f"{i:064x}", "messages": messages}


def dialogue_row(i: int) -> dict:
    """A row of Anthropic/hh-rlhf: two dialogues that differ in the last answer."""
    start = f"\n\nHuman: Hello {i}\n\nAssistant: Hi.\n\nHuman: {ask(i)}\n\nAssistant:"
    return {"chosen": f"{start} {answer(i, 'good')}", "rejected": f"{start} {answer(i, 'poor')}"}


def parquet(folder: Path, splits: dict[str, list[dict]]) -> str:
    """A data set as data/<split>-00000-of-00001.parquet with a card that names the splits."""
    import pandas as pd

    (folder / "data").mkdir(parents=True)
    files = [{"split": name, "path": f"data/{name}-*"} for name in splits]
    card = json.dumps({"configs": [{"config_name": "default", "data_files": files}]})
    (folder / "README.md").write_text(f"---\n{card}\n---\n")
    for name, rows in splits.items():
        pd.DataFrame(rows).to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return str(folder)


def json_lines(folder: Path, splits: dict[str, list[dict]]) -> str:
    """A data set as helpful-base/<split>.jsonl.gz."""
    (folder / "helpful-base").mkdir(parents=True)
    for name, rows in splits.items():
        with gzip.open(folder / "helpful-base" / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return str(folder)


def tokenizer(**roles):
    """A byte-level tokenizer with the special tokens of Mistral and of ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([ask(i) + answer(i, "good") for i in range(100)], trainer)
    named = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"} | roles
    return PreTrainedTokenizerFast(tokenizer_object=made, **named)


SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
}


def causal(folder: Path, kind: str = "Llama", **sizes) -> str:
    """A tiny causal language model (Llama or Mistral) with its tokenizer."""
    import torch
    import transformers

    torch.manual_seed(0)
    words = tokenizer()
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(words), **SIZES | sizes)
    getattr(transformers, f"{kind}ForCausalLM")(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return str(folder)


def judge(folder: Path, template: str | None = None) -> str:
    """A tiny reward model of another architecture, Qwen3's."""
    import torch
    from transformers import Qwen3Config, Qwen3ForSequenceClassification

    torch.manual_seed(1)
    words = tokenizer()
    words.chat_template = template
    config = Qwen3Config(vocab_size=len(words), num_labels=1, head_dim=16, **SIZES)
    model = Qwen3ForSequenceClassification(config)
    torch.nn.init.normal_(model.score.weight, std=1.0)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return str(folder)


def lines(path: Path, rows: list[dict]) -> str:
    """Write a local file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
