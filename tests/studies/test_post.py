"""The draft of a post: all that depends on results is a fact, and the rest claims nothing."""

import json
import re
import shutil
from html import unescape
from types import SimpleNamespace

import fake_runs
import pytest
from markdown_it import MarkdownIt

from bench.core.files import read_json
from bench.core.records import sealed
from bench.core.schema import UserError
from bench.methods import FIRST, METHODS
from bench.report import marked_text
from bench.report import post as kit
from bench.steps import blog as command
from bench.steps import report as report
from bench.studies import PLANS, kind_of
from bench.studies.compare import post as posts

SWELLING = (
    r"\b(significant(ly)?|clear(ly)?|much|dramatic(ally)?|strong(ly)?|far|considerabl[ey]|hug(e|ely)|"
    r"substantial(ly)?|impressive(ly)?|superior|outperform\w*|remarkabl[ey]|vast(ly)?|winner)\b"
)


def drafted(study, folder) -> str:
    """The draft about a study whose report is made in a folder."""
    report.build(study, folder)
    facts, figures = (read_json(folder / f"{name}.json", True) for name in ("facts", "figures"))
    return posts.draft(study, facts, figures, folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of the report."""
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Five seeds of four methods, one run diverged, hostile samples."""
    folder = tmp_path_factory.mktemp("study")
    return fake_runs.study(folder, fail={("ipo", 2): "diverged"}, text=fake_runs.HOSTILE)


@pytest.fixture(scope="module")
def post(study, place):
    return drafted(study, place)


def again(study, facts: dict, place) -> str:
    """The draft from other facts of the same report."""
    return posts.draft(study, facts, read_json(place / "figures.json"), place)


def found_in(text: str) -> dict[str, str]:
    """{key: text} of the facts of a post."""
    return {m[1]: m[3] for m in marked_text.MARK.finditer(text)}


def prose(text: str) -> str:
    """A post without facts, code, comments, references and figures' paths."""
    text = marked_text.MARK.sub("", text.partition("## References")[0])
    return re.sub(r"<!--.*?-->|`[^`\n]*`|\[@[^]]*\]|\]\(figures/[^)]*\)", "", text, flags=re.S)


def html(text: str) -> str:
    return MarkdownIt("commonmark").enable("table").render(text)


def shown(text: str) -> str:
    """What a reader sees of rendered Markdown."""
    bare = re.sub(r"<!--.*?-->", "", html(text), flags=re.S)
    return unescape(re.sub(r"<[^>]*>", "", bare))


def test_each_fact_of_the_post_is_the_reports(post, place):
    known, quoted = read_json(place / "facts.json"), found_in(post)
    assert {k: marked_text.plain(text) for k, text in quoted.items()} == {
        k: marked_text.plain(known[k]) for k in quoted
    }
    parts = {"headline", "caveat", "contract", "quality", "cost", "stability", "lines.compute"}
    assert parts <= set(quoted) and len(quoted) > 40
    assert {"table.at-a-glance", "table.lm-eval", "table.comparisons-of-gold-reward"} <= set(quoted)


def test_every_number_outside_code_and_references_is_a_fact(post):
    assert not re.findall(r".{0,30}\d.{0,30}", prose(post))


def test_no_word_claims_more_than_a_test_can(post):
    assert not re.findall(SWELLING, shown(post.partition("## What do the models write?")[0]), re.I)
    assert not re.findall(r"[^.]*\bbetter\b[^.]*\.", prose(post))


def test_what_is_no_fact_does_not_depend_on_how_runs_ended(post, tmp_path):
    seeds = (1, 2, 3)
    fail = {(arm, seed): "oom" for arm in fake_runs.ARMS for seed in seeds}
    none = drafted(fake_runs.study(tmp_path / "none", seeds=seeds, fail=fail), tmp_path / "report")
    assert [*found_in(none)] == [*found_in(post)]
    assert prose(none) == prose(post)
    text = shown(none)
    assert "every run of PPO failed" in text and "12 of 12 runs failed" in text


def test_readers_do_not_see_marks(post, place):
    text = shown(post)
    assert "fact" not in text and "<!--" not in text and "draft" not in text
    known = read_json(place / "facts.json")
    for key in ("dpo.grammar.exact_match", "caption.compute", "headline", "quality"):
        assert key not in found_in(post) or shown(known[key]).strip() in text
    assert '<td style="text-align:right">+0.' in html(post)  # a table between marks is a table
    assert marked_text.at_start(post) == []


def test_hostile_answers_are_text(study, post):
    assert post.count("javascript") >= 4
    out = re.sub(r"<!--.*?-->", "", html(post), flags=re.S)
    assert not re.search(r"<(?:script|img src=x)|href=\"javascript", out) and "{{" not in post
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", post)
    assert {"a", "img"} == {tag for tag in re.findall(r"<(a|img|script|iframe)\b", out)}
    answers = [
        row["completion"]
        for row in study.results.samples
        if row["arm"] == "ppo" and row["seed"] == 1
    ]
    assert all("<script>alert(" in answer for answer in answers)
    assert 'alert("x")</script>' in shown(post) and "[a](javascript:x)" in shown(post)


def test_the_same_results_give_the_same_bytes(study, post, place):
    assert again(study, read_json(place / "facts.json"), place) == post


def test_a_renewal_of_a_fresh_post_changes_nothing(post, place):
    assert marked_text.renew(post, read_json(place / "facts.json")) == (post, [])


def test_references_are_those_cited_and_each_is_found(study, post, place):
    cited = set(kit.CITED.findall(post))
    entries = kit.bibliography(post, "c0ffee")
    assert cited == set(re.findall(r"^@\w+\{(\w+),", entries, re.M))
    further = [module for name, module in METHODS.items() if name not in FIRST]
    others = {module.PAPER for module in further if hasattr(module, "PAPER")} - cited
    assert {*kit.entries()} - cited == others  # no default study trains them
    assert "Commit c0ffee" in entries and entries.count("{") == entries.count("}")
    assert '<a href="https://arxiv.org/abs/1707.06347">@schulman2017</a>' in html(post)
    arms = [arm for arm in study.meta.arms if arm.name in ("dpo", "ipo")]
    two = fake_runs.changed(study, testbed="zephyr", world="hub", arms=arms)
    fewer = set(kit.CITED.findall(again(two, read_json(place / "facts.json"), place)))
    assert cited - fewer == {"hong2024", "hutto2014"}


def test_one_seed_decides_nothing(tmp_path):
    text = shown(drafted(fake_runs.study(tmp_path / "one", seeds=(1,)), tmp_path / "report"))
    assert "not which of them is better: that takes 3 seeds" in text
    assert "is better than" not in text
    assert "inconclusive: 1 shared seed" in text and "(no interval)" not in found_in(text)


def test_a_breach_stands_at_the_top(study, post, tmp_path):
    breach = {"field": "pairs", "why": "the same labels", "values": {"dpo seed 1": "<b>9</b>"}}
    broken = fake_runs.changed(study, breaches=[breach])
    text = shown(drafted(broken, tmp_path))
    assert "Breach of the fairness contract: pairs" in text.partition("The question")[0]
    assert "<b>9</b>" in text
    renewed, changes = marked_text.renew(post, read_json(tmp_path / "facts.json"))
    assert "Breach of the fairness contract: pairs" in shown(renewed).partition("The question")[0]
    assert {change.key for change in changes} == {"caveat", "contract"}


def test_a_sweep_of_many_variants_is_a_comparison_too(tmp_path):
    arms = {"ppo": "ppo"} | {f"ppo-no{i}": "ppo" for i in range(7)}
    text = shown(
        drafted(fake_runs.study(tmp_path / "many", arms=arms, seeds=(1, 2, 3)), tmp_path / "report")
    )
    assert "PPO and variants" in text and "PPO no3 − PPO" in text


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A study's folder in which a report was made."""
    root = tmp_path_factory.mktemp("reported")
    results = fake_runs.collected(root, seeds=(1, 2), prompts=30)
    place = root / "runs/micro"
    results.write(place / "results")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        report.run(fake_runs.config(place), SimpleNamespace(beside=[]))
    return place


@pytest.fixture
def cfg(reported, tmp_path, monkeypatch):
    """What the command takes, in a working directory with a copy of that folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(reported, tmp_path / "runs/micro")
    return fake_runs.config(tmp_path / "runs/micro")


def test_the_draft_is_written_and_published(cfg, tmp_path):
    command.run(cfg, None)
    written = json.loads((cfg.layout.study / "blog.json").read_text())
    drawn = marked_text.figures((cfg.layout.study / "blog/post.md").read_text(encoding="utf-8"))
    assert len(drawn) == 4 and "figures/compute.png" in drawn
    assert set(written) == {"post.md", "references.bib", *drawn}
    assert report.hashes(tmp_path / "reports/micro/blog") == written
    command.run(cfg, None)
    assert json.loads((cfg.layout.study / "blog.json").read_text()) == written


def test_an_edited_draft_is_not_overwritten(cfg):
    command.run(cfg, None)
    post = cfg.layout.study / "blog/post.md"
    post.write_text(post.read_text().replace("What does it cost?", "My question"))
    with pytest.raises(UserError, match=r"post\.md was edited: move it elsewhere, then renew it"):
        command.run(cfg, None)
    assert "My question" in post.read_text()


def test_nothing_of_an_author_s_in_the_folder_is_lost(cfg):
    command.run(cfg, None)
    (cfg.layout.study / "blog/mine.md").write_text("x")
    with pytest.raises(UserError, match=r"mine\.md does not belong to the draft: move it"):
        command.run(cfg, None)


@pytest.mark.parametrize("study", [name for name in PLANS if kind_of(name).post is None])
def test_other_studies_are_refused_in_one_line(cfg, study):
    path = cfg.layout.study / "results/meta.json"
    path.write_text(json.dumps(sealed(json.loads(path.read_text()) | {"study": study})))
    with pytest.raises(UserError, match=f"^study '{study}' has no post: use `compare`, "):
        command.run(cfg, None)


def test_a_report_that_is_not_made_yet_is_one_line(cfg):
    (cfg.layout.report / "facts.json").unlink()
    with pytest.raises(UserError, match=r"facts\.json is missing: run snakemake, which makes it"):
        command.run(cfg, None)
