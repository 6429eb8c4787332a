"""Read the rows of preference data in the forms that the field uses.

The forms are those of TRL (huggingface.co/docs/trl/dataset_formats), standard and conversational:

    prompt, chosen, rejected     texts, or lists of messages
    chosen, rejected             whole conversations, or texts that begin alike
    prompt, completion, label    single answers, good or bad, which are paired by their prompt
    prompt, completion           demonstrations
    messages                     demonstrations
    prompt                       prompts alone

and dialogues in the text form of HH-RLHF. Of a conversation the prompt is all but the last turn,
with its system message.
"""

from collections.abc import Iterator
from itertools import takewhile

from bench.core import turns

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
FORMS = [{"chosen", "rejected"}, {"prompt", "completion", "label"}]
SHOWN = [{"messages"}, {"prompt", "completion"}]  # further forms of demonstrations
ALONE = [{"prompt"}, {"messages"}]  # prompts without an answer
Row = tuple[int, dict]


class Unfit(Exception):
    """Says why a row cannot be used."""


def exchange(row: dict, first: bool = False) -> tuple[str, str]:
    """Read (prompt, answer) from a row of demonstrations; of pairs, the preferred answer.

    first: take the first exchange of a conversation, not the last. Raises Unfit.
    """
    if "messages" in row and "chosen" not in row:
        messages = _messages(row["messages"])
        ends = [i for i, turn in enumerate(messages) if turn.get("role") == "assistant"]
        return split(messages[: ends[0] + 1] if first and ends else messages)
    if "completion" in row:
        if row.get("label") is not None and not row["label"]:
            raise Unfit("the answer is labelled as bad")
        return split(_conversation(row.get("prompt"), row["completion"]))
    return preference_of(row)[:2]


def preference_of(row: dict) -> tuple[str, str, str]:
    """Read (prompt, preferred answer, other answer) from a row of pairs; raises Unfit."""
    chosen, rejected = row["chosen"], row["rejected"]
    if row.get("prompt") is None and isinstance(chosen, str) and isinstance(rejected, str):
        sides = [_dialogue(text) for text in (chosen, rejected)]
        if None in sides:
            return _shared_beginning(chosen, rejected)
    else:
        sides = [_conversation(row.get("prompt"), side) for side in (chosen, rejected)]
    (prompt, better), (other, worse) = map(split, sides)
    if prompt != other:
        raise Unfit("the two answers have other prompts")
    return prompt, better, worse


def alone(row: dict) -> tuple[str]:
    """Read a prompt that has no answer, a text or messages that end with the user's; raises
    Unfit."""
    asked = row["prompt"] if row.get("prompt") is not None else row.get("messages")
    return split([*_asked(asked), *_turn("assistant", "any")])[:1]


def split(messages: list[dict]) -> tuple[str, str]:
    """Return (prompt, answer) of a conversation: all but its last turn, and that; raises Unfit."""
    if not messages or messages[-1].get("role") != "assistant":
        raise Unfit("no answer of the assistant at the end")
    if not all(isinstance(turn.get("content"), str) for turn in messages):
        raise Unfit("a turn without text")
    *before, last = messages
    asked = before[1:] if before and before[0].get("role") == "system" else before
    if [turn.get("role") for turn in asked] != _alternating(len(asked)):
        raise Unfit("turns that do not alternate between user and assistant")
    return turns.joined(before), last["content"]


def _alternating(n: int) -> list[str]:
    """Return the roles of n turns, the last of the user; [""] if there is none."""
    return [("user", "assistant")[(n - 1 - i) % 2] for i in range(n)] or [""]


def _conversation(prompt, answer) -> list[dict]:
    """Return the messages of a prompt with its answer; an answer may hold its prompt too."""
    said = _turn("assistant", answer)
    if said[0].get("role") != "assistant":  # it begins with the prompt
        first = prompt[:1] if isinstance(prompt, list) else []
        lacks = said[0].get("role") != "system" and first and first[0].get("role") == "system"
        return [*first, *said] if lacks else said
    return [*_asked(prompt), *said]


def _asked(prompt) -> list[dict]:
    """Return the messages of a prompt: a text, a dialogue in HH-RLHF's form, or messages."""
    if prompt is None:
        raise Unfit("no prompt")
    return (_dialogue(prompt) if isinstance(prompt, str) else None) or _turn("user", prompt)


def _turn(role: str, value) -> list[dict]:
    """Return messages: a text is one turn of this role."""
    return [{"role": role, "content": value}] if isinstance(value, str) else _messages(value)


def _messages(value) -> list[dict]:
    """Return a list of messages; raises Unfit if it is none."""
    if not (isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value)):
        raise Unfit("neither a text nor a list of messages")
    return value


def _dialogue(text: str) -> list[dict] | None:
    """Return the turns of a dialogue in HH-RLHF's form; None if the text is none."""
    if not (text.startswith(HUMAN) and ASSISTANT in text):
        return None
    found = []
    for said in text.split(HUMAN)[1:]:
        asked, *answered = said.split(ASSISTANT)
        found.append({"role": "user", "content": asked.strip()})
        found += [{"role": "assistant", "content": answer.strip()} for answer in answered]
    return found[:-1] if found[-1] == {"role": "assistant", "content": ""} else found


def _shared_beginning(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Split two texts where they begin to differ, at the end of a word; raises Unfit."""
    alike = takewhile(lambda both: both[0] == both[1], zip(chosen, rejected, strict=False))
    start = "".join(letter for letter, _ in alike)
    whole = all(text[len(start) :][:1].isspace() for text in (chosen, rejected))
    ends = (i for i in range(len(start), 0, -1) if start[i - 1].isspace())
    cut = len(start) if whole else next(ends, 0)
    if not start[:cut].strip():
        raise Unfit("no prompt, and the two texts do not begin alike")
    return start[:cut].rstrip(), chosen[cut:], rejected[cut:]


def paired(rows: Iterator[Row], why) -> Iterator[Row]:
    """Pair single answers to a prompt, a good one with a bad one, in the order of the rows.

    why: a function that counts a row which is left out, by its number and the reason.
    """
    waiting: dict[tuple, list[Row]] = {}
    for number, row in rows:
        if row["label"] not in (True, False):
            why(number, "a label that is neither true nor false")
            continue
        key, good = repr(row["prompt"]), bool(row["label"])
        partners = waiting.get((key, not good))
        if not partners:
            waiting.setdefault((key, good), []).append((number, row))
            continue
        other, partner = partners.pop(0)
        better, worse = (row, partner) if good else (partner, row)
        sides = {"chosen": better["completion"], "rejected": worse["completion"]}
        yield min(number, other), {"prompt": row["prompt"], **sides}
    for number, _ in (one for left in waiting.values() for one in left):
        why(number, "no answer to the prompt with the other label")
