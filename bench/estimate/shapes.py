"""Find the shape of a model, even before it is downloaded.

If the model is on this machine, its own ``config.json`` is read; else its published shape is used.
"""

import json
from pathlib import Path

from bench.core.schema import UserError
from bench.models.flops import Shape
from bench.worlds import world

SMOLLM2 = (Shape(30, 576, 9, 3, 64, 1536, 49152), True)
# (shape, whether input and output embeddings are one), as published with the models
PUBLISHED = {
    "mistralai/Mistral-7B-v0.1": (Shape(32, 4096, 32, 8, 128, 14336, 32000), False),
    "meta-llama/Llama-2-7b-hf": (Shape(32, 4096, 32, 32, 128, 11008, 32000), False),
    "HuggingFaceTB/SmolLM2-135M": SMOLLM2,
    "Skywork/Skywork-Reward-V2-Qwen3-4B": (Shape(36, 2560, 32, 8, 128, 9728, 151936), True),
    "Skywork/Skywork-Reward-V2-Qwen3-0.6B": (Shape(28, 1024, 16, 8, 128, 3072, 151936), True),
}


def of_policy(cfg) -> tuple[Shape, bool, str]:
    """Return (shape, whether embeddings are tied, the source of both) of the testbed's model."""
    base = cfg.layout.base / "config.json"
    if base.exists():
        return *of_config(base), str(base)
    if cfg.model.kind == "llama":
        m, words = cfg.model, len(world(cfg.data.kind).vocabulary())
        width = m.hidden // m.heads
        shape = Shape(m.layers, m.hidden, m.heads, m.heads, width, m.intermediate, words)
        return shape, True, "the settings"
    if cfg.model.kind == "gguf":
        return *SMOLLM2, "SmolLM2-135M as published"
    return of_source(cfg.model.hub)


def of_source(source) -> tuple[Shape, bool, str]:
    """Return the same of a model on the hub or in a folder, without using the network.

    Raises UserError if it is neither downloaded nor in PUBLISHED.
    """
    if path := config_of(source):
        return *of_config(path), f"the config.json of {source}"
    if source.id not in PUBLISHED:
        raise UserError(
            f"the shape of {source} is unknown before its download: run `python -m bench prefetch` "
            "with the same --testbed, or set its id to a folder that holds its config.json"
        )
    return *PUBLISHED[source.id], f"{source.id} as published"


def config_of(source) -> Path | None:
    """Return the config.json of a model in a folder or in the hub's cache; None if it has none."""
    from huggingface_hub import try_to_load_from_cache

    path = Path(source.id, "config.json")
    if not path.exists() and not Path(source.id).exists():
        path = try_to_load_from_cache(source.id, "config.json", revision=source.revision)
    return Path(path) if isinstance(path, str | Path) and Path(path).exists() else None


def of_config(path: Path) -> tuple[Shape, bool]:
    """Read (shape, whether embeddings are tied) from a model's ``config.json``.

    Raises UserError if it names its sizes in another way.
    """
    c = json.loads(path.read_text(encoding="utf-8"))
    if lost := {"num_attention_heads", "num_hidden_layers", "intermediate_size"} - c.keys():
        raise UserError(
            f"{path} has no {min(lost)}: only models of the kind of Llama can be estimated"
        )
    heads = c["num_attention_heads"]
    shape = Shape(
        layers=c["num_hidden_layers"],
        hidden=c["hidden_size"],
        heads=heads,
        kv_heads=c.get("num_key_value_heads") or heads,
        head_dim=c.get("head_dim") or c["hidden_size"] // heads,
        intermediate=c["intermediate_size"],
        vocabulary=c["vocab_size"],
    )
    return shape, c.get("tie_word_embeddings", False)
