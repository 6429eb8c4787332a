"""Turn prompts and completions into tokens, in the same way for every method and measure.

A completion ends with EOS, which differs from PAD. A tokenizer with a chat template renders the
prompt as a user's turn; without one, the prompt is plain text after BOS.
"""


def prompt_ids(tokenizer, prompt: str) -> list[int]:
    """Return the token ids of a prompt, including the template's tokens that open the answer."""
    if tokenizer.chat_template:
        turn = [{"role": "user", "content": prompt}]
        return tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)
    return [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]


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
