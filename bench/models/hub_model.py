"""Save a published model as a folder that every step loads: weights, tokenizer, chat template.

The template is the model's own, none (a prompt is plain text), one of TEMPLATES or a file. EOS ends
each answer; PAD is another token, so that padding never teaches a model to stop.
"""

import json
from pathlib import Path

from pydantic import computed_field, field_validator

from bench.core.hub import Source, content, reaching
from bench.core.schema import UserError
from bench.models.tokens import open_with_bos

TEMPLATES = {
    "chatml": (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "zephyr": (
        "{{ bos_token }}{% for message in messages %}"
        "{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}"
        "{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
    ),
}


class HubModel(Source):
    """A published model, its chat template and its special tokens."""

    template: str = "own"
    """Chat template of prompts: the model's own, none (a prompt is plain text), chatml, zephyr, or
    the path of a Jinja file."""
    bos: str | None = None
    """Token of the vocabulary that opens a text; null: the tokenizer's own."""
    eos: str | None = None
    """Token of the vocabulary that ends an answer; null: the tokenizer's own."""
    pad: str | None = None
    """Token of the vocabulary that pads short rows, other than `eos`; null: the tokenizer's own, or
    its unk."""

    @field_validator("template")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (*TEMPLATES, "own", "none") and not Path(name).is_file():
            known = ", ".join(("own", "none", *TEMPLATES))
            raise ValueError(f"'{name}' is no file in {Path.cwd()}, and none of {known}")
        return name

    @computed_field
    @property
    def template_sha256(self) -> str | None:
        """sha256 of a template's file, so that an edit reruns what was made with it; else None."""
        return content(self.template)


def fetch(source: HubModel, dtype: str, out: Path) -> None:
    """Download a model and write ``out``: config, safetensors, tokenizer, template, source.json."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = load_tokenizer(source)
    with reaching(source):
        model = AutoModelForCausalLM.from_pretrained(
            source.id, dtype=getattr(torch, dtype), use_safetensors=True, **source.where
        )
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        for config in (model.config, model.generation_config):
            setattr(config, name, getattr(tokenizer, name))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    commit = getattr(model.config, "_commit_hash", None)  # of a branch, which may move later
    found = source.model_dump() | {"commit": commit}
    Path(out, "source.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def load_tokenizer(source: HubModel):
    """Load a model's tokenizer and set its tokens and template as the settings ask.

    Raises UserError if a token is unknown, or if the steps could not use the tokenizer.
    """
    from transformers import AutoTokenizer

    with reaching(source):
        tokenizer = AutoTokenizer.from_pretrained(source.id, **source.where)
    vocabulary = tokenizer.get_vocab()
    for role in ("bos", "eos", "pad"):
        token = getattr(source, role)
        if token is not None and token not in vocabulary:
            raise UserError(
                f"model.hub.{role}={token!r} is not in the vocabulary of {source}: name one that is"
            )
        if token is not None:
            setattr(tokenizer, f"{role}_token", token)
    if source.pad is None and tokenizer.pad_token in (None, tokenizer.eos_token):
        tokenizer.pad_token = tokenizer.unk_token
    if source.template != "own":
        tokenizer.chat_template = template_of(source)
    check(source, tokenizer)
    if not tokenizer.chat_template and tokenizer.is_fast:
        open_with_bos(tokenizer)
    return tokenizer


def template_of(source: HubModel) -> str | None:
    """Return the chat template that the settings name; None for a prompt that is plain text."""
    path = Path(source.template)
    return path.read_text(encoding="utf-8") if path.is_file() else TEMPLATES.get(source.template)


def check(source: HubModel, tokenizer) -> None:
    """Raise UserError if the steps cannot use a tokenizer."""
    if tokenizer.eos_token is None or tokenizer.pad_token in (None, tokenizer.eos_token):
        raise UserError(
            f"{source} needs an EOS and another token as PAD: set model.hub.eos and model.hub.pad"
        )
    if source.template == "own" and not tokenizer.chat_template:
        raise UserError(
            f"{source} has no chat template of its own: set model.hub.template to none or one of "
            + ", ".join(TEMPLATES)
        )
    if not tokenizer.chat_template and tokenizer.bos_token is None:
        raise UserError(f"{source} has no BOS, which a plain prompt begins with: set model.hub.bos")
