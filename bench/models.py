"""Loading, adapting, saving and hashing models.

A model folder holds either full weights or a LoRA adapter that names its base. Weights are
safetensors only and no remote code is run.
"""

import hashlib
from pathlib import Path

from bench.schema import UserError

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
    """The causal language model in ``folder``, any adapter merged into it."""
    from transformers import AutoModelForCausalLM

    return _load(AutoModelForCausalLM, folder, settings)


def load_scorer(folder: Path, settings):
    """A model with one scalar head over ``folder``'s weights (a new head where it has none)."""
    from transformers import AutoModelForSequenceClassification

    return _load(AutoModelForSequenceClassification, folder, settings, num_labels=1)


def _load(auto_class, folder: Path, settings, **kwargs):
    import torch

    kwargs |= {"dtype": getattr(torch, settings.dtype), "use_safetensors": True}
    if not is_adapter(present(folder)):
        model = auto_class.from_pretrained(folder, **kwargs)
    else:
        from peft import PeftConfig, PeftModel

        base = PeftConfig.from_pretrained(folder).base_model_name_or_path
        model = auto_class.from_pretrained(base, **kwargs)
        model = PeftModel.from_pretrained(model, folder).merge_and_unload()
    return model.to(pick_device(settings.device))


def adapt(model, settings, task: str = "CAUSAL_LM"):
    """``model`` made trainable: with LoRA on its upper layers where the settings ask for it."""
    if settings.lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    depth = model.config.num_hidden_layers
    config = LoraConfig(
        r=settings.lora.r,
        lora_alpha=settings.lora.alpha,
        lora_dropout=0.0,
        target_modules=LLAMA_LINEAR,
        layers_to_transform=list(range(depth - min(settings.lora.layers, depth), depth)),
        task_type=task,
    )
    return get_peft_model(model, config)


def unwrap(model):
    """The transformers model inside a PEFT wrapper (whose adapters stay active)."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def parameters(model) -> tuple[int, int]:
    """(trainable, all) numbers of parameters."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)


def save(model, tokenizer, folder: Path) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def weights_sha256(folder: Path) -> str:
    """One hash over the names and bytes of every weight file in ``folder``."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.safetensors")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
