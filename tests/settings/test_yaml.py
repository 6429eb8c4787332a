"""Files of settings of any content end in settings, or in one line that names file and cause."""

import pytest

from bench.core.schema import UserError
from bench.settings import yaml_text
from bench.settings.overrides import unquoted
from bench.studies import load

NINE = ",".join(["*{}"] * 9)
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{NINE.replace('{}', before)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "no UTF-8": (b"\xff\xfe\x00a: 1", "is no valid YAML: 'utf-8' codec can't decode"),
    "a list": (b"- a\n- b\n", "holds no settings: write lines of the form `key: value`"),
    "a word": (b"hello", "holds no settings"),
    "nothing": (b"", "sets no data.kind: write `extends: smol-hub` for data of your own"),
    "a tab": (b"a:\n\t- b", "line 2, is no valid YAML"),
    "two documents": (b"extends: tiny\n---\nextends: micro\n", "line 2, is no valid YAML"),
    "NUL": (b"extends: tiny\ndpo: {lr: \x00}\n", "is no valid YAML: unacceptable character"),
    "a Python object": (b"extends: tiny\ndpo: !!python/object/apply:os.kill []\n", "line 2, is"),
    "a list as key": (b"extends: tiny\n? [a, b]\n: 3\n", "is no valid YAML: found unhashable"),
    "a key twice": (b"extends: tiny\ndpo: {}\ndpo: {}\n", "line 3, cannot be read: 'dpo'"),
    "an inner key twice": (b"extends: tiny\ndpo: {lr: 1, lr: 2}\n", "line 2, cannot be read: 'lr'"),
    "what holds itself": (b"extends: tiny\narms: &a {x: *a}\n", "line 2, cannot be read: an alias"),
    "a list that holds itself": (b"&a [*a]", "line 1, cannot be read: an alias"),
    "aliases that explode": (BOMB.encode(), "its aliases stand for more than 100,000 values"),
    "deep nesting": (b"extends: tiny\narms: " + b"[" * 3000 + b"]" * 3000, "nested too deeply"),
    "itself as parent": (b"extends: {}\n", "extends itself: let `extends` name another testbed"),
    "an unknown parent": (b"extends: nowhere\n", "unknown testbed 'nowhere'; known: llama2-7b"),
    "a list of parents": (b"extends: [tiny]\n", "unknown testbed '['tiny']'; did you mean 'tiny'?"),
    "a number as key": (b"extends: tiny\n3: 4\n", "3=3 is not valid: keys should be strings"),
}  # fmt: skip


def refused(path) -> str:
    with pytest.raises(UserError) as caught:
        load(str(path))
    said = str(caught.value)
    assert "\n" not in said and len(said) < 400
    return said


@pytest.mark.parametrize("data,said", REFUSED.values(), ids=REFUSED)
def test_what_no_settings_can_mean_is_one_line(tmp_path, data, said):
    path = tmp_path / "mine.yaml"
    path.write_bytes(data.replace(b"{}", str(path).encode()) if b"{}" in data else data)
    assert said in refused(path)


@pytest.mark.parametrize("name", ["a b", "-x", "{seed}", "x" * 200, ".x", "\u00fc", "a;b", "tiny"])
def test_a_file_whose_name_cannot_name_a_folder_is_refused(tmp_path, name):
    path = tmp_path / f"{name}.yaml"
    path.write_text("extends: tiny\n")
    assert "rename" in refused(path)


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    assert "there is no testbed file" in refused(tmp_path / "folder.yaml")
    assert "a path to a file must end in .yaml" in refused("/dev/null")


def test_anchors_and_merges_are_read_and_later_keys_override():
    text = "a: &a {method: dpo, lr: 1}\nb: {<<: *a, lr: 2}\nc: [*a, *a]\n"
    a = {"method": "dpo", "lr": 1}
    assert yaml_text.read(text) == {"a": a, "b": a | {"lr": 2}, "c": [a, a]}
    assert yaml_text.read("") is None and yaml_text.read("3") == 3


def test_a_key_twice_on_the_command_line_is_named():
    with pytest.raises(UserError, match="'lr' stands there twice"):
        unquoted("{lr: 1, lr: 2}")
    assert unquoted("{lr: [1") == "{lr: [1"
