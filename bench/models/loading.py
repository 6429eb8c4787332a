"""Load, adapt, save and hash models.

A model folder holds either full weights or a LoRA adapter that names its base. Weights are
safetensors only, and no code from the hub is run.
"""

import hashlib
import tempfile
from pathlib import Path

from bench.core import registry
from bench.core.schema import UserError

ADAPTER = "adapter_config.json"
MODEL_FILES = "config.json", ADAPTER  # of which a folder with a model has one
LLAMA_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def pick_device(wanted: str) -> str:
    """Return the device; ``auto`` becomes CUDA if there is a GPU, else the CPU."""
    import torch

    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def present(folder: Path) -> Path:
    """Return ``folder``; raises UserError if it holds no model."""
    if not holds_model(folder):
        raise UserError(f"{folder} holds no model: run snakemake, which makes it")
    return folder


def holds_model(folder: Path) -> bool:
    """True if a folder holds full weights or a LoRA adapter, by their configuration."""
    return any((Path(folder) / name).exists() for name in MODEL_FILES)


def is_adapter(folder: Path) -> bool:
    """True if a model folder holds a LoRA adapter instead of full weights."""
    return (Path(folder) / ADAPTER).exists()


def load_tokenizer(folder: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(present(folder))


def load_policy(folder: Path, settings):
    """Load the causal language model in ``folder``; a float32 model with its adapter merged in."""
    from transformers import AutoModelForCausalLM

    return _load(AutoModelForCausalLM, folder, settings)


def load_scorer(folder: Path, settings):
    """Load the model in ``folder`` with a scalar head, which is a new one if it has none."""
    from transformers import AutoModelForSequenceClassification

    return _load(AutoModelForSequenceClassification, folder, settings, num_labels=1)


def _load(auto_class, folder: Path, settings, **kwargs):
    import torch

    device = pick_device(settings.device)
    kwargs |= {"dtype": getattr(torch, settings.dtype), "use_safetensors": True}
    if settings.quantise:
        # a number, because accelerate compares it with the number of the process's GPU
        place = torch.cuda.current_device() if device == "cuda" else device
        kwargs |= {"quantization_config": four_bits(settings), "device_map": {"": place}}
    if not is_adapter(present(folder)):
        model = auto_class.from_pretrained(folder, **kwargs)
    else:
        from peft import PeftConfig, PeftModel

        base = PeftConfig.from_pretrained(folder).base_model_name_or_path
        model = auto_class.from_pretrained(base, **kwargs)
        model = PeftModel.from_pretrained(model, folder)
        if settings.dtype == "float32":  # in a lower precision, merging would round it away
            model = model.merge_and_unload()
    return model if settings.quantise else unmapped(model.to(device))


def unmapped(model):
    """Copy weights that lie in a file mapped into memory, so that the ledger's memory has them."""
    if model.device.type == "cpu":
        for weight in (*model.parameters(), *model.buffers()):
            weight.data = weight.data.clone()
    return model


def four_bits(settings):
    """Return bitsandbytes' 4-bit settings as in QLoRA (Dettmers et al. 2023, 2305.14314)."""
    import torch
    from transformers import BitsAndBytesConfig

    if not registry.is_installed("bitsandbytes"):
        raise UserError("model.quantise needs bitsandbytes: run `pip install -e '.[quantise]'`")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=settings.quantise,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, settings.dtype),
        llm_int8_skip_modules=["lm_head", "score"],
    )


def merged(model, settings):
    """Merge an adapter into full-precision weights; a 4-bit base is reloaded unquantised first."""
    if unwrap(model) is model:
        return model
    if not settings.quantise:
        return model.merge_and_unload()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        plain = settings.model_copy(update={"quantise": None})
        return merged(load_policy(Path(folder), plain), plain)


def adapt(model, settings, task: str = "CAUSAL_LM"):
    """Make ``model`` trainable: all its weights, or LoRA adapters if the settings say so."""
    model = mixed(model, settings) if settings.lora is None else with_lora(model, settings, task)
    if settings.checkpointing:
        unwrap(model).gradient_checkpointing_enable({"use_reentrant": False})
        unwrap(model).disable_input_require_grads()  # only reentrant checkpointing needs them
    return model


def mixed(model, settings):
    """Keep weights in float32 and run passes in the settings' dtype, if that is a lower precision.

    A bfloat16 weight would round the small steps of fine-tuning away.
    """
    import torch

    if settings.dtype == "float32":
        return model
    model = model.float()
    for part in (model, model.base_model):
        cast = torch.autocast(model.device.type, dtype=getattr(torch, settings.dtype))
        part.forward = cast(part.forward)
    return model


def with_lora(model, settings, task: str):
    """Freeze ``model`` and add a new adapter to its upper layers."""
    from peft import LoraConfig, get_peft_model

    depth = model.config.num_hidden_layers
    upper = min(settings.lora.layers or depth, depth)
    config = LoraConfig(
        r=settings.lora.r,
        lora_alpha=settings.lora.alpha,
        lora_dropout=0.0,
        target_modules=LLAMA_LINEAR,
        layers_to_transform=list(range(depth - upper, depth)),
        task_type=task,
    )
    return get_peft_model(model, config)


def unwrap(model):
    """Return the transformers model inside a PEFT wrapper; its adapters stay active."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def parameters(model) -> tuple[int, int]:
    """Count a model's parameters: (trainable, all)."""
    sizes = [(numel(p), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)


def numel(weight) -> int:
    """Count a tensor's elements; a 4-bit one packs two of them into a byte."""
    packed = getattr(weight, "quant_state", None)
    return packed.shape.numel() if packed else weight.numel()


def save(model, tokenizer, folder: Path, weights: dict | None = None) -> None:
    """Save model and tokenizer; weights: the full ones, if the model holds only shards of them."""
    model.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)


def weights_sha256(folder: Path) -> str:
    """Hash the names and bytes of all weight files in ``folder``, or of the file that names others'
    weights. Returns the hex sha256."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("external.json")]):
        digest.update(path.name.encode())
        with open(path, "rb") as file:  # in pieces: a file may be larger than the memory
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
