"""Preference data in the forms that the field uses; the examples are of the forms' own pages."""

from pathlib import Path

import hub_folders as folders
import pytest
import yaml
from trl.data_utils import extract_prompt

from bench.core import turns
from bench.core.schema import UserError
from bench.core.turns import joined
from bench.evaluation import harness
from bench.models import hub_model
from bench.models.hub_model import HubModel
from bench.models.tokens import prompt_ids
from bench.studies import load
from bench.worlds import hub as world
from bench.worlds.hub import gold as hub_gold
from bench.worlds.hub.rows import Unfit, alone, exchange, paired, preference_of

say = folders.message
SKY = [say("user", "What color is the sky?")]
BLUE, GREEN = say("assistant", "It is blue."), say("assistant", "It is green.")
TOLD = ("What color is the sky?", "It is blue.", "It is green.")
FORMS = {
    "standard, explicit": {"prompt": TOLD[0], "chosen": TOLD[1], "rejected": TOLD[2]},
    "conversational, explicit": {"prompt": SKY, "chosen": [BLUE], "rejected": [GREEN]},
    "conversational, implicit": {"chosen": [*SKY, BLUE], "rejected": [*SKY, GREEN]},
    "UltraFeedback": {"prompt": TOLD[0], "chosen": [*SKY, BLUE], "rejected": [*SKY, GREEN]},
    "prompt in both": {"prompt": SKY, "chosen": [*SKY, BLUE], "rejected": [*SKY, GREEN]},
    "a text and a message": {"prompt": TOLD[0], "chosen": [BLUE], "rejected": [GREEN]},
    "null prompt": {"prompt": None, "chosen": [*SKY, BLUE], "rejected": [*SKY, GREEN]},
    "HH-RLHF": {
        side: f"\n\nHuman: {TOLD[0]}\n\nAssistant: {answer}"
        for side, answer in zip(("chosen", "rejected"), TOLD[1:], strict=True)
    },
}


@pytest.mark.parametrize("row", FORMS.values(), ids=FORMS)
def test_every_form_of_one_pair_reads_alike(row):
    assert preference_of(row) == TOLD
    assert exchange(row) == TOLD[:2]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": TOLD[0]},
        {"prompt": SKY},
        {"messages": SKY},
        {"prompt": f"\n\nHuman: {TOLD[0]}\n\nAssistant:"},
    ],
    ids=str,
)
def test_every_form_of_a_prompt_alone_reads_alike(row):
    assert alone(row) == (TOLD[0],)


def test_a_prompt_alone_ends_with_the_user_and_keeps_its_system_message():
    system = say("system", "Be brief.")
    (prompt,) = alone({"prompt": [system, *SKY, BLUE, *SKY]})
    assert [t["role"] for t in turns.turns(prompt)] == ["system", "user", "assistant", "user"]
    for asked, said in (
        ([*SKY, BLUE], "alternate"),
        (None, "^no prompt$"),
        ([system], "alternate"),
    ):
        with pytest.raises(Unfit, match=said):
            alone({"prompt": asked})


def test_texts_that_begin_alike_are_split_as_trl_splits_them():
    row = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
    by_trl = [text.strip() for text in extract_prompt(row).values()]
    assert [*preference_of(row)] == by_trl == ["The sky is", "blue.", "green."]
    lines = {"chosen": "How are you?\nYes, fine", "rejected": "How are you?\nNo, ill"}
    assert preference_of(lines) == ("How are you?", "Yes, fine", "No, ill")
    with pytest.raises(Unfit, match="do not begin alike"):
        preference_of({"chosen": "Paris.", "rejected": "Pears."})  # half a word is no prompt


def test_a_system_message_of_the_prompt_column_is_kept():
    system = say("system", "Be brief.")
    row = {"prompt": [system], "chosen": [*SKY, BLUE], "rejected": [*SKY, GREEN]}
    assert [t["role"] for t in turns.turns(preference_of(row)[0])] == ["system", "user"]


def test_conversations_that_differ_in_blanks_are_one_prompt():
    system = say("system", "Be brief.")
    one, two = (joined([system, say("user", text)]) for text in ("hi\nthere", "Hi  there"))
    assert world.same(one) == world.same(two)


def test_the_same_question_under_another_system_message_is_one_prompt():
    asked = [say("user", "Hi there")]
    others = [joined([say("system", text), *asked]) for text in ("Be brief.", "Be kind.")]
    assert len({world.same(prompt) for prompt in (joined(asked), *others)}) == 1
    assert world.same(joined([say("user", "Hi")])) != world.same(others[0])
    alone = [joined([say("system", text)]) for text in ("Be brief.", "Be kind.")]
    assert world.same(alone[0]) != world.same(alone[1])


def test_a_system_message_and_several_turns_are_the_prompt():
    before = [say("system", "Be brief."), *SKY, BLUE, say("user", "And the sea?")]
    row = {"chosen": [*before, BLUE], "rejected": [*before, GREEN]}
    prompt, better, worse = preference_of(row)
    assert turns.turns(prompt) == [{k: t[k] for k in ("role", "content")} for t in before]
    assert (better, worse) == TOLD[1:]
    explicit = {"prompt": before, "chosen": [BLUE], "rejected": [GREEN]}
    assert preference_of(explicit) == preference_of(row)
    assert turns.shown(prompt).startswith("system: Be brief.\n\nuser: What color")


def test_demonstrations_give_their_last_exchange_or_their_first():
    row = {"messages": [*SKY, BLUE, say("user", "Sure?"), GREEN]}
    prompt, answer = exchange(row)
    assert answer == "It is green." and len(turns.turns(prompt)) == 3
    assert exchange(row, first=True) == TOLD[:2]
    assert exchange({"prompt": SKY, "completion": [BLUE]}) == TOLD[:2]
    assert exchange({"prompt": TOLD[0], "completion": TOLD[1], "label": True}) == TOLD[:2]


@pytest.mark.parametrize(
    "row,why",
    [
        ({"chosen": [*SKY, BLUE], "rejected": [say("user", "Else?"), GREEN]}, "other prompts"),
        ({"chosen": SKY, "rejected": [*SKY, GREEN]}, "no answer of the assistant at the end"),
        ({"chosen": [BLUE], "rejected": [GREEN]}, "no prompt"),
        ({"chosen": [*SKY, *SKY, BLUE], "rejected": [*SKY, *SKY, GREEN]}, "do not alternate"),
        ({"prompt": SKY, "chosen": [say("assistant", None)], "rejected": [GREEN]}, "without text"),
        ({"prompt": "p", "chosen": 3, "rejected": "r"}, "neither a text nor a list"),
        ({"prompt": "p", "chosen": [], "rejected": []}, "neither a text nor a list"),
        ({"prompt": 5, "chosen": "a", "rejected": "b"}, "neither a text nor a list"),
        ({"chosen": "one", "rejected": "two"}, "do not begin alike"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(row, why):
    with pytest.raises(Unfit, match=why):
        preference_of(row)


def test_an_answer_labelled_as_bad_is_no_demonstration():
    with pytest.raises(Unfit, match="labelled as bad"):
        exchange({"prompt": "p", "completion": "c", "label": False})
    with pytest.raises(Unfit, match="labelled as bad"):
        exchange({"prompt": "p", "completion": "c", "label": 0})


def test_single_answers_are_paired_by_their_prompt():
    """Rows as trl-lib/kto-mix-14k has them."""
    kinds = [("a", True), ("b", True), ("a", False), ("a", False), ("b", False), ("c", True)]
    rows = [
        {"prompt": [say("user", name)], "completion": [say("assistant", f"{name}{i}")], "label": ok}
        for i, (name, ok) in enumerate(kinds)
    ]
    left = []
    found = [
        preference_of(row)
        for _, row in paired(iter(enumerate(rows)), lambda number, why: left.append(number))
    ]
    assert found == [("a", "a0", "a2"), ("b", "b1", "b4")]
    assert sorted(left) == [3, 5]
    odd, why = [(0, rows[0] | {"label": "false"}), (1, rows[0] | {"label": None})], []
    assert list(paired(iter(odd), lambda number, reason: why.append(reason))) == []
    assert why == ["a label that is neither true nor false"] * 2


@pytest.mark.parametrize(
    "messages",
    [
        SKY,
        [say("user", '[{"role": "user", "content": "mine"}]')],
        [say("user", '[{"role": no JSON')],
        [say("user", "")],
        [say("system", "s"), say("user", "ü “q”\n\nAssistant:")],
    ],
)
def test_any_conversation_survives_in_one_string(messages):
    kept = [{"role": m["role"], "content": m["content"]} for m in messages]
    assert turns.turns(joined(messages)) == kept


def test_a_plain_prompt_stays_its_text():
    assert joined(SKY) == turns.plain(joined(SKY)) == turns.shown(joined(SKY)) == SKY[0]["content"]


# --- whole data sets ------------------------------------------------------------------------------


def written(tmp_path, rows, share=0.1, **more) -> world.Settings:
    path = folders.lines(tmp_path / "pairs.jsonl", rows)
    small = {"validation": 4, "test": 6, "preference": 4, "pool": 30}
    made = world.Settings(
        pairs={"id": path, "left_out": share}, gold={"id": "nobody/judge"}, **small | more
    )
    world.write(made, tmp_path / "data")
    return made


def test_many_rows_that_cannot_be_used_are_an_error_that_says_which(tmp_path, capsys):
    rows = [folders.feedback_row(i) for i in range(40)]
    for row in rows[5:12]:
        row["chosen"] = row["chosen"][:1]
    with pytest.raises(UserError) as error:
        written(tmp_path, rows)
    line = str(error.value)
    assert line.startswith("data: 7 of 40 rows of train cannot be used: 7 no answer of the assist")
    assert "(first: row " in line and "set data.pairs.left_out to 0.18" in line
    written(tmp_path, rows, share=0.18)
    assert "7 of 40 rows left out: 7 no answer of the assistant" in capsys.readouterr().err


def test_prompts_that_differ_in_blanks_and_case_are_one(tmp_path):
    rows = [{"prompt": folders.ask(i), "chosen": "good", "rejected": "bad"} for i in range(40)]
    rows += [row | {"prompt": f"  {row['prompt'].upper()}\n"} for row in rows]
    written(tmp_path, rows)
    prompts = [row["prompt"] for row in folders.read_lines(tmp_path / "data/prompts.jsonl")]
    assert len(prompts) == len({world.same(prompt) for prompt in prompts}) == 40


def test_limits_may_count_tokens(tmp_path):
    rows = [{"prompt": folders.ask(i), "chosen": "good", "rejected": "bad"} for i in range(40)]
    model = {"id": folders.causal(tmp_path / "model")}
    size = world.length(world.Settings(pairs={"id": "x"}, gold={"id": "y"}, tokenizer=model))
    longest = max(size(row["prompt"]) for row in rows)
    assert longest < max(len(row["prompt"]) for row in rows)
    written(tmp_path, rows, tokenizer=model, max_prompt=longest)
    with pytest.raises(UserError, match="a prompt that is too long"):
        written(tmp_path, rows, tokenizer=model, max_prompt=longest // 2)


def test_rows_of_kto_become_pairs(tmp_path):
    rows = [
        {"prompt": [say("user", folders.ask(i // 2))], "completion": [say("assistant", text)],
         "label": text == "good"}
        for i, text in enumerate(["good", "bad"] * 40)
    ]  # fmt: skip
    written(tmp_path, rows)
    pool = folders.read_lines(tmp_path / "data/pool.jsonl")
    assert len(pool) == 30
    assert {row["a" if row["p"]["gold"] == 1 else "b"] for row in pool} == {"good"}


# --- what reads a conversation --------------------------------------------------------------------

TALK = joined(
    [say("system", "Be brief."), *SKY, BLUE, say("user", "And the sea?")],
)


def test_a_template_renders_all_turns_and_opens_the_answer(tmp_path):
    found = hub_model.load_tokenizer(HubModel(id=folders.causal(tmp_path), template="zephyr"))
    assert found.decode(prompt_ids(found, TALK)) == (
        "<s><|system|>\nBe brief.</s>\n<|user|>\nWhat color is the sky?</s>\n"
        "<|assistant|>\nIt is blue.</s>\n<|user|>\nAnd the sea?</s>\n<|assistant|>\n"
    )


def test_without_a_template_a_conversation_reads_as_hh_rlhf_writes_it(tmp_path):
    found = hub_model.load_tokenizer(HubModel(id=folders.causal(tmp_path), template="none"))
    assert found.decode(prompt_ids(found, TALK)) == (
        "<s>\n\nSystem: Be brief.\n\nHuman: What color is the sky?\n\nAssistant: It is blue."
        "\n\nHuman: And the sea?\n\nAssistant:"
    )


def test_a_template_may_be_a_file_whose_edit_is_another_model(tmp_path):
    where, path = folders.causal(tmp_path / "model"), tmp_path / "mine.jinja"
    path.write_text("{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}[answer] ")
    source = HubModel(id=where, template=str(path))
    found = hub_model.load_tokenizer(source)
    assert found.decode(prompt_ids(found, "Hello")) == "[user] Hello [answer] "
    before = source.model_dump()
    path.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert source.model_dump() != before
    with pytest.raises(ValueError, match=r"no file in .* and none of own, none, chatml, zephyr"):
        HubModel(id=where, template="chatmll")


def test_gold_of_ones_own_gets_text_and_turns(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "def gold(prompts, completions):\n"
        "    return [len(p['messages']) + p['prompt'].startswith('system: Be') for p in prompts]\n"
    )
    hub_gold.keep(hub_gold.GoldModel(file=str(path)), tmp_path)
    assert list(hub_gold.Gold(tmp_path)([{"prompt": TALK}, {"prompt": "Hi"}], ["", ""])) == [5, 1]


@pytest.mark.parametrize("template", ["zephyr", "none"])
def test_the_harness_reads_the_same_tokens_as_training(tmp_path, template, monkeypatch):
    """lm-eval's likelihood of each answer is that of the prompt and answer as methods see them."""
    import torch
    from transformers import AutoModelForCausalLM

    where = folders.causal(tmp_path / "model", max_position_embeddings=512)
    tokenizer = hub_model.load_tokenizer(HubModel(id=where, template=template))
    model = AutoModelForCausalLM.from_pretrained(where).eval()
    documents = [{"prompt": TALK, "choices": ["It is.", "No."], "label": 0}]
    path = folders.lines(tmp_path / "preference.jsonl", documents)
    task = yaml.safe_load((Path(world.__file__).parent / "tasks/preference.yaml").read_text())
    task["dataset_kwargs"] = {"data_files": {"test": path}}
    task = harness.as_text(task) if template == "none" else task
    seen = []
    wrapped = harness.harness_model(load("zephyr-7b"), model, tokenizer)
    scored = type(wrapped)._loglikelihood_tokens

    def spy(self, requests, *args, **kwargs):
        seen.extend(context + answer for _, context, answer in requests)
        return scored(self, requests, *args, **kwargs)

    monkeypatch.setattr(type(wrapped), "_loglikelihood_tokens", spy)
    with torch.no_grad():
        harness.harnessed(wrapped, [task])
    ends = [tokenizer.encode(text, add_special_tokens=False) for text in ("It is.", "No.")]
    assert sorted(seen) == sorted(prompt_ids(tokenizer, TALK) + end for end in ends)
