"""Loading, adapting, saving and hashing models.

A model folder holds either full weights or a LoRA adapter that names its base. Weights are
safetensors only and no remote code is run.
"""

import hashlib
import tempfile
from pathlib import Path

from bench.core import registry
from bench.core.schema import UserError

LLAMA_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def pick_device(wanted: str) -> str:
    """``auto`` is CUDA where there is one, else the CPU."""
    import torch

    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def present(folder: Path) -> Path:
    """``folder``; raises UserError where it holds no model."""
    if not (Path(folder) / "config.json").exists() and not is_adapter(folder):
        raise UserError(f"{folder} holds no model: run snakemake, which makes it")
    return folder


def is_adapter(folder: Path) -> bool:
    return (Path(folder) / "adapter_config.json").exists()


def load_tokenizer(folder: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(present(folder))


def load_policy(folder: Path, settings):
    """The causal language model in ``folder``, an adapter merged into it where it is float32."""
    from transformers import AutoModelForCausalLM

    return _load(AutoModelForCausalLM, folder, settings)


def load_scorer(folder: Path, settings):
    """A model with one scalar head over ``folder``'s weights (a new head where it has none)."""
    from transformers import AutoModelForSequenceClassification

    return _load(AutoModelForSequenceClassification, folder, settings, num_labels=1)


def _load(auto_class, folder: Path, settings, **kwargs):
    import torch

    device = pick_device(settings.device)
    kwargs |= {"dtype": getattr(torch, settings.dtype), "use_safetensors": True}
    if settings.quantise:
        # by its number, which accelerate compares with that of the process's GPU
        place = torch.cuda.current_device() if device == "cuda" else device
        kwargs |= {"quantization_config": four_bits(settings), "device_map": {"": place}}
    if not is_adapter(present(folder)):
        model = auto_class.from_pretrained(folder, **kwargs)
    else:
        from peft import PeftConfig, PeftModel

        base = PeftConfig.from_pretrained(folder).base_model_name_or_path
        model = auto_class.from_pretrained(base, **kwargs)
        model = PeftModel.from_pretrained(model, folder)
        if settings.dtype == "float32":  # into less an adapter would be rounded away
            model = model.merge_and_unload()
    return model if settings.quantise else model.to(device)


def four_bits(settings):
    """How bitsandbytes holds frozen weights: Dettmers et al. 2023 (2305.14314)."""
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
    """A trained model's whole weights; an adapter of 4-bit ones goes into what they stand for."""
    if unwrap(model) is model:
        return model
    if not settings.quantise:
        return model.merge_and_unload()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        plain = settings.model_copy(update={"quantise": None})
        return merged(load_policy(Path(folder), plain), plain)


def adapt(model, settings, task: str = "CAUSAL_LM"):
    """``model`` made trainable: with LoRA on its upper layers where the settings ask for it."""
    model = mixed(model, settings) if settings.lora is None else with_lora(model, settings, task)
    if settings.checkpointing:
        unwrap(model).gradient_checkpointing_enable({"use_reentrant": False})
        unwrap(model).disable_input_require_grads()  # which only the reentrant form needs
    return model


def mixed(model, settings):
    """``model``, its weights in float32 and its passes in the settings' dtype, where that is less:
    the small steps of fine-tuning would be rounded away in a bfloat16 weight."""
    import torch

    if settings.dtype == "float32":
        return model
    model = model.float()
    for part in (model, model.base_model):
        cast = torch.autocast(model.device.type, dtype=getattr(torch, settings.dtype))
        part.forward = cast(part.forward)
    return model


def with_lora(model, settings, task: str):
    """``model`` frozen but for a fresh adapter on the upper layers."""
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
    """The transformers model inside a PEFT wrapper (whose adapters stay active)."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def parameters(model) -> tuple[int, int]:
    """(trainable, all) numbers of parameters."""
    sizes = [(numel(p), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)


def numel(weight) -> int:
    """Of a weight in 4 bits as well, two of which lie in a byte."""
    packed = getattr(weight, "quant_state", None)
    return packed.shape.numel() if packed else weight.numel()


def save(model, tokenizer, folder: Path, weights: dict | None = None) -> None:
    """Writes the model, with ``weights`` where its own are shards of them."""
    model.save_pretrained(folder, state_dict=weights)
    tokenizer.save_pretrained(folder)


def weights_sha256(folder: Path) -> str:
    """One hash over the names and bytes of every weight file in ``folder``."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.safetensors")):
        digest.update(path.name.encode())
        with open(path, "rb") as file:  # in pieces: a file may be larger than the memory
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
