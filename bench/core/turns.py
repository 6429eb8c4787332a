"""Hold a conversation in one string, since a prompt is a string wherever it is trained on or shown.

A prompt that is one turn of the user is that turn's text. Any other (a system message, several
turns) is the JSON of its messages.
"""

import json

OPEN = '[{"role": '  # how such JSON begins
NAMES = {"system": "System", "user": "Human", "assistant": "Assistant"}  # as HH-RLHF writes them


def joined(messages: list[dict]) -> str:
    """Return the prompt of messages, each with "role" and "content"."""
    kept = [{"role": m["role"], "content": m["content"]} for m in messages]
    if [m["role"] for m in kept] == ["user"] and not kept[0]["content"].startswith(OPEN):
        return kept[0]["content"]
    return json.dumps(kept, ensure_ascii=False)


def turns(prompt: str) -> list[dict[str, str]]:
    """Return a prompt's messages."""
    if prompt.startswith(OPEN):
        try:
            return json.loads(prompt)
        except ValueError:
            pass  # a text that only begins like one
    return [{"role": "user", "content": prompt}]


def plain(prompt: str) -> str:
    """Return a prompt for a model without a chat template: its text, or a dialogue in the form of
    HH-RLHF, which opens the answer."""
    if not prompt.startswith(OPEN):
        return prompt
    said = "".join(f"\n\n{NAMES[turn['role']]}: {turn['content']}" for turn in turns(prompt))
    return f"{said}\n\n{NAMES['assistant']}:"


def shown(prompt: str) -> str:
    """Return a prompt as a reader sees it."""
    if not prompt.startswith(OPEN):
        return prompt
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns(prompt))
