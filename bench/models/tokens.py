"""The one way in which prompts and completions become tokens, for every method and measure.

A completion is followed by EOS, which is distinct from PAD. A tokenizer with a chat template
renders the prompt as a user's turn; any other puts BOS before it.
"""


def prompt_ids(tokenizer, prompt: str) -> list[int]:
    """Token ids of a prompt, up to and including what opens the answer."""
    if tokenizer.chat_template:
        turn = [{"role": "user", "content": prompt}]
        return tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False)
    return [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]


def completion_ids(tokenizer, completion: str) -> list[int]:
    """Token ids of a finished completion, EOS included."""
    return [*tokenizer.encode(completion, add_special_tokens=False), tokenizer.eos_token_id]


def decode(tokenizer, ids: list[int]) -> str:
    """The text of completion tokens, special tokens left out."""
    return tokenizer.decode(ids, skip_special_tokens=True).strip()


def policy_of(tokenizer) -> dict[str, str]:
    """Template and EOS policy, as the fairness contract records them."""
    return {
        "template": tokenizer.chat_template or "<bos> prompt completion",
        "eos": f"{tokenizer.eos_token} after each completion; pad is {tokenizer.pad_token}",
    }
