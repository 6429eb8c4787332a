"""Turn prompts and completions into tokens, in the same way for every method and measure.

A completion ends with EOS, which differs from PAD. A tokenizer with a chat template renders the
prompt's turns; without one, the prompt is plain text after BOS.
"""

from bench.core.schema import UserError
from bench.core.turns import plain, turns


def word_level(words: list[str], context: int):
    """Make a tokenizer of one token per word; ``words`` include <pad>, <bos> and <eos>.

    context: most tokens of a text.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    model = models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        model_max_length=context,
    )
    open_with_bos(made)
    return made


def open_with_bos(tokenizer) -> None:
    """Let a tokenizer begin each text with BOS where special tokens are asked for, as lm-eval
    does."""
    from tokenizers.processors import TemplateProcessing

    bos = tokenizer.bos_token, tokenizer.bos_token_id
    opened = TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])
    tokenizer.backend_tokenizer.post_processor = opened


def prompt_ids(tokenizer, prompt: str) -> list[int]:
    """Return the token ids of a prompt, including the template's tokens that open the answer.

    Raises UserError if the template refuses the prompt, such as one with a system message.
    """
    if tokenizer.chat_template:
        from jinja2 import TemplateError  # here: every command imports this module

        said = turns(prompt)
        try:
            return tokenizer.apply_chat_template(
                said, add_generation_prompt=True, return_dict=False
            )
        except TemplateError as error:
            roles = ", ".join(turn["role"] for turn in said)
            raise UserError(
                f"the chat template refuses a prompt of the turns {roles} ({error}): set "
                "model.hub.template to one that takes them, or take these rows out of the data"
            ) from None
    return [tokenizer.bos_token_id, *tokenizer.encode(plain(prompt), add_special_tokens=False)]


def completion_ids(tokenizer, completion: str) -> list[int]:
    """Return the token ids of a finished completion, EOS included."""
    return [*tokenizer.encode(completion, add_special_tokens=False), tokenizer.eos_token_id]


def decode(tokenizer, ids: list[int]) -> str:
    """Return the text of completion tokens, without special tokens."""
    return tokenizer.decode(ids, skip_special_tokens=True).strip()


def policy_of(tokenizer) -> dict[str, str]:
    """Describe template and use of EOS, as the fairness contract records them."""
    return {
        "template": tokenizer.chat_template or "<bos> prompt completion",
        "eos": f"{tokenizer.eos_token} after each completion; pad is {tokenizer.pad_token}",
    }
